//! Transfers of class-conditional sources and of sources with packing, and directories of other runs.

#![allow(clippy::unwrap_used)] // a test fails by it

use engraft_data::{Dataset, Provenance, Split, drawn_digits};
use engraft_gan::{CheckpointChoice, Networks, TrainConfig, Trainer, untrained_networks};
use engraft_transfer::{
    DomainDistance, Experiment, LearningRateFactor, Phase, PretrainedGan, Recipe, SourceRegularizer,
    SourceRegularizers, Trainable, Transfer, TransferConfig, TransferError, TransferMethod, open_run,
    open_source,
};
use std::ops::ControlFlow;
use std::path::Path;

fn target() -> Dataset {
    drawn_digits(Split::Test, 24, 3)
}

fn source(change: fn(&mut TrainConfig)) -> PretrainedGan {
    let mut config = TrainConfig::standard(&drawn_digits(Split::Train, 40, 1));
    (config.network, config.batch) = ("dcgan".into(), 8);
    change(&mut config);
    let Networks {
        generator,
        discriminator,
        ..
    } = untrained_networks(&config).unwrap();
    PretrainedGan::new(config, &generator, &discriminator)
}

fn conditional() -> PretrainedGan {
    source(|config| (config.network, config.classes) = ("mlp".into(), 10))
}

/// The problems of settings; empty for valid ones.
fn problems(source: &PretrainedGan, change: impl Fn(&mut TransferConfig)) -> String {
    let mut config = Recipe::fine_tune(source).unwrap().plan;
    change(&mut config);
    match Transfer::new(source.clone(), config).err() {
        None => String::new(),
        Some(TransferError::Config { problems }) => problems.join("; "),
        found => panic!("{found:?}"),
    }
}

#[test]
fn the_recipe_of_a_conditional_source_is_freeze_d_without_regularizer() {
    let near = DomainDistance {
        images: 10,
        kid: Some(0.1),
        recall: Some(0.8),
        coverage: Some(0.9),
        a_distance: 1.0,
    };
    let source = source(|config| config.classes = 10);
    let recipe = Recipe::recommended(&source, 10, &near, 300).unwrap();
    let frozen = Trainable::Except(vec!["projection.features.block1".into()]);
    assert!(
        recipe
            .plan
            .phases
            .iter()
            .all(|phase| phase.discriminator == frozen),
        "{:?}",
        recipe.plan.phases
    );
    assert_eq!(recipe.plan.regularizer, SourceRegularizer::Nothing.into());
    assert!(
        recipe
            .reasons
            .iter()
            .any(|reason| reason.contains("class-conditional"))
    );
    let layers = source.generator_layers().unwrap();
    assert_eq!(layers[0], "conditional.embedding");
    assert_eq!(layers.last().unwrap(), "conditional.body.to_image");
    assert!(layers.len() > 4, "{layers:?}");
    Transfer::new(source, recipe.plan).unwrap();
}

#[test]
fn settings_that_a_source_does_not_support_are_errors() {
    let conditional = conditional();
    for change in [
        (|_| ()) as fn(&mut TransferConfig),
        |config| config.regularizer = SourceRegularizer::L2Sp(1.0).into(),
        |config| config.regularizer = SourceRegularizer::Ewc(1.0).into(),
        |config| config.regularizer = SourceRegularizer::Cdc(1.0).into(),
        |config| config.regularizer = SourceRegularizer::Dcl(0.5).into(),
        |config| config.distillation = 1.0,
    ] {
        assert_eq!(problems(&conditional, change), "");
    }
    let packed = source(|config| config.objective.packing = 2);
    assert_eq!(
        problems(&packed, |c| c.regularizer = SourceRegularizer::Cdc(1.0).into()),
        ""
    );
    for regularizer in [SourceRegularizer::Ewc(1.0), SourceRegularizer::Dcl(0.5)] {
        let found = problems(&packed, |c| c.regularizer = regularizer.into());
        assert!(
            found.contains("plan.regularizer") && found.contains('2'),
            "{found}"
        );
    }
    let several = |all: &str| -> SourceRegularizers { all.parse().unwrap() };
    let found = problems(&packed, |c| c.regularizer = several("l2-sp=1,ewc=1,dcl=0.5"));
    for part in ["plan.regularizer: ewc", "plan.regularizer: dcl"] {
        assert!(found.contains(part) && !found.contains("l2-sp eval"), "{found}");
    }
    assert_eq!(
        problems(&conditional, |c| c.regularizer =
            several("l2-sp=1,ewc=1,cdc=1,dcl=1")),
        ""
    );
    let plain = source(|_| ());
    for regularizer in [SourceRegularizer::L2Sp(1.0), SourceRegularizer::Ewc(1.0)] {
        let found = problems(&plain, |config| {
            (config.regularizer, config.adapter) =
                (regularizer.into(), Some(engraft_layers::Adapter::OutputScale));
            config.phases = vec![Phase {
                generator: Trainable::Adapter,
                ..Phase::default()
            }];
        });
        assert!(found.contains("plan.regularizer"), "{found}");
        let with_others = problems(&plain, |config| {
            config.regularizer = SourceRegularizers::new([regularizer, SourceRegularizer::Cdc(1.0)]).unwrap();
            config.adapter = Some(engraft_layers::Adapter::OutputScale);
            config.phases = vec![Phase {
                generator: Trainable::Adapter,
                ..Phase::default()
            }];
        });
        assert_eq!(with_others, found);
    }
    let factor = |layer: &str| LearningRateFactor {
        under: vec![layer.into(), "to_image".into()],
        factor: 0.1,
    };
    // One layer of each network.
    assert_eq!(
        problems(&plain, |config| config.learning_rates = vec![factor("block1")]),
        ""
    );
    let found = problems(&plain, |config| config.learning_rates = vec![factor("blok1")]);
    assert!(
        found.contains("\"blok1\"") && found.contains("to_image"),
        "{found}"
    );
}

fn fine_tune(source: &PretrainedGan, directory: &Path) -> Result<(), TransferError> {
    let experiment = Experiment {
        source,
        target: &target(),
        steps: 2,
        seed: 2,
    };
    let method = TransferMethod::Recipe(Box::new(Recipe::fine_tune(source).unwrap()));
    let found = experiment.train(&method, directory, &mut |_| ControlFlow::Continue(()));
    found.map(|_| ())
}

/// Every regularizer of a class-conditional source changes the run.
#[test]
fn regularizers_of_a_conditional_source_have_an_effect() {
    let source = conditional();
    let run = |change: fn(&mut TransferConfig)| {
        let folder = tempfile::tempdir().unwrap();
        let mut recipe = Recipe::fine_tune(&source).unwrap();
        change(&mut recipe.plan);
        let experiment = Experiment {
            source: &source,
            target: &target(),
            steps: 3,
            seed: 2,
        };
        let method = TransferMethod::Recipe(Box::new(recipe));
        experiment
            .train(&method, folder.path(), &mut |_| ControlFlow::Continue(()))
            .unwrap();
        let found = open_source(folder.path(), CheckpointChoice::Last).unwrap();
        found.sha256().unwrap()
    };
    let plain = run(|_| ());
    for change in [
        (|config| config.regularizer = SourceRegularizer::Ewc(100.0).into()) as fn(&mut TransferConfig),
        |config| config.regularizer = SourceRegularizer::Cdc(100.0).into(),
        |config| config.distillation = 100.0,
    ] {
        assert!(run(change) != plain);
    }
}

#[test]
fn a_run_that_is_not_a_transfer_stays_readable() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = TrainConfig::standard(&target());
    (config.network, config.batch, config.steps) = ("mlp".into(), 8, 2);
    let mut trainer = Trainer::open(config, target(), folder.path()).unwrap();
    trainer.train(&mut |_| ControlFlow::Continue(())).unwrap();
    drop(trainer);
    let error = fine_tune(&source(|config| config.network = "mlp".into()), folder.path()).unwrap_err();
    assert!(matches!(error, TransferError::NoTransfer { .. }), "{error}");
    assert!(!folder.path().join("source").exists());
    open_run(folder.path(), CheckpointChoice::Last).unwrap();
}

#[test]
fn a_damaged_source_of_a_transfer_is_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let source = source(|config| config.network = "mlp".into());
    fine_tune(&source, folder.path()).unwrap();
    let path = folder.path().join("source/generator.safetensors");
    std::fs::write(&path, "damaged").unwrap();
    fine_tune(&source, folder.path()).unwrap_err();
    assert_eq!(std::fs::read(&path).unwrap(), b"damaged");
}

#[test]
fn a_saved_source_opens_as_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let source = conditional();
    source.save(folder.path()).unwrap();
    let run = open_run(folder.path(), CheckpointChoice::Best).unwrap();
    assert_eq!(run.step, source.config.steps);
}

/// Dark images, and one bright image in every `period`.
fn levels(images: usize, period: usize) -> Dataset {
    let pixels = (0..images * 64).map(|i| {
        let noise = (i * 37 % 11) as u8;
        if i / 64 % period == 1 {
            230 + noise
        } else {
            10 + noise
        }
    });
    Dataset::unlabeled("levels", Provenance::Memory, pixels.collect(), [8, 8, 1]).unwrap()
}

/// The clusters of a source stay, also without its data; their shares are those of the target's images.
#[test]
fn the_clusters_of_a_source_travel_with_a_transfer() {
    let folder = tempfile::tempdir().unwrap();
    let [from, to] = ["source", "target"].map(|name| folder.path().join(name));
    let data = levels(600, 10);
    let mut config = TrainConfig::standard(&data);
    (config.network, config.batch, config.steps) = ("mlp".into(), 8, 1);
    config.pseudo_labels.clusters = 2;
    (config.validation_images, config.evaluation.every) = (0, 0);
    let mut trainer = Trainer::open(config, data, &from).unwrap();
    trainer.train(&mut |_| ControlFlow::Continue(())).unwrap();
    drop(trainer);
    let source = open_source(&from, CheckpointChoice::Last).unwrap();
    let shares = |run: &Path| {
        let run = open_run(run, CheckpointChoice::Last).unwrap();
        run.sampler.class_prior().map(|prior| prior.shares()).unwrap()
    };
    assert_eq!(shares(&from), [0.9, 0.1]);
    let target = levels(20, 4);
    let recipe = Recipe::fine_tune(&source).unwrap();
    let experiment = Experiment {
        source: &source,
        target: &target,
        steps: 2,
        seed: 1,
    };
    let method = TransferMethod::Recipe(Box::new(recipe));
    let (sampler, _) = experiment
        .train(&method, &to, &mut |_| ControlFlow::Continue(()))
        .unwrap()
        .unwrap();
    assert_eq!(sampler.class_prior().unwrap().shares(), [0.75, 0.25]);
    assert_eq!(shares(&to), [0.75, 0.25]);
    // The copy of the source, and the transfer as a source.
    let copy = open_source(&to.join("source"), CheckpointChoice::Last).unwrap();
    assert_eq!(copy.sha256().unwrap(), source.sha256().unwrap());
    assert_eq!(copy.pseudo_labels(), source.pseudo_labels());
    let again = open_source(&to, CheckpointChoice::Last).unwrap();
    let prior = again.pseudo_labels().unwrap().prior();
    assert_eq!(prior.counts(), [15, 5]);
    // A source with changed clusters is refused, and one without.
    let path = to.join("source/pseudo-labels.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.len() - 1;
    bytes[at] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let error = open_source(&to.join("source"), CheckpointChoice::Last).unwrap_err();
    assert!(
        error.to_string().contains("SHA-256") && error.to_string().contains("pseudo-labels"),
        "{error}"
    );
    std::fs::remove_file(path).unwrap();
    assert!(open_source(&to.join("source"), CheckpointChoice::Last).is_err());
}
