//! Named layers, one after the other.

use crate::module::{Mode, Module, Path, Slot, SlotMut};
use engraft_tensor::{Real, Tensor};

/// Runs named layers one after the other.
///
/// A layer and the leaky ReLU (or ReLU) behind it run together where that saves passes over memory; values
/// and gradients are those of one after the other, up to rounding.
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
    /// No layers yet: the identity.
    pub fn new() -> Self {
        Self { layers: Vec::new() }
    }

    /// Appends a layer.
    ///
    /// # Panics
    /// If the name is empty, holds a dot, or is taken.
    #[must_use]
    #[track_caller]
    #[allow(clippy::should_implement_trait)] // it appends a layer, as every deep-learning library calls it
    pub fn add(mut self, name: &str, layer: impl Module<T> + 'static) -> Self {
        assert!(
            !name.is_empty() && !name.contains('.') && self.layers.iter().all(|(n, _)| n != name),
            "sequential: a layer needs a name of its own without dots, got {name:?}"
        );
        self.layers.push((name.into(), Box::new(layer)));
        self
    }
}

impl<T: Real> Module<T> for Sequential<T> {
    fn forward(&self, x: &Tensor<T>, mode: Mode) -> Tensor<T> {
        let mut layers = self.layers.iter().map(|(_, layer)| layer).peekable();
        let mut x = x.clone();
        while let Some(layer) = layers.next() {
            x = match layers.peek().and_then(|next| next.leaky_slope()) {
                Some(slope) => {
                    layers.next();
                    layer.forward_leaky_relu(&x, mode, slope)
                }
                None => layer.forward(&x, mode),
            };
        }
        x
    }

    fn visit<'a>(&'a self, path: &Path<'_>, f: &mut dyn FnMut(&Path<'_>, Slot<'a, T>)) {
        for (name, layer) in &self.layers {
            layer.visit(&path.child(name), f);
        }
    }

    fn visit_mut(&mut self, path: &Path<'_>, f: &mut dyn FnMut(&Path<'_>, SlotMut<'_, T>)) {
        for (name, layer) in &mut self.layers {
            layer.visit_mut(&path.child(name), f);
        }
    }

    fn describe(&self) -> String {
        "Sequential".into()
    }

    fn layers(&self) -> &[(String, Box<dyn Module<T>>)] {
        &self.layers
    }
}
