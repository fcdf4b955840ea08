//! Changes of how the layers of a network come to the weights that they use: adapters and spectral normalization.

use crate::init::Init;
use crate::layer::adapter::Adapter;
use crate::layer::parametrization::Parametrization;
use crate::module::Module;
use engraft_tensor::Real;

/// Calls `f` for every dense and convolutional layer of a module, in order, and adds up what it returns.
fn each<T: Real>(module: &mut dyn Module<T>, f: &mut dyn FnMut(&mut Parametrization<T>) -> usize) -> usize {
    let own = module.parametrization_mut().map_or(0, &mut *f);
    let children = module.children_mut().into_iter();
    own + children.map(|(_, child)| each(child, f)).sum::<usize>()
}

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
/// *Source*: Miyato et al., "Spectral normalization for generative adversarial networks", 2018.
///
/// ```
/// use engraft_layers::{Dense, Init, Mode, Module, spectral_normalize};
/// use engraft_tensor::Tensor;
/// let mut layer = Dense::<f64>::new(3, 1, &mut Init::glorot(1)).no_bias();
/// assert_eq!(spectral_normalize(&mut layer), 1);
/// // The weight of one output is a vector: it now has length 1.
/// let weight = layer.forward(&Tensor::from_vec([3, 3], vec![1., 0., 0., 0., 1., 0., 0., 0., 1.]), Mode::Eval);
/// assert!((weight.square().sum().item() - 1.0).abs() < 1e-12);
/// ```
pub fn spectral_normalize<T: Real>(module: &mut dyn Module<T>) -> usize {
    each(module, &mut |weight| weight.spectral_normalize())
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
/// In a layer with spectral normalization the changed weight is what is normalized.
///
/// ```
/// use engraft_layers::{
///     Adapter, Dense, Init, Mode, Module, Sequential, SlotMut, adapt, gradients, parameters, visit_mut,
/// };
/// use engraft_tensor::Tensor;
///
/// let init = &mut Init::glorot(1);
/// let mut net = Sequential::<f32>::new().add("dense", Dense::new(3, 2, init));
/// let x = Tensor::ones([1, 3]);
/// let before = net.forward(&x, Mode::Eval);
///
/// let adapter = Adapter::Modulation { rank: 1 };
/// assert_eq!(adapt(&mut net, adapter, init), 1);
/// let names: Vec<_> = parameters(&net).into_iter().map(|(name, _)| name).collect();
/// assert_eq!(names, ["dense.weight", "dense.bias", "dense.adapter.a", "dense.adapter.b"]);
/// assert_eq!(net.forward(&x, Mode::Eval).as_slice(), before.as_slice());
///
/// let learned = adapter.names();
/// visit_mut(&mut net, |name, slot| match slot {
///     SlotMut::Parameter(p) if !learned.matches(name) => p.freeze(),
///     _ => (),
/// });
/// let found = gradients(&net.forward(&x, Mode::Train).sum(), &net);
/// assert_eq!(found.keys().collect::<Vec<_>>(), ["dense.adapter.a", "dense.adapter.b"]);
/// ```
///
/// # Panics
/// If a layer has another adapter already, or a rank is 0.
#[track_caller]
pub fn adapt<T: Real>(module: &mut dyn Module<T>, adapter: Adapter, init: &mut Init) -> usize {
    each(module, &mut |weight| weight.adapt(adapter, init))
}

/// Makes the changed weight of every adapted layer its weight and drops the adapters; returns how many there were.
/// Nothing that the module computes changes by that, to the last bit. Batch norms and spectral normalization stay, so
/// that the module may be trained on, or [adapted](adapt) anew.
///
/// ```
/// use engraft_layers::{Adapter, Dense, Init, Sequential, adapt, merge_adapters, parameters};
/// let init = &mut Init::glorot(1);
/// let mut net = Sequential::<f32>::new().add("dense", Dense::new(3, 2, init));
/// adapt(&mut net, Adapter::LowRank { rank: 1 }, init);
/// assert_eq!(merge_adapters(&mut net), 1);
/// let names: Vec<_> = parameters(&net).into_iter().map(|(name, _)| name).collect();
/// assert_eq!(names, ["dense.weight", "dense.bias"]);
/// ```
pub fn merge_adapters<T: Real>(module: &mut dyn Module<T>) -> usize {
    each(module, &mut |weight| weight.merge_adapter())
}
