//! Statistics of a workspace's sources: `cargo run -p engraft-tests --example house [DIR]`.

#![allow(clippy::unwrap_used)]

#[path = "../house/sources.rs"]
mod sources;

use sources::Sources;
use std::path::PathBuf;

fn main() {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let root = std::env::args().nth(1).map_or(here, PathBuf::from);
    let sources = Sources::read(&root);
    let mut packages: Vec<&str> = sources.files.iter().map(|f| f.package.as_str()).collect();
    packages.dedup();
    println!(
        "{:<10} {:>5} {:>7} {:>8} {:>7}",
        "crate", "files", "code", "comments", "tests"
    );
    let sum = |package: Option<&str>| {
        let files = sources
            .files
            .iter()
            .filter(|f| package.is_none_or(|p| f.package == p));
        let (mut n, mut lines) = (0, [0; 3]);
        for file in files {
            n += usize::from(!file.is_test);
            let of_file = [file.code_lines, file.comment_lines, file.test_lines];
            (0..3).for_each(|i| lines[i] += of_file[i]);
        }
        let [code, comments, tests] = lines;
        println!(
            "{:<10} {n:>5} {code:>7} {comments:>8} {tests:>7}",
            package.unwrap_or("all")
        );
    };
    packages.into_iter().for_each(|package| sum(Some(package)));
    sum(None);

    let circles = sources.circles();
    println!("\n{} cycles of files", circles.len());
    for circle in circles {
        println!("  {} files", circle.len());
        for (from, to) in sources.arrows(&circle) {
            println!("    {} -> {}", from.display(), to.display());
        }
    }
    let apart = sources.impls_apart();
    println!("\n{} inherent impls in another file than their type", apart.len());
    for (path, name) in apart {
        println!("  {name:<24} {}", path.display());
    }
    let mut files: Vec<_> = sources.files.iter().collect();
    files.sort_by_key(|file| std::cmp::Reverse(file.code_lines));
    println!("\nfiles with most code");
    for file in files.iter().take(20) {
        println!("  {:>4} {}", file.code_lines, file.path.display());
    }
}
