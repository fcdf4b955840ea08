//! A loss term of your own: `cargo run --release --example objective`.
//!
//! Adds mode seeking to the generator's loss. It rewards images that differ when their latent vectors differ, which
//! counteracts mode collapse.
//!
//! *Source*: Mao et al., "Mode seeking generative adversarial networks for diverse image synthesis", 2019, equation 4.

use engraft::data::{DataOptions, DataSource};
use engraft::gan::{
    Gan, GanError, LossTerm, Networks, TrainConfig, Trainer, TrainingPlan, untrained_networks,
};
use engraft::layers::{Condition, Sequential};
use engraft::tensor::Tensor;
use std::error::Error;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

/// `|z₁ - z₂| / |G(z₁) - G(z₂)|`, between the two halves of a batch.
struct ModeSeeking;

impl LossTerm for ModeSeeking {
    fn for_generator(
        &self,
        _generator: &Sequential,
        z: &Tensor,
        _condition: &Condition<f32>,
        images: &Tensor,
    ) -> Option<Tensor> {
        let half = z.shape()[0] / 2;
        let distance = |x: &Tensor| (x.narrow(0, 0, half) - x.narrow(0, half, half)).abs().mean();
        // The constant avoids a division by 0 for equal images.
        Some(distance(z) / (distance(images) + 1e-5))
    }
}

/// The default training plan with this term.
struct WithModeSeeking;

impl TrainingPlan for WithModeSeeking {
    fn networks(&self, config: &TrainConfig) -> Result<Networks, GanError> {
        untrained_networks(config)
    }

    fn prepare(&self, _config: &TrainConfig, gan: Gan) -> Gan {
        gan.term(ModeSeeking)
    }
}

fn train(steps: u64, directory: &Path) -> Result<(), Box<dyn Error>> {
    let digits = DataSource::parse("drawn-digits")?
        .open(&DataOptions::new())?
        .train;
    let mut config = TrainConfig::standard(&digits);
    (config.network, config.steps) = ("mlp".into(), steps);
    let mut trainer = Trainer::builder(config, digits)
        .plan(Arc::new(WithModeSeeking))
        .open(directory)?;
    trainer.train(&mut |_| ControlFlow::Continue(()))?;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    train(100, "runs/mode-seeking".as_ref())
}

#[test]
fn the_example_runs() -> Result<(), Box<dyn Error>> {
    train(2, &tempfile::tempdir()?.path().join("run"))
}
