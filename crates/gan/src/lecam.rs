//! The LeCam regularizer.

use engraft_tensor::shards::shard_mean;
use engraft_tensor::{Real, Tensor, no_grad};
use serde::{Deserialize, Serialize};

/// Moving averages of the discriminator's logits, and a penalty on the distance from them.
///
/// Let `α_R` and `α_F` be the averages of the mean logit of real and of generated images. The penalty is `E max(0,
/// D(x) - α_F)² + E max(0, α_R - D(G(z)))²`. It pulls real logits weakly towards the average of generated ones and
/// vice versa, which limits overfitting on few images.
///
/// The averages start at 0 with a bias correction, like Adam's moments, so they are right from the first step on.
///
/// *Source*: Tseng et al., "Regularizing generative adversarial networks under limited data", 2021, section 3. The
/// squares are clipped at 0 as in the authors' experiments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LeCam {
    real: f64,
    fake: f64,
    /// `decay^steps`, the weight of the initial value; `None` before the first step.
    start_left: Option<f64>,
}

impl LeCam {
    /// Averages before the first step.
    pub fn new() -> Self {
        Self::default()
    }

    /// Updates the averages with the logits of a step: `average ← decay · average + (1 - decay) · mean`.
    pub fn update<T: Real>(&mut self, real_logits: &Tensor<T>, fake_logits: &Tensor<T>, decay: f64) {
        let mean = |logits: &Tensor<T>| no_grad(|| shard_mean(&logits.mean()).item().into_f64());
        self.real = decay * self.real + (1.0 - decay) * mean(real_logits);
        self.fake = decay * self.fake + (1.0 - decay) * mean(fake_logits);
        self.start_left = Some(decay * self.start_left.unwrap_or(1.0));
    }

    /// `[α_R, α_F]`, bias-corrected; zeros before the first step.
    pub fn averages(&self) -> [f64; 2] {
        match self.start_left {
            Some(left) => [self.real, self.fake].map(|sum| sum / (1.0 - left)),
            None => [0.0; 2],
        }
    }

    /// The penalty, a scalar, without its weight.
    #[must_use]
    pub fn penalty<T: Real>(&self, real_logits: &Tensor<T>, fake_logits: &Tensor<T>) -> Tensor<T> {
        let [real, fake] = self.averages().map(T::from_f64);
        (real_logits - fake).relu().square().mean() + (-fake_logits + real).relu().square().mean()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_tensor::gradcheck;

    fn logits(values: &[f64]) -> Tensor<f64> {
        Tensor::from_vec([values.len(), 1], values.to_vec())
    }

    #[test]
    fn averages_and_penalty_by_hand() {
        let mut lecam = LeCam::new();
        assert_eq!(lecam.averages(), [0.0, 0.0]);
        lecam.update(&logits(&[1.0, 3.0]), &logits(&[-1.0, 0.0]), 0.9);
        let [real, fake] = lecam.averages();
        assert!((real - 2.0).abs() < 1e-12 && (fake + 0.5).abs() < 1e-12);
        lecam.update(&logits(&[4.0]), &logits(&[1.0]), 0.9);
        let [real, fake] = lecam.averages();
        // (0.9 · 0.1 · 2 + 0.1 · 4) / (1 - 0.81), and the same for the generated ones.
        assert!((real - 0.58 / 0.19).abs() < 1e-12 && (fake - 0.055 / 0.19).abs() < 1e-12);
        let penalty = lecam.penalty(&logits(&[1.0, -9.0]), &logits(&[9.0, 1.0])).item();
        let expected = (1.0 - fake).powi(2) / 2.0 + (real - 1.0).powi(2) / 2.0;
        assert!((penalty - expected).abs() < 1e-12, "{penalty} and {expected}");
    }

    #[test]
    fn averages_of_a_constant_are_that_constant() {
        let mut lecam = LeCam::new();
        for _ in 0..5 {
            lecam.update(&logits(&[0.7]), &logits(&[-0.2]), 0.99);
            let [real, fake] = lecam.averages();
            assert!((real - 0.7).abs() < 1e-12 && (fake + 0.2).abs() < 1e-12);
        }
    }

    #[test]
    fn the_averages_are_constants_of_the_graph() {
        let mut lecam = LeCam::new();
        lecam.update(&logits(&[1.0]).as_leaf(), &logits(&[-1.0]).as_leaf(), 0.5);
        let at = [logits(&[0.4, -2.0]), logits(&[0.3, 1.9])];
        gradcheck(|x| lecam.penalty(&x[0], &x[1]), &at).unwrap();
    }
}
