//! The fully connected layer.

use crate::init::Init;
use crate::layer::fold::absorb;
use crate::module::{Mode, Module, Path, Slot, SlotMut};
use crate::parameter::Parameter;
use engraft_tensor::{Real, Tensor, bias_leaky_relu};

/// `y = x · weight + bias`.
///
/// *Shapes*: `[n, inputs] -> [n, outputs]`; `weight [inputs, outputs]`, `bias [outputs]`.
#[derive(Clone, Debug)]
pub struct Dense<T: Real = f32> {
    weight: Parameter<T>,
    bias: Option<Parameter<T>>,
}

impl<T: Real> Dense<T> {
    /// A layer with initialised weight and a bias of zeros.
    pub fn new(inputs: usize, outputs: usize, init: &mut Init) -> Self {
        Self {
            weight: Parameter::new(init.weight(&[inputs, outputs], inputs, outputs)),
            bias: Some(Parameter::new(Tensor::zeros([outputs]))),
        }
    }

    /// Multiplies the initial weight by `factor`; with 0 the layer begins as zero, which still learns.
    #[must_use]
    pub fn scaled(mut self, factor: f64) -> Self {
        self.weight.set(&(self.weight.tensor() * T::from_f64(factor)));
        self
    }

    /// Drops the bias, as before a batch norm, which would cancel it.
    #[must_use]
    pub fn no_bias(mut self) -> Self {
        self.bias = None;
        self
    }
}

impl<T: Real> Module<T> for Dense<T> {
    fn forward(&self, x: &Tensor<T>, _: Mode) -> Tensor<T> {
        let y = x.matmul(self.weight.tensor());
        match &self.bias {
            Some(bias) => y + bias.tensor(),
            None => y,
        }
    }

    fn forward_leaky_relu(&self, x: &Tensor<T>, _: Mode, slope: f64) -> Tensor<T> {
        let y = x.matmul(self.weight.tensor());
        match &self.bias {
            Some(bias) => bias_leaky_relu(&y, bias.tensor(), slope),
            None => y.leaky_relu(slope),
        }
    }

    fn absorb(&mut self, scale: &Tensor<T>, shift: &Tensor<T>) -> bool {
        absorb(&mut self.weight, &mut self.bias, scale, scale, shift);
        true
    }

    fn visit<'a>(&'a self, path: &Path<'_>, f: &mut dyn FnMut(&Path<'_>, Slot<'a, T>)) {
        f(&path.child("weight"), Slot::Parameter(&self.weight));
        if let Some(bias) = &self.bias {
            f(&path.child("bias"), Slot::Parameter(bias));
        }
    }

    fn visit_mut(&mut self, path: &Path<'_>, f: &mut dyn FnMut(&Path<'_>, SlotMut<'_, T>)) {
        f(&path.child("weight"), SlotMut::Parameter(&mut self.weight));
        if let Some(bias) = &mut self.bias {
            f(&path.child("bias"), SlotMut::Parameter(bias));
        }
    }

    fn describe(&self) -> String {
        let shape = self.weight.tensor().shape();
        let bias = if self.bias.is_some() { "" } else { ", no bias" };
        format!("Dense {} -> {}{bias}", shape[0], shape[1])
    }
}
