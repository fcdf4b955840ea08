//! The order of the house: which crate may use which, and what every source file looks like.

use std::fs;
use std::path::{Path, PathBuf};

/// The floors from the bottom up; a crate may use only what stands before it. `data` knows `base` alone.
const FLOORS: [&str; 9] = [
    "base", "tensor", "layers", "data", "metrics", "gan", "transfer", "engraft", "xtask",
];
/// Pairs that stand side by side and must not use each other.
const APART: [(&str, &str); 3] = [("data", "layers"), ("data", "tensor"), ("metrics", "data")];
/// Lines above which a file has more than one responsibility; a guard against drift, not an aim.
const LONGEST: usize = 500;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_path_buf()
}

/// Crates of this project that a manifest names as ordinary dependencies.
fn dependencies(floor: &str) -> Vec<String> {
    let folder = if floor == "xtask" {
        root().join(floor)
    } else {
        root().join("crates").join(floor)
    };
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    manifest
        .lines()
        .skip_while(|line| *line != "[dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.strip_prefix("engraft-"))
        .map(|rest| rest.split(['.', ' ', '=']).next().unwrap().to_string())
        .collect()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') && name != "runs" {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn crates_use_only_the_floors_below() {
    let mut on_disk: Vec<String> = fs::read_dir(root().join("crates"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    on_disk.sort();
    let mut known: Vec<_> = FLOORS.into_iter().filter(|f| *f != "xtask").collect();
    known.sort_unstable();
    assert_eq!(on_disk, known, "every crate needs a floor in this test");
    for (height, floor) in FLOORS.iter().enumerate() {
        for used in dependencies(floor) {
            assert!(
                FLOORS[..height].contains(&used.as_str()),
                "{floor} must not use {used}"
            );
            assert!(
                !APART.contains(&(*floor, used.as_str())),
                "{floor} and {used} stand apart"
            );
        }
    }
    assert_eq!(
        dependencies("layers"),
        ["tensor"],
        "the reading of manifests works"
    );
}

#[test]
fn every_source_file_says_what_it_is_and_stays_short() {
    let mut files = Vec::new();
    sources(&root(), &mut files);
    assert!(files.len() > 50, "only {} files found", files.len());
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let documented = text.starts_with("//!") || text.starts_with("#![doc");
        assert!(documented, "{} must open with a //! line", path.display());
        let lines = text.lines().count();
        assert!(
            lines <= LONGEST,
            "{} has {lines} lines, more than {LONGEST}",
            path.display()
        );
    }
}
