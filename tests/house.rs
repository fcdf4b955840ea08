//! Rules of the sources: which crate may use which, file headers, file size, cycles, unsafe code. `cargo run -p engraft-tests
//! --example house` prints the numbers.

#[path = "house/sources.rs"]
#[allow(dead_code)] // the example prints the rest
mod sources;

use serde_json::Value;
use sources::Sources;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The layers of crates, lowest first; a crate may use only earlier ones.
const LAYERS: [&str; 13] = [
    "source-mnist",
    "source-google-64",
    "base",
    "tensor",
    "layers",
    "data",
    "metrics",
    "gan",
    "transfer",
    "export",
    "playground",
    "engraft",
    "xtask",
];
/// Pairs of crates that must not use each other.
const APART: [(&str, &str); 3] = [("data", "layers"), ("data", "tensor"), ("metrics", "data")];
/// Maximum lines of code in a file, without tests, comments and documentation.
const MOST_CODE: usize = 500;
/// Allowed cycles of files, by the start of their paths, with the reason.
const CIRCLES: [(&[&str], &str); 2] = [
    (
        &["crates/tensor/src/real.rs", "crates/tensor/src/kernels/"],
        "an element type is defined by its kernels, and kernels are generic over it",
    ),
    (
        &["crates/tensor/src/op.rs", "crates/tensor/src/tensor.rs"],
        "an operation maps tensors to tensors, and a tensor holds the operation that made it",
    ),
];
/// Folders and files in which a type may have inherent `impl`s in several files, with the reason.
const IMPLS: [(&str, &str); 5] = [
    (
        "crates/tensor/src/ops/",
        "the methods of a tensor, one file for each family of operations",
    ),
    (
        "crates/engraft/src/cli/",
        "a command's options are separate from its code",
    ),
    ("xtask/src/", "a command's options are separate from its code"),
    (
        "crates/playground/src/encoding.rs",
        "the bytes of a generator are separate from what it computes",
    ),
    (
        "crates/transfer/src/earlier_names.rs",
        "earlier names are in one file, to be removed together",
    ),
];
/// The files that may allow unsafe code, with the reason. Every other file is checked by the compiler alone.
const UNSAFE: [(&[&str], &str); 4] = [
    (
        &[
            "crates/tensor/src/kernels/direct/product/mod.rs",
            "crates/tensor/src/kernels/matrix_unit/amx.rs",
            "crates/tensor/src/kernels/matrix_unit/avx512.rs",
            "crates/tensor/src/kernels/matrix_unit/images.rs",
            "crates/tensor/src/kernels/matrix_unit/model.rs",
            "crates/tensor/src/kernels/matrix_unit/product.rs",
            "crates/tensor/src/kernels/matrix_unit/tests.rs",
            "crates/tensor/src/kernels/matrix_unit/weight.rs",
            "crates/tensor/src/kernels/simd.rs",
            "crates/tensor/src/kernels/tile_product.rs",
        ],
        "kernels for an instruction set, and their plain model",
    ),
    (
        &[
            "crates/tensor/src/kernels/gemm.rs",
            "crates/tensor/src/kernels/pieces.rs",
            "crates/tensor/src/kernels/strided.rs",
        ],
        "threads write to parts of one matrix",
    ),
    (
        &["crates/playground/src/exports.rs"],
        "the functions of a WebAssembly module have fixed names",
    ),
    (
        &[
            "crates/data/tests/allocation.rs",
            "crates/data/tests/out_of_memory.rs",
            "crates/gan/tests/allocation.rs",
            "tests/hostile_files.rs",
        ],
        "an allocator that counts or refuses",
    ),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().into()
}

/// The crates of the workspace according to Cargo: folder, and the folders of their dependencies outside tests.
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
fn crates_use_only_lower_crates() {
    let crates = crates();
    let layers = crates.iter().find(|(name, _)| name == "layers");
    assert!(layers.unwrap().1.contains(&"tensor".into()), "{crates:?}");
    for (name, used) in &crates {
        if ["tests", "benches"].contains(&name.as_str()) {
            continue;
        }
        let height = LAYERS.iter().position(|floor| floor == name);
        let height = height.unwrap_or_else(|| panic!("{name} needs a floor in this test"));
        for used in used {
            assert!(
                LAYERS[..height].contains(&used.as_str()),
                "{name} must not use {used}"
            );
            let apart = APART.contains(&(name.as_str(), used.as_str()));
            assert!(!apart, "{name} must not use {used}");
        }
    }
}

#[test]
fn every_source_file_has_a_header_and_a_bounded_size() {
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
fn no_files_form_a_cycle() {
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
            "a cycle of files: {:#?}",
            sources.arrows(&circle)
        );
        unused.retain(|allowed| !inside(allowed));
    }
    assert!(unused.is_empty(), "these allowed cycles do not exist: {unused:?}");
}

#[test]
fn the_methods_of_a_type_are_in_its_file() {
    for (path, name) in Sources::read(&root()).impls_apart() {
        let allowed = IMPLS.iter().any(|(folder, _)| path.starts_with(folder));
        assert!(
            allowed,
            "{}: an inherent impl of {name}, which is defined elsewhere",
            path.display()
        );
    }
}

/// The workspace denies it. A file, or a crate without the lints of the workspace, could allow it again.
#[test]
fn only_listed_files_may_be_unsafe() {
    let root = root();
    // In two parts, so that this file does not have it.
    let lint = concat!("unsafe", "_code");
    let allows = |path: &Path| {
        let text = fs::read_to_string(root.join(path)).unwrap();
        let mut code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        code.any(|line| line.contains(lint))
    };
    let files = Sources::read(&root).files.into_iter().map(|file| file.path);
    let found: Vec<PathBuf> = files.filter(|path| allows(path)).collect();
    let mut listed: Vec<PathBuf> = UNSAFE
        .iter()
        .flat_map(|(paths, _)| paths.iter().map(PathBuf::from))
        .collect();
    listed.sort();
    let missing: Vec<&PathBuf> = found.iter().filter(|path| !listed.contains(path)).collect();
    assert!(
        missing.is_empty(),
        "these files name the lint and need a reason in this test: {missing:?}"
    );
    let unused: Vec<&PathBuf> = listed.iter().filter(|path| !found.contains(path)).collect();
    assert!(
        unused.is_empty(),
        "these listed files have no unsafe code: {unused:?}"
    );
    let mut manifests: Vec<PathBuf> = ["xtask", "tests", "benches"].map(|name| root.join(name)).into();
    let crates = fs::read_dir(root.join("crates")).unwrap();
    manifests.extend(crates.map(|entry| entry.unwrap().path()));
    for folder in manifests {
        let path = folder.join("Cargo.toml");
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(
            text.contains("[lints]\nworkspace = true\n"),
            "{} does not have the lints of the workspace",
            path.display()
        );
    }
}
