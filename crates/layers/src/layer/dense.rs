//! The fully connected layer.

use crate::init::Init;
use crate::layer::adapter::Adapter;
use crate::layer::weights::Weights;
use crate::module::{Mode, Module, Path, Slot, SlotMut};
use engraft_tensor::{Real, Tensor};

/// `y = x · weight + bias`.
///
/// *Shapes*: `[n, inputs] -> [n, outputs]`; `weight [inputs, outputs]`, `bias [outputs]`.
#[derive(Clone, Debug)]
pub struct Dense<T: Real = f32> {
    weights: Weights<T>,
}

impl<T: Real> Dense<T> {
    /// A layer with initialised weight and a bias of zeros.
    pub fn new(inputs: usize, outputs: usize, init: &mut Init) -> Self {
        Self {
            weights: Weights::new(init.weight(&[inputs, outputs], inputs, outputs), 1),
        }
    }

    /// Multiplies the initial weight by `factor`; with 0 the layer begins as zero, which still learns. With
    /// [spectral normalisation](Module::spectral_normalise) it is zero until the first step, and as large as any
    /// other from then on.
    #[must_use]
    pub fn scaled(mut self, factor: f64) -> Self {
        self.weights.scale(factor);
        self
    }

    /// Drops the bias, as before a batch norm, which would cancel it.
    #[must_use]
    pub fn no_bias(mut self) -> Self {
        self.weights.drop_bias();
        self
    }

    /// Divides the weight by its largest singular value; see [`Module::spectral_normalise`].
    #[must_use]
    pub fn spectral_norm(mut self) -> Self {
        self.spectral_normalise();
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

    fn forward_leaky_relu(&self, x: &Tensor<T>, mode: Mode, slope: f64) -> Tensor<T> {
        self.weights.add_bias_leaky_relu(&self.product(x, mode), slope)
    }

    fn spectral_normalise(&mut self) -> usize {
        self.weights.spectral_normalise()
    }

    fn adapt(&mut self, adapter: Adapter, init: &mut Init) -> usize {
        self.weights.adapt(adapter, init)
    }

    fn merge_adapters(&mut self) -> usize {
        self.weights.merge_adapter()
    }

    fn absorb(&mut self, scale: &Tensor<T>, shift: &Tensor<T>) -> bool {
        self.weights.absorb(scale, shift);
        true
    }

    fn fold(&mut self) {
        self.weights.settle();
    }

    fn visit<'a>(&'a self, path: &Path<'_>, f: &mut dyn FnMut(&Path<'_>, Slot<'a, T>)) {
        self.weights.visit(path, f);
    }

    fn visit_mut(&mut self, path: &Path<'_>, f: &mut dyn FnMut(&Path<'_>, SlotMut<'_, T>)) {
        self.weights.visit_mut(path, f);
    }

    fn describe(&self) -> String {
        let shape = self.weights.shape();
        format!("Dense {} -> {}{}", shape[0], shape[1], self.weights.describe())
    }
}
