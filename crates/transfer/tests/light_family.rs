//! Every kind of transfer supports the networks `light`, also class-conditional ones.

#![allow(clippy::unwrap_used)] // a test fails by it

use engraft_data::{Dataset, Provenance};
use engraft_gan::{CheckpointChoice, TrainConfig, Trainer};
use engraft_layers::{Adapter, StateDict};
use engraft_transfer::{
    Experiment, Phase, PretrainedGan, Recipe, SourceRegularizer, Trainable, TransferConfig, TransferMethod,
    open_run, open_source,
};
use std::ops::ControlFlow;
use std::path::Path;

/// Color images of 16x16 pixels in two classes.
fn data(seed: usize) -> Dataset {
    let image = [16, 16, 3];
    let pixels = (0..24 * 16 * 16 * 3).map(|i| ((i * (31 + seed) + i / 48 * 7) % 256) as u8);
    let labels = (0..24).map(|i| i % 2).collect();
    Dataset::new("patterns", Provenance::Memory, pixels.collect(), image, labels).unwrap()
}

/// A source of narrow networks, trained for two steps.
fn source(classes: u32, directory: &Path) -> PretrainedGan {
    let mut config = TrainConfig::light(&data(1));
    (config.network.widths, config.network.latent) = (vec![8, 6, 4], Some(5));
    (config.batch, config.steps, config.classes) = (8, 2, classes);
    let mut trainer = Trainer::open(config, data(1), directory).unwrap();
    trainer.train(&mut |_| ControlFlow::Continue(())).unwrap();
    drop(trainer);
    open_source(directory, CheckpointChoice::Last).unwrap()
}

/// The parameters of the generator that a transfer of two steps has changed.
fn changed(source: &PretrainedGan, at: &Path, change: impl Fn(&mut TransferConfig)) -> Vec<String> {
    let mut recipe = Recipe::fine_tune(source).unwrap();
    change(&mut recipe.plan);
    let target = data(2);
    let experiment = Experiment {
        source,
        target: &target,
        steps: 2,
        seed: 2,
    };
    let method = TransferMethod::Recipe(Box::new(recipe));
    // Evaluations would take longer than the training.
    let unmeasured = |config: &mut TrainConfig| {
        config.evaluation.every = 0;
        Ok(())
    };
    experiment
        .train_adjusted(&method, at, &unmeasured, &mut |_| ControlFlow::Continue(()))
        .unwrap();
    let adapted = open_source(at, CheckpointChoice::Last).unwrap();
    let [before, after] = [source, &adapted].map(|gan| StateDict::of(&gan.networks().unwrap().generator));
    let differs = |name: &&String| {
        let [a, b] = [&before, &after].map(|state| state.get(name).map(|t| t.as_slice().to_vec()));
        a != b && !name.contains("running")
    };
    before.tensors().keys().filter(differs).cloned().collect()
}

#[test]
fn every_kind_of_transfer_supports_light_networks() {
    let folder = tempfile::tempdir().unwrap();
    for classes in [0, 2] {
        let at = |name: &str| folder.path().join(format!("{name}-{classes}"));
        let source = source(classes, &at("source"));
        assert!(source.generator_layers().unwrap().len() >= 4);
        assert!(source.discriminator_layers().unwrap().len() >= 5);
        let phase = |generator: Trainable| {
            vec![Phase {
                generator,
                ..Phase::default()
            }]
        };
        type Change<'a> = &'a dyn Fn(&mut TransferConfig);
        let kinds: [(&str, Change<'_>); 8] = [
            ("plain", &|_| ()),
            ("ewc", &|plan| {
                plan.regularizer = SourceRegularizer::Ewc(1.0).into()
            }),
            ("cdc", &|plan| {
                plan.regularizer = SourceRegularizer::Cdc(1.0).into()
            }),
            ("dcl", &|plan| {
                plan.regularizer = SourceRegularizer::Dcl(0.5).into()
            }),
            ("distilled", &|plan| plan.distillation = 1.0),
            ("patches", &|plan| plan.patch_discriminator = true),
            ("norms", &|plan| plan.phases = phase(Trainable::BatchNorm)),
            ("adapter", &|plan| {
                plan.adapter = Some(Adapter::LowRank { rank: 1 })
            }),
        ];
        for (name, change) in kinds {
            // A conditional discriminator does not support a patch head.
            if classes > 0 && name == "patches" {
                continue;
            }
            let found = changed(&source, &at(name), change);
            open_run(&at(name), CheckpointChoice::Last).unwrap();
            match name {
                "norms" => assert!(
                    !found.is_empty() && found.iter().all(|p| p.contains("norm.")),
                    "{found:?}"
                ),
                "adapter" => (),
                _ => assert!(
                    found.iter().any(|p| p.contains("block2.gate.squeeze")),
                    "{name}: {found:?}"
                ),
            }
        }
    }
}
