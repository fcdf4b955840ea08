//! Transfer of a custom network family with its own modules and layer names.

#![allow(clippy::unwrap_used)] // a test fails by it

use engraft_data::{Dataset, Split, drawn_digits};
use engraft_gan::networks::{self, LayerRoles, NetworkFamily, NetworkRoles, NetworkSpec};
use engraft_gan::{CheckpointChoice, TrainConfig, Trainer};
use engraft_layers::{
    BatchNorm, Conv2d, Dense, Flatten, Init, LeakyReLU, Mode, Module, Reshape, Sequential, Upsample2x,
    children,
};
use engraft_tensor::Tensor;
use engraft_transfer::{
    Experiment, Phase, PretrainedGan, Recipe, SourceRegularizer, Trainable, Transfer, TransferConfig,
    TransferError, TransferMethod, open_run, open_source,
};
use std::ops::ControlFlow;
use std::path::Path;

/// A generator that is not a chain of layers.
struct Painter {
    ground: Dense,
    settle: BatchNorm,
    brush: Conv2d,
}

impl Module for Painter {
    fn forward(&self, z: &Tensor, mode: Mode) -> Tensor {
        let seed = self.settle.forward(&self.ground.forward(z, mode), mode);
        let small = Reshape::new([14, 14, 4]).forward(&seed.leaky_relu(0.2), mode);
        self.brush.forward(&Upsample2x.forward(&small, mode), mode).tanh()
    }

    children!(ground, settle, brush);
}

/// A network family with or without layer roles.
struct Own {
    name: &'static str,
    has_roles: bool,
}

impl NetworkFamily for Own {
    fn name(&self) -> &str {
        self.name
    }

    fn check(&self, spec: &NetworkSpec) -> Result<(), String> {
        let fits = spec.image == [28, 28, 1] && spec.classes == 0;
        fits.then_some(())
            .ok_or_else(|| "it needs gray images of 28x28 pixels".into())
    }

    fn latent_dim(&self, spec: &NetworkSpec) -> usize {
        spec.latent_dim.unwrap_or(8)
    }

    fn generator(&self, spec: &NetworkSpec, init: &mut Init) -> Sequential {
        let painter = Painter {
            ground: Dense::new(self.latent_dim(spec), 14 * 14 * 4, init),
            settle: BatchNorm::new(14 * 14 * 4),
            brush: Conv2d::new(4, 1, 3, init).same(),
        };
        Sequential::new().add("painter", painter)
    }

    fn discriminator(&self, _: &NetworkSpec, init: &mut Init) -> Sequential {
        Sequential::new()
            .add("look", Conv2d::new(1, 4, 5, init).stride(4).same()) // [n, 7, 7, 4]
            .add("fire", LeakyReLU::new(0.2))
            .add("line", Flatten)
            .add("verdict", Dense::new(7 * 7 * 4, 1, init))
    }

    fn roles(&self, _: &NetworkSpec) -> LayerRoles {
        if !self.has_roles {
            return LayerRoles::default();
        }
        LayerRoles {
            generator: NetworkRoles {
                stem: Some("painter.ground".into()),
                head: "painter.brush".into(),
                norms: vec!["painter.settle".into()],
                ..NetworkRoles::default()
            },
            discriminator: NetworkRoles {
                stem: Some("look".into()),
                head: "verdict".into(),
                features: Some("line".into()),
                feature_map: Some("fire".into()),
                ..NetworkRoles::default()
            },
        }
    }
}

fn data(seed: u64) -> Dataset {
    drawn_digits(Split::Train, 24, seed)
}

/// A source of this family, trained for two steps.
fn source(name: &'static str, has_roles: bool, directory: &Path) -> PretrainedGan {
    networks::register(Own { name, has_roles });
    let mut config = TrainConfig::standard(&data(1));
    (config.network, config.batch, config.steps) = (name.into(), 8, 2);
    let mut trainer = Trainer::open(config, data(1), directory).unwrap();
    trainer.train(&mut |_| ControlFlow::Continue(())).unwrap();
    drop(trainer);
    open_source(directory, CheckpointChoice::Last).unwrap()
}

fn transferred(source: &PretrainedGan, directory: &Path, change: impl Fn(&mut TransferConfig)) {
    let mut recipe = Recipe::fine_tune(source).unwrap();
    change(&mut recipe.plan);
    let experiment = Experiment {
        source,
        target: &data(2),
        steps: 2,
        seed: 2,
    };
    let method = TransferMethod::Recipe(Box::new(recipe));
    experiment
        .train(&method, directory, &mut |_| ControlFlow::Continue(()))
        .unwrap();
}

#[test]
fn every_kind_of_transfer_supports_a_family_with_roles() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let source = source("own", true, &at("source"));
    source.save(&at("saved")).unwrap();
    let again = open_source(&at("saved"), CheckpointChoice::Last).unwrap();
    assert_eq!(again.sha256().unwrap(), source.sha256().unwrap());
    assert_eq!(
        source.generator_layers().unwrap(),
        ["painter.ground", "painter.brush"]
    );
    let phase = |generator: Trainable| {
        vec![Phase {
            generator,
            ..Phase::default()
        }]
    };
    type Change<'a> = &'a dyn Fn(&mut TransferConfig);
    let ways: [(&str, Change<'_>); 6] = [
        ("plain", &|_| ()),
        ("ewc", &|plan| {
            plan.regularizer = SourceRegularizer::Ewc(1.0).into()
        }),
        ("distilled", &|plan| plan.distillation = 1.0),
        ("patches", &|plan| plan.patch_discriminator = true),
        ("norms", &|plan| plan.phases = phase(Trainable::BatchNorm)),
        ("brush", &|plan| {
            plan.phases = phase(Trainable::Under(vec!["painter.brush".into()]));
        }),
    ];
    for (name, change) in ways {
        transferred(&source, &at(name), change);
        open_run(&at(name), CheckpointChoice::Last).unwrap();
    }
    // A transfer can be the source of another one.
    let second = open_source(&at("patches"), CheckpointChoice::Last).unwrap();
    transferred(&second, &at("second"), |plan| plan.distillation = 1.0);
}

#[test]
fn errors_name_the_missing_role() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let source = source("own-plain", false, &at("source"));
    transferred(&source, &at("plain"), |_| ());
    let problem = |change: fn(&mut TransferConfig)| {
        let mut plan = Recipe::fine_tune(&source).unwrap().plan;
        change(&mut plan);
        match Transfer::new(source.clone(), plan).err() {
            Some(TransferError::Config { problems }) => problems.join("; "),
            found => panic!("{found:?}"),
        }
    };
    for (part, change) in [
        (
            "plan.regularizer",
            (|plan| plan.regularizer = SourceRegularizer::Cdc(1.0).into()) as fn(&mut TransferConfig),
        ),
        ("plan.distillation", |plan| plan.distillation = 1.0),
        ("plan.patch_discriminator", |plan| plan.patch_discriminator = true),
        ("plan.phases", |plan| {
            plan.phases = vec![Phase {
                generator: Trainable::BatchNorm,
                ..Phase::default()
            }];
        }),
    ] {
        let text = problem(change);
        assert!(text.contains(part), "{text}");
    }
    let text = source.discriminator_layers().unwrap_err().to_string();
    assert!(text.contains("NetworkFamily::roles"), "{text}");
}
