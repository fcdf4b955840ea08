//! The presets: settings to start from.

use super::{
    AdamConfig, EvaluationConfig, FEW_IMAGES, NetworkConfig, OutputConfig, PictureConfig, PseudoLabelConfig,
    TrainConfig,
};
use crate::augment::AugmentConfig;
use crate::networks::dcgan;
use crate::objective::{Objective, StepOrder};
use crate::regularization::RegularizeConfig;
use engraft_data::TrainingData;
use engraft_metrics::features;
use engraft_tensor::Precision;

/// See [`TrainConfig::standard`].
pub(super) fn standard(data: &dyn TrainingData) -> TrainConfig {
    let adam = AdamConfig {
        learning_rate: 2e-4,
        beta1: 0.5,
        beta2: 0.999,
        epsilon: 1e-7,
    };
    TrainConfig {
        data: data.name().into(),
        images: data.len(),
        image: data.shape(),
        fingerprint: data.fingerprint(),
        pictures: PictureConfig::default(),
        seed: 1,
        validation_images: validation_images(data.len()),
        keep_copies_together: false,
        steps: 4000,
        batch: batch(data, 64),
        micro_batches: 1,
        network: NetworkConfig::default(),
        classes: 0,
        pseudo_labels: PseudoLabelConfig::default(),
        labels: String::new(),
        objective: Objective::NonSaturating.into(),
        order: StepOrder::Simultaneous,
        precision: Precision::F32,
        ema_half_life: 10_000,
        standing_batches: 0,
        generator: adam,
        discriminator: adam,
        learning_rate_decay: 0.0,
        regularize: RegularizeConfig::default(),
        augment: AugmentConfig::default(),
        plan: toml::Table::new(),
        evaluation: EvaluationConfig {
            every: if validation_images(data.len()) > 0 { 500 } else { 0 },
            rollbacks: 2,
            features: features_name(data),
            ..EvaluationConfig::default()
        },
        output: OutputConfig {
            sample_every: 100,
            checkpoint_every: 250,
            keep_checkpoints: 3,
        },
        cpu: String::new(),
        earlier_data: Vec::new(),
    }
}

/// See [`TrainConfig::many_images`].
pub(super) fn many_images(data: &dyn TrainingData) -> TrainConfig {
    let standard = standard(data);
    let adam = AdamConfig {
        learning_rate: 5e-4,
        ..standard.generator
    };
    TrainConfig {
        pseudo_labels: PseudoLabelConfig::of_many_images(),
        generator: adam,
        discriminator: adam,
        ..standard
    }
}

/// See [`TrainConfig::tutorial`].
pub(super) fn tutorial(data: &dyn TrainingData) -> TrainConfig {
    let adam = AdamConfig {
        learning_rate: 1e-4,
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-7,
    };
    TrainConfig {
        batch: batch(data, 256),
        micro_batches: 1,
        steps: 50 * ((data.len() - validation_images(data.len()) as usize) as u64 / 256).max(1),
        ema_half_life: 0,
        generator: adam,
        discriminator: adam,
        ..standard(data)
    }
}

/// See [`TrainConfig::r3gan`].
pub(super) fn r3gan(data: &dyn TrainingData) -> TrainConfig {
    let adam = AdamConfig {
        learning_rate: 5e-4,
        beta1: 0.0,
        beta2: 0.99,
        epsilon: 1e-7,
    };
    TrainConfig {
        network: NetworkConfig::from("residual"),
        objective: Objective::Relativistic.into(),
        generator: adam,
        discriminator: adam,
        regularize: RegularizeConfig {
            r1_gamma: 1.0,
            r2_gamma: 1.0,
            interval: 8,
            ..RegularizeConfig::default()
        },
        ..standard(data)
    }
}

/// See [`TrainConfig::light`].
pub(super) fn light(data: &dyn TrainingData) -> TrainConfig {
    let adam = AdamConfig {
        learning_rate: 5e-4,
        beta1: 0.5,
        beta2: 0.99,
        epsilon: 1e-8,
    };
    let standard = standard(data);
    let [height, width, channels] = standard.image;
    let images = standard.trained_on();
    TrainConfig {
        network: NetworkConfig::from("light"),
        steps: 10_000,
        batch: batch(data, 32),
        micro_batches: 1,
        generator: adam,
        discriminator: adam,
        regularize: RegularizeConfig {
            r1_gamma: (height * width) as f64 / (64 * 64) as f64,
            interval: 16,
            ..RegularizeConfig::default()
        },
        augment: AugmentConfig::for_images(images, channels),
        ..standard
    }
}

/// A batch of `most` images, or of all training images if there are fewer.
fn batch(data: &dyn TrainingData, most: usize) -> usize {
    (data.len() - validation_images(data.len()) as usize).clamp(2, most)
}

/// The feature extractor of the presets. Runs with 28x28 gray images name none, as in an earlier version.
fn features_name(data: &dyn TrainingData) -> Option<String> {
    let name = features::default_name(data.name(), data.shape());
    (data.shape() != dcgan::IMAGE).then(|| name.into())
}

/// Number of validation images of the presets: a tenth of `images`, at most 1000; none if there are fewer than 200.
fn validation_images(images: usize) -> u32 {
    if images < FEW_IMAGES {
        0
    } else {
        (images / 10).min(1000) as u32
    }
}
