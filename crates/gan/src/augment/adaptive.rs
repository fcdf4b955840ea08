//! Adaptive augmentation probability (ADA).

use engraft_tensor::{Real, Tensor};
use serde::{Deserialize, Serialize};

/// Upper bound of [`AdaptiveProbability`]. The generator learns the augmentations if too few images come without
/// them; the original controller has no bound and can exceed 1.
pub const HIGHEST_PROBABILITY: f64 = 0.8;

/// The section `[augment.adaptive]` of `run.toml`.
///
/// ```toml
/// [augment]
/// kinds = ["translation", "contrast"]
/// [augment.adaptive]
/// images = 100000
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdaptiveConfig {
    /// Target of `r_t`, the mean sign of the logits on real images; default 0.6. Above it the discriminator counts
    /// as overfitting.
    pub target: f64,
    /// Number of images over which the probability can rise from 0 to 1; default 500 000. Use 100 000 for
    /// pretrained networks.
    pub images: u32,
    /// Discriminator steps between two updates; default 4.
    pub every: u32,
}

impl Default for AdaptiveConfig {
    fn default() -> Self {
        Self {
            target: 0.6,
            images: 500_000,
            every: 4,
        }
    }
}

impl AdaptiveConfig {
    pub(super) fn problems(&self, problems: &mut Vec<String>) {
        if !(self.target > 0.0 && self.target < 1.0) {
            problems.push(format!(
                "augment.adaptive.target must be between 0 and 1, got {}",
                self.target
            ));
        }
        for (name, value) in [("images", self.images), ("every", self.every)] {
            if value == 0 {
                problems.push(format!("augment.adaptive.{name} must be at least 1, got 0"));
            }
        }
    }
}

/// The controller: the current probability and the signs since its last update.
///
/// Let `r_t = E sign(D(x))` over the real images of the last `every` steps. The probability rises if `r_t > target`
/// and falls if `r_t < target`. Each update is the number of images since the last one, divided by
/// [`AdaptiveConfig::images`]. The probability stays within 0 and [`HIGHEST_PROBABILITY`]. The logits need a
/// threshold of 0.
///
/// *Source*: Karras et al., "Training generative adversarial networks with limited data", 2020, section 3.1, with an
/// upper bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AdaptiveProbability {
    probability: f64,
    /// Sum of the signs since the last update, and their number.
    signs: f64,
    logits: u64,
    images: u64,
    steps: u32,
}

impl AdaptiveProbability {
    /// A controller with probability 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// The probability for the next step.
    pub fn probability(&self) -> f64 {
        self.probability
    }

    /// Updates the controller after a discriminator step: `real_logits` are those of its `images` real images.
    pub fn update<T: Real>(&mut self, real_logits: &Tensor<T>, images: usize, config: &AdaptiveConfig) {
        let sign = |v: &T| {
            if *v == T::zero() {
                0.0
            } else {
                v.signum().into_f64()
            }
        };
        self.signs += real_logits.as_slice().iter().map(sign).sum::<f64>();
        // Saturating, because a damaged file may have any count.
        self.logits = self.logits.saturating_add(real_logits.len() as u64);
        self.images = self.images.saturating_add(images as u64);
        self.steps = self.steps.saturating_add(1);
        if self.steps < config.every {
            return;
        }
        let mean = self.signs / self.logits.max(1) as f64;
        let by = self.images as f64 / f64::from(config.images);
        // NaN changes nothing here; the run reports divergence elsewhere.
        if mean > config.target {
            self.probability = (self.probability + by).min(HIGHEST_PROBABILITY);
        } else if mean < config.target {
            self.probability = (self.probability - by).max(0.0);
        }
        *self = Self {
            probability: self.probability,
            ..Self::default()
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> AdaptiveConfig {
        AdaptiveConfig {
            images: 100,
            every: 2,
            ..AdaptiveConfig::default()
        }
    }

    /// Logits of which `positive` of 10 are positive.
    fn logits(positive: usize) -> Tensor<f64> {
        Tensor::from_vec(
            [10, 1],
            (0..10).map(|i| if i < positive { 2.0 } else { -0.1 }).collect(),
        )
    }

    #[test]
    fn it_changes_by_the_number_of_images_every_second_step() {
        let mut adaptive = AdaptiveProbability::new();
        adaptive.update(&logits(10), 10, &config());
        assert_eq!(adaptive.probability(), 0.0);
        // 19 of 20 positive: a mean sign of 0.9.
        adaptive.update(&logits(9), 10, &config());
        assert_eq!(adaptive.probability(), 0.2);
        // 15 of 20: 0.5, below the target of 0.6.
        adaptive.update(&logits(10), 5, &config());
        adaptive.update(&logits(5), 5, &config());
        assert!((adaptive.probability() - 0.1).abs() < 1e-15);
        // 16 of 20: exactly 0.6.
        adaptive.update(&logits(8), 5, &config());
        adaptive.update(&logits(8), 5, &config());
        assert!((adaptive.probability() - 0.1).abs() < 1e-15);
    }

    #[test]
    fn it_stays_within_its_bounds() {
        let mut adaptive = AdaptiveProbability::new();
        for _ in 0..40 {
            adaptive.update(&logits(10), 10, &config());
        }
        assert_eq!(adaptive.probability(), HIGHEST_PROBABILITY);
        for _ in 0..40 {
            adaptive.update(&logits(0), 10, &config());
        }
        assert_eq!(adaptive.probability(), 0.0);
    }
}
