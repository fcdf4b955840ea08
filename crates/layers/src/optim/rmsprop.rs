//! RMSProp.

use super::{Rates, RuleOptimizer, UpdateRule};
use engraft_tensor::Real;

/// RMSProp: `v ← alpha · v + (1 - alpha) · g²`, `x ← x - lr · g / (√v + eps)`.
///
/// *Source*: Tieleman and Hinton, "Neural networks for machine learning", lecture 6.5, 2012, in the form of
/// PyTorch.
pub type RMSProp<T = f32> = RuleOptimizer<RMSPropRule, T>;

/// The update rule of [`RMSProp`].
#[derive(Clone, Copy, Debug)]
pub struct RMSPropRule {
    alpha: f64,
    eps: f64,
}

impl<T: Real> RMSProp<T> {
    /// RMSProp with alpha 0.99 and eps 1e-8.
    pub fn new(lr: f64) -> Self {
        let rule = RMSPropRule {
            alpha: 0.99,
            eps: 1e-8,
        };
        Self::with_rule(rule, lr)
    }

    /// Decay rate of the mean square, by default 0.99.
    #[must_use]
    pub fn alpha(mut self, alpha: f64) -> Self {
        self.rule.alpha = alpha;
        self
    }

    /// The number added to the root of the mean square, by default 1e-8.
    #[must_use]
    pub fn eps(mut self, eps: f64) -> Self {
        self.rule.eps = eps;
        self
    }
}

impl UpdateRule for RMSPropRule {
    const KIND: &'static str = "rmsprop";
    const MOMENTS: &'static [&'static str] = &["mean_square"];

    fn update<T: Real>(&self, values: &mut [T], gradient: &[T], moments: &mut [Vec<T>], rates: &Rates) {
        let [alpha, rest, eps] = [self.alpha, 1.0 - self.alpha, self.eps].map(T::from_f64);
        let lr = T::from_f64(rates.lr);
        let keep = T::from_f64(1.0 - rates.lr * rates.weight_decay);
        for ((x, &g), v) in values.iter_mut().zip(gradient).zip(&mut moments[0]) {
            *v = alpha * *v + rest * (g * g);
            *x = keep * *x - lr * g / (v.sqrt() + eps);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dense, Gradients, Init, Optimizer, parameters};
    use engraft_tensor::Tensor;

    #[test]
    fn the_first_step_by_hand() {
        let mut layer = Dense::<f64>::new(1, 1, &mut Init::glorot(1)).no_bias();
        let start = parameters(&layer)[0].1.tensor().item();
        let gradients: Gradients<f64> = [("weight".to_string(), Tensor::full([1, 1], 4.0))].into();
        RMSProp::new(0.1)
            .alpha(0.75)
            .eps(0.0)
            .step(&mut layer, &gradients);
        let moved = start - parameters(&layer)[0].1.tensor().item();
        assert!((moved - 0.2).abs() < 1e-12, "{moved}"); // 0.1 · 4 / √(0.25 · 16)
    }
}
