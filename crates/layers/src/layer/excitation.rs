//! Skip-layer excitation: a small feature map scales the channels of a large one.

use crate::children;
use crate::init::Init;
use crate::layer::conv::Conv2d;
use crate::mode::Mode;
use crate::module::Module;
use engraft_tensor::{Real, Tensor};

/// Slope of the leaky ReLU between the two convolutions.
const SLOPE: f64 = 0.2;

/// Gates for the channels of a large map, computed from a small one:
/// `sigmoid(excite(leaky_relu(squeeze(average(low)))))`.
///
/// The low map is averaged over blocks to `grid` pixels. `squeeze` is a convolution with a kernel of that size, and `excite`
/// is a 1x1 convolution. [`SkipExcitation::apply`] multiplies the large map by the gates. This gives gradients a short path
/// from the image to the small maps, at almost no cost.
///
/// *Shapes*: low map `[n, grid · blocks.., c_low]` to gates `[n, 1, 1, c_high]` in `(0, 1)`.
///
/// *Source*: Liu et al., "Towards faster and stabilized GAN training for high-fidelity few-shot image synthesis", 2021,
/// section 3.1; a leaky ReLU in place of its swish.
///
/// ```
/// use engraft_layers::{Init, Mode, Module, SkipExcitation};
/// use engraft_tensor::Tensor;
/// let layer = SkipExcitation::<f32>::new(64, 16, [4, 4], 2, &mut Init::glorot(1));
/// let (low, high) = (Tensor::ones([2, 8, 8, 64]), Tensor::ones([2, 32, 32, 16]));
/// assert_eq!(layer.forward(&low, Mode::Train).shape(), [2, 1, 1, 16]);
/// assert_eq!(layer.apply(&low, &high, Mode::Train).shape(), [2, 32, 32, 16]);
/// ```
///
/// # Panics
/// The forward pass panics if the low map has another size.
#[derive(Clone, Debug)]
pub struct SkipExcitation<T: Real = f32> {
    squeeze: Conv2d<T>,
    excite: Conv2d<T>,
    grid: [usize; 2],
    blocks: usize,
}

impl<T: Real> SkipExcitation<T> {
    /// Gates of `c_high` channels from a low map of `c_low` channels and `grid · blocks` pixels along each axis.
    pub fn new(c_low: usize, c_high: usize, grid: [usize; 2], blocks: usize, init: &mut Init) -> Self {
        Self {
            squeeze: Conv2d::with_kernel(c_low, c_high, grid, init),
            excite: Conv2d::new(c_high, c_high, 1, init),
            grid,
            blocks,
        }
    }

    /// The large map with its channels multiplied by the gates of the low one.
    ///
    /// # Panics
    /// If the maps have other sizes or numbers of examples.
    #[must_use]
    pub fn apply(&self, low: &Tensor<T>, high: &Tensor<T>, mode: Mode) -> Tensor<T> {
        high * self.forward(low, mode)
    }
}

impl<T: Real> Module<T> for SkipExcitation<T> {
    fn forward(&self, low: &Tensor<T>, mode: Mode) -> Tensor<T> {
        let wanted = self.grid.map(|side| side * self.blocks);
        assert!(
            low.rank() == 4 && low.shape()[1..3] == wanted,
            "SkipExcitation: the low map must be [n, {}, {}, c], got {:?}",
            wanted[0],
            wanted[1],
            low.shape()
        );
        let average = match self.blocks {
            1 => low.clone(),
            blocks => low.sum_pool(blocks) * T::from_f64(1.0 / (blocks * blocks) as f64),
        };
        let squeezed = self.squeeze.forward(&average, mode).leaky_relu(SLOPE);
        self.excite.forward(&squeezed, mode).sigmoid()
    }

    children!(T; squeeze, excite);

    fn describe(&self) -> String {
        "SkipExcitation".into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SlotMut, parameters, visit_mut};
    use engraft_tensor::{gradcheck, gradgradcheck};
    use rand::SeedableRng;
    use rand_pcg::Pcg64;

    /// One channel, weights of one: the gate is the sigmoid of the sum of the block means.
    #[test]
    fn a_gate_by_hand() {
        let mut layer = SkipExcitation::<f64>::new(1, 1, [1, 2], 2, &mut Init::glorot(1));
        visit_mut(&mut layer, |name, slot| {
            if let (true, SlotMut::Parameter(p)) = (name.ends_with("weight"), slot) {
                p.set(&Tensor::ones(p.tensor().shape()));
            }
        });
        let low = Tensor::from_vec([1, 2, 4, 1], vec![1.0, 3.0, 0.0, 0.0, 2.0, 2.0, 0.0, 4.0]);
        let gate = layer.forward(&low, Mode::Eval).item();
        assert!((gate - 1.0 / (1.0 + (-3.0_f64).exp())).abs() < 1e-12);
        let names: Vec<_> = parameters(&layer).into_iter().map(|(name, _)| name).collect();
        let expected = ["squeeze.weight", "squeeze.bias", "excite.weight", "excite.bias"];
        assert_eq!(names, expected);
    }

    #[test]
    fn gradients_are_right_at_both_orders() {
        let layer = SkipExcitation::<f64>::new(2, 3, [2, 1], 2, &mut Init::normal(2, 0.7));
        let rng = &mut Pcg64::seed_from_u64(1);
        let inputs = [Tensor::randn([2, 4, 2, 2], rng), Tensor::randn([2, 2, 3, 3], rng)];
        let run = |t: &[Tensor<f64>]| layer.apply(&t[0], &t[1], Mode::Train);
        gradcheck(run, &inputs).unwrap();
        gradgradcheck(run, &inputs).unwrap();
    }
}
