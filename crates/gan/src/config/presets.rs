//! The presets: settings to start from.

use super::data::fingerprint;
use super::{AdamConfig, OutputConfig, RegulariseConfig, TrainConfig, WatchConfig};
use crate::augment::AugmentConfig;
use crate::gan::StepOrder;
use crate::networks::Network;
use crate::objective::Objective;
use engraft_data::Dataset;

impl TrainConfig {
    /// The default preset: settings that show digits within minutes on two cores.
    ///
    /// Adam at 2e-4 with `β1 = 0.5` (Radford et al., 2016, section 4) in batches of 64, and an averaged
    /// generator.
    pub fn standard(data: &Dataset) -> Self {
        let adam = AdamConfig {
            learning_rate: 2e-4,
            beta1: 0.5,
            beta2: 0.999,
            epsilon: 1e-7,
        };
        Self {
            data: data.name().into(),
            images: data.len(),
            image: data.image_size(),
            fingerprint: fingerprint(data),
            seed: 1,
            held_out: held_out(data.len()),
            steps: 4000,
            batch: 64,
            network: Network::default(),
            classes: 0,
            labels: String::new(),
            objective: Objective::NonSaturating.into(),
            order: StepOrder::Simultaneous,
            average_half_life: 10_000,
            standing_batches: 0,
            generator: adam,
            discriminator: adam,
            regularise: RegulariseConfig::default(),
            augment: AugmentConfig::default(),
            plan: toml::Table::new(),
            watch: WatchConfig {
                every: if held_out(data.len()) > 0 { 500 } else { 0 },
                rollbacks: 2,
                ..WatchConfig::default()
            },
            output: OutputConfig {
                sample_every: 100,
                checkpoint_every: 250,
                keep_checkpoints: 3,
            },
        }
    }

    /// The preset `tutorial`: TensorFlow's DCGAN tutorial, with Adam at 1e-4, `β = (0.9, 0.999)`, batches of
    /// 256, 50 epochs, and no averaged generator.
    pub fn tutorial(data: &Dataset) -> Self {
        let adam = AdamConfig {
            learning_rate: 1e-4,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-7,
        };
        Self {
            batch: 256,
            steps: 50 * ((data.len() - held_out(data.len()) as usize) as u64 / 256).max(1),
            average_half_life: 0,
            generator: adam,
            discriminator: adam,
            ..Self::standard(data)
        }
    }

    /// The preset `r3gan`: the residual pair without normalisation, real and generated images in pairs, and R1 and R2 on
    /// every eighth step (Huang et al., "The GAN is dead; long live the GAN! A modern GAN baseline", 2024).
    ///
    /// Against the paper the networks are small, the batch is 64 instead of 512, and learning rate and penalties stay
    /// as they are instead of decaying.
    pub fn r3gan(data: &Dataset) -> Self {
        let adam = AdamConfig {
            learning_rate: 5e-4,
            beta1: 0.0,
            beta2: 0.99,
            epsilon: 1e-7,
        };
        Self {
            network: Network::Residual,
            objective: Objective::Relativistic.into(),
            generator: adam,
            discriminator: adam,
            regularise: RegulariseConfig {
                r1: 1.0,
                r2: 1.0,
                every: 8,
                ..RegulariseConfig::default()
            },
            ..Self::standard(data)
        }
    }
}

/// How many of `images` the presets hold out: a tenth, a thousand at most, and none of fewer than 200.
fn held_out(images: usize) -> u32 {
    if images < 200 {
        0
    } else {
        (images / 10).min(1000) as u32
    }
}
