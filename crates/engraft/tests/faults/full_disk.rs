//! A full disk: a small file system that only the program sees, in a user namespace of its own.

use super::{Data, below, digits, ends_with, good, tiny_source};
use engraft::data::Npy;
use engraft::gan::checkpoint::CheckpointReader;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Data, and room for a disk. `None` where the system lets this user mount no file system.
fn data_with_disk() -> Option<Data> {
    let data = digits();
    data.set("disk");
    let mounted = Command::new("unshare")
        .args(["-rm", "mount", "-t", "tmpfs", "tmpfs"])
        .arg(data.path("disk"))
        .output();
    if mounted.is_ok_and(|found| found.status.success()) {
        return Some(data);
    }
    println!("skipped: this user may not mount a file system of their own (unshare -rm mount)");
    None
}

/// Runs the program where the folder `disk` has `size` bytes. What is left there is copied to `kept`.
fn on_disk(data: &Data, size: &str, arguments: &[&str]) -> Output {
    let _ = fs::remove_dir_all(data.path("kept"));
    data.set("kept");
    let script = "mount -t tmpfs -o size=\"$1\" tmpfs disk || exit 99; shift; \"$@\"; code=$?; \
                  cp -R disk/. kept && exit $code";
    Command::new("unshare")
        .args(["-rm", "sh", "-c", script, "sh", size])
        .arg(env!("CARGO_BIN_EXE_engraft"))
        .args(arguments)
        .current_dir(data.path(""))
        .env("ENGRAFT_DATA", data.path(""))
        .output()
        .unwrap()
}

/// Checks that the message has the needed bytes and the free ones, which are fewer.
#[track_caller]
fn names_the_bytes(errors: &str) {
    let number = |after: &str| -> Option<u64> {
        let (before, _) = errors.split_once(after)?;
        before.rsplit(' ').next()?.parse().ok()
    };
    let (needed, free) = (number(" bytes are needed"), number(" bytes are free"));
    assert!(needed.is_some() && free.is_some() && needed > free, "{errors}");
}

/// The files that are left, by their paths on the disk: none is temporary, and none has only a part of its content.
#[track_caller]
fn whole_files(data: &Data) -> Vec<String> {
    let kept = data.path("kept");
    let files = below(&kept);
    for path in &files {
        let shown = path.display();
        let inside = path.strip_prefix(&kept).unwrap();
        let is_temporary = |part: &std::ffi::OsStr| part.to_string_lossy().starts_with('.');
        assert!(!inside.iter().any(is_temporary), "{shown} is temporary");
        let text = || fs::read_to_string(path).unwrap();
        match path.extension().and_then(|end| end.to_str()) {
            Some("png") => assert!(image::open(path).is_ok(), "{shown} is cut off"),
            Some("npy") => assert!(Npy::open(path).is_ok(), "{shown} is cut off"),
            Some("html") => assert!(text().trim_end().ends_with("</html>"), "{shown} is cut off"),
            Some("svg") => assert!(text().trim_end().ends_with("</svg>"), "{shown} is cut off"),
            _ => {}
        }
    }
    let inside = |path: &PathBuf| path.strip_prefix(&kept).unwrap().to_string_lossy().into_owned();
    files.iter().map(inside).collect()
}

#[test]
fn fault_15_a_full_disk_ends_with_code_5_and_leaves_only_whole_files() {
    let Some(data) = data_with_disk() else { return };
    tiny_source(&data.path("source"));
    let commands = [
        ("generate --from source --count 100 --out disk/a.npy", "16k"),
        ("generate --from source --out disk/a.png", "16k"),
        ("generate --from source --files --count 40 --out disk/a", "24k"),
        ("features --data mnist --split train --out disk/a.npy", "16k"),
        ("export --from source --out disk/a.onnx", "16k"),
        ("export --from source --format pytorch --out disk/a.py", "16k"),
        ("playground --from source --out disk/a.html", "16k"),
    ];
    for (command, size) in commands {
        let arguments: Vec<&str> = command.split(' ').collect();
        let errors = ends_with(&on_disk(&data, size, &arguments), 5);
        names_the_bytes(&errors);
        let left = whole_files(&data);
        // Of several files, those before the first without room.
        let is_expected = match (command.contains("--files"), command.contains("pytorch")) {
            (true, _) => (1..40).contains(&left.len()),
            (_, true) => left.is_empty() || left == ["a.py"],
            _ => left.is_empty(),
        };
        assert!(is_expected, "{command}: {left:?}");
        // With enough room it is a file.
        ends_with(&on_disk(&data, "16m", &arguments), 0);
        assert!(!whole_files(&data).is_empty(), "{command}");
    }
}

/// Trains small networks where the disk has this much room, until it is full.
fn train(data: &Data, size: &str, checkpoint_every: &str) -> String {
    let command = "train --data mnist --batch 4 --threads 1 --steps 1000000 --sample-every 1000000 --eval-every 0 --quiet \
                   --out disk/run --checkpoint-every";
    let mut arguments: Vec<&str> = command.split_whitespace().collect();
    arguments.extend([checkpoint_every, "--set", "network={kind=\"mlp\", widths=[8, 4]}"]);
    ends_with(&on_disk(data, size, &arguments), 5)
}

/// Checks that a run can be read and goes on from a checkpoint, which is its newest one.
#[track_caller]
fn goes_on(data: &Data, run: &Path) {
    let found = CheckpointReader::new(run).latest().unwrap().unwrap();
    assert!(found.warnings.is_empty(), "{:?}", found.warnings);
    let step = found.checkpoint.step;
    let (from, grid) = (run.to_str().unwrap(), data.path("grid.png"));
    let [told, _] = good(&[
        "generate",
        "--from",
        from,
        "--overwrite",
        "--out",
        grid.to_str().unwrap(),
    ]);
    assert!(told.contains(&format!("step {step}")), "{told}");
    let steps = (step + 1).to_string();
    let mut arguments: Vec<&str> = "train --data mnist --batch 4 --threads 1 --eval-every 0 --set"
        .split(' ')
        .collect();
    arguments.extend([
        "network={kind=\"mlp\", widths=[8, 4]}",
        "--steps",
        &steps,
        "--out",
        from,
    ]);
    ends_with(&data.run(&arguments), 0);
    let record = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    assert_eq!(record.lines().count() as u64, step + 1, "{record}");
}

#[test]
fn fault_15_a_training_on_a_full_disk_ends_with_code_5_and_keeps_its_checkpoint() {
    let Some(data) = data_with_disk() else { return };
    let run = data.path("kept/run");
    let checkpoints = |left: &[String]| left.iter().filter(|path| path.contains("step-")).count();
    // The first checkpoint does not fit: 93 kB.
    let errors = train(&data, "80k", "1000000");
    names_the_bytes(&errors);
    let left = whole_files(&data);
    assert_eq!(checkpoints(&left), 0, "{left:?}");
    // The second one does not, which has the state of the optimizers: 210 kB.
    let errors = train(&data, "400k", "3");
    names_the_bytes(&errors);
    assert!(errors.contains("step-000003"), "{errors}");
    let left = whole_files(&data);
    assert!(checkpoints(&left) > 1, "{left:?}");
    goes_on(&data, &run);
    // A line of the record does not, which grows until the disk is full.
    let errors = train(&data, "300k", "1000000");
    assert!(errors.contains("metrics.jsonl"), "{errors}");
    let left = whole_files(&data);
    assert!(checkpoints(&left) > 1, "{left:?}");
    let record = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let (whole, _) = record.rsplit_once('\n').unwrap();
    for line in whole.lines() {
        let read: Result<serde_json::Value, _> = serde_json::from_str(line);
        assert!(read.is_ok(), "{line}");
    }
    goes_on(&data, &run);
}
