//! Exact resume of runs with all features on, with small networks.

use super::*;
use crate::augment::{AdaptiveConfig, AugmentConfig, Augmentation};
use crate::objective::{FeatureMatching, ObjectiveConfig};
use crate::regularization::{RegularizeConfig, SpectralNorm};
use crate::{Networks, TrainingPlan};
use crate::{Objective, StepOrder};
use engraft_data::{Dataset, Provenance};
use engraft_layers::{
    BatchNorm, Conv2d, ConvTranspose2d, Dense, Dropout, Flatten, Init, LeakyReLU, Reshape, Tanh,
};
use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

/// Images of noise: training only has to be reproducible here.
fn data() -> Dataset {
    let pixels = (0..26 * 784_usize)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    Dataset::new("noise", Provenance::Memory, pixels, [28, 28, 1], vec![0; 26]).unwrap()
}

/// A generator with batch norm and dropout; a discriminator with dropout and without batch norm.
fn small_pair(config: &TrainConfig) -> Result<Networks, GanError> {
    let init = &mut Init::glorot(config.seed);
    let block = Sequential::new()
        .add("dense", Dense::new(6, 7 * 7 * 4, init).no_bias())
        .add("norm", BatchNorm::new(7 * 7 * 4))
        .add("act", LeakyReLU::new(0.2))
        .add("drop", Dropout::new(0.1, init));
    let generator = Sequential::new()
        .add("stem", block)
        .add("grid", Reshape::new([7, 7, 4]))
        .add("to_image", ConvTranspose2d::new(4, 1, 5, init).stride(4).same())
        .add("tanh", Tanh);
    let discriminator = Sequential::new()
        .add(
            "conv",
            Conv2d::new(config.objective.packing as usize, 5, 5, init)
                .stride(4)
                .same(),
        )
        .add("act", LeakyReLU::new(0.2))
        .add("drop", Dropout::new(0.1, init))
        .add("flat", Flatten)
        .add("head", Dense::new(7 * 7 * 5, 1, init));
    Ok(Networks {
        generator,
        discriminator,
        latent_dim: 6,
    })
}

struct Small;

impl TrainingPlan for Small {
    fn networks(&self, config: &TrainConfig) -> Result<Networks, GanError> {
        small_pair(config)
    }
}

fn config(steps: u64) -> TrainConfig {
    let mut config = TrainConfig::standard(&data());
    config.batch = 4;
    config.steps = steps;
    config.output.sample_every = 2;
    config.output.checkpoint_every = 3;
    config.ema_half_life = 20;
    config
}

/// Every kind that one channel takes.
fn all_kinds() -> Vec<Augmentation> {
    vec![
        Augmentation::Brightness,
        Augmentation::Contrast,
        Augmentation::Translation,
        Augmentation::Cutout,
        Augmentation::Flip,
        Augmentation::QuarterTurn,
    ]
}

/// Three runs that together have all features on, since some exclude each other.
fn everything_on(which: usize, steps: u64) -> TrainConfig {
    let mut config = config(steps);
    match which {
        0 => {
            config.objective = ObjectiveConfig {
                packing: 2,
                n_critic: 2,
                feature_matching: Some(FeatureMatching {
                    layer: "act".into(),
                    weight: 0.1,
                }),
                ..Objective::Relativistic.into()
            };
            config.order = StepOrder::Alternating;
            config.regularize = RegularizeConfig {
                r1_gamma: 0.5,
                r2_gamma: 0.5,
                interval: 2,
                lecam: 0.3,
                lecam_start: 3,
                spectral_norm: SpectralNorm::Both,
                ..RegularizeConfig::default()
            };
            config.augment = AugmentConfig {
                kinds: all_kinds(),
                probability: Some(0.6),
                adaptive: None,
            };
            config.standing_batches = 2;
        }
        1 => {
            config.objective.label_smoothing = 0.1;
            config.regularize.r1_gamma = 0.1;
            // A high rate, so that real images soon have positive logits and the probability changes.
            config.discriminator.learning_rate = 0.05;
            config.augment = AugmentConfig {
                kinds: all_kinds(),
                probability: None,
                adaptive: Some(AdaptiveConfig {
                    target: 0.01,
                    images: 30,
                    every: 2,
                }),
            };
        }
        _ => {
            config.objective = ObjectiveConfig {
                n_critic: 3,
                ..Objective::Wasserstein.into()
            };
            config.regularize.gradient_penalty = 10.0;
            config.regularize.lecam = 0.01;
            config.regularize.lecam_start = 0;
        }
    }
    config
}

fn train(config: TrainConfig, directory: &Path, stop_after: Option<u64>) -> TrainingOutcome {
    let mut trainer = Trainer::builder(config, data())
        .plan(Arc::new(Small))
        .open(directory)
        .unwrap();
    trainer
        .train(&mut |event| match event {
            Event::Step { step, .. } if Some(step) == stop_after => ControlFlow::Break(()),
            Event::Warning(text) => panic!("{text}"),
            _ => ControlFlow::Continue(()),
        })
        .unwrap()
}

/// Every file of a run that must not depend on interruptions, without times.
fn content(directory: &Path, step: u64) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(directory.join(format!("checkpoints/step-{step:06}"))).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_string();
        files.insert(name, fs::read(path).unwrap());
    }
    for name in [format!("samples/step-{step:06}.png"), "run.toml".into()] {
        files.insert(name.clone(), fs::read(directory.join(&name)).unwrap());
    }
    let metrics: String = fs::read_to_string(directory.join("metrics.jsonl"))
        .unwrap()
        .lines()
        .map(|line| format!("{}\n", &line[..line.find(",\"ms\"").unwrap()]))
        .collect();
    files.insert("metrics.jsonl".into(), metrics.into_bytes());
    files
}

#[test]
fn runs_with_everything_on_resume_byte_for_byte() {
    for which in 0..3 {
        let dir = tempfile::tempdir().unwrap();
        let whole = dir.path().join("whole");
        assert_eq!(
            train(everything_on(which, 6), &whole, None),
            TrainingOutcome::Finished
        );
        let expected = content(&whole, 6);
        assert!(expected.contains_key("game.bin"), "{:?}", expected.keys());
        for stop in [1, 2, 5] {
            let parts = dir.path().join(format!("stopped-{stop}"));
            assert_eq!(
                train(everything_on(which, 6), &parts, Some(stop)),
                TrainingOutcome::Stopped
            );
            assert_eq!(
                train(everything_on(which, 6), &parts, None),
                TrainingOutcome::Finished
            );
            for (name, bytes) in &content(&parts, 6) {
                assert!(
                    bytes == &expected[name],
                    "run {which} stopped after {stop}: {name}"
                );
            }
        }
        let metrics = String::from_utf8(expected["metrics.jsonl"].clone()).unwrap();
        assert!(metrics.contains("\"penalty\":"), "{metrics}");
        assert_eq!(metrics.contains("\"augment\":"), which < 2, "{metrics}");
    }
}

/// Each setting has an effect: without any one of them the result differs.
#[test]
fn every_setting_has_an_effect() {
    let run = |config: TrainConfig| {
        let dir = tempfile::tempdir().unwrap();
        train(config, dir.path(), None);
        let files = content(dir.path(), 3);
        [
            files["generator.safetensors"].clone(),
            files["average.safetensors"].clone(),
        ]
    };
    let all = run(everything_on(0, 3));
    type Change = fn(&mut TrainConfig);
    let changes: [(&str, Change); 10] = [
        ("packing", |c| c.objective.packing = 1),
        ("discriminator steps", |c| c.objective.n_critic = 1),
        ("feature matching", |c| c.objective.feature_matching = None),
        ("r1", |c| c.regularize.r1_gamma = 0.0),
        ("r2", |c| c.regularize.r2_gamma = 0.0),
        ("every", |c| c.regularize.interval = 3),
        ("lecam", |c| c.regularize.lecam = 0.0),
        ("spectral norm", |c| {
            c.regularize.spectral_norm = SpectralNorm::Discriminator
        }),
        ("augment", |c| c.augment.kinds = vec![Augmentation::Flip]),
        ("standing statistics", |c| c.standing_batches = 0),
    ];
    for (what, change) in changes {
        let mut config = everything_on(0, 3);
        change(&mut config);
        let [generator, average] = run(config);
        if what == "standing statistics" {
            assert!(generator == all[0], "{what} do not touch training");
            assert!(average != all[1], "{what}");
        } else {
            assert!(generator != all[0], "{what}");
        }
    }
}

#[test]
fn invalid_settings_are_refused_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = everything_on(1, 3);
    // The reference discriminator has batch norm.
    let text = Trainer::open(config.clone(), data(), &dir.path().join("run"))
        .err()
        .unwrap()
        .to_string();
    assert!(text.contains("batch norm (block2.norm)"), "{text}");
    config.regularize = RegularizeConfig::default();
    config.augment.kinds.push(Augmentation::Saturation);
    let error = Trainer::open(config, data(), &dir.path().join("run"))
        .err()
        .unwrap();
    assert!(matches!(error, GanError::Config { .. }), "{error}");
    assert!(error.to_string().contains("saturation"), "{error}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

/// A run of the reference networks with all features that they support.
#[test]
fn the_reference_networks_support_features_that_suit_batch_norm() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(2);
    config.objective = ObjectiveConfig {
        packing: 2,
        feature_matching: Some(FeatureMatching {
            layer: "block2".into(),
            weight: 1e-3,
        }),
        ..Objective::Hinge.into()
    };
    config.regularize.spectral_norm = SpectralNorm::Discriminator;
    config.augment.kinds = vec![Augmentation::Translation];
    config.standing_batches = 1;
    let mut trainer = Trainer::open(config, data(), dir.path()).unwrap();
    assert_eq!(
        trainer.train(&mut |_| ControlFlow::Continue(())).unwrap(),
        TrainingOutcome::Finished
    );
}

/// The same pixels with other labels are another run.
#[test]
fn a_class_conditional_run_is_bound_to_its_labels() {
    let dir = tempfile::tempdir().unwrap();
    let labeled = |first: u8| {
        let mut labels = vec![1; 26];
        labels[0] = first;
        Dataset::new(
            "noise",
            Provenance::Memory,
            data().images().to_vec(),
            [28, 28, 1],
            labels,
        )
        .unwrap()
    };
    let mut config = config(2);
    (config.network, config.classes) = ("mlp".into(), 2);
    let trainer = Trainer::open(config.clone(), labeled(0), dir.path()).unwrap();
    let on_record = trainer.config().clone();
    drop(trainer);
    drop(Trainer::open(config.clone(), labeled(0), dir.path()).unwrap());
    drop(Trainer::open(on_record.clone(), labeled(0), dir.path()).unwrap());
    let refused = |config: &TrainConfig| {
        let opened = Trainer::open(config.clone(), labeled(1), dir.path());
        opened.err().unwrap()
    };
    match refused(&config) {
        GanError::OtherSettings { differences, .. } => {
            assert!(
                differences.iter().any(|line| line.contains("labels")),
                "{differences:?}"
            );
        }
        other => panic!("{other}"),
    }
    let error = refused(&on_record);
    assert!(matches!(error, GanError::OtherLabels { .. }), "{error}");
    assert_eq!(crate::SavedRun::open(dir.path()).unwrap().config, on_record);
}
