//! Stochastic gradient descent.

use super::{Rates, RuleOptimizer, UpdateRule};
use engraft_tensor::Real;

/// Stochastic gradient descent with momentum: `v ← momentum · v + g`, `x ← x - lr · v`.
///
/// *Source*: Sutskever et al., "On the importance of initialization and momentum", 2013, in the form of
/// PyTorch, where the learning rate multiplies the velocity.
pub type Sgd<T = f32> = RuleOptimizer<SgdRule, T>;

/// The update rule of [`Sgd`].
#[derive(Clone, Copy, Debug)]
pub struct SgdRule {
    momentum: f64,
}

impl<T: Real> Sgd<T> {
    /// Plain gradient descent without momentum.
    pub fn new(lr: f64) -> Self {
        Self::with_rule(SgdRule { momentum: 0.0 }, lr)
    }

    /// The share of the velocity that each step keeps, by default 0.
    #[must_use]
    pub fn momentum(mut self, momentum: f64) -> Self {
        self.rule.momentum = momentum;
        self
    }
}

impl UpdateRule for SgdRule {
    const KIND: &'static str = "sgd";
    const MOMENTS: &'static [&'static str] = &["velocity"];

    fn update<T: Real>(&self, values: &mut [T], gradient: &[T], moments: &mut [Vec<T>], rates: &Rates) {
        let momentum = T::from_f64(self.momentum);
        let lr = T::from_f64(rates.lr);
        let keep = T::from_f64(1.0 - rates.lr * rates.weight_decay);
        for ((x, &g), v) in values.iter_mut().zip(gradient).zip(&mut moments[0]) {
            *v = momentum * *v + g;
            *x = keep * *x - lr * *v;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dense, Gradients, Init, Optimizer, parameters};
    use engraft_tensor::Tensor;

    #[test]
    fn two_steps_with_momentum_by_hand() {
        let mut layer = Dense::<f64>::new(1, 1, &mut Init::glorot(1)).no_bias();
        let mut sgd = Sgd::new(0.1).momentum(0.5);
        let start = parameters(&layer)[0].1.tensor().item();
        let gradients: Gradients<f64> = [("weight".to_string(), Tensor::ones([1, 1]))].into();
        sgd.step(&mut layer, &gradients);
        sgd.step(&mut layer, &gradients);
        let moved = start - parameters(&layer)[0].1.tensor().item();
        assert!((moved - (0.1 + 0.15)).abs() < 1e-12, "{moved}");
    }
}
