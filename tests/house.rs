//! The order of the house: which crate may use which, and what every source file looks like. The numbers behind it:
//! `cargo run -p engraft-tests --example house`.

#[path = "house/sources.rs"]
#[allow(dead_code)] // the example prints the rest
mod sources;

use serde_json::Value;
use sources::Sources;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The floors from the bottom up; a crate may use only what stands before it.
const FLOORS: [&str; 9] = [
    "base", "tensor", "layers", "data", "metrics", "gan", "transfer", "engraft", "xtask",
];
/// Pairs that stand side by side and must not use each other.
const APART: [(&str, &str); 3] = [("data", "layers"), ("data", "tensor"), ("metrics", "data")];
/// Lines of code, without tests, comments and documentation, above which a file is more than one idea.
const MOST_CODE: usize = 500;
/// Circles of files that may be, by what their paths begin with, and why.
const CIRCLES: [(&[&str], &str); 2] = [
    (
        &["crates/tensor/src/real.rs", "crates/tensor/src/kernels/"],
        "an element type is what there are kernels for, and kernels are generic over it",
    ),
    (
        &["crates/tensor/src/op.rs", "crates/tensor/src/tensor.rs"],
        "an operation is from tensors to tensors, and a tensor holds the one that it came from",
    ),
];
/// Folders in which a type may have inherent `impl`s in several files, and why.
const IMPLS: [(&str, &str); 3] = [
    (
        "crates/tensor/src/ops/",
        "the methods of a tensor, a family of operations to a file",
    ),
    (
        "crates/engraft/src/cli/",
        "a command's options stand apart from what it does",
    ),
    ("xtask/src/", "a command's options stand apart from what it does"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().into()
}

/// The crates of the workspace as Cargo knows them: folder, and the folders of those that each uses outside its tests.
fn crates() -> Vec<(String, Vec<String>)> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .unwrap();
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let folder = |path: &str| path.rsplit('/').next().unwrap().to_string();
    let one = |package: &Value| {
        let manifest = package["manifest_path"].as_str().unwrap();
        let used = package["dependencies"].as_array().unwrap().iter();
        let used = used
            .filter(|d| d["kind"].is_null())
            .filter_map(|d| d["path"].as_str());
        (
            folder(manifest.trim_end_matches("/Cargo.toml")),
            used.map(folder).collect(),
        )
    };
    found["packages"].as_array().unwrap().iter().map(one).collect()
}

#[test]
fn crates_use_only_the_floors_below() {
    let crates = crates();
    let layers = crates.iter().find(|(name, _)| name == "layers");
    assert!(layers.unwrap().1.contains(&"tensor".into()), "{crates:?}");
    for (name, used) in &crates {
        if ["tests", "benches"].contains(&name.as_str()) {
            continue;
        }
        let height = FLOORS.iter().position(|floor| floor == name);
        let height = height.unwrap_or_else(|| panic!("{name} needs a floor in this test"));
        for used in used {
            assert!(
                FLOORS[..height].contains(&used.as_str()),
                "{name} must not use {used}"
            );
            let apart = APART.contains(&(name.as_str(), used.as_str()));
            assert!(!apart, "{name} and {used} stand apart");
        }
    }
}

#[test]
fn every_source_file_says_what_it_is_and_is_one_idea() {
    let sources = Sources::read(&root());
    assert!(
        sources.files.len() > 200,
        "only {} files found",
        sources.files.len()
    );
    for file in &sources.files {
        let (path, code) = (file.path.display(), file.code_lines);
        let text = fs::read_to_string(root().join(&file.path)).unwrap();
        let documented = text.starts_with("//!") || text.starts_with("#![doc");
        assert!(documented, "{path} must open with a //! line");
        assert!(
            code <= MOST_CODE,
            "{path} has {code} lines of code, more than {MOST_CODE}"
        );
    }
}

#[test]
fn no_file_uses_one_that_uses_it() {
    let sources = Sources::read(&root());
    let mut unused = CIRCLES.to_vec();
    for circle in sources.circles() {
        let inside = |(paths, _): &(&[&str], &str)| {
            let known = |path: &Path| {
                paths
                    .iter()
                    .any(|start| path.to_string_lossy().starts_with(start))
            };
            circle.iter().all(|file| known(&file.path))
        };
        assert!(
            CIRCLES.iter().any(inside),
            "a circle of files: {:#?}",
            sources.arrows(&circle)
        );
        unused.retain(|allowed| !inside(allowed));
    }
    assert!(
        unused.is_empty(),
        "there are no such circles any more: {unused:?}"
    );
}

#[test]
fn the_methods_of_a_type_stand_in_its_file() {
    for (path, name) in Sources::read(&root()).impls_apart() {
        let allowed = IMPLS.iter().any(|(folder, _)| path.starts_with(folder));
        assert!(
            allowed,
            "{}: an inherent impl of {name}, which is defined elsewhere",
            path.display()
        );
    }
}
