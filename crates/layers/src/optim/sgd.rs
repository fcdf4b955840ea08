//! Stochastic gradient descent.

use super::{Core, Optimizer, OptimizerState, Schedule, common_settings};
use crate::error::LayersError;
use crate::module::Module;
use crate::names::Names;
use crate::visit::Gradients;
use engraft_tensor::Real;

/// Stochastic gradient descent with momentum: `v ← momentum · v + g`, `x ← x - lr · v`.
///
/// *Source*: Sutskever et al., "On the importance of initialization and momentum", 2013, in the form of
/// PyTorch, where the learning rate multiplies the velocity.
#[derive(Clone, Debug)]
pub struct Sgd<T: Real = f32> {
    core: Core<T, 1>,
    momentum: f64,
}

impl<T: Real> Sgd<T> {
    /// Plain descent without momentum.
    pub fn new(lr: f64) -> Self {
        Self {
            core: Core::new("sgd", ["velocity"], lr),
            momentum: 0.0,
        }
    }

    /// Share of the velocity that stays in each step.
    #[must_use]
    pub fn momentum(mut self, momentum: f64) -> Self {
        self.momentum = momentum;
        self
    }

    common_settings!();
}

impl<T: Real> Optimizer<T> for Sgd<T> {
    fn step(&mut self, module: &mut dyn Module<T>, gradients: &Gradients<T>) {
        let momentum = T::from_f64(self.momentum);
        self.core
            .step(module, gradients, |values, gradient, [velocity], rates| {
                let lr = T::from_f64(rates.lr);
                let keep = T::from_f64(1.0 - rates.lr * rates.weight_decay);
                for ((x, &g), v) in values.iter_mut().zip(gradient).zip(velocity) {
                    *v = momentum * *v + g;
                    *x = keep * *x - lr * *v;
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
