//! Transfers with several regularizers: all of them act, the run resumes to the byte, and its settings are read again.

#![allow(clippy::unwrap_used)] // a test fails by it

use engraft_data::{Split, drawn_digits};
use engraft_gan::{
    CheckpointChoice, Event, TrainConfig, Trainer, TrainingOutcome, read_settings, untrained_networks,
};
use engraft_transfer::{PretrainedGan, Recipe, SourceRegularizers, Transfer, TransferConfig, open_run};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

const STEPS: u64 = 4;

fn source() -> PretrainedGan {
    let mut config = TrainConfig::standard(&drawn_digits(Split::Train, 40, 1));
    (config.network, config.batch) = ("mlp".into(), 8);
    let networks = untrained_networks(&config).unwrap();
    PretrainedGan::new(config, &networks.generator, &networks.discriminator)
}

/// Trains with these regularizers, or stops after the given step.
fn train(
    source: &PretrainedGan,
    regularizers: &str,
    directory: &Path,
    stop_after: Option<u64>,
) -> TrainingOutcome {
    let data = drawn_digits(Split::Test, 24, 3);
    let mut recipe = Recipe::fine_tune(source).unwrap();
    recipe.plan.regularizer = regularizers.parse().unwrap();
    let mut config = recipe.train_config(source, &data, STEPS, 5);
    (config.batch, config.evaluation.every) = (8, 0);
    source.save(&directory.join("source")).unwrap();
    let plan = Transfer::new(source.clone(), recipe.plan).unwrap();
    let mut trainer = Trainer::builder(config, data)
        .plan(Arc::new(plan))
        .open(directory)
        .unwrap();
    trainer
        .train(&mut |event| match event {
            Event::Step { step, .. } if Some(step) == stop_after => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        })
        .unwrap()
}

/// Every file of the last checkpoint.
fn checkpoint(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let folder = directory.join(format!("checkpoints/step-{STEPS:06}"));
    let files = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    files
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read(path).unwrap())
        })
        .collect()
}

#[test]
fn two_regularizers_train_resume_to_the_byte_and_are_read_again() {
    let source = source();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    assert_eq!(
        train(&source, "ewc=10,dcl=0.5", &at("whole"), None),
        TrainingOutcome::Finished
    );
    let whole = checkpoint(&at("whole"));
    assert_eq!(
        train(&source, "ewc=10,dcl=0.5", &at("parts"), Some(2)),
        TrainingOutcome::Stopped
    );
    // The order of the command does not matter, so it is the same run.
    assert_eq!(
        train(&source, "dcl=0.5,ewc=10", &at("parts"), None),
        TrainingOutcome::Finished
    );
    assert!(whole.len() > 2 && checkpoint(&at("parts")) == whole);
    for name in ["ewc=10", "dcl=0.5"] {
        train(&source, name, &at(name), None);
        let alone = checkpoint(&at(name));
        assert_ne!(
            alone["generator.safetensors"], whole["generator.safetensors"],
            "{name} alone trains the same generator"
        );
    }

    let settings = read_settings(&at("whole").join("run.toml")).unwrap();
    let again = TrainConfig::from_toml(&settings.to_toml(), Path::new("run.toml")).unwrap();
    assert_eq!(again, settings);
    let plan = TransferConfig::from_table(&settings.plan).unwrap();
    let expected: SourceRegularizers = "ewc=10,dcl=0.5".parse().unwrap();
    assert_eq!(plan.regularizer, expected);
    assert_eq!(plan.to_table(), settings.plan);
    let run = open_run(&at("whole"), CheckpointChoice::Last).unwrap();
    assert_eq!(run.step, STEPS);
}
