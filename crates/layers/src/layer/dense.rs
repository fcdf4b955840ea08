//! The fully connected layer.

use crate::init::Init;
use crate::layer::fold::absorb;
use crate::layer::spectral::Spectral;
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
    spectral: Option<Spectral<T>>,
}

impl<T: Real> Dense<T> {
    /// A layer with initialised weight and a bias of zeros.
    pub fn new(inputs: usize, outputs: usize, init: &mut Init) -> Self {
        Self {
            weight: Parameter::new(init.weight(&[inputs, outputs], inputs, outputs)),
            bias: Some(Parameter::new(Tensor::zeros([outputs]))),
            spectral: None,
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

    /// Divides the weight by its largest singular value; see [`Module::spectral_normalise`].
    #[must_use]
    pub fn spectral_norm(mut self) -> Self {
        self.spectral_normalise();
        self
    }

    /// `x · weight`, normalised if that is asked for.
    fn product(&self, x: &Tensor<T>, mode: Mode) -> Tensor<T> {
        match &self.spectral {
            Some(spectral) => x.matmul(&spectral.normalised(self.weight.tensor(), mode)),
            None => x.matmul(self.weight.tensor()),
        }
    }
}

impl<T: Real> Module<T> for Dense<T> {
    fn forward(&self, x: &Tensor<T>, mode: Mode) -> Tensor<T> {
        let y = self.product(x, mode);
        match &self.bias {
            Some(bias) => y + bias.tensor(),
            None => y,
        }
    }

    fn forward_leaky_relu(&self, x: &Tensor<T>, mode: Mode, slope: f64) -> Tensor<T> {
        let y = self.product(x, mode);
        match &self.bias {
            Some(bias) => bias_leaky_relu(&y, bias.tensor(), slope),
            None => y.leaky_relu(slope),
        }
    }

    fn spectral_normalise(&mut self) -> usize {
        let weight = self.weight.tensor();
        self.spectral.get_or_insert_with(|| Spectral::new(weight, 1));
        1
    }

    fn absorb(&mut self, scale: &Tensor<T>, shift: &Tensor<T>) -> bool {
        if let Some(spectral) = self.spectral.take() {
            let weight = spectral.normalised(self.weight.tensor(), Mode::Eval);
            self.weight.set(&weight);
        }
        absorb(&mut self.weight, &mut self.bias, scale, scale, shift);
        true
    }

    fn visit<'a>(&'a self, path: &Path<'_>, f: &mut dyn FnMut(&Path<'_>, Slot<'a, T>)) {
        f(&path.child("weight"), Slot::Parameter(&self.weight));
        if let Some(bias) = &self.bias {
            f(&path.child("bias"), Slot::Parameter(bias));
        }
        if let Some(spectral) = &self.spectral {
            spectral.visit(path, f);
        }
    }

    fn visit_mut(&mut self, path: &Path<'_>, f: &mut dyn FnMut(&Path<'_>, SlotMut<'_, T>)) {
        f(&path.child("weight"), SlotMut::Parameter(&mut self.weight));
        if let Some(bias) = &mut self.bias {
            f(&path.child("bias"), SlotMut::Parameter(bias));
        }
        if let Some(spectral) = &mut self.spectral {
            spectral.visit_mut(path, f);
        }
    }

    fn describe(&self) -> String {
        let shape = self.weight.tensor().shape();
        let bias = if self.bias.is_some() { "" } else { ", no bias" };
        let spectral = self.spectral.as_ref().map_or("", |_| ", spectral norm");
        format!("Dense {} -> {}{bias}{spectral}", shape[0], shape[1])
    }
}
