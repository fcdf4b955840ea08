//! Upsampling and a 3x3 convolution, computed as one transposed convolution.

use crate::condition::Condition;
use crate::init::Init;
use crate::layer::parametrization::Parametrization;
use crate::mode::Mode;
use crate::module::{Fusion, Module};
use crate::parameter::{Slot, SlotMut};
use engraft_tensor::{Geometry, Padding, Precision, Real, Tensor, conv2d_input, with_precision};

/// Side of the learned kernel.
const KERNEL: usize = 3;

/// Side of the kernel of the transposed convolution.
const FOLDED: usize = KERNEL + 1;

/// Nearest-neighbor upsampling by 2, then a 3x3 convolution with `same` padding. Equals
/// [`Upsample2x`](crate::Upsample2x) and [`Conv2d`](crate::Conv2d) with the same weight, up to rounding.
///
/// It is computed as a 4x4 transposed convolution with stride 2 and padding 1. Its kernel is the full convolution of the
/// 3x3 weight with a 2x2 block of ones, along each axis `[w2, w1 + w2, w0 + w1, w0]`. That takes 16 instead of 36
/// multiply-adds per input pixel and pair of channels. Every output pixel sums each number of the weight exactly once,
/// so the layer makes no checkerboard pattern. The kernel is linear in the weight, so gradients of every order are exact.
///
/// Nearest-neighbor upsampling treats even and odd rows differently, and a generator must learn to undo that. A layer that is
/// [`bilinear`](Self::bilinear) does not: it smooths the output by the binomial 3x3 filter, which makes the upsampling bilinear
/// except at the border.
///
/// *Shapes*: `[n, h, w, c_in] -> [n, 2 h, 2 w, c_out]`; `weight [3, 3, c_in, c_out]`, `bias [c_out]`.
///
/// *Source*: Odena, Dumoulin and Olah, "Deconvolution and checkerboard artifacts", 2016, for upsampling before a
/// convolution; Karras et al., "A style-based generator architecture for generative adversarial networks", 2019, whose code
/// folds the two likewise and who smooth after upsampling.
///
/// ```
/// use engraft_layers::{Init, Mode, Module, UpsampleConv2d};
/// use engraft_tensor::Tensor;
/// let layer = UpsampleConv2d::<f32>::new(64, 32, &mut Init::glorot(1));
/// assert_eq!(layer.forward(&Tensor::zeros([8, 7, 7, 64]), Mode::Train).shape(), [8, 14, 14, 32]);
/// ```
///
/// # Panics
/// The forward pass panics if the input is not `[n, h, w, c_in]`.
#[derive(Clone, Debug)]
pub struct UpsampleConv2d<T: Real = f32> {
    weights: Parametrization<T>,
    bilinear: bool,
}

impl<T: Real> UpsampleConv2d<T> {
    /// A layer with an initialized weight and a zero bias.
    pub fn new(c_in: usize, c_out: usize, init: &mut Init) -> Self {
        let taps = KERNEL * KERNEL;
        let weight = init.weight(&[KERNEL, KERNEL, c_in, c_out], taps * c_in, taps * c_out);
        Self {
            weights: Parametrization::new(weight, 3),
            bilinear: false,
        }
    }

    /// Makes the upsampling bilinear, except at the border, where pixels outside the image count as 0.
    #[must_use]
    pub fn bilinear(mut self) -> Self {
        self.bilinear = true;
        self
    }

    /// Multiplies the initial weight by `factor`.
    #[must_use]
    pub fn scaled(mut self, factor: f64) -> Self {
        self.weights.scale(factor);
        self
    }

    /// Removes the bias, for use before a batch norm, which would cancel it.
    #[must_use]
    pub fn no_bias(mut self) -> Self {
        self.weights.drop_bias();
        self
    }

    /// Enables spectral normalization; see [`spectral_normalize`](crate::spectral_normalize).
    #[must_use]
    pub fn spectral_norm(mut self) -> Self {
        self.weights.spectral_normalize();
        self
    }

    /// The map without its bias.
    fn convolve(&self, x: &Tensor<T>, mode: Mode) -> Tensor<T> {
        let [_, height, width, _] = *x.shape() else {
            panic!(
                "UpsampleConv2d: the input must be [n, h, w, c], got {:?}",
                x.shape()
            )
        };
        let weight = self.weights.weight(mode);
        let geometry = Geometry::transposed(
            [height, width],
            [FOLDED; 2],
            [2, 2],
            [1, 1],
            Padding::Same,
            [0, 0],
        );
        let y = conv2d_input(x, &folded_kernel(&weight), &geometry);
        // Both are linear, and away from the border the order does not matter.
        if self.bilinear { y.blur() } else { y }
    }
}

/// The kernel `[4, 4, c_out, c_in]` of the transposed convolution for a weight `[3, 3, c_in, c_out]`.
fn folded_kernel<T: Real>(weight: &Tensor<T>) -> Tensor<T> {
    let [_, _, c_in, c_out] = *weight.shape() else {
        unreachable!("the weight is made with four axes")
    };
    let taps = weight
        .permute(&[0, 1, 3, 2])
        .reshape([KERNEL * KERNEL, c_out * c_in]);
    // The convolution rounds its operands itself.
    let folded = with_precision(Precision::F32, || folding().matmul(&taps));
    folded.reshape([FOLDED, FOLDED, c_out, c_in])
}

/// The linear map from the 9 taps of the weight to the 16 of the kernel, `[16, 9]` of zeros and ones.
///
/// An output pixel `i` reads the input pixel `m` through the taps `k` of the weight with `(i + k - 1) / 2 = m`, rounded
/// down. In the transposed convolution it reads it through tap `i + 1 - 2 m`. So tap `j` of the kernel is the sum of taps
/// `2 - j` and `3 - j` of the weight, where there are such.
fn folding<T: Real>() -> Tensor<T> {
    let joins = |folded: usize, tap: usize| folded + tap == 2 || folded + tap == 3;
    let mut map = Vec::with_capacity((FOLDED * KERNEL) * (FOLDED * KERNEL));
    for (row, column) in (0..FOLDED).flat_map(|row| (0..FOLDED).map(move |column| (row, column))) {
        for (up, left) in (0..KERNEL).flat_map(|up| (0..KERNEL).map(move |left| (up, left))) {
            let one = joins(row, up) && joins(column, left);
            map.push(if one { T::one() } else { T::zero() });
        }
    }
    Tensor::from_vec([FOLDED * FOLDED, KERNEL * KERNEL], map)
}

impl<T: Real> Module<T> for UpsampleConv2d<T> {
    fn forward(&self, x: &Tensor<T>, mode: Mode) -> Tensor<T> {
        self.weights.add_bias(self.convolve(x, mode))
    }

    fn slots(&self) -> Vec<(&str, Slot<'_, T>)> {
        self.weights.slots()
    }

    fn slots_mut(&mut self) -> Vec<(&str, SlotMut<'_, T>)> {
        self.weights.slots_mut()
    }

    fn fusion(&self) -> Option<&dyn Fusion<T>> {
        Some(self)
    }

    fn fusion_mut(&mut self) -> Option<&mut dyn Fusion<T>> {
        Some(self)
    }

    fn parametrization_mut(&mut self) -> Option<&mut Parametrization<T>> {
        Some(&mut self.weights)
    }

    fn describe(&self) -> String {
        let shape = self.weights.shape();
        let (c_in, c_out) = (shape[2], shape[3]);
        let kind = if self.bilinear { ", bilinear" } else { "" };
        format!(
            "UpsampleConv2d 3x3 {c_in} -> {c_out}{kind}{}",
            self.weights.describe()
        )
    }
}

impl<T: Real> Fusion<T> for UpsampleConv2d<T> {
    fn forward_leaky_relu(&self, x: &Tensor<T>, _: &Condition<T>, mode: Mode, slope: f64) -> Tensor<T> {
        self.weights.add_bias_leaky_relu(&self.convolve(x, mode), slope)
    }

    fn fold_affine(&mut self, scale: &Tensor<T>, shift: &Tensor<T>) -> bool {
        self.weights.fold_affine(scale, shift);
        true
    }

    fn fold(&mut self) {
        self.weights.materialize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Adapter, BatchNorm, Conv2d, LeakyReLU, Sequential, StateDict, Upsample2x, adapt, gradients};
    use engraft_tensor::{grad_with_graph, gradcheck, gradgradcheck};
    use rand::SeedableRng;
    use rand_pcg::Pcg64;
    use rayon::ThreadPoolBuilder;

    /// The folded layer, and the two equivalent layers with the same weight.
    fn both(c_in: usize, c_out: usize) -> (Sequential<f64>, Sequential<f64>) {
        let (a, b) = (&mut Init::glorot(3), &mut Init::glorot(3));
        let folded = Sequential::new().add("conv", UpsampleConv2d::new(c_in, c_out, a));
        let conv = Conv2d::new(c_in, c_out, 3, b).same();
        (folded, Sequential::new().add("up", Upsample2x).add("conv", conv))
    }

    fn distance(a: &Tensor<f64>, b: &Tensor<f64>) -> f64 {
        assert_eq!(a.shape(), b.shape());
        (a - b).abs().as_slice().iter().copied().fold(0.0, f64::max)
    }

    /// Values, gradients and an R1-like penalty, on sizes down to one pixel.
    #[test]
    fn it_equals_upsampling_and_a_convolution() {
        let rng = &mut Pcg64::seed_from_u64(1);
        for (h, w, c_in, c_out) in [(1, 1, 1, 1), (1, 4, 2, 3), (5, 3, 3, 2), (8, 8, 17, 9)] {
            let (folded, plain) = both(c_in, c_out);
            let x = Tensor::randn([2, h, w, c_in], rng).as_leaf();
            let weights = Tensor::randn([2, 2 * h, 2 * w, c_out], rng);
            let results = [&folded, &plain].map(|net| {
                let y = net.forward(&x, Mode::Train);
                let [dx] = grad_with_graph(&(y.tanh() * &weights).sum(), [&x]);
                let penalty = gradients(&dx.square().sum(), net);
                let first = gradients(&(y.tanh() * &weights).sum(), net);
                let get = |found: &crate::Gradients<f64>| found.get("conv.weight").unwrap().clone();
                [y, dx, get(&first), get(&penalty)]
            });
            for (a, b) in results[0].iter().zip(&results[1]) {
                assert!(distance(a, b) < 1e-12 * (1.0 + b.abs().mean().item()), "{h}x{w}");
            }
        }
    }

    #[test]
    fn gradients_are_right_at_both_orders() {
        let rng = &mut Pcg64::seed_from_u64(2);
        let (x, w) = (
            Tensor::randn([1, 2, 3, 2], rng),
            Tensor::<f64>::randn([3, 3, 2, 2], rng),
        );
        let geometry = Geometry::transposed([2, 3], [4, 4], [2, 2], [1, 1], Padding::Same, [0, 0]);
        let run = |t: &[Tensor<f64>]| conv2d_input(&t[0], &folded_kernel(&t[1]), &geometry).tanh();
        gradcheck(run, &[x.clone(), w.clone()]).unwrap();
        gradgradcheck(run, &[x, w]).unwrap();
    }

    /// The kernel by hand, and no checkerboard: each output pixel sums the whole weight once.
    #[test]
    fn the_kernel_by_hand() {
        let mut taps = vec![0.0_f64; 9];
        (taps[3], taps[4], taps[5]) = (1.0, 10.0, 100.0); // the middle row
        let kernel = folded_kernel(&Tensor::from_vec([3, 3, 1, 1], taps));
        let row = [100.0, 110.0, 11.0, 1.0];
        let none = [0.0; 4];
        let expected: Vec<f64> = [none, row, row, none].concat();
        assert_eq!(kernel.as_slice(), expected);
        // A constant image stays constant away from the border.
        let (folded, _) = both(3, 2);
        let y = folded.forward(&Tensor::ones([1, 4, 4, 3]), Mode::Eval);
        let inner = y.narrow(1, 1, 6).narrow(2, 1, 6).narrow(3, 0, 1);
        let first = inner.as_slice()[0];
        assert!(inner.as_slice().iter().all(|v| (v - first).abs() < 1e-12));
    }

    /// Away from the border, the output is that of bilinear interpolation and a convolution.
    #[test]
    fn a_bilinear_layer_interpolates_between_pixels() {
        let layer = UpsampleConv2d::<f64>::new(2, 3, &mut Init::glorot(6)).bilinear();
        let (h, w) = (5, 6);
        let x = Tensor::randn([1, h, w, 2], &mut Pcg64::seed_from_u64(7));
        // The center of output pixel i is at (i - 1/2) / 2 in the input.
        let at = |i: usize, size: usize| {
            let place = ((i as f64 - 0.5) / 2.0).clamp(0.0, size as f64 - 1.0);
            let low = (place.floor() as usize).min(size - 2);
            [(low, 1.0 - (place - low as f64)), (low + 1, place - low as f64)]
        };
        let mut large = Vec::new();
        for (i, j, c) in (0..2 * h).flat_map(|i| (0..2 * w).flat_map(move |j| (0..2).map(move |c| (i, j, c))))
        {
            let corners = at(i, h).into_iter().flat_map(|y| at(j, w).map(|x| (y, x)));
            large.push(
                corners
                    .map(|((y, a), (x_, b))| a * b * x.view()[[0, y, x_, c]])
                    .sum(),
            );
        }
        let conv = Conv2d::new(2, 3, 3, &mut Init::glorot(6)).same();
        let expected = conv.forward(&Tensor::from_vec([1, 2 * h, 2 * w, 2], large), Mode::Eval);
        let inner = |y: &Tensor<f64>| y.narrow(1, 2, 2 * h - 4).narrow(2, 2, 2 * w - 4);
        let found = layer.forward(&x, Mode::Eval);
        assert!(distance(&inner(&found), &inner(&expected)) < 1e-12);
        assert_eq!(layer.describe(), "UpsampleConv2d 3x3 2 -> 3, bilinear");
    }

    /// Names and shapes are those of a convolution, so its state can be loaded unchanged.
    #[test]
    fn a_convolution_s_state_is_read_and_norms_and_adapters_work() {
        let init = &mut Init::glorot(4);
        let net = |init: &mut Init| {
            Sequential::<f64>::new()
                .add("conv", UpsampleConv2d::new(2, 3, init).no_bias())
                .add("norm", BatchNorm::new(3))
                .add("act", LeakyReLU::new(0.2))
        };
        let mut g = net(init);
        assert_eq!(
            StateDict::of(&g).get("conv.weight").unwrap().shape(),
            [3, 3, 2, 3]
        );
        assert_eq!(g.layers()[0].1.describe(), "UpsampleConv2d 3x3 2 -> 3, no bias");
        let x = Tensor::randn([2, 3, 3, 2], &mut Pcg64::seed_from_u64(3));
        let before = g.forward(&x, Mode::Eval);
        assert_eq!(adapt(&mut g, Adapter::OutputScale, init), 1);
        assert!(distance(&g.forward(&x, Mode::Eval), &before) < 1e-12);
        let folded = g.folded();
        assert!(distance(&folded.forward(&x, Mode::Eval), &before) < 1e-12);
    }

    #[test]
    fn threads_do_not_change_a_bit() {
        let layer = UpsampleConv2d::<f32>::new(24, 16, &mut Init::glorot(5));
        let x = Tensor::randn([3, 9, 8, 24], &mut Pcg64::seed_from_u64(4));
        let run = |threads: usize| {
            let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let y = layer.forward(&x, Mode::Train);
                let dw = gradients(&y.square().sum(), &layer);
                [y, dw.get("weight").unwrap().clone()].map(|t| t.as_slice().to_vec())
            })
        };
        let one = run(1);
        assert!([2, 5].into_iter().all(|threads| run(threads) == one));
    }
}
