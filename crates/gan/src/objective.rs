//! The adversarial objective: what the discriminator and the generator minimise.

use engraft_tensor::{Real, Tensor};
use serde::{Deserialize, Serialize};

/// The game that generator and discriminator play, on logits `D(x)` without a sigmoid.
///
/// Both have the discriminator maximise `V(D, G) = E ln σ(D(x)) + E ln(1 - σ(D(G(z))))`; they differ in what
/// the generator does. With `s(a) = ln(1 + e^a)`, `ln σ(a) = -s(-a)` and `ln(1 - σ(a)) = -s(a)`, so that no
/// logarithm of a rounded probability is taken.
///
/// *Source*: Goodfellow et al., "Generative adversarial nets", 2014, equation 1 and section 3.
///
/// ```
/// use engraft_gan::Objective;
/// use engraft_tensor::Tensor;
/// let undecided = Tensor::<f64>::zeros([8, 1]);
/// let loss = Objective::NonSaturating.discriminator(&undecided, &undecided);
/// assert!((loss.item() - 2.0 * 2.0_f64.ln()).abs() < 1e-12);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Objective {
    /// The generator minimises `V` itself. Its gradient vanishes while the discriminator wins.
    Minimax,
    /// The generator maximises `E ln σ(D(G(z)))`: the same fixed point with a strong gradient from the start.
    #[default]
    NonSaturating,
}

impl Objective {
    /// Loss of the discriminator, `-V(D, G) = E s(-D(x)) + E s(D(G(z)))`, from its logits.
    #[must_use]
    pub fn discriminator<T: Real>(self, real_logits: &Tensor<T>, fake_logits: &Tensor<T>) -> Tensor<T> {
        (-real_logits).softplus().mean() + fake_logits.softplus().mean()
    }

    /// Loss of the generator from the discriminator's logits of its images.
    #[must_use]
    pub fn generator<T: Real>(self, fake_logits: &Tensor<T>) -> Tensor<T> {
        match self {
            Self::Minimax => -fake_logits.softplus().mean(),
            Self::NonSaturating => (-fake_logits).softplus().mean(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_tensor::grad;

    fn logits(values: &[f64]) -> Tensor<f64> {
        Tensor::from_vec([values.len(), 1], values.to_vec())
    }

    #[test]
    fn losses_by_hand() {
        let sigma = |a: f64| 1.0 / (1.0 + (-a).exp());
        let (real, fake) = (logits(&[1.0, -0.5]), logits(&[0.3, 2.0]));
        let value =
            (sigma(1.0).ln() + sigma(-0.5).ln() + (1.0 - sigma(0.3)).ln() + (1.0 - sigma(2.0)).ln()) / 2.0;
        for objective in [Objective::Minimax, Objective::NonSaturating] {
            assert!((objective.discriminator(&real, &fake).item() + value).abs() < 1e-12);
        }
        let minimax = ((1.0 - sigma(0.3)).ln() + (1.0 - sigma(2.0)).ln()) / 2.0;
        assert!((Objective::Minimax.generator(&fake).item() - minimax).abs() < 1e-12);
        let saturating = -(sigma(0.3).ln() + sigma(2.0).ln()) / 2.0;
        assert!((Objective::NonSaturating.generator(&fake).item() - saturating).abs() < 1e-12);
    }

    /// Both pull the generator the same way; only the minimax pull fades when the discriminator is sure.
    #[test]
    fn the_minimax_gradient_saturates() {
        let fake = logits(&[-12.0]).requires_grad();
        let [minimax] = grad(&Objective::Minimax.generator(&fake), [&fake]);
        let [other] = grad(&Objective::NonSaturating.generator(&fake), [&fake]);
        assert!(minimax.item() < 0.0 && minimax.item() > -1e-5);
        assert!(other.item() < -0.99);
    }
}
