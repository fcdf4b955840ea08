//! The fully connected layer.

use crate::condition::Condition;
use crate::init::Init;
use crate::layer::parametrization::Parametrization;
use crate::mode::Mode;
use crate::module::{Fusion, Module};
use crate::parameter::{Slot, SlotMut};
use engraft_tensor::{Real, Tensor};

/// `y = x · weight + bias`.
///
/// *Shapes*: `[n, inputs] -> [n, outputs]`; `weight [inputs, outputs]`, `bias [outputs]`.
#[derive(Clone, Debug)]
pub struct Dense<T: Real = f32> {
    weights: Parametrization<T>,
}

impl<T: Real> Dense<T> {
    /// A layer with an initialized weight and a zero bias.
    pub fn new(inputs: usize, outputs: usize, init: &mut Init) -> Self {
        Self {
            weights: Parametrization::new(init.weight(&[inputs, outputs], inputs, outputs), 1),
        }
    }

    /// Multiplies the initial weight by `factor`. A layer with factor 0 starts at zero and still learns. With
    /// [spectral normalization](crate::spectral_normalize) it is zero until the first step, and has a normalized weight
    /// from then on.
    #[must_use]
    pub fn scaled(mut self, factor: f64) -> Self {
        self.weights.scale(factor);
        self
    }

    /// Removes the bias, for use before a batch norm, which would cancel it.
    #[must_use]
    pub fn no_bias(mut self) -> Self {
        self.weights.drop_bias();
        self
    }

    /// Enables spectral normalization; see [`crate::spectral_normalize`].
    #[must_use]
    pub fn spectral_norm(mut self) -> Self {
        self.weights.spectral_normalize();
        self
    }

    /// The product without the bias.
    fn product(&self, x: &Tensor<T>, mode: Mode) -> Tensor<T> {
        x.matmul(&self.weights.weight(mode))
    }
}

impl<T: Real> Module<T> for Dense<T> {
    fn forward(&self, x: &Tensor<T>, mode: Mode) -> Tensor<T> {
        self.weights.add_bias(self.product(x, mode))
    }

    fn slots(&self) -> Vec<(&str, Slot<'_, T>)> {
        self.weights.slots()
    }

    fn slots_mut(&mut self) -> Vec<(&str, SlotMut<'_, T>)> {
        self.weights.slots_mut()
    }

    fn fusion(&self) -> Option<&dyn Fusion<T>> {
        Some(self)
    }

    fn fusion_mut(&mut self) -> Option<&mut dyn Fusion<T>> {
        Some(self)
    }

    fn parametrization_mut(&mut self) -> Option<&mut Parametrization<T>> {
        Some(&mut self.weights)
    }

    fn describe(&self) -> String {
        let shape = self.weights.shape();
        format!("Dense {} -> {}{}", shape[0], shape[1], self.weights.describe())
    }
}

impl<T: Real> Fusion<T> for Dense<T> {
    fn forward_leaky_relu(&self, x: &Tensor<T>, _: &Condition<T>, mode: Mode, slope: f64) -> Tensor<T> {
        self.weights.add_bias_leaky_relu(&self.product(x, mode), slope)
    }

    fn fold_affine(&mut self, scale: &Tensor<T>, shift: &Tensor<T>) -> bool {
        self.weights.fold_affine(scale, shift);
        true
    }

    fn fold(&mut self) {
        self.weights.materialize();
    }
}
