//! A family of networks of one's own, which trains by its name: `cargo run --release --example network`.

use engraft::data::{DataOptions, DataSource};
use engraft::gan::networks::{self, LayerRoles, NetworkFamily, NetworkRoles, NetworkSpec};
use engraft::gan::{TrainConfig, Trainer};
use engraft::layers::{Dense, Flatten, Init, LeakyReLU, Reshape, Sequential, Tanh};
use std::ops::ControlFlow;

/// One hidden layer on either side.
struct Shallow;

impl NetworkFamily for Shallow {
    fn name(&self) -> &str {
        "shallow"
    }
    fn check(&self, spec: &NetworkSpec) -> Result<(), String> {
        (spec.classes == 0)
            .then_some(())
            .ok_or("it takes no classes".into())
    }
    fn latent_dim(&self, spec: &NetworkSpec) -> usize {
        spec.latent_dim.unwrap_or(32)
    }
    fn generator(&self, spec: &NetworkSpec, init: &mut Init) -> Sequential {
        Sequential::new()
            .add("hidden", Dense::new(self.latent_dim(spec), 128, init))
            .add("act", LeakyReLU::new(0.2))
            .add("head", Dense::new(128, spec.image.iter().product(), init))
            .add("grid", Reshape::new(spec.image))
            .add("tanh", Tanh)
    }
    fn discriminator(&self, spec: &NetworkSpec, init: &mut Init) -> Sequential {
        Sequential::new()
            .add("flat", Flatten)
            .add(
                "hidden",
                Dense::new(spec.packed_shape().iter().product(), 128, init),
            )
            .add("act", LeakyReLU::new(0.2))
            .add("head", Dense::new(128, 1, init))
    }
    fn roles(&self, _: &NetworkSpec) -> LayerRoles {
        let mut network = NetworkRoles::default();
        (network.blocks, network.head) = (vec!["hidden".into()], "head".into());
        let [generator, discriminator] = [network.clone(), network];
        LayerRoles {
            generator,
            discriminator,
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    networks::register(Shallow);
    let data = DataSource::parse("drawn-digits")?
        .open(&DataOptions::new())?
        .train;
    let mut config = TrainConfig::standard(&data);
    (config.network, config.steps) = ("shallow".into(), 100);
    Trainer::open(config, data, "runs/shallow".as_ref())?.train(&mut |_| ControlFlow::Continue(()))?;
    Ok(())
}
