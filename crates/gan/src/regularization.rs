//! The section `[regularize]` of a run: gradient penalties, LeCam and spectral normalization of the discriminator.

use engraft_layers::{Sequential, spectral_normalize};
use engraft_tensor::Real;
use serde::{Deserialize, Serialize};

/// Regularizers of the discriminator; all are off by default.
///
/// ```toml
/// [regularize]
/// r1_gamma = 1.0
/// r2_gamma = 1.0
/// interval = 8
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RegularizeConfig {
    /// `γ` of the R1 penalty `γ/2 · E ‖∇D(x)‖²` on real images; the squared gradient is summed over pixels.
    #[serde(alias = "r1")]
    pub r1_gamma: f64,
    /// `γ` of the R2 penalty, the same on generated images.
    #[serde(alias = "r2")]
    pub r2_gamma: f64,
    /// `λ` of the WGAN-GP penalty `λ · E (‖∇D(x̃)‖ - 1)²` on interpolations of real and generated images; 10 is usual.
    pub gradient_penalty: f64,
    /// Discriminator steps between two gradient penalties (lazy regularization).
    ///
    /// Above 1 the penalties are a separate optimizer step with `interval` times their weight, and the discriminator's Adam
    /// is adjusted: see [`AdamConfig::with_lazy_penalty`](crate::AdamConfig::with_lazy_penalty).
    #[serde(alias = "every")]
    pub interval: u32,
    /// `λ` of the [`LeCam`](crate::LeCam) regularizer.
    pub lecam: f64,
    /// Decay of LeCam's moving averages.
    pub lecam_decay: f64,
    /// Discriminator steps before LeCam starts.
    pub lecam_start: u32,
    /// Networks with spectral normalization: weights are divided by their largest singular value.
    pub spectral_norm: SpectralNorm,
}

/// Which networks have spectral normalization.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum SpectralNorm {
    /// Neither.
    #[default]
    None,
    /// The discriminator.
    Discriminator,
    /// The discriminator and the generator.
    Both,
}

impl SpectralNorm {
    /// Adds spectral normalization to the networks that it names. Layers that have it already are unchanged.
    pub fn apply<T: Real>(self, generator: &mut Sequential<T>, discriminator: &mut Sequential<T>) {
        if self != Self::None {
            spectral_normalize(discriminator);
        }
        if self == Self::Both {
            spectral_normalize(generator);
        }
    }
}

impl Default for RegularizeConfig {
    fn default() -> Self {
        Self {
            r1_gamma: 0.0,
            r2_gamma: 0.0,
            gradient_penalty: 0.0,
            interval: 1,
            lecam: 0.0,
            lecam_decay: 0.99,
            lecam_start: 1000,
            spectral_norm: SpectralNorm::None,
        }
    }
}

impl RegularizeConfig {
    /// Whether everything is at its default.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Whether there is a penalty on the discriminator's gradient with respect to its images.
    pub fn penalizes_gradients(&self) -> bool {
        self.r1_gamma > 0.0 || self.r2_gamma > 0.0 || self.gradient_penalty > 0.0
    }

    /// Adds a line for each invalid setting.
    pub(crate) fn problems(&self, problems: &mut Vec<String>) {
        let weights = [
            ("r1_gamma", self.r1_gamma),
            ("r2_gamma", self.r2_gamma),
            ("gradient_penalty", self.gradient_penalty),
            ("lecam", self.lecam),
        ];
        for (name, weight) in weights {
            if !(weight.is_finite() && weight >= 0.0) {
                problems.push(format!("regularize.{name} must be 0 or above, got {weight}"));
            }
        }
        if self.gradient_penalty > 0.0 && (self.r1_gamma > 0.0 || self.r2_gamma > 0.0) {
            problems.push(
                "regularize.gradient_penalty pulls gradient norms to 1, but r1_gamma and r2_gamma pull them to 0: set one kind \
                 only"
                    .into(),
            );
        }
        if self.interval == 0 {
            problems.push("regularize.interval must be at least 1, got 0".into());
        } else if self.interval > 1 && !self.penalizes_gradients() {
            problems.push(format!(
                "regularize.interval is {}, but there is no gradient penalty: set r1_gamma, r2_gamma or gradient_penalty",
                self.interval
            ));
        }
        if !(0.0..1.0).contains(&self.lecam_decay) {
            problems.push(format!(
                "regularize.lecam_decay must be from 0 to below 1, got {}",
                self.lecam_decay
            ));
        }
    }
}
