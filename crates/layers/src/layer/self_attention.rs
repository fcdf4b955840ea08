//! Self-attention between the pixels of an image.

use crate::init::Init;
use crate::layer::conv::Conv2d;
use crate::mode::Mode;
use crate::module::Module;
use crate::parameter::{Parameter, Slot, SlotMut};
use engraft_tensor::{Real, Tensor};

/// Share of the channels that queries and keys have.
const QUERY_SHARE: usize = 8;
/// Share of the channels that values have.
const VALUE_SHARE: usize = 2;

/// Self-attention of a GAN: each pixel gets a mixture of the values of all pixels, weighted by how well its query fits their keys.
///
/// With 1x1 convolutions `query`, `key` (a quarter of the pixels after max pooling), `value` and `output`:
/// `y = x + gain · output(softmax(query · keyᵀ) · value)`. The gain starts at 0, so the layer starts as the identity. A feature map
/// of `h x w` pixels costs `(h w)²/4` products per channel: use it at 32x32 or below.
///
/// *Shapes*: `[n, h, w, c]`, unchanged, with even `h` and `w`; `gain [1]`.
///
/// *Source*: Zhang et al., "Self-attention generative adversarial networks", 2019, section 3; max pooling of keys and values as in
/// Brock, Donahue and Simonyan, "Large scale GAN training for high fidelity natural image synthesis", 2019, appendix B.
///
/// ```
/// use engraft_layers::{Init, Mode, Module, SelfAttention};
/// use engraft_tensor::Tensor;
/// let layer = SelfAttention::<f32>::new(16, &mut Init::glorot(1));
/// let x = Tensor::ones([2, 4, 4, 16]);
/// assert_eq!(layer.forward(&x, Mode::Train).as_slice(), x.as_slice());
/// ```
///
/// # Panics
/// The forward pass panics if the map has an odd height or width, or other channels.
#[derive(Clone, Debug)]
pub struct SelfAttention<T: Real = f32> {
    query: Conv2d<T>,
    key: Conv2d<T>,
    value: Conv2d<T>,
    output: Conv2d<T>,
    gain: Parameter<T>,
    channels: usize,
}

impl<T: Real> SelfAttention<T> {
    /// A layer for `channels` channels.
    ///
    /// # Panics
    /// If there are fewer than 8 channels.
    #[track_caller]
    pub fn new(channels: usize, init: &mut Init) -> Self {
        assert!(
            channels >= QUERY_SHARE,
            "SelfAttention: expected at least {QUERY_SHARE} channels, got {channels}"
        );
        let [query, value] = [channels / QUERY_SHARE, channels / VALUE_SHARE];
        let mut one = |from, to| Conv2d::new(from, to, 1, init).no_bias();
        Self {
            query: one(channels, query),
            key: one(channels, query),
            value: one(channels, value),
            output: one(value, channels),
            gain: Parameter::new(Tensor::zeros([1])),
            channels,
        }
    }
}

impl<T: Real> Module<T> for SelfAttention<T> {
    fn forward(&self, x: &Tensor<T>, mode: Mode) -> Tensor<T> {
        let n = match *x.shape() {
            [n, h, w, c] if c == self.channels && h.is_multiple_of(2) && w.is_multiple_of(2) => n,
            _ => panic!(
                "SelfAttention: expected [n, h, w, {}] with even h and w, got {:?}",
                self.channels,
                x.shape()
            ),
        };
        let rows = |map: &Tensor<T>| {
            let [h, w, c] = [1, 2, 3].map(|axis| map.shape()[axis]);
            map.reshape([n, h * w, c])
        };
        let query = rows(&self.query.forward(x, mode));
        let key = rows(&self.key.forward(x, mode).max_pool(2));
        let value = rows(&self.value.forward(x, mode).max_pool(2));
        let weights = query.batch_matmul_nt(&key).softmax(2);
        let mixed = weights.batch_matmul(&value);
        let [h, w] = [x.shape()[1], x.shape()[2]];
        let mixed = mixed.reshape([n, h, w, self.channels / VALUE_SHARE]);
        x + self.output.forward(&mixed, mode) * self.gain.tensor()
    }

    fn slots(&self) -> Vec<(&str, Slot<'_, T>)> {
        vec![("gain", Slot::Parameter(&self.gain))]
    }

    fn slots_mut(&mut self) -> Vec<(&str, SlotMut<'_, T>)> {
        vec![("gain", SlotMut::Parameter(&mut self.gain))]
    }

    fn children(&self) -> Vec<(&str, &dyn Module<T>)> {
        vec![
            ("query", &self.query),
            ("key", &self.key),
            ("value", &self.value),
            ("output", &self.output),
        ]
    }

    fn children_mut(&mut self) -> Vec<(&str, &mut dyn Module<T>)> {
        vec![
            ("query", &mut self.query),
            ("key", &mut self.key),
            ("value", &mut self.value),
            ("output", &mut self.output),
        ]
    }

    fn describe(&self) -> String {
        "SelfAttention".into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameters;
    use engraft_tensor::{gradcheck, gradgradcheck};
    use rand::SeedableRng;
    use rand_pcg::Pcg64;
    use std::slice::from_ref;

    /// Against the definition: for each pixel the weighted mean of the pooled values.
    #[test]
    fn each_pixel_is_a_mixture_of_all_values() {
        let mut layer = SelfAttention::<f64>::new(8, &mut Init::normal(3, 0.6));
        layer.gain.set(&Tensor::ones([1]));
        let x = Tensor::randn([1, 2, 4, 8], &mut Pcg64::seed_from_u64(4));
        let y = layer.forward(&x, Mode::Eval);
        let [query, key, value] =
            [&layer.query, &layer.key, &layer.value].map(|conv| conv.forward(&x, Mode::Eval));
        let (key, value) = (key.max_pool(2), value.max_pool(2));
        for (row, column) in [(0, 0), (1, 3)] {
            let at = |map: &Tensor<f64>, row: usize, column: usize| {
                map.narrow(1, row, 1).narrow(2, column, 1).as_slice().to_vec()
            };
            let of = at(&query, row, column);
            let scores = [0, 1].map(|c| {
                at(&key, 0, c)
                    .iter()
                    .zip(&of)
                    .map(|(a, b)| a * b)
                    .sum::<f64>()
                    .exp()
            });
            let total: f64 = scores.iter().sum();
            let mixed: Vec<f64> = (0..4)
                .map(|i| (0..2).map(|c| scores[c] / total * at(&value, 0, c)[i]).sum())
                .collect();
            let output = layer
                .output
                .forward(&Tensor::from_vec([1, 1, 1, 4], mixed), Mode::Eval);
            for (i, added) in output.as_slice().iter().enumerate() {
                let found = at(&y, row, column)[i] - at(&x, row, column)[i];
                assert!((found - added).abs() < 1e-10, "{found} {added}");
            }
        }
        let names: Vec<_> = parameters(&layer).into_iter().map(|(name, _)| name).collect();
        assert_eq!(
            names,
            [
                "gain",
                "query.weight",
                "key.weight",
                "value.weight",
                "output.weight"
            ]
        );
    }

    #[test]
    fn gradients_of_both_orders() {
        let mut layer = SelfAttention::<f64>::new(8, &mut Init::normal(5, 0.5));
        layer.gain.set(&Tensor::full([1], 0.7));
        let x = Tensor::randn([2, 2, 2, 8], &mut Pcg64::seed_from_u64(6));
        let run = |x: &[Tensor<f64>]| layer.forward(&x[0], Mode::Train);
        gradcheck(run, from_ref(&x)).unwrap();
        gradgradcheck(run, from_ref(&x)).unwrap();
    }
}
