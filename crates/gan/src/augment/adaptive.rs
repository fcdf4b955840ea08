//! A probability of augmentation that follows how far the discriminator overfits.

use engraft_tensor::{Real, Tensor};
use serde::{Deserialize, Serialize};

/// Highest probability that [`AdaptiveProbability`] goes to. The changes are told from the images only while a good
/// part of the images comes without them; the original controller has no bound and has been seen beyond 1.
pub const HIGHEST_PROBABILITY: f64 = 0.8;

/// The section `[augment.adaptive]` of a run.
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
    /// Mean sign of the logits of real images above which the discriminator counts as overfitted; 0.6 at first.
    pub target: f64,
    /// Images in which the probability goes from 0 to 1 while it moves one way; 500 000 at first, 100 000 for a
    /// pretrained pair.
    pub images: u32,
    /// Steps of the discriminator between two moves; 4 at first.
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
                "augment.adaptive.target is a mean of signs and must lie between 0 and 1, got {}",
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

/// The controller: a probability, and what it has seen since it last moved.
///
/// With `r_t = E sign(D(x))` over the real images of the last `every` steps, the probability rises if
/// `r_t > target` and falls if `r_t < target`, by the number of images seen since over [`AdaptiveConfig::images`];
/// it stays within 0 and [`HIGHEST_PROBABILITY`]. `D(x)` must be such that 0 means undecided.
///
/// *Source*: Karras et al., "Training generative adversarial networks with limited data", 2020, section 3.1, with an
/// upper bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AdaptiveProbability {
    probability: f64,
    /// Sum of the signs since the last move, and of how many.
    signs: f64,
    logits: u64,
    images: u64,
    steps: u32,
}

impl AdaptiveProbability {
    /// A controller at probability 0 that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The probability for the next step.
    pub fn probability(&self) -> f64 {
        self.probability
    }

    /// Takes the logits of the `images` real images of a step of the discriminator.
    pub fn update<T: Real>(&mut self, real_logits: &Tensor<T>, images: usize, config: &AdaptiveConfig) {
        let sign = |v: &T| {
            if *v == T::zero() {
                0.0
            } else {
                v.signum().into_f64()
            }
        };
        self.signs += real_logits.as_slice().iter().map(sign).sum::<f64>();
        // Saturating: a file may claim any count.
        self.logits = self.logits.saturating_add(real_logits.len() as u64);
        self.images = self.images.saturating_add(images as u64);
        self.steps = self.steps.saturating_add(1);
        if self.steps < config.every {
            return;
        }
        let mean = self.signs / self.logits.max(1) as f64;
        let by = self.images as f64 / f64::from(config.images);
        // A mean that is not a number moves nothing; the run stops for it elsewhere.
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
    fn it_moves_by_the_images_seen_every_second_step() {
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
        // 16 of 20: just 0.6.
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
