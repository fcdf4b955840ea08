//! Networks of your own in a training run: `cargo run --release --example network`.
//!
//! A [`NetworkFamily`] builds a generator and a discriminator for the shape of the images. Once registered, its name
//! works wherever a network is named: in `run.toml`, on the command line, in saved runs. The run below is stopped
//! half-way and resumed.

use engraft::data::{DataOptions, DataSource};
use engraft::gan::networks::{self, LayerRoles, NetworkFamily, NetworkRoles, NetworkSpec};
use engraft::gan::{Event, TrainConfig, Trainer};
use engraft::layers::{Dense, Flatten, Init, LeakyReLU, Reshape, Sequential, Tanh};
use std::error::Error;
use std::ops::ControlFlow;
use std::path::Path;

/// Fully connected networks with one hidden layer of 128 units.
struct Shallow;

impl NetworkFamily for Shallow {
    fn name(&self) -> &str {
        "shallow"
    }

    /// Refuses what the family does not support, with the reason.
    fn check(&self, spec: &NetworkSpec) -> Result<(), String> {
        match spec.classes {
            0 => Ok(()),
            classes => Err(format!("it is unconditional, got {classes} classes")),
        }
    }

    fn latent_dim(&self, spec: &NetworkSpec) -> usize {
        spec.latent_dim.unwrap_or(32)
    }

    /// `[n, latent_dim]` to images `[n, h, w, c]`.
    fn generator(&self, spec: &NetworkSpec, init: &mut Init) -> Sequential {
        Sequential::new()
            .add("hidden", Dense::new(self.latent_dim(spec), 128, init))
            .add("act", LeakyReLU::new(0.2))
            .add("head", Dense::new(128, spec.image.iter().product(), init))
            .add("grid", Reshape::new(spec.image))
            .add("tanh", Tanh)
    }

    /// Images to logits `[n, 1]`.
    fn discriminator(&self, spec: &NetworkSpec, init: &mut Init) -> Sequential {
        let values = spec.packed_shape().iter().product();
        Sequential::new()
            .add("flat", Flatten)
            .add("hidden", Dense::new(values, 128, init))
            .add("act", LeakyReLU::new(0.2))
            .add("head", Dense::new(128, 1, init))
    }

    /// Names of the layers by role; transfer learning uses them to freeze layers.
    fn roles(&self, _: &NetworkSpec) -> LayerRoles {
        let roles = NetworkRoles {
            blocks: vec!["hidden".into()],
            head: "head".into(),
            ..NetworkRoles::default()
        };
        LayerRoles {
            generator: roles.clone(),
            discriminator: roles,
        }
    }
}

fn train(steps: u64, directory: &Path) -> Result<(), Box<dyn Error>> {
    networks::register(Shallow);
    let digits = DataSource::parse("drawn-digits")?
        .open(&DataOptions::new())?
        .train;
    let mut config = TrainConfig::standard(&digits);
    (config.network, config.steps) = ("shallow".into(), steps);

    // Stop after half of the steps. The trainer saves a checkpoint and releases the directory.
    Trainer::open(config.clone(), digits.clone(), directory)?.train(&mut |event| match event {
        Event::Step { step, .. } if step == steps / 2 => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    })?;

    // The same call resumes. The result equals that of a run without interruption, bit for bit.
    let mut trainer = Trainer::open(config, digits, directory)?;
    println!("resumed at step {}", trainer.step());
    trainer.train(&mut |event| {
        if let Event::Samples { step, path } = event {
            println!("step {step}: samples in {}", path.display());
        }
        ControlFlow::Continue(())
    })?;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    train(100, "runs/shallow".as_ref())
}

#[test]
fn the_example_runs() -> Result<(), Box<dyn Error>> {
    train(4, &tempfile::tempdir()?.path().join("run"))
}
