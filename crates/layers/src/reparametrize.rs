//! Reparametrization of weights: adapters and spectral normalization.

use crate::init::Init;
use crate::layer::adapter::Adapter;
use crate::layer::parametrization::Parametrization;
use crate::module::Module;
use engraft_tensor::Real;

/// Calls `f` for every dense and convolutional layer of a module in order, and sums the results.
fn each<T: Real>(module: &mut dyn Module<T>, f: &mut dyn FnMut(&mut Parametrization<T>) -> usize) -> usize {
    let own = module.parametrization_mut().map_or(0, &mut *f);
    let children = module.children_mut().into_iter();
    own + children.map(|(_, child)| each(child, f)).sum::<usize>()
}

/// Enables spectral normalization in every dense and convolutional layer: each layer divides its weight by the weight's
/// largest singular value. Returns the number of layers with spectral normalization. Layers that already have it are
/// unchanged.
///
/// A dense layer then increases distances by at most about a factor of 1. The weight of a convolution counts as a
/// matrix with one column per output channel, as in the paper, which bounds the map of one patch. A pixel is in up to
/// `kh · kw` patches, so the layer can increase distances by up to about `sqrt(kh · kw)`.
///
/// A power iteration tracks the singular value, with one step per forward pass in training mode. Its two vectors are
/// the buffers `u` and `v` next to the weight.
///
/// *Source*: Miyato et al., "Spectral normalization for generative adversarial networks", 2018.
///
/// ```
/// use engraft_layers::{Dense, Init, Mode, Module, spectral_normalize};
/// use engraft_tensor::Tensor;
/// let mut layer = Dense::<f64>::new(3, 1, &mut Init::glorot(1)).no_bias();
/// assert_eq!(spectral_normalize(&mut layer), 1);
/// // The weight of a single output is a vector. Its length is now 1.
/// let weight = layer.forward(&Tensor::from_vec([3, 3], vec![1., 0., 0., 0., 1., 0., 0., 0., 1.]), Mode::Eval);
/// assert!((weight.square().sum().item() - 1.0).abs() < 1e-12);
/// ```
pub fn spectral_normalize<T: Real>(module: &mut dyn Module<T>) -> usize {
    each(module, &mut |weight| weight.spectral_normalize())
}

/// Adds an adapter to every dense and convolutional layer. Returns the number of layers with an adapter. The output of
/// the module does not change.
///
/// The weight keeps its name and stays trainable. Freeze it to train the adapter alone
/// ([`Adapter::names`] are the adapter's parameters). Load weights first and adapt then, because
/// [`Adapter::SingularValues`] stores singular vectors of the weight. [`Sequential::folded`](crate::Sequential::folded)
/// merges the adapter into the weight. Layers that already have the same adapter are unchanged.
///
/// In a layer with spectral normalization, the adapted weight is normalized.
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

/// Merges every adapter into its weight and removes it. Returns the number of merged adapters. The output of the module
/// does not change, not even in the last bit. Batch norms and spectral normalization stay, so the module can be trained
/// further or [adapted](adapt) again.
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
