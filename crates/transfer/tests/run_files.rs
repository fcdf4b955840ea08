//! The files of a transfer: kills at random moments, flipped bits, links.
//!
//! The transfer that is killed is this test binary: the parent starts it again with the directory in an environment variable.
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // a test fails by it

use engraft_data::{Split, drawn_digits};
use engraft_gan::checkpoint::CheckpointReader;
use engraft_gan::{CheckpointChoice, Event, GanError, TrainConfig, untrained_networks};
use engraft_layers::Adapter;
use engraft_transfer::{
    AdapterFile, Experiment, Phase, PretrainedGan, Recipe, Trainable, TransferError, TransferMethod, open_run,
};
use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// The directory of the transfer that is killed.
const RUN: &str = "ENGRAFT_TEST_TRANSFER_RUN";
/// Training steps, each with a checkpoint.
const STEPS: u64 = 4;

/// Trains an adapter of a small untrained source, or goes on with it.
fn transfer(directory: &Path) -> Result<(), TransferError> {
    let mut config = TrainConfig::standard(&drawn_digits(Split::Train, 40, 1));
    (config.network, config.batch) = ("mlp".into(), 8);
    config.network.widths = vec![16, 8];
    let networks = untrained_networks(&config)?;
    let source = PretrainedGan::new(config, &networks.generator, &networks.discriminator);
    let mut recipe = Recipe::fine_tune(&source)?;
    recipe.plan.adapter = Some(Adapter::LowRank { rank: 2 });
    recipe.plan.phases = vec![Phase {
        generator: Trainable::Adapter,
        ..Phase::default()
    }];
    let experiment = Experiment {
        source: &source,
        target: &drawn_digits(Split::Test, 24, 3),
        steps: STEPS,
        seed: 2,
    };
    let method = TransferMethod::Recipe(Box::new(recipe));
    let trained = experiment.train(&method, directory, &mut |event| match event {
        Event::Warning(text) => panic!("{text}"),
        _ => ControlFlow::Continue(()),
    })?;
    assert_eq!(trained.map(|(_, step)| step), Some(STEPS));
    Ok(())
}

/// Every file at or below a directory by its path in it, without the durations of steps. Older checkpoints are left out: a kill may
/// leave one more than needed.
fn content(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let last = PathBuf::from(format!("checkpoints/step-{STEPS:06}"));
    let mut found = BTreeMap::new();
    let mut folders = vec![directory.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let mut bytes = fs::read(&path).unwrap();
            if path.ends_with("metrics.jsonl") {
                let text = String::from_utf8(bytes).unwrap();
                let lines = text.lines().map(|line| line.split(",\"ms\"").next().unwrap());
                bytes = lines.collect::<Vec<_>>().join("\n").into_bytes();
            }
            let name = path.strip_prefix(directory).unwrap();
            if !name.starts_with("checkpoints") || name.starts_with(&last) {
                found.insert(name.into(), bytes);
            }
        }
    }
    found
}

/// A helper process, not a test: transfers until it is killed.
#[test]
fn transfers_until_it_is_killed() {
    let Some(run) = std::env::var_os(RUN) else { return };
    transfer(Path::new(&run)).unwrap();
}

/// The number of steps that a transfer has recorded; `None` before it has its source.
fn recorded(run: &Path) -> Option<usize> {
    let record = fs::read_to_string(run.join("metrics.jsonl"));
    let has_source = run.join("source").is_dir();
    has_source.then(|| record.map_or(0, |text| text.lines().count()))
}

/// `ENGRAFT_KILLS` says how often; the moments are spread over the transfer at random.
#[test]
fn a_killed_transfer_goes_on_to_the_same_files() {
    let kills: usize = std::env::var("ENGRAFT_KILLS").map_or(3, |n| n.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    transfer(&whole).unwrap();
    let comparable = |run: &Path| {
        let mut files = content(run);
        // It says which process had the lock.
        files.remove(Path::new("run.lock"));
        files
    };
    let expected = comparable(&whole);
    for name in [
        "adapter.safetensors",
        "source/generator.safetensors",
        "checkpoints/step-000004/state.bin",
        "samples/step-000004.png",
        "metrics.jsonl",
    ] {
        assert!(
            expected.contains_key(Path::new(name)),
            "{name}: {:?}",
            expected.keys()
        );
    }
    let mut random = 12345_u64;
    for kill in 0..kills {
        let run = folder.path().join(format!("killed-{kill}"));
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "transfers_until_it_is_killed", "--nocapture"])
            .env(RUN, &run)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // In turn while it saves its source, and after each step. It may also be over by then.
        let steps = kill % STEPS as usize;
        while recorded(&run).is_none_or(|done| done < steps) && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        random = random
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        std::thread::sleep(Duration::from_micros((random >> 33) % 5_000));
        child.kill().unwrap();
        child.wait().unwrap();
        let done = recorded(&run).unwrap_or(0);
        if done > 0 {
            let newest = CheckpointReader::new(&run).latest().unwrap();
            let newest = newest.unwrap_or_else(|| panic!("{done} steps, but no checkpoint"));
            assert_eq!(newest.warnings, Vec::<String>::new());
        }
        transfer(&run).unwrap();
        let found = comparable(&run);
        let differs = |name: &&PathBuf| expected.get(*name) != found.get(*name);
        let different: Vec<&PathBuf> = expected.keys().chain(found.keys()).filter(differs).collect();
        assert!(different.is_empty(), "killed after {done} steps: {different:?}");
        fs::remove_dir_all(run).unwrap();
    }
}

/// What the readers of a transfer say about damage.
fn complaints(run: &Path) -> String {
    let mut found: Vec<String> = Vec::new();
    match open_run(run, CheckpointChoice::Last) {
        Ok(opened) => found.extend(opened.warnings),
        Err(error) => found.push(error.to_string()),
    }
    let adapter = AdapterFile::open(&run.join(AdapterFile::NAME));
    found.extend(adapter.err().map(|error| error.to_string()));
    found.join("\n")
}

#[test]
fn fault_09_a_flipped_bit_in_any_weights_that_a_transfer_wrote_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    transfer(&run).unwrap();
    let is_weights = |name: &PathBuf| {
        name.extension()
            .is_some_and(|extension| extension == "safetensors")
    };
    let weights: Vec<PathBuf> = content(&run).into_keys().filter(is_weights).collect();
    // The adapter, both networks of the source, and those of the checkpoint with their EMA and optimizers.
    assert_eq!(weights.len(), 7, "{weights:?}");
    for name in weights {
        let path = run.join(name);
        let good = fs::read(&path).unwrap();
        let mut bytes = good.clone();
        // The lowest bit of the last number, which stays an ordinary one.
        let at = bytes.len() - 4;
        bytes[at] ^= 1;
        fs::write(&path, bytes).unwrap();
        let (path, said) = (path.display().to_string(), complaints(&run));
        assert!(said.contains(&path), "{path}: {said:?}");
        fs::write(&path, good).unwrap();
    }
    assert_eq!(complaints(&run), "");
}

#[test]
fn fault_12_links_in_place_of_the_directories_of_a_transfer_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (run, outside) = (at("run"), at("outside"));
    transfer(&run).unwrap();
    let refused = |run: &Path, link: &Path| {
        let before = content(&outside);
        match transfer(run) {
            Err(TransferError::Gan(GanError::Format { path, .. })) => assert_eq!(path, link),
            other => panic!("{}: {other:?}", link.display()),
        }
        assert!(
            content(&outside) == before,
            "{}: its target changed",
            link.display()
        );
    };
    let entries = fs::read_dir(&run).unwrap().map(|entry| entry.unwrap().path());
    let directories: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    assert!(directories.contains(&run.join("source")), "{directories:?}");
    for path in directories {
        fs::rename(&path, &outside).unwrap();
        symlink(&outside, &path).unwrap();
        refused(&run, &path);
        fs::remove_file(&path).unwrap();
        fs::rename(&outside, &path).unwrap();
    }
    // A new run would save its source there.
    let fresh = at("fresh");
    fs::create_dir(&fresh).unwrap();
    fs::create_dir(&outside).unwrap();
    let link = fresh.join("source");
    symlink(&outside, &link).unwrap();
    refused(&fresh, &link);
}
