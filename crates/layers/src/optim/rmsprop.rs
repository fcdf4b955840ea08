//! RMSProp.

use super::{Core, Optimizer, OptimizerState, Schedule, common_settings};
use crate::error::LayersError;
use crate::module::Module;
use crate::names::Names;
use crate::visit::Gradients;
use engraft_tensor::Real;

/// RMSProp: `v ← alpha · v + (1 - alpha) · g²`, `x ← x - lr · g / (√v + eps)`.
///
/// *Source*: Tieleman and Hinton, "Neural networks for machine learning", lecture 6.5, 2012, in the form of
/// PyTorch.
#[derive(Clone, Debug)]
pub struct RMSProp<T: Real = f32> {
    core: Core<T, 1>,
    alpha: f64,
    eps: f64,
}

impl<T: Real> RMSProp<T> {
    /// RMSProp with alpha 0.99 and eps 1e-8.
    pub fn new(lr: f64) -> Self {
        Self {
            core: Core::new("rmsprop", ["mean_square"], lr),
            alpha: 0.99,
            eps: 1e-8,
        }
    }

    /// Decay of the mean square.
    #[must_use]
    pub fn alpha(mut self, alpha: f64) -> Self {
        self.alpha = alpha;
        self
    }

    /// What is added to the root of the mean square.
    #[must_use]
    pub fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }

    common_settings!();
}

impl<T: Real> Optimizer<T> for RMSProp<T> {
    fn step(&mut self, module: &mut dyn Module<T>, gradients: &Gradients<T>) {
        let [alpha, rest, eps] = [self.alpha, 1.0 - self.alpha, self.eps].map(T::from_f64);
        self.core
            .step(module, gradients, |values, gradient, [mean_square], rates| {
                let lr = T::from_f64(rates.lr);
                let keep = T::from_f64(1.0 - rates.lr * rates.weight_decay);
                for ((x, &g), v) in values.iter_mut().zip(gradient).zip(mean_square) {
                    *v = alpha * *v + rest * (g * g);
                    *x = keep * *x - lr * g / (v.sqrt() + eps);
                }
            });
    }

    fn state(&self) -> OptimizerState<T> {
        self.core.state()
    }

    fn load_state(&mut self, state: OptimizerState<T>, module: &dyn Module<T>) -> Result<(), LayersError> {
        self.core.load_state(state, module)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dense, Init, parameters};
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
