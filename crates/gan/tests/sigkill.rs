//! A writer that is killed at random moments, and one whose file size limit is too small.
//!
//! The writer is this test binary: the parent starts it again with the directory in an environment variable.
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

use engraft_gan::checkpoint::{CheckpointReader, CheckpointStore};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const RUN: &str = "ENGRAFT_TEST_WRITER_RUN";

fn files(step: u64) -> BTreeMap<String, Vec<u8>> {
    let weights = (0..200_000u64).map(|i| (i * step) as u8).collect();
    BTreeMap::from([
        ("g.safetensors".to_string(), weights),
        ("state.bin".to_string(), step.to_le_bytes().to_vec()),
    ])
}

/// A helper process, not a test: saves checkpoints until it is killed or a save fails.
#[test]
fn writer() {
    let Some(run) = std::env::var_os(RUN) else { return };
    let mut store = CheckpointStore::open(Path::new(&run), 2).unwrap();
    let first = store.latest().unwrap().map_or(1, |loaded| loaded.checkpoint.step);
    for step in first.. {
        match store.save(step, "options", &files(step)) {
            // The last step that must exist. It is next to the run directory, which belongs to the store.
            Ok(_) => fs::write(Path::new(&run).with_extension("saved"), step.to_string()).unwrap(),
            Err(error) => {
                eprintln!("REFUSED {error}");
                std::process::exit(3);
            }
        }
    }
}

fn promised(run: &Path) -> Option<u64> {
    fs::read_to_string(run.with_extension("saved")).ok()?.parse().ok()
}

#[test]
fn a_killed_writer_always_leaves_its_last_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let mut random = 12345u64;
    for round in 0..40 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "writer", "--nocapture"])
            .env(RUN, &run)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        random = random
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        // The first round runs long enough to save a checkpoint.
        while round == 0 && promised(&run).is_none() {
            assert!(child.try_wait().unwrap().is_none(), "the writer ended by itself");
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_micros(5_000 + (random >> 33) % 40_000));
        child.kill().unwrap();
        child.wait().unwrap();

        let loaded = CheckpointReader::new(&run).latest().unwrap().unwrap();
        assert_eq!(loaded.checkpoint.files, files(loaded.checkpoint.step));
        assert_eq!(loaded.warnings, Vec::<String>::new());
        // A kill during the write of the note leaves it empty; there is nothing to compare then.
        if let Some(step) = promised(&run) {
            assert!(
                loaded.checkpoint.step >= step,
                "{} is older than {step}",
                loaded.checkpoint.step
            );
        }
        let store = CheckpointStore::open(&run, 2).unwrap();
        assert_eq!(
            store.latest().unwrap().unwrap().checkpoint.step,
            loaded.checkpoint.step
        );
        let hidden = fs::read_dir(run.join("checkpoints"))
            .unwrap()
            .filter(|entry| {
                entry
                    .as_ref()
                    .unwrap()
                    .file_name()
                    .to_string_lossy()
                    .starts_with('.')
            })
            .count();
        assert_eq!(hidden, 0);
    }
}

#[test]
fn a_file_size_limit_leaves_the_previous_checkpoint_and_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    CheckpointStore::open(&run, 2)
        .unwrap()
        .save(1, "options", &files(1))
        .unwrap();
    // The signal of the limit is ignored, as the disk-full errors have no signal either.
    let output = Command::new("sh")
        .args([
            "-c",
            "trap '' XFSZ; ulimit -f 20; exec \"$0\" --exact writer --nocapture",
        ])
        .arg(std::env::current_exe().unwrap())
        .env(RUN, &run)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{errors}");
    assert!(
        errors.contains("g.safetensors") && errors.contains("200000 bytes"),
        "{errors}"
    );
    assert!(errors.contains("ulimit -f"), "{errors}");
    let loaded = CheckpointReader::new(&run).latest().unwrap().unwrap();
    assert_eq!(loaded.checkpoint.files, files(1));
    assert_eq!(fs::read_dir(run.join("checkpoints")).unwrap().count(), 1);
}
