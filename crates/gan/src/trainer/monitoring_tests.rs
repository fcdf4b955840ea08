//! Runs with evaluation, early stopping and rollbacks.

use crate::checkpoint::{CheckpointStore, encode};
use crate::config::{EvaluationConfig, TrainConfig};
use crate::monitor::{Measurement, MonitorState};
use crate::trainer::{Event, Trainer, TrainingOutcome};
use crate::{CheckpointChoice, GanError, SavedRun};
use engraft_data::{Dataset, Provenance};
use engraft_layers::{SlotMut, visit_mut};
use engraft_tensor::Tensor;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

/// Images of noise: training only has to be reproducible here.
fn data() -> Dataset {
    let pixels = (0..60 * 784_usize)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    Dataset::new("noise", Provenance::Memory, pixels, [28, 28, 1], vec![0; 60]).unwrap()
}

fn config(steps: u64) -> TrainConfig {
    let mut config = TrainConfig::standard(&data());
    (config.network, config.batch, config.steps) = ("mlp".into(), 4, steps);
    config.validation_images = 24;
    config.evaluation = EvaluationConfig {
        every: 2,
        images: 30,
        patience: 0,
        rollbacks: 2,
        features: None,
        weights: None,
    };
    (config.output.checkpoint_every, config.output.keep_checkpoints) = (100, 1);
    config
}

fn open(config: TrainConfig, directory: &Path) -> Trainer {
    Trainer::open(config, data(), directory).unwrap()
}

/// Trains, and returns the events other than steps, grids and checkpoints.
fn train(trainer: &mut Trainer, stop_after: Option<u64>) -> (Result<TrainingOutcome, GanError>, Vec<Event>) {
    let mut events = Vec::new();
    let outcome = trainer.train(&mut |event| {
        let stop = matches!(event, Event::Step { step, .. } if Some(step) == stop_after);
        if !matches!(
            event,
            Event::Step { .. } | Event::Samples { .. } | Event::Checkpoint { .. }
        ) {
            events.push(event);
        }
        if stop {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    (outcome, events)
}

/// The weights of the last checkpoint, and the record of the measurements.
fn content(directory: &Path, step: u64) -> [Vec<u8>; 3] {
    let checkpoint = directory.join(format!("checkpoints/step-{step:06}"));
    [
        checkpoint.join("generator.safetensors"),
        checkpoint.join("watch.bin"),
        directory.join("measures.jsonl"),
    ]
    .map(|path| fs::read(path).unwrap())
}

#[test]
fn evaluation_resumes_byte_for_byte_and_the_best_checkpoint_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    let mut trainer = open(config(9), &whole);
    let (outcome, events) = train(&mut trainer, None);
    assert_eq!(outcome.unwrap(), TrainingOutcome::Finished);
    let measured = events.iter().filter(|e| matches!(e, Event::Measured { .. }));
    assert_eq!(measured.count(), 5, "2, 4, 6, 8 and the last: {events:?}");
    let steps: Vec<u64> = trainer.measurements().iter().map(|m| m.step).collect();
    assert_eq!(steps, [2, 4, 6, 8, 9]);
    let best = trainer.progress.state.best().unwrap().step;
    let kept = |step: u64| whole.join(format!("checkpoints/step-{step:06}")).is_dir();
    assert!(kept(best) && kept(9), "{best}");
    let chosen = trainer.progress.state.better_than_last().map_or(9, |m| m.step);
    assert_eq!(
        SavedRun::open_at(&whole, CheckpointChoice::Best).unwrap().step,
        chosen
    );
    assert_eq!(SavedRun::open(&whole).unwrap().step, 9);
    let at = |step| SavedRun::open_at(&whole, CheckpointChoice::Step(step));
    assert_eq!(at(best).unwrap().step, best);
    let error = at(1000).err().unwrap();
    assert!(
        matches!(&error, GanError::NoSuchCheckpoint { available, .. } if available.contains(&9)),
        "{error}"
    );
    let page = fs::read_to_string(whole.join("report.html")).unwrap();
    assert!(page.contains("KID") && page.contains("24 validation images"));

    for stop in [1, 4, 7] {
        let parts = folder.path().join(format!("stopped-{stop}"));
        let (outcome, _) = train(&mut open(config(9), &parts), Some(stop));
        assert_eq!(outcome.unwrap(), TrainingOutcome::Stopped);
        train(&mut open(config(9), &parts), None).0.unwrap();
        assert!(content(&parts, 9) == content(&whole, 9), "stopped after {stop}");
    }
    // The evaluation does not change training.
    let mut unwatched = config(9);
    unwatched.evaluation = EvaluationConfig::default();
    let alone = folder.path().join("unwatched");
    train(&mut open(unwatched, &alone), None).0.unwrap();
    let weights = fs::read(alone.join("checkpoints/step-000009/generator.safetensors")).unwrap();
    assert!(weights == content(&whole, 9)[0]);
}

#[test]
fn a_run_that_does_not_improve_stops() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(400);
    // Nothing is learned, so the first measurement stays the best.
    config.generator.learning_rate = 1e-30;
    (config.ema_half_life, config.evaluation.patience) = (0, 2);
    config.network = "mlp".into();
    let mut trainer = open(config.clone(), folder.path());
    let (outcome, _) = train(&mut trainer, None);
    assert_eq!(outcome.unwrap(), TrainingOutcome::Plateau);
    let stopped = trainer.step();
    assert!(stopped < 400);
    drop(trainer);
    let mut trainer = open(config.clone(), folder.path());
    assert_eq!(train(&mut trainer, None).0.unwrap(), TrainingOutcome::Plateau);
    assert_eq!(trainer.step(), stopped, "it stays where it is");
    drop(trainer);
    (config.evaluation.patience, config.steps) = (0, stopped + 1);
    let mut trainer = open(config, folder.path());
    assert_eq!(train(&mut trainer, None).0.unwrap(), TrainingOutcome::Finished);
}

/// The learning rates of both optimizers.
fn rates(trainer: &Trainer) -> [f64; 2] {
    let gan = &trainer.progress.gan;
    [gan.generator_optimizer.lr(), gan.discriminator_optimizer.lr()]
}

fn poison(trainer: &mut Trainer) {
    let generator = &mut trainer.progress.gan.generator;
    visit_mut(generator, |_, slot| {
        if let SlotMut::Parameter(p) = slot {
            p.set(&Tensor::full(p.tensor().shape(), f32::NAN));
        }
    });
}

#[test]
fn a_run_that_diverges_rolls_back_and_continues() {
    let folder = tempfile::tempdir().unwrap();
    let config_of = |steps| {
        let mut config = config(steps);
        (config.generator.learning_rate, config.discriminator.learning_rate) = (2e-4, 8e-4);
        config
    };
    let mut trainer = open(config_of(6), folder.path());
    train(&mut trainer, Some(3)).0.unwrap();
    assert_eq!(rates(&trainer), [2e-4, 8e-4]);
    poison(&mut trainer);
    let (outcome, events) = train(&mut trainer, None);
    assert_eq!(outcome.unwrap(), TrainingOutcome::Finished);
    let back = events.iter().find_map(|event| match event {
        Event::RolledBack { step, times, reason } => Some((*step, *times, reason.clone())),
        _ => None,
    });
    let (step, times, reason) = back.unwrap();
    assert_eq!((step, times), (3, 1));
    assert_eq!(rates(&trainer), [1e-4, 4e-4], "a rollback halves both rates");
    assert!(reason.contains("NaN"), "{reason}");
    for cause in [
        "of hidden1.dense of the generator",
        "hidden1.dense.weight is NaN at index 0",
    ] {
        assert!(reason.contains(cause), "{reason}");
    }
    let record = fs::read_to_string(folder.path().join("metrics.jsonl")).unwrap();
    assert_eq!(record.lines().count(), 6);
    drop(trainer);
    // The count survives a resume, and the rates with it. The settings stay.
    let mut trainer = open(config_of(7), folder.path());
    assert_eq!(trainer.progress.state.rollbacks, 1);
    assert_eq!(rates(&trainer), [1e-4, 4e-4]);
    poison(&mut trainer);
    assert_eq!(train(&mut trainer, None).0.unwrap(), TrainingOutcome::Finished);
    assert_eq!(trainer.progress.state.rollbacks, 2);
    assert_eq!(rates(&trainer), [5e-5, 2e-4], "each rollback halves both rates");
    assert_eq!(trainer.config().generator.learning_rate, 2e-4);
    let page = fs::read_to_string(folder.path().join("report.html")).unwrap();
    assert!(page.contains("Rollbacks after divergence: 2."));
}

/// As after a gradient whose square overflows: the weights stay finite, and only saving detects it.
fn poison_moments(trainer: &mut Trainer) {
    let gan = &mut trainer.progress.gan;
    let mut state = gan.generator_optimizer.state();
    let (_, moment) = state
        .tensors
        .iter_mut()
        .find(|(name, _)| name.starts_with("second_moment"))
        .unwrap();
    *moment = Tensor::full(moment.shape(), f32::INFINITY);
    gan.generator_optimizer.load_state(state, &gan.generator).unwrap();
}

#[test]
fn a_run_that_cannot_be_saved_rolls_back_too() {
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = open(config(6), folder.path());
    train(&mut trainer, Some(3)).0.unwrap();
    poison_moments(&mut trainer);
    let (outcome, events) = train(&mut trainer, None);
    assert_eq!(outcome.unwrap(), TrainingOutcome::Finished);
    let back = events.iter().find_map(|event| match event {
        Event::RolledBack { step, reason, .. } => Some((*step, reason.clone())),
        _ => None,
    });
    let (step, reason) = back.unwrap();
    assert_eq!(step, 3);
    assert!(reason.contains("optimizers"), "{reason}");
    let record = fs::read_to_string(folder.path().join("metrics.jsonl")).unwrap();
    assert_eq!(record.lines().count(), 6);
    drop(trainer);
    // Also if the caller stops at that moment: a checkpoint to resume from is left.
    let mut trainer = open(config(9), folder.path());
    poison_moments(&mut trainer);
    let (outcome, _) = train(&mut trainer, Some(7));
    assert_eq!((outcome.unwrap(), trainer.step()), (TrainingOutcome::Stopped, 6));
    drop(trainer);
    let mut trainer = open(config(9), folder.path());
    trainer.progress.state.rollbacks = 2;
    poison_moments(&mut trainer);
    let error = train(&mut trainer, None).0.unwrap_err();
    assert!(matches!(error, GanError::Diverged { .. }), "{error}");
}

#[test]
fn measurements_beyond_the_checkpoint_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(config(6), folder.path()));
    let saved_with = |change: fn(&mut MonitorState)| {
        let mut store = CheckpointStore::open(folder.path(), 3).unwrap();
        let checkpoint = store.latest().unwrap().unwrap().checkpoint;
        let mut state = MonitorState {
            rollbacks: 1,
            ..MonitorState::default()
        };
        change(&mut state);
        let mut files = checkpoint.files;
        files.insert("watch.bin".into(), encode(&state).unwrap());
        store
            .save(checkpoint.step, &checkpoint.options_hash, &files)
            .unwrap();
        drop(store);
        let opened = Trainer::open(config(6), data(), folder.path()).map(|mut t| train(&mut t, Some(1)));
        match opened.err() {
            None => None,
            Some(GanError::Format { path, found, .. }) => {
                assert!(path.ends_with("watch.bin"), "{path:?}");
                Some(found)
            }
            Some(other) => panic!("{other}"),
        }
    };
    assert_eq!(saved_with(|_| ()), None);
    let found = saved_with(|state| state.phase_start = 9).unwrap();
    assert!(found.contains('9'), "{found}");
    let found = saved_with(|state| {
        state.measurements = vec![Measurement {
            step: 8,
            kid: 0.1,
            kid_se: 0.0,
            coverage: 1.0,
            spread: 1.0,
            memorized: 0.0,
            overfitting: 0.0,
            second_kid: None,
        }];
    });
    let found = found.unwrap();
    assert!(found.contains('8'), "{found}");
}

#[test]
fn a_run_that_diverges_always_gives_up() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(6);
    config.generator.learning_rate = 1e30;
    let (outcome, events) = train(&mut open(config, folder.path()), None);
    let error = outcome.unwrap_err();
    assert!(matches!(error, GanError::Diverged { .. }), "{error}");
    let back = events.iter().filter(|e| matches!(e, Event::RolledBack { .. }));
    assert_eq!(back.count(), 2);
}

/// Few images measure themselves, and copies of them are found by their distances to each other.
#[test]
fn a_run_with_few_images_is_evaluated_on_its_training_images() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(4);
    config.validation_images = 0;
    let mut trainer = open(config, folder.path());
    let mut found = Vec::new();
    trainer
        .train(&mut |event| {
            if let Event::Measured { measurement, .. } = event {
                found.push(measurement);
            }
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(found.iter().map(|m| m.step).collect::<Vec<_>>(), [2, 4]);
    assert!(
        found.iter().all(|m| m.kid.is_finite() && m.overfitting == 0.0),
        "{found:?}"
    );
}

#[test]
fn invalid_settings_are_named() {
    let problems = |change: fn(&mut TrainConfig)| {
        let mut config = config(6);
        change(&mut config);
        config.check().err().map(|e| e.to_string()).unwrap_or_default()
    };
    assert_eq!(problems(|_| ()), "");
    let without = |c: &mut TrainConfig, images| (c.validation_images, c.images) = (0, images);
    assert_eq!(
        problems(|c| c.validation_images = 0),
        "",
        "60 images measure themselves"
    );
    let mut many = config(6);
    without(&mut many, 200);
    assert!(many.problems().join("\n").contains("validation_images"));
    without(&mut many, 19);
    assert!(many.problems().join("\n").contains("19 images"));
    assert!(problems(|c| c.validation_images = 5).contains("at least 20"));
    assert!(problems(|c| c.validation_images = 60).contains("60 images"));
    assert!(problems(|c| c.evaluation.images = 3).contains("from 20 to"));
    assert!(problems(|c| (c.evaluation.every, c.evaluation.patience) = (0, 3)).contains("evaluation.every"));
}

/// An evaluation would have no complete pack of one kind of images.
#[test]
fn packs_larger_than_the_evaluation_set_are_refused() {
    let problems = |held_out: u32, images: u32, every: u64| {
        let mut config = config(6);
        (config.images, config.batch, config.objective.packing) = (600, 64, 32);
        (
            config.validation_images,
            config.evaluation.images,
            config.evaluation.every,
        ) = (held_out, images, every);
        config.problems().join("\n")
    };
    assert_eq!(problems(32, 32, 2), "");
    assert_eq!(problems(31, 40, 0), "", "it is not measured");
    for (held_out, images) in [(31, 40), (40, 31)] {
        let text = problems(held_out, images, 2);
        assert!(text.contains("objective.packing must be at most 31"), "{text}");
    }
}
