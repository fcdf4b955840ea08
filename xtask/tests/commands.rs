//! The commands of `cargo xtask`, as processes.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn xtask(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn counts_beyond_memory_are_refused() {
    let huge = u64::MAX.to_string();
    for (command, argument) in [
        ("drawn-digits", "--count"),
        ("bench-step", "--steps"),
        ("bench-step", "--warmup"),
    ] {
        let output = xtask(&[command, argument, &huge]);
        assert_eq!(output.status.code(), Some(1), "{command}");
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(errors.contains(argument), "{errors}");
    }
}

/// A closed pipe (`| head -1`) is no failure, a full device is one. Nothing panics, and files are written.
#[test]
fn fault_04_a_closed_or_full_output_of_a_command_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    let out = source.to_str().unwrap();
    let from = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/source-google-64");
    let commands: [(&[&str], Option<&Path>); 2] = [
        (&["save-source", "--from", from, "--out", out], Some(&source)),
        (
            &[
                "bench-step",
                "--network",
                "light32",
                "--batch",
                "2",
                "--steps",
                "1",
                "--warmup",
                "0",
            ],
            None,
        ),
    ];
    for (arguments, written) in commands {
        for (is_full, code) in [(false, 0), (true, 5)] {
            let stdout = match is_full {
                true => File::create("/dev/full").unwrap().into(),
                false => Stdio::piped(),
            };
            let mut child = Command::new(env!("CARGO_BIN_EXE_xtask"))
                .args(arguments)
                .stdout(stdout)
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            // The reader goes away before the command prints.
            drop(child.stdout.take());
            let found = child.wait_with_output().unwrap();
            let errors = String::from_utf8(found.stderr).unwrap();
            assert_eq!(found.status.code(), Some(code), "{errors}");
            assert!(!errors.contains("panicked"), "{errors}");
            if let Some(written) = written {
                assert!(written.join("generator.safetensors").is_file());
                std::fs::remove_dir_all(written).unwrap();
            }
        }
    }
}

/// Labels that the networks have no output for, in the training images or in the test images: nothing is trained or written.
#[test]
fn fault_05_train_features_refuses_labels_above_9_with_place_and_position() {
    let folder = tempfile::tempdir().unwrap();
    // A header of the IDX format and its bytes.
    let write = |name: &str, sizes: &[u8], bytes: &[u8]| {
        let mut file = vec![0, 0, 8, sizes.len() as u8];
        for size in sizes {
            file.extend(u32::from(*size).to_be_bytes());
        }
        file.extend(bytes);
        std::fs::write(folder.path().join(name), file).unwrap();
    };
    let splits = ["train", "t10k"];
    let out = folder.path().join("weights.safetensors");
    for wrong in splits {
        for split in splits {
            let labels = if split == wrong { [0, 9, 12] } else { [0, 9, 1] };
            write(
                &format!("{split}-images-idx3-ubyte"),
                &[3, 28, 28],
                &[7; 3 * 28 * 28],
            );
            write(&format!("{split}-labels-idx1-ubyte"), &[3], &labels);
        }
        let output = xtask(&[
            "train-features",
            "--data",
            "mnist",
            "--directory",
            folder.path().to_str().unwrap(),
            "--epochs",
            "1",
            "--out",
            out.to_str().unwrap(),
        ]);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{wrong}: {errors}");
        let place = format!("files in {}", folder.path().display());
        for part in [place.as_str(), "image 2 of 3", "mnist", "is 12", "at most 9"] {
            assert!(errors.contains(part), "{wrong}: no {part:?} in {errors}");
        }
        assert!(
            output.stdout.is_empty() && !out.exists(),
            "{wrong}: it was trained"
        );
    }
}

/// If it fails: `cargo xtask docs`.
#[test]
fn the_reference_of_run_toml_is_that_of_the_doc_comments() {
    let found = xtask(&["docs", "--check"]);
    assert!(
        found.status.success(),
        "{}",
        String::from_utf8_lossy(&found.stderr)
    );
}

#[test]
fn train_mnist_is_the_program_s_train() {
    let plan = xtask(&[
        "train-mnist",
        "--offline",
        "--data",
        "drawn-digits",
        "--dry-run",
        "--json",
    ]);
    assert_eq!(plan.status.code(), Some(0));
    let plan: serde_json::Value = serde_json::from_slice(&plan.stdout).unwrap();
    assert_eq!(
        (&plan["event"], &plan["out"]),
        (&"plan".into(), &"runs/drawn-digits".into())
    );
    let wrong = xtask(&["train-mnist", "--data", "no-such-place"]);
    assert_eq!(wrong.status.code(), Some(3));
}

/// Otherwise `cargo engraft` after `cargo xtask` would build what they share a second time.
#[test]
fn both_programs_take_their_dependencies_with_the_same_features() {
    // Name and version with features.
    let of = |package: &str| -> BTreeMap<String, String> {
        let tree = Command::new(env!("CARGO"))
            .args([
                "tree",
                "--offline",
                "--locked",
                "--edges",
                "normal,build",
                "--prefix",
                "none",
            ])
            .args(["--format", "{p}|{f}", "--package", package])
            .output()
            .unwrap();
        assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
        let tree = String::from_utf8(tree.stdout).unwrap();
        let lines = tree.lines().map(|line| line.trim_end_matches(" (*)"));
        lines
            .map(|line| line.split_once('|').unwrap())
            .map(|(package, features)| (package.to_owned(), features.to_owned()))
            .collect()
    };
    let (program, developers) = (of("engraft"), of("xtask"));
    for (package, features) in &program {
        assert_eq!(developers.get(package), Some(features), "{package}");
    }
}
