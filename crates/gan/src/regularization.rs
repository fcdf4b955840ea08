//! The section `[regularise]` of a run: what keeps the discriminator from growing too steep or too sure.

use engraft_layers::{Sequential, spectral_normalize};
use engraft_tensor::Real;
use serde::{Deserialize, Serialize};

/// Regularisers of the discriminator; all are off at first.
///
/// ```toml
/// [regularise]
/// r1 = 1.0
/// r2 = 1.0
/// every = 8
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RegularizeConfig {
    /// `γ` of R1, `γ/2 · E ‖∇D(x)‖²` at real images: the squared slope summed over pixels.
    pub r1: f64,
    /// `γ` of R2, the same at generated images.
    pub r2: f64,
    /// `λ` of WGAN-GP, `λ · E (‖∇D(x̃)‖ - 1)²` between real and generated images; 10 is usual.
    pub gradient_penalty: f64,
    /// Steps of the discriminator between two of its gradient penalties; 1 at first.
    ///
    /// Above 1 they are a step of the optimiser of their own, with `every` times their weight, and the discriminator's
    /// Adam is set to what gives the same pace; see
    /// [`AdamConfig::with_lazy_penalty`](crate::AdamConfig::with_lazy_penalty).
    pub every: u32,
    /// `λ` of [`LeCam`](crate::LeCam).
    pub lecam: f64,
    /// Share of LeCam's averages that stays in a step; 0.99 at first.
    pub lecam_decay: f64,
    /// Steps of the discriminator before LeCam sets in; 1000 at first.
    pub lecam_start: u32,
    /// Networks whose weights are divided by their largest singular value.
    pub spectral_norm: SpectralNorm,
}

/// Which networks have spectral normalisation.
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
    /// Normalizes the networks that it names; layers that are normalized already stay as they are.
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
            r1: 0.0,
            r2: 0.0,
            gradient_penalty: 0.0,
            every: 1,
            lecam: 0.0,
            lecam_decay: 0.99,
            lecam_start: 1000,
            spectral_norm: SpectralNorm::None,
        }
    }
}

impl RegularizeConfig {
    /// Whether nothing is regularised, and nothing else is set.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the discriminator's gradient in its images is penalised.
    pub fn penalizes_gradients(&self) -> bool {
        self.r1 > 0.0 || self.r2 > 0.0 || self.gradient_penalty > 0.0
    }

    /// What makes no sense in itself, one line for each problem.
    pub(crate) fn problems(&self, problems: &mut Vec<String>) {
        let weights = [
            ("r1", self.r1),
            ("r2", self.r2),
            ("gradient_penalty", self.gradient_penalty),
            ("lecam", self.lecam),
        ];
        for (name, weight) in weights {
            if !(weight.is_finite() && weight >= 0.0) {
                problems.push(format!("regularise.{name} must be 0 or above, got {weight}"));
            }
        }
        if self.gradient_penalty > 0.0 && (self.r1 > 0.0 || self.r2 > 0.0) {
            problems.push(
                "regularise.gradient_penalty pulls slopes to 1 where r1 and r2 pull them to 0: keep one kind"
                    .into(),
            );
        }
        if self.every == 0 {
            problems.push("regularise.every must be at least 1, got 0".into());
        } else if self.every > 1 && !self.penalizes_gradients() {
            problems.push(format!(
                "regularise.every is {}, but there is no gradient penalty (r1, r2, gradient_penalty) to put off",
                self.every
            ));
        }
        if !(0.0..1.0).contains(&self.lecam_decay) {
            problems.push(format!(
                "regularise.lecam_decay must be from 0 to below 1, got {}",
                self.lecam_decay
            ));
        }
    }
}
