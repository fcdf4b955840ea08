//! A wish of one's own beside the adversarial objective: `cargo run --release --example objective`.
//!
//! Mode seeking: images of two latent vectors are to differ as these do. *Source*: Mao et al., "Mode seeking generative
//! adversarial networks for diverse image synthesis", 2019.

use engraft::data::{DataOptions, DataSource};
use engraft::gan::{
    Gan, GanError, LossTerm, Networks, TrainConfig, Trainer, TrainingPlan, untrained_networks,
};
use engraft::layers::{Condition, Sequential};
use engraft::tensor::Tensor;
use std::ops::ControlFlow;
use std::sync::Arc;

/// `|z₁ - z₂| / |G(z₁) - G(z₂)|`, of one half of a batch and the other.
struct ModeSeeking;

impl LossTerm for ModeSeeking {
    fn for_generator(
        &self,
        _: &Sequential,
        z: &Tensor,
        _: &Condition<f32>,
        images: &Tensor,
    ) -> Option<Tensor> {
        let half = z.shape()[0] / 2;
        let apart = |x: &Tensor| (x.narrow(0, 0, half) - x.narrow(0, half, half)).abs().mean();
        Some(apart(z) / (apart(images) + 1e-5))
    }
}

/// The usual run with that term.
struct Diverse;

impl TrainingPlan for Diverse {
    fn networks(&self, config: &TrainConfig) -> Result<Networks, GanError> {
        untrained_networks(config)
    }
    fn prepare(&self, _: &TrainConfig, gan: Gan) -> Gan {
        gan.term(ModeSeeking)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let data = DataSource::parse("drawn-digits")?
        .open(&DataOptions::new())?
        .train;
    let mut config = TrainConfig::standard(&data);
    (config.network, config.steps) = ("mlp".into(), 100);
    let mut trainer = Trainer::builder(config, data)
        .plan(Arc::new(Diverse))
        .open("runs/diverse".as_ref())?;
    trainer.train(&mut |_| ControlFlow::Continue(()))?;
    Ok(())
}
