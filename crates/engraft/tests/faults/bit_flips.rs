//! One changed bit in each file of weights that the program writes.

use super::{ADAPT, Data, FEW_LABELS, below, digits, ends_with, signal, spawn, tiny_source, wait_until};
use engraft::data::{Dataset, Provenance};
use engraft::gan::{CheckpointChoice, TrainConfig, Trainer};
use engraft::layers::StateDict;
use engraft::transfer::open_source;
use std::collections::BTreeSet;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// The files of weights below a folder, by their paths from the folder of the data.
fn weights(data: &Data, folder: &str) -> Vec<String> {
    let files = below(&data.path(folder)).into_iter();
    let weights = files.filter(|path| path.extension().is_some_and(|end| end == "safetensors"));
    let inside = |path: PathBuf| {
        let inside = path.strip_prefix(data.path("")).unwrap();
        inside.to_str().unwrap().to_string()
    };
    weights.map(inside).collect()
}

/// What `check` returns while a bit in the middle of a file is another one.
fn with_flipped_bit<R>(path: &Path, check: impl FnOnce() -> R) -> R {
    let intact = fs::read(path).unwrap();
    let mut bytes = intact.clone();
    bytes[intact.len() / 2] ^= 1;
    fs::write(path, bytes).unwrap();
    let found = check();
    fs::write(path, intact).unwrap();
    found
}

/// Checks that a command refuses a file with a changed bit, with its name, and writes nothing. Returns the message.
#[track_caller]
fn is_refused(data: &Data, file: &str, command: &str) -> String {
    let arguments: Vec<&str> = command.split(' ').collect();
    let found = with_flipped_bit(&data.path(file), || data.run(&arguments));
    let errors = ends_with(&found, 1);
    assert!(errors.contains(file), "{command}: no {file} in {errors}");
    assert!(
        !data.path("written").exists(),
        "{command}, with a flipped bit in {file}"
    );
    errors
}

/// The command that reads a file of weights of a transfer or of an adaptation.
fn reader(file: &str) -> String {
    let (folder, _) = file.rsplit_once('/').unwrap();
    if folder.contains("checkpoints") {
        return "generate --from tuned --out written/a.png".into();
    }
    match file {
        "tuned/adapter.safetensors" => {
            format!("generate --from source --adapter {file} --out written/a.png")
        }
        "tuned/source/discriminator.safetensors" => {
            format!("export --from {folder} --network discriminator --out written/a.onnx")
        }
        _ if folder == "adapted" => format!("export --classifier {file} --out written/a.onnx"),
        _ => format!("generate --from {folder} --out written/a.png"),
    }
}

#[test]
fn fault_09_a_flipped_bit_in_any_file_of_weights_is_refused_with_its_name() {
    let data = digits();
    tiny_source(&data.path("source"));
    let transfer = "transfer --from source --data usps --steps 1 --batch 4 --threads 1 --count 50 --adapter low-rank=1 --out tuned";
    ends_with(&data.run(&transfer.split(' ').collect::<Vec<_>>()), 0);
    ends_with(
        &data.run(&[&ADAPT[..], &["--steps", "1", "--out", "adapted"]].concat()),
        0,
    );
    // The earlier checkpoint would be read instead, with a warning.
    fs::remove_dir_all(data.path("tuned/checkpoints/step-000000")).unwrap();
    let files = [weights(&data, "tuned"), weights(&data, "adapted")].concat();
    // Four of the checkpoint, two of the source, the adapter, and the classifiers of the method and of three baselines.
    assert_eq!(files.len(), 11, "{files:?}");
    for file in &files {
        let errors = is_refused(&data, file, &reader(file));
        assert!(errors.contains("SHA-256"), "{file}: {errors}");
    }
    let commands: BTreeSet<String> = files.iter().map(|file| reader(file)).collect();
    for command in commands {
        ends_with(&data.run(&command.split(' ').collect::<Vec<_>>()), 0);
        fs::remove_dir_all(data.path("written")).unwrap();
    }
}

/// Other programs read them too, of which only ours checks the hash.
#[test]
fn fault_09_a_flipped_bit_in_an_exported_file_of_weights_is_refused_with_its_name() {
    let data = digits();
    tiny_source(&data.path("source"));
    for command in [
        "export --from source --format pytorch --out out/digits.py",
        "export --from source --format hub --out out/hub",
    ] {
        ends_with(&data.run(&command.split(' ').collect::<Vec<_>>()), 0);
    }
    let files = weights(&data, "out");
    assert_eq!(files, ["out/digits.safetensors", "out/hub/model.safetensors"]);
    for file in files {
        let path = data.path(&file);
        let load = || -> Result<StateDict, _> { StateDict::load(&path) };
        load().unwrap();
        with_flipped_bit(&path, || {
            let error = load().err().unwrap().to_string();
            assert!(error.contains(&file) && error.contains("SHA-256"), "{error}");
        });
    }
}

#[test]
fn fault_09_a_flipped_bit_of_pseudo_labels_is_refused_with_its_name() {
    let data = digits();
    // Nine dark images for each bright one.
    let pixels = (0..600 * 64).map(|i| {
        let noise = (i * 37 % 11) as u8;
        if i / 64 % 10 == 3 { 230 + noise } else { 10 + noise }
    });
    let images = Dataset::unlabeled("unequal", Provenance::Memory, pixels.collect(), [8, 8, 1]).unwrap();
    let mut config = TrainConfig::standard(&images);
    (config.network, config.batch, config.steps) = ("mlp".into(), 8, 1);
    config.network.widths = vec![8, 4];
    config.pseudo_labels.clusters = 2;
    (config.validation_images, config.evaluation.every) = (0, 0);
    let mut trainer = Trainer::open(config, images, &data.path("run")).unwrap();
    trainer.train(&mut |_| ControlFlow::Continue(())).unwrap();
    drop(trainer);
    fs::remove_dir_all(data.path("run/checkpoints/step-000000")).unwrap();
    let source = open_source(&data.path("run"), CheckpointChoice::Last).unwrap();
    source.save(&data.path("saved")).unwrap();
    for folder in ["run", "saved"] {
        let command = format!("generate --from {folder} --out written/a.png");
        let files = weights(&data, folder);
        let has_clusters = files
            .iter()
            .any(|file| file.ends_with("/pseudo-labels.safetensors"));
        assert!(has_clusters, "{files:?}");
        for file in &files {
            is_refused(&data, file, &command);
        }
        ends_with(&data.run(&command.split(' ').collect::<Vec<_>>()), 0);
        fs::remove_dir_all(data.path("written")).unwrap();
    }
}

#[test]
fn fault_09_a_flipped_bit_in_an_unfinished_training_is_refused_with_its_name() {
    let data = digits();
    // Enough steps that no machine finishes before the signal arrives, and few enough that damage that is not found ends.
    let command = [&FEW_LABELS[..], &["--epochs", "2000"]].concat();
    let child = spawn(&data, &command);
    wait_until("a training", || {
        super::ending(&data.path("kept"), ".unfinished")
            .iter()
            .any(|folder| folder.join("feature-matching/checkpoints").is_dir())
    });
    signal("INT", &child);
    ends_with(&child.wait_with_output().unwrap(), 130);
    let files = weights(&data, "kept");
    assert_eq!(files.len(), 4, "{files:?}");
    for file in files {
        is_refused(&data, &file, &command.join(" "));
    }
}
