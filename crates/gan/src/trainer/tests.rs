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
pub(super) fn data() -> Dataset {
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

pub(super) struct Small;

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
pub(super) fn everything_on(which: usize, steps: u64) -> TrainConfig {
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
pub(super) fn content(directory: &Path, step: u64) -> BTreeMap<String, Vec<u8>> {
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

fn named(name: &str, count: usize) -> Dataset {
    let pixels = (0..count * 784)
        .map(|i| (i * 31 % 251) as u8 ^ (i / 784) as u8)
        .collect();
    Dataset::unlabeled(name, Provenance::Memory, pixels, [28, 28, 1]).unwrap()
}

/// Settings of a small run on these images.
fn small(data: &Dataset, steps: u64) -> TrainConfig {
    let mut config = TrainConfig::standard(data);
    (config.network, config.batch, config.steps) = ("mlp".into(), 8, steps);
    config
}

#[test]
fn a_run_is_bound_to_pixels_and_not_to_a_name() {
    let dir = tempfile::tempdir().unwrap();
    let go = |data: &Dataset, steps, accept| {
        let mut trainer = Trainer::builder(small(data, steps), data.clone())
            .accept_changed_data(accept)
            .open(dir.path())?;
        let mut warnings = 0;
        trainer.train(&mut |event| {
            warnings += usize::from(matches!(event, Event::Warning(_)));
            ControlFlow::Continue(())
        })?;
        Ok::<_, GanError>((trainer.step(), trainer.config().clone(), warnings))
    };
    go(&named("here", 20), 2, false).unwrap();
    let (step, config, _) = go(&named("moved", 20), 3, false).unwrap();
    assert_eq!((step, config.data.as_str()), (3, "here"));
    // One picture more: refused with what changed, or continued and recorded.
    match go(&named("here", 21), 4, false) {
        Err(GanError::ChangedData {
            expected,
            found,
            changes,
            ..
        }) => {
            assert_eq!((expected, found, changes), (20, 21, vec!["1 added".to_string()]));
        }
        other => panic!("{:?}", other.map(|(step, ..)| step)),
    }
    let (step, config, warnings) = go(&named("here", 21), 4, true).unwrap();
    assert_eq!(
        (step, config.images, config.earlier_data.len(), warnings),
        (4, 21, 1, 1)
    );
    assert_eq!(
        (config.earlier_data[0].until_step, config.earlier_data[0].images),
        (3, 20)
    );
    // From then on it is bound to these.
    let (_, config, warnings) = go(&named("again", 21), 5, false).unwrap();
    assert_eq!((config.earlier_data.len(), warnings), (1, 0));
    assert!(matches!(
        go(&named("here", 20), 6, false),
        Err(GanError::ChangedData { .. })
    ));
    assert_eq!(crate::SavedRun::open(dir.path()).unwrap().config.images, 21);
    // Another setting is not a question of the images.
    let other = named("here", 20);
    let config = small(&other, 9).changed("generator.beta1=0.1").unwrap();
    let refused = Trainer::builder(config, other)
        .accept_changed_data(true)
        .open(dir.path());
    assert!(matches!(refused.err(), Some(GanError::OtherSettings { .. })));
}

#[test]
fn accepted_images_resume_before_the_next_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let open = |count, accept| {
        let data = named("here", count);
        Trainer::builder(small(&data, 8), data)
            .accept_changed_data(accept)
            .open(dir.path())
    };
    let mut trainer = open(20, false).unwrap();
    let mut stop = |event: Event| match event {
        Event::Step { step: 3, .. } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    trainer.train(&mut stop).unwrap();
    drop(trainer);
    // Opened, then killed: the newest checkpoint is still of the earlier images.
    drop(open(17, true).unwrap());
    assert_eq!(crate::SavedRun::open(dir.path()).unwrap().step, 3);
    let mut trainer = open(17, false).unwrap();
    assert_eq!(trainer.step(), 3);
    trainer.train(&mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(trainer.step(), 8);
}

#[test]
fn a_new_run_keeps_copies_on_one_side_of_the_validation_split() {
    let dir = tempfile::tempdir().unwrap();
    let single = named("single", 50);
    let copies: Vec<usize> = (0..250).map(|i| i / 5).collect();
    let data = single.subset(&copies);
    let mut config = small(&data, 1);
    config.evaluation.every = 0;
    assert_eq!(config.validation_images, 25);
    let trainer = Trainer::open(config, data, &dir.path().join("a")).unwrap();
    assert!(trainer.config().keep_copies_together);
    let is_trained_on = |group: usize| trainer.trained_on.iter().filter(|&&i| i / 5 == group).count();
    assert!((0..50).all(|group| [0, 5].contains(&is_trained_on(group))));
    assert_eq!(trainer.trained_on.len(), 225);
    let without = named("single", 250);
    let trainer = Trainer::open(small(&without, 1), without, &dir.path().join("b")).unwrap();
    assert!(!trainer.config().keep_copies_together);
}

#[test]
fn grids_of_the_training_images_are_written_first() {
    let dir = tempfile::tempdir().unwrap();
    let data = named("here", 20);
    let mut config = small(&data, 1);
    config.augment.kinds = vec![Augmentation::Brightness];
    let mut trainer = Trainer::open(config, data.clone(), dir.path()).unwrap();
    let mut first = None;
    trainer
        .train(&mut |event| {
            first.get_or_insert(event);
            ControlFlow::Continue(())
        })
        .unwrap();
    let Some(Event::Images {
        reals,
        augmented: Some(augmented),
    }) = first
    else {
        panic!("{first:?}")
    };
    let [reals, augmented] = [reals, augmented].map(|path| std::fs::read(path).unwrap());
    let all: Vec<usize> = (0..20).collect();
    assert_eq!(reals, crate::sample_grid(&crate::dataset_tensor(&data, &all), 8));
    assert_ne!(reals, augmented);
}

#[test]
fn fault_20_the_cpu_is_recorded_and_another_one_is_told_on_resume() {
    let dir = tempfile::tempdir().unwrap();
    let warnings = |steps: u64| {
        let mut trainer = Trainer::open(config(steps), data(), dir.path()).unwrap();
        let mut told = Vec::new();
        trainer
            .train(&mut |event| {
                if let Event::Warning(text) = event {
                    told.push(text);
                }
                ControlFlow::Continue(())
            })
            .unwrap();
        told.into_iter()
            .filter(|text| text.contains("CPU"))
            .collect::<Vec<_>>()
    };
    assert_eq!(warnings(1), [""; 0]);
    let path = dir.path().join("run.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let present = engraft_tensor::cpu_features();
    assert!(text.contains(&present), "{text}");
    assert_eq!(warnings(2), [""; 0]);
    std::fs::write(&path, text.replace(&present, "z80, kernels portable")).unwrap();
    let told = warnings(3);
    assert!(
        told.len() == 1 && told[0].contains("z80") && told[0].contains(&present),
        "{told:?}"
    );
    // A run of an earlier version has no record.
    let text = std::fs::read_to_string(&path).unwrap();
    let without: Vec<&str> = text.lines().filter(|line| !line.starts_with("cpu")).collect();
    std::fs::write(&path, without.join("\n")).unwrap();
    assert_eq!(warnings(4), [""; 0]);
    assert!(!std::fs::read_to_string(&path).unwrap().contains("cpu"));
}
