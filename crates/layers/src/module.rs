//! The module: a forward pass, and a visitor over named parameters, buffers and generators.

use crate::init::Init;
use crate::layer::Adapter;
use crate::parameter::{Buffer, Generator, Parameter};
use engraft_tensor::{Real, Tensor, grad_of};
use std::collections::BTreeMap;
use std::fmt;

/// Whether a forward pass belongs to training or to evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Batch norm uses the statistics of the batch and updates its running ones; dropout drops.
    Train,
    /// Batch norm uses its running statistics; dropout passes everything through.
    Eval,
}

/// A dotted name, built while walking down a module; a component never contains a dot.
#[derive(Clone, Copy, Debug)]
pub struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    name: &'a str,
}

impl<'a> Path<'a> {
    /// The path of the module one starts from: an empty name.
    pub const fn root() -> Self {
        Self {
            parent: None,
            name: "",
        }
    }

    /// The path of a part of the module at this path.
    pub fn child(&'a self, name: &'a str) -> Self {
        Self {
            parent: Some(self),
            name,
        }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.parent {
            Some(parent) if parent.name.is_empty() && parent.parent.is_none() => write!(f, "{}", self.name),
            Some(parent) => write!(f, "{parent}.{}", self.name),
            None => write!(f, "{}", self.name),
        }
    }
}

/// What a module holds, as seen by [`Module::visit`].
pub enum Slot<'a, T: Real> {
    /// Learned by an optimiser.
    Parameter(&'a Parameter<T>),
    /// Updated by the forward pass.
    Buffer(&'a Buffer<T>),
    /// Advanced by the forward pass.
    Generator(&'a Generator),
}

/// What a module holds, as seen by [`Module::visit_mut`].
pub enum SlotMut<'a, T: Real> {
    /// Learned by an optimiser.
    Parameter(&'a mut Parameter<T>),
    /// Updated by the forward pass.
    Buffer(&'a mut Buffer<T>),
    /// Advanced by the forward pass.
    Generator(&'a mut Generator),
}

/// A function of a tensor with state of its own.
///
/// Implementing it takes a forward pass and, for a module that holds something, the two visitors, which
/// must name the same slots in the same order. Counting, saving, loading, freezing and optimising are
/// written once over the visitors.
///
/// ```
/// use engraft_layers::{Mode, Module, Parameter, Path, Slot, SlotMut, parameter_count};
/// use engraft_tensor::{Real, Tensor};
///
/// /// `scale · x` with one learned number.
/// struct Scale<T: Real> {
///     scale: Parameter<T>,
/// }
///
/// impl<T: Real> Module<T> for Scale<T> {
///     fn forward(&self, x: &Tensor<T>, _mode: Mode) -> Tensor<T> {
///         x * self.scale.tensor()
///     }
///     fn visit<'a>(&'a self, path: &Path<'_>, f: &mut dyn FnMut(&Path<'_>, Slot<'a, T>)) {
///         f(&path.child("scale"), Slot::Parameter(&self.scale));
///     }
///     fn visit_mut(&mut self, path: &Path<'_>, f: &mut dyn FnMut(&Path<'_>, SlotMut<'_, T>)) {
///         f(&path.child("scale"), SlotMut::Parameter(&mut self.scale));
///     }
/// }
///
/// let module = Scale { scale: Parameter::new(Tensor::scalar(2.0_f32)) };
/// assert_eq!(module.forward(&Tensor::ones([2]), Mode::Eval).as_slice(), [2.0, 2.0]);
/// assert_eq!(parameter_count(&module), 1);
/// ```
pub trait Module<T: Real = f32>: Send + Sync {
    /// Computes the output for `x`. In [`Mode::Train`] buffers and generators move on.
    fn forward(&self, x: &Tensor<T>, mode: Mode) -> Tensor<T>;

    /// The slope, for a module that is a leaky ReLU and nothing else (0 for a ReLU); `None` for any other.
    ///
    /// A chain then runs it together with the layer before it, by [`Module::forward_leaky_relu`]. The slope
    /// must be finite and not negative.
    fn leaky_slope(&self) -> Option<f64> {
        None
    }

    /// Computes `self.forward(x, mode).leaky_relu(slope)`, up to rounding.
    ///
    /// Override it where both together take fewer passes over memory than one after the other.
    fn forward_leaky_relu(&self, x: &Tensor<T>, mode: Mode, slope: f64) -> Tensor<T> {
        self.forward(x, mode).leaky_relu(slope)
    }

    /// Scale and shift, `[c]` each, of a module that is `x · scale + shift` over the channels (the last axis)
    /// in evaluation mode; `None` for any other.
    fn evaluation_affine(&self) -> Option<[Tensor<T>; 2]> {
        None
    }

    /// Changes the parameters such that the result is `y · scale + shift` where it was `y`, with scale and
    /// shift `[c]` over the channels. A module that cannot do so stays as it is and returns `false`.
    fn absorb(&mut self, scale: &Tensor<T>, shift: &Tensor<T>) -> bool {
        let _ = (scale, shift);
        false
    }

    /// Folds what this module is made of, for evaluation only: batch norms, adapters, spectral normalisation; see
    /// [`Sequential::folded`](crate::Sequential::folded).
    fn fold(&mut self) {}

    /// Makes every dense and convolutional layer divide its weight by the weight's largest singular value from now
    /// on; returns how many layers do so. Layers that do already stay as they are.
    ///
    /// So a dense layer changes no distance by more than about a factor of 1. The weight of a convolution counts as a
    /// matrix with one column for each output channel, as in the paper, which bounds what becomes of one patch. A pixel
    /// lies in up to `kh · kw` patches, so that the layer may change distances by up to about `sqrt(kh · kw)`.
    ///
    /// The singular value is followed by one step of a power iteration for each forward pass in training. Its two
    /// vectors are buffers `u` and `v` beside the weight.
    ///
    /// A module that is made of others must pass this on; a module without such layers leaves it as it is.
    ///
    /// *Source*: Miyato et al., "Spectral normalization for generative adversarial networks", 2018.
    ///
    /// ```
    /// use engraft_layers::{Dense, Init, Mode, Module};
    /// use engraft_tensor::Tensor;
    /// let mut layer = Dense::<f64>::new(3, 1, &mut Init::glorot(1)).no_bias();
    /// assert_eq!(layer.spectral_normalise(), 1);
    /// // The weight of one output is a vector: it now has length 1.
    /// let weight = layer.forward(&Tensor::from_vec([3, 3], vec![1., 0., 0., 0., 1., 0., 0., 0., 1.]), Mode::Eval);
    /// assert!((weight.square().sum().item() - 1.0).abs() < 1e-12);
    /// ```
    fn spectral_normalise(&mut self) -> usize {
        0
    }

    /// Gives every dense and convolutional layer an adapter, which from now on decides how its weight is changed;
    /// returns how many layers have one. Nothing that the module computes changes by that.
    ///
    /// The weight itself stays as it is, a parameter named as before, and learns as before: freeze it to train the
    /// adapter alone ([`Adapter::names`] are the names to leave out). Load weights first and adapt then, because
    /// [`Adapter::SingularValues`] holds vectors of the weight. [`Sequential::folded`](crate::Sequential::folded)
    /// makes the changed weight the weight, and drops the adapter. Layers that have the same adapter already stay as
    /// they are.
    ///
    /// In a layer with spectral normalisation the changed weight is what is normalised.
    ///
    /// A module that is made of others must pass this on; a module without such layers leaves it as it is.
    ///
    /// ```
    /// use engraft_layers::{Adapter, Dense, Init, Mode, Module, Path, Sequential, SlotMut, gradients, parameters};
    /// use engraft_tensor::Tensor;
    ///
    /// let init = &mut Init::glorot(1);
    /// let mut net = Sequential::<f32>::new().add("dense", Dense::new(3, 2, init));
    /// let x = Tensor::ones([1, 3]);
    /// let before = net.forward(&x, Mode::Eval);
    ///
    /// let adapter = Adapter::Modulation { rank: 1 };
    /// assert_eq!(net.adapt(adapter, init), 1);
    /// let names: Vec<_> = parameters(&net).into_iter().map(|(name, _)| name).collect();
    /// assert_eq!(names, ["dense.weight", "dense.bias", "dense.adapter.a", "dense.adapter.b"]);
    /// assert_eq!(net.forward(&x, Mode::Eval).as_slice(), before.as_slice());
    ///
    /// let learned = adapter.names();
    /// net.visit_mut(&Path::root(), &mut |path, slot| match slot {
    ///     SlotMut::Parameter(p) if !learned.matches(&path.to_string()) => p.freeze(),
    ///     _ => (),
    /// });
    /// let found = gradients(&net.forward(&x, Mode::Train).sum(), &net);
    /// assert_eq!(found.keys().collect::<Vec<_>>(), ["dense.adapter.a", "dense.adapter.b"]);
    /// ```
    ///
    /// # Panics
    /// If a layer has another adapter already, or a rank is 0.
    fn adapt(&mut self, adapter: Adapter, init: &mut Init) -> usize {
        let _ = (adapter, init);
        0
    }

    /// Makes the changed weight of every adapted layer its weight and drops the adapters; returns how many there were.
    /// Nothing that the module computes changes by that, to the last bit. Batch norms and spectral normalisation stay, so
    /// that the module may be trained on, or [adapted](Module::adapt) anew.
    ///
    /// A module that is made of others must pass this on; a module without such layers leaves it as it is.
    ///
    /// ```
    /// use engraft_layers::{Adapter, Dense, Init, Module, Sequential, parameters};
    /// let init = &mut Init::glorot(1);
    /// let mut net = Sequential::<f32>::new().add("dense", Dense::new(3, 2, init));
    /// net.adapt(Adapter::LowRank { rank: 1 }, init);
    /// assert_eq!(net.merge_adapters(), 1);
    /// let names: Vec<_> = parameters(&net).into_iter().map(|(name, _)| name).collect();
    /// assert_eq!(names, ["dense.weight", "dense.bias"]);
    /// ```
    fn merge_adapters(&mut self) -> usize {
        0
    }

    /// Shows every parameter, buffer and generator with its name, in a fixed order.
    fn visit<'a>(&'a self, path: &Path<'_>, f: &mut dyn FnMut(&Path<'_>, Slot<'a, T>)) {
        let _ = (path, f);
    }

    /// As [`Module::visit`], for changing them.
    fn visit_mut(&mut self, path: &Path<'_>, f: &mut dyn FnMut(&Path<'_>, SlotMut<'_, T>)) {
        let _ = (path, f);
    }

    /// One line that says what this is, for tables: `Conv2d 5x5 64 -> 128, stride 2, same`.
    fn describe(&self) -> String {
        "module".into()
    }

    /// The layers that this module runs one after the other; empty for a module that is not such a chain.
    fn layers(&self) -> &[(String, Box<dyn Module<T>>)] {
        &[]
    }

    /// The modules with their names that this module runs side by side on its input, with results of its own
    /// result's shape; empty for a module that is made otherwise.
    fn branches(&self) -> Vec<(&str, &dyn Module<T>)> {
        Vec::new()
    }
}

/// Every parameter with its dotted name, in the order of the visitor.
pub fn parameters<T: Real>(module: &dyn Module<T>) -> Vec<(String, &Parameter<T>)> {
    let mut found = Vec::new();
    module.visit(&Path::root(), &mut |path, slot| {
        if let Slot::Parameter(parameter) = slot {
            found.push((path.to_string(), parameter));
        }
    });
    found
}

/// Number of learned numbers, frozen ones included.
pub fn parameter_count<T: Real>(module: &dyn Module<T>) -> usize {
    parameters(module).iter().map(|(_, p)| p.tensor().len()).sum()
}

/// Gradients by parameter name.
pub type Gradients<T = f32> = BTreeMap<String, Tensor<T>>;

/// Gradients of a scalar with respect to every trainable parameter that it depends on.
///
/// Frozen parameters have no entry, and neither their rules nor anything below the lowest trainable
/// parameter runs.
///
/// # Panics
/// If `loss` has not exactly one element.
#[track_caller]
pub fn gradients<T: Real>(loss: &Tensor<T>, module: &dyn Module<T>) -> Gradients<T> {
    let trainable: Vec<_> = parameters(module)
        .into_iter()
        .filter(|(_, parameter)| parameter.is_trainable())
        .collect();
    let wrt: Vec<&Tensor<T>> = trainable
        .iter()
        .map(|(_, parameter)| parameter.tensor())
        .collect();
    let found = grad_of(loss, &wrt);
    trainable
        .into_iter()
        .zip(found)
        .filter_map(|((name, _), g)| Some((name, g?)))
        .collect()
}
