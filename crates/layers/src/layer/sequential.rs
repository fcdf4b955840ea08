//! A chain of named layers.

use crate::condition::Condition;
use crate::forward_through::{Outputs, forward_through};
use crate::mode::Mode;
use crate::module::{Arrangement, Fusion, Module};
use crate::naming::named;
use crate::parameter::SlotMut;
use crate::taps::Taps;
use crate::visit::visit_mut;
use engraft_tensor::{Real, Tensor, no_grad};

/// Runs named layers one after the other.
///
/// A layer and a leaky ReLU (or ReLU) after it are fused where this saves passes over memory. Values and gradients are
/// the same up to rounding.
///
/// ```
/// use engraft_layers::{Dense, Init, LeakyReLU, Mode, Module, Sequential, parameters};
/// use engraft_tensor::Tensor;
///
/// let init = &mut Init::glorot(1);
/// let net = Sequential::<f32>::new()
///     .add("hidden", Dense::new(4, 8, init))
///     .add("act", LeakyReLU::new(0.2))
///     .add("head", Dense::new(8, 1, init));
/// assert_eq!(net.forward(&Tensor::zeros([3, 4]), Mode::Eval).shape(), [3, 1]);
/// let names: Vec<_> = parameters(&net).into_iter().map(|(name, _)| name).collect();
/// assert_eq!(names, ["hidden.weight", "hidden.bias", "head.weight", "head.bias"]);
/// ```
#[derive(Default)]
pub struct Sequential<T: Real = f32> {
    layers: Vec<(String, Box<dyn Module<T>>)>,
}

impl<T: Real> Sequential<T> {
    /// An empty chain: the identity.
    pub fn new() -> Self {
        Self { layers: Vec::new() }
    }

    /// Appends a layer.
    ///
    /// # Panics
    /// If the name is empty, contains a dot, or is in use.
    #[must_use]
    #[track_caller]
    #[allow(clippy::should_implement_trait)] // every deep-learning library uses this name for appending a layer
    pub fn add(mut self, name: &str, layer: impl Module<T> + 'static) -> Self {
        self.check_name(name);
        self.layers.push((name.into(), Box::new(layer)));
        self
    }

    /// Inserts a layer before all others.
    ///
    /// ```
    /// use engraft_layers::{Dense, Init, LeakyReLU, Module, Sequential};
    /// let net = Sequential::<f32>::new().add("last", LeakyReLU::new(0.2));
    /// let net = net.add_first("first", Dense::new(4, 8, &mut Init::glorot(1)));
    /// let names: Vec<_> = net.layers().iter().map(|(name, _)| name.as_str()).collect();
    /// assert_eq!(names, ["first", "last"]);
    /// ```
    ///
    /// # Panics
    /// See [`Sequential::add`].
    #[must_use]
    #[track_caller]
    pub fn add_first(mut self, name: &str, layer: impl Module<T> + 'static) -> Self {
        self.check_name(name);
        self.layers.insert(0, (name.into(), Box::new(layer)));
        self
    }

    /// Replaces the layer with this name.
    ///
    /// ```
    /// use engraft_layers::{Dense, Init, LeakyReLU, Module, Sequential};
    /// let init = &mut Init::glorot(1);
    /// let net = Sequential::<f32>::new().add("act", LeakyReLU::new(0.2)).add("head", Dense::new(4, 1, init));
    /// let net = net.replace("head", Dense::new(4, 10, init));
    /// assert_eq!(net.layers()[1].1.describe(), "Dense 4 -> 10");
    /// ```
    ///
    /// # Panics
    /// If this chain itself (not a nested one) has no layer with that name.
    #[must_use]
    #[track_caller]
    pub fn replace(mut self, name: &str, layer: impl Module<T> + 'static) -> Self {
        let at = self.position(name);
        self.layers[at].1 = Box::new(layer);
        self
    }

    /// The layers with their names, in order.
    pub fn layers(&self) -> &[(String, Box<dyn Module<T>>)] {
        &self.layers
    }

    #[track_caller]
    fn position(&self, name: &str) -> usize {
        let Some(at) = self.layers.iter().position(|(n, _)| n == name) else {
            let names: Vec<&str> = self.layers.iter().map(|(n, _)| n.as_str()).collect();
            panic!("sequential: no layer {name:?}; the layers are {names:?}")
        };
        at
    }

    #[track_caller]
    fn check_name(&self, name: &str) {
        assert!(
            !name.is_empty() && !name.contains('.') && self.layers.iter().all(|(n, _)| n != name),
            "sequential: a layer needs a unique, nonempty name without dots, got {name:?}"
        );
    }

    /// Computes the output for `x` and the result of the layer with a dotted name: `[features, output]`. The layer is part
    /// of this chain, of a nested chain, or of another module that
    /// [hands it out](Module::forward_taps).
    ///
    /// # Panics
    /// If there is no such layer.
    #[must_use]
    #[track_caller]
    pub fn forward_through(
        &self,
        x: &Tensor<T>,
        condition: &Condition<T>,
        mode: Mode,
        name: &str,
    ) -> [Tensor<T>; 2] {
        let Outputs { main, parts } = forward_through(self, x, condition, mode, &[name]);
        [
            parts.into_iter().next().expect("exactly one part was requested"),
            main,
        ]
    }

    /// The same network for evaluation only. A batch norm directly after a [`Conv2d`](crate::Conv2d), a
    /// [`ConvTranspose2d`](crate::ConvTranspose2d) or a [`Dense`](crate::Dense) is folded into that layer's
    /// weight and bias, also in nested chains. Adapters and spectral normalization are merged into the weight.
    /// Results equal those of [`Mode::Eval`] up to rounding.
    ///
    /// The other layers keep their names. A layer with a folded norm has a bias, even if it had none before.
    /// Everything is frozen, including the remaining running statistics.
    ///
    /// Folding costs one pass over all weights. It pays off if many batches use the same weights.
    ///
    /// ```
    /// use engraft_layers::{BatchNorm, Dense, Init, Mode, Module, Sequential, parameters};
    /// use engraft_tensor::Tensor;
    ///
    /// let net = Sequential::<f32>::new()
    ///     .add("dense", Dense::new(2, 1, &mut Init::glorot(1)).no_bias())
    ///     .add("norm", BatchNorm::new(1));
    /// let x = Tensor::ones([1, 2]);
    /// let expected = net.forward(&x, Mode::Eval).item();
    /// let folded = net.folded();
    /// assert!((folded.forward(&x, Mode::Eval).item() - expected).abs() < 1e-6);
    /// let names: Vec<_> = parameters(&folded).into_iter().map(|(name, _)| name).collect();
    /// assert_eq!(names, ["dense.weight", "dense.bias"]);
    /// ```
    #[must_use]
    pub fn folded(mut self) -> Self {
        no_grad(|| fold(&mut self));
        visit_mut(&mut self, |_, slot| match slot {
            SlotMut::Parameter(parameter) => parameter.freeze(),
            SlotMut::Buffer(buffer) => buffer.freeze(),
            SlotMut::Rng(_) => (),
        });
        self
    }
}

/// Folds the children of a module, then the module itself: batch norms, adapters, spectral normalization.
fn fold<T: Real>(module: &mut dyn Module<T>) {
    for (_, child) in module.children_mut() {
        fold(child);
    }
    if let Some(fusion) = module.fusion_mut() {
        fusion.fold();
    }
}

impl<T: Real> Module<T> for Sequential<T> {
    fn forward(&self, x: &Tensor<T>, mode: Mode) -> Tensor<T> {
        self.forward_taps(x, &Condition::None, mode, &mut Taps::none())
    }

    fn forward_with(&self, x: &Tensor<T>, condition: &Condition<T>, mode: Mode) -> Tensor<T> {
        self.forward_taps(x, condition, mode, &mut Taps::none())
    }

    /// Runs the layers in order, each fused with a following leaky ReLU unless its own result is requested.
    fn forward_taps(
        &self,
        x: &Tensor<T>,
        condition: &Condition<T>,
        mode: Mode,
        taps: &mut Taps<'_, T>,
    ) -> Tensor<T> {
        let mut layers = self.layers.iter().peekable();
        let mut x = x.clone();
        while let Some((name, layer)) = layers.next() {
            let behind = layers.peek().filter(|_| !taps.wants(name));
            let slope = behind.and_then(|(_, behind)| behind.fusion()?.as_leaky_relu());
            let fusion = layer.fusion().filter(|_| !taps.wants_under(name));
            x = named(name, || match (slope, fusion) {
                (Some(slope), Some(layer)) => layer.forward_leaky_relu(&x, condition, mode, slope),
                (Some(slope), None) => {
                    let y = layer.forward_taps(&x, condition, mode, &mut taps.under(name));
                    y.leaky_relu(slope)
                }
                (None, _) => layer.forward_taps(&x, condition, mode, &mut taps.under(name)),
            });
            let activation = slope.and_then(|_| layers.next());
            taps.put(activation.map_or(name, |(name, _)| name), &x);
        }
        x
    }

    fn children(&self) -> Vec<(&str, &dyn Module<T>)> {
        let layers = self.layers.iter();
        layers
            .map(|(name, layer)| (name.as_str(), layer.as_ref() as &dyn Module<T>))
            .collect()
    }

    fn children_mut(&mut self) -> Vec<(&str, &mut dyn Module<T>)> {
        let layers = self.layers.iter_mut();
        layers
            .map(|(name, layer)| (name.as_str(), layer.as_mut() as &mut dyn Module<T>))
            .collect()
    }

    fn describe(&self) -> String {
        "Sequential".into()
    }

    fn fusion(&self) -> Option<&dyn Fusion<T>> {
        Some(self)
    }

    fn fusion_mut(&mut self) -> Option<&mut dyn Fusion<T>> {
        Some(self)
    }

    fn arrangement(&self) -> Arrangement {
        Arrangement::Chain
    }
}

impl<T: Real> Fusion<T> for Sequential<T> {
    fn fold_affine(&mut self, scale: &Tensor<T>, shift: &Tensor<T>) -> bool {
        let last = self.layers.last_mut().and_then(|(_, layer)| layer.fusion_mut());
        last.is_some_and(|layer| layer.fold_affine(scale, shift))
    }

    fn fold(&mut self) {
        let mut kept: Vec<(String, Box<dyn Module<T>>)> = Vec::new();
        for (name, layer) in std::mem::take(&mut self.layers) {
            let affine = layer.fusion().and_then(|layer| layer.eval_affine());
            let before = kept.last_mut().and_then(|(_, before)| before.fusion_mut());
            let folded = match (affine, before) {
                (Some([scale, shift]), Some(before)) => before.fold_affine(&scale, &shift),
                _ => false,
            };
            if !folded {
                kept.push((name, layer));
            }
        }
        self.layers = kept;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dense, Init, LeakyReLU};

    #[test]
    fn features_come_on_the_way() {
        let init = &mut Init::glorot(1);
        let net = Sequential::<f64>::new()
            .add("first", Dense::new(2, 3, init))
            .add("act", LeakyReLU::new(0.2))
            .add("last", Dense::new(3, 1, init));
        let x = Tensor::from_vec([2, 2], vec![1.0, -2.0, 0.5, 3.0]);
        let whole = net.forward(&x, Mode::Eval);
        for (name, width) in [("first", 3), ("act", 3), ("last", 1)] {
            let [features, output] = net.forward_through(&x, &Condition::None, Mode::Eval, name);
            assert_eq!(features.shape(), [2, width]);
            assert_eq!(output.as_slice(), whole.as_slice(), "{name}");
        }
        let nested = Sequential::<f64>::new().add("net", net);
        let [within, output] = nested.forward_through(&x, &Condition::None, Mode::Eval, "net.act");
        assert_eq!(
            (within.shape(), output.as_slice()),
            (&[2, 3][..], whole.as_slice())
        );
        let net = nested;
        let [before, _] = net.forward_through(&x, &Condition::None, Mode::Eval, "net.first");
        let [after, _] = net.forward_through(&x, &Condition::None, Mode::Eval, "net.act");
        assert_eq!(before.leaky_relu(0.2).as_slice(), after.as_slice());
    }

    #[test]
    #[should_panic(expected = "no layer \"middle\"; the layers are [\"first\"]")]
    fn a_missing_layer_is_named() {
        let net = Sequential::<f32>::new().add("first", LeakyReLU::new(0.2));
        let _ = net.forward_through(&Tensor::zeros([1, 1]), &Condition::None, Mode::Eval, "middle");
    }
}
