//! A whole transfer on synthetic digits with small networks: phases, frozen parameters and exact resume.

#![allow(clippy::unwrap_used)] // a test fails by it

use engraft_data::{Dataset, Split, drawn_digits};
use engraft_gan::{
    CheckpointChoice, Event, Networks, TrainConfig, Trainer, TrainingOutcome, TrainingPlan, read_settings,
    untrained_networks,
};
use engraft_layers::{Adapter, StateDict};
use engraft_transfer::{
    Experiment, FeatureSets, LearningRateFactor, Phase, PretrainedGan, Recipe, SourceRegularizer, Trainable,
    Transfer, TransferConfig, TransferError, TransferMethod, dataset_features, domain_distance, evaluate,
    open_run, open_source,
};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

fn target() -> Dataset {
    drawn_digits(Split::Test, 24, 3)
}

/// A source that is hardly trained: only its weights matter here.
fn source() -> PretrainedGan {
    let data = drawn_digits(Split::Train, 40, 1);
    let mut config = TrainConfig::standard(&data);
    (config.network, config.batch, config.steps) = ("mlp".into(), 8, 3);
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = Trainer::open(config, data, folder.path()).unwrap();
    trainer.train(&mut |_| ControlFlow::Continue(())).unwrap();
    drop(trainer);
    open_source(folder.path(), CheckpointChoice::Last).unwrap()
}

fn plan(source: &PretrainedGan) -> TransferConfig {
    TransferConfig {
        source_sha256: source.sha256().unwrap(),
        regularizer: SourceRegularizer::Ewc(0.1).into(),
        distillation: 0.1,
        adapter: None,
        miner: None,
        patch_discriminator: false,
        learning_rates: vec![LearningRateFactor {
            under: vec!["head".into()],
            factor: 0.5,
        }],
        phases: vec![
            Phase {
                generator: Trainable::Nothing,
                discriminator: Trainable::Except(vec!["hidden1".into()]),
                steps: 3,
                until_equilibrium: false,
            },
            Phase {
                generator: Trainable::Under(vec!["to_image".into()]),
                discriminator: Trainable::Except(vec!["hidden1".into()]),
                ..Phase::default()
            },
        ],
    }
}

fn recipe(source: &PretrainedGan) -> Recipe {
    let mut recipe = Recipe::fine_tune(source).unwrap();
    recipe.plan = plan(source);
    recipe
}

/// The weights of both networks in a checkpoint.
fn networks(run: &Path, step: u64) -> [StateDict; 2] {
    ["generator", "discriminator"].map(|name| {
        let path = run.join(format!("checkpoints/step-{step:06}/{name}.safetensors"));
        StateDict::load(path).unwrap()
    })
}

fn same(a: &StateDict, b: &StateDict, name: &str) -> bool {
    let bits = |d: &StateDict| -> Vec<u32> {
        d.get(name)
            .unwrap()
            .as_slice()
            .iter()
            .map(|x| x.to_bits())
            .collect()
    };
    bits(a) == bits(b)
}

/// Trains the plan to step 6, or stops after the given step.
fn train(source: &PretrainedGan, directory: &Path, stop_after: Option<u64>) -> (TrainingOutcome, Vec<u64>) {
    let data = target();
    let mut config = recipe(source).train_config(source, &data, 6, 5);
    (
        config.batch,
        config.output.checkpoint_every,
        config.output.keep_checkpoints,
    ) = (8, 3, 9);
    let plan = Transfer::new(source.clone(), plan(source)).unwrap();
    source.save(&directory.join("source")).unwrap();
    let mut trainer = Trainer::builder(config, data)
        .plan(Arc::new(plan))
        .open(directory)
        .unwrap();
    let mut phases = Vec::new();
    let outcome = trainer
        .train(&mut |event| match event {
            Event::Phase { step, phase, .. } => {
                assert_eq!(phase, 1);
                phases.push(step);
                ControlFlow::Continue(())
            }
            Event::Step { step, .. } if Some(step) == stop_after => ControlFlow::Break(()),
            Event::Warning(text) => panic!("{text}"),
            _ => ControlFlow::Continue(()),
        })
        .unwrap();
    (outcome, phases)
}

#[test]
fn each_phase_trains_its_own_part_and_resumes_to_the_byte() {
    let source = source();
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    assert_eq!(train(&source, &whole, None), (TrainingOutcome::Finished, vec![3]));
    let [begin, middle, end] = [0, 3, 6].map(|step| networks(&whole, step));
    let names = |d: &StateDict| d.tensors().keys().cloned().collect::<Vec<_>>();
    for name in names(&begin[0]) {
        assert!(
            same(&begin[0], &middle[0], &name),
            "{name} of the generator is frozen in phase 0"
        );
        let trains = name.starts_with("to_image");
        assert_eq!(!same(&middle[0], &end[0], &name), trains, "{name} in phase 1");
    }
    for name in names(&begin[1]) {
        let trains = !name.starts_with("hidden1");
        assert_eq!(
            !same(&begin[1], &middle[1], &name),
            trains,
            "{name} of the discriminator"
        );
        assert_eq!(
            !same(&middle[1], &end[1], &name),
            trains,
            "{name} of the discriminator"
        );
    }
    for stop in [2, 3, 4] {
        let parts = folder.path().join(format!("stopped-{stop}"));
        assert_eq!(train(&source, &parts, Some(stop)).0, TrainingOutcome::Stopped);
        assert_eq!(train(&source, &parts, None).0, TrainingOutcome::Finished);
        let found = networks(&parts, 6);
        for (a, b) in found.iter().zip(&end) {
            assert!(
                names(a).iter().all(|name| same(a, b, name)),
                "stopped after {stop}"
            );
        }
    }
    // The run opens with its plan.
    assert_eq!(open_run(&whole, CheckpointChoice::Last).unwrap().step, 6);
}

#[test]
fn unsupported_settings_are_errors() {
    let source = source();
    let mismatch = TransferConfig {
        source_sha256: "0".into(),
        ..plan(&source)
    };
    assert!(matches!(
        Transfer::new(source.clone(), mismatch).err(),
        Some(TransferError::OtherSource { expected, .. }) if expected == "0"
    ));
    let error = |change: fn(&mut TransferConfig)| {
        let mut config = plan(&source);
        change(&mut config);
        match Transfer::new(source.clone(), config) {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        }
    };
    assert_eq!(error(|_| ()), "");
    let text = error(|c| c.phases[1].generator = Trainable::Under(vec!["to_imgae".into()]));
    assert!(text.contains("\"to_image\""), "{text}");
    assert!(matches!(
        Transfer::new(source.clone(), TransferConfig::default())
            .err()
            .unwrap(),
        TransferError::OtherSource { .. }
    ));
    assert!(error(|c| c.phases[0].steps = 0).contains("phase 0"));
    // The networks of the plan are those of the source.
    let transfer = Transfer::new(source.clone(), plan(&source)).unwrap();
    let Networks { generator, .. } = transfer.networks(&source.config).unwrap();
    let Networks {
        generator: random, ..
    } = untrained_networks(&source.config).unwrap();
    let [a, b] = [&generator, &random].map(|g| StateDict::of(g));
    assert!(!same(&a, &b, "to_image.weight"));
}

#[test]
fn baselines_and_recipe_have_the_same_step_budget() {
    let (source, data) = (source(), target());
    let experiment = Experiment {
        source: &source,
        target: &data,
        steps: 4,
        seed: 2,
    };
    let network = engraft_metrics::FeatureNetwork::mnist();
    let images = dataset_features(&network, &data).unwrap();
    let generated = experiment
        .generate_features(&network, &source.sampler().unwrap(), 30)
        .unwrap();
    let found = domain_distance(&images, &generated).unwrap();
    let recommended = Recipe::recommended(&source, data.len(), &found, 4).unwrap();
    assert!(recommended.reasons.len() >= 2, "{recommended:?}");
    let folder = tempfile::tempdir().unwrap();
    let methods = [
        TransferMethod::Untuned,
        TransferMethod::FromScratch,
        TransferMethod::Recipe(Box::new(recommended)),
    ];
    for (method, steps) in methods.iter().zip([0, 4, 4]) {
        let directory = folder.path().join(method.name());
        let found = experiment
            .train(method, &directory, &mut |_| ControlFlow::Continue(()))
            .unwrap();
        let (sampler, trained) = found.unwrap();
        // The evaluated checkpoint may be an earlier one.
        assert!(trained <= steps, "{}: {trained}", method.name());
        if steps > 0 {
            let settings = read_settings(&directory.join("run.toml")).unwrap();
            assert_eq!(settings.steps, steps, "{}", method.name());
        }
        let features = experiment.generate_features(&network, &sampler, 30).unwrap();
        let features = FeatureSets {
            real: &images,
            training: &images,
            generated: &features,
        };
        let row = evaluate(method.name(), trained, features).unwrap();
        assert!(
            row.kid.is_finite() && (0.0..=1.0).contains(&row.copies),
            "{row:?}"
        );
    }
}

#[test]
fn an_adapter_alone_can_train() {
    let (source, data) = (source(), target());
    let adapter = Adapter::LowRank { rank: 2 };
    let mut recipe = Recipe::fine_tune(&source).unwrap();
    recipe.plan.adapter = Some(adapter);
    recipe.plan.phases = vec![Phase {
        generator: Trainable::Adapter,
        ..Phase::default()
    }];
    let folder = tempfile::tempdir().unwrap();
    let experiment = Experiment {
        source: &source,
        target: &data,
        steps: 3,
        seed: 2,
    };
    let method = TransferMethod::Recipe(Box::new(recipe));
    let trained = experiment
        .train(&method, folder.path(), &mut |_| ControlFlow::Continue(()))
        .unwrap();
    assert_eq!(trained.unwrap().1, 3);
    // The run keeps checkpoints of its last two steps.
    let [begin, end] = [2, 3].map(|step| networks(folder.path(), step)[0].clone());
    let mut moved = 0;
    for name in begin.tensors().keys() {
        let is_adapter = adapter.names().matches(name);
        assert!(is_adapter || same(&begin, &end, name), "{name}");
        moved += usize::from(!same(&begin, &end, name));
    }
    assert!(moved >= 3, "at least one factor of each layer changes");
    let mut without = Recipe::fine_tune(&source).unwrap().plan;
    without.phases = vec![Phase {
        generator: Trainable::Adapter,
        ..Phase::default()
    }];
    let error = Transfer::new(source.clone(), without).err().unwrap().to_string();
    assert!(error.contains("plan.adapter"), "{error}");
}
