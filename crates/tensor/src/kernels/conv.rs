//! The three maps of a convolution, and the choice of the algorithm.

use crate::geometry::Geometry;
use crate::kernels::direct::{self, Pair, rounded_copy};
use crate::kernels::im2col;
#[cfg(target_arch = "x86_64")]
use crate::kernels::matrix_unit::{self, Amx};
use crate::kernels::simd::{has_bf16, has_matrix_unit, instruction_set};
use crate::kernels::winograd::Winograd;
use crate::precision::Precision;
use std::cell::Cell;

/// The algorithm of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConvAlgorithm {
    /// A matrix product over unrolled windows. Works for any shape.
    Im2col,
    /// Winograd's algorithms. They need several times fewer multiplications. They apply to square kernels of 2 to 5
    /// taps (3 to 10 at stride 2) without dilation. The relative error is at most 2e-5 in `f32`. A value that is not
    /// finite spreads over its tile of the image.
    Winograd,
    /// Every tap reads a framed copy of the image. Works for any shape, in `f32` only. The fastest for few channels and, without a
    /// matrix unit, for [`Precision::Bf16`].
    Direct,
    /// Every tap is a product of tiles on the matrix unit of the CPU, in `f32` only. The error is 4.4e-6 of the norm. Without a
    /// [matrix unit](crate::has_matrix_unit), the shape decides.
    MatrixUnit,
}

thread_local! {
    static FORCED: Cell<Option<ConvAlgorithm>> = const { Cell::new(None) };
}

/// Runs `f` with one algorithm for all convolutions of this thread that the algorithm supports. For tests and
/// benchmarks. By default, the shape decides.
///
/// ```
/// use engraft_tensor::{ConvAlgorithm, Geometry, Padding, Tensor, conv2d, with_conv_algorithm};
/// let (x, w) = (Tensor::<f32>::ones([2, 7, 7, 16]), Tensor::ones([5, 5, 16, 16]));
/// let g = Geometry::forward([7, 7], [5, 5], [1, 1], [1, 1], Padding::Same);
/// let exact = with_conv_algorithm(ConvAlgorithm::Im2col, || conv2d(&x, &w, &g));
/// let fast = with_conv_algorithm(ConvAlgorithm::Winograd, || conv2d(&x, &w, &g));
/// assert!((exact - fast).abs().sum().item() < 1.0); // of 200 000
/// ```
pub fn with_conv_algorithm<R>(algorithm: ConvAlgorithm, f: impl FnOnce() -> R) -> R {
    struct Reset(Option<ConvAlgorithm>);
    impl Drop for Reset {
        fn drop(&mut self) {
            FORCED.set(self.0);
        }
    }
    let _reset = Reset(FORCED.replace(Some(algorithm)));
    f()
}

/// With fewer channels, Winograd's transforms cost more than the saved products.
const FEWEST_CHANNELS: usize = 16;

/// Whether the direct convolution is left out of a small program that runs on portable kernels, where it is not chosen; see
/// [`is_recording`](crate::is_recording).
const IS_SMALL: bool = cfg!(engraft_inference);

/// What computes a map.
enum Chosen {
    Im2col,
    Direct,
    Winograd(Box<Winograd>),
    MatrixUnit,
}

/// Estimated time of Winograd's algorithm divided by that of as many multiply-adds as the definition needs, at the peak of
/// the CPU.
///
/// A tile costs its products and two transforms; each transform is shared by all channels of the other side. The weight is
/// transformed once for all tiles. The constants fit the times of 15 layers of 16 to 512 channels on a Zen 4.
fn cost_of_winograd(winograd: &Winograd, g: &Geometry, [n, c_in, c_out]: [usize; 3]) -> f64 {
    let share = winograd.products() as f64 / (g.positions() * g.taps()) as f64;
    let tiles = (winograd.tiles() * n) as f64;
    share * (1.3 + 35.0 / c_in as f64 + 35.0 / c_out as f64 + 64.0 / tiles)
}

/// The same for the direct convolution.
const COST_OF_DIRECT: f64 = 1.1;

/// The three maps.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Forward,
    Input,
    Weight,
}

/// Fewest images for which the matrix unit, whose rows are images, is the fastest.
const FEWEST_IMAGES: usize = 4;

/// Largest extent of a kernel, with its dilation, for which the matrix unit holds what a pixel reads in the cache.
const WIDEST: usize = 9;

/// Whether the matrix unit is the fastest. It computes 32 inner indices at a time, so few of them waste its work.
///
/// In `f32` its error is of the order of that of Winograd's algorithms. A kernel of one tap stays an exact product.
fn fits_matrix_unit(kind: Kind, g: &Geometry, [n, c_in, c_out]: [usize; 3], precision: Precision) -> bool {
    let inner = match kind {
        Kind::Forward => c_in,
        Kind::Input => c_out,
        Kind::Weight => usize::MAX,
    };
    let is_narrow = (0..2).all(|a| (g.kernel[a] - 1) * g.dilation[a] < WIDEST);
    let is_exact_elsewhere = precision == Precision::F32 && g.taps() == 1;
    n >= FEWEST_IMAGES && inner >= FEWEST_CHANNELS && is_narrow && !is_exact_elsewhere
}

/// Chooses what computes a map of `f32`.
fn choose(kind: Kind, g: &Geometry, [n, c_in, c_out]: [usize; 3], precision: Precision) -> Chosen {
    let forced = if IS_SMALL { None } else { FORCED.get() };
    match forced {
        Some(ConvAlgorithm::Im2col) => return Chosen::Im2col,
        Some(ConvAlgorithm::Direct) => return Chosen::Direct,
        Some(ConvAlgorithm::Winograd) if n > 0 => {
            return Winograd::new(g, c_in, c_out)
                .map_or(Chosen::Im2col, |found| Chosen::Winograd(Box::new(found)));
        }
        Some(ConvAlgorithm::MatrixUnit) if has_matrix_unit() => return Chosen::MatrixUnit,
        _ => {}
    }
    if !IS_SMALL && has_matrix_unit() && fits_matrix_unit(kind, g, [n, c_in, c_out], precision) {
        return Chosen::MatrixUnit;
    }
    let twice_as_fast = precision == Precision::Bf16 && has_bf16();
    // matrixmultiply finds its own instructions.
    let is_vectorized = !IS_SMALL && instruction_set() != "portable";
    let is_product = g.taps() == 1 && g.stride == [1, 1] && g.pad == [0, 0];
    let other = if is_vectorized && (!is_product || twice_as_fast) {
        Chosen::Direct
    } else {
        Chosen::Im2col
    };
    if c_in.min(c_out) < FEWEST_CHANNELS || n == 0 {
        return other;
    }
    let cost = if twice_as_fast {
        COST_OF_DIRECT / 2.0
    } else {
        COST_OF_DIRECT
    };
    match Winograd::new(g, c_in, c_out) {
        Some(winograd) if cost_of_winograd(&winograd, g, [n, c_in, c_out]) < cost => {
            Chosen::Winograd(Box::new(winograd))
        }
        _ => other,
    }
}

/// The three maps for an element type.
///
/// A trait with one implementation per type instead of generic functions. Generic functions would be compiled again
/// in every crate that uses a tensor.
pub trait Convolve: Sized {
    /// `y = conv2d(x, w)`. Sizes `[n, h, w, c_in]`, `[taps, c_in, c_out]`, `[n, oh, ow, c_out]`. `sizes` holds `n`,
    /// `c_in` and `c_out`.
    #[doc(hidden)]
    fn conv_forward(
        g: &Geometry,
        sizes: [usize; 3],
        precision: Precision,
        x: &[Self],
        w: &[Self],
        y: &mut [Self],
    );
    /// `dx = conv2d_input(dy, w)`: the adjoint in `x`.
    #[doc(hidden)]
    fn conv_input(
        g: &Geometry,
        sizes: [usize; 3],
        precision: Precision,
        dy: &[Self],
        w: &[Self],
        dx: &mut [Self],
    );
    /// `dw = conv2d_weight(x, dy)`: the adjoint in `w`.
    #[doc(hidden)]
    fn conv_weight(
        g: &Geometry,
        sizes: [usize; 3],
        precision: Precision,
        x: &[Self],
        dy: &[Self],
        dw: &mut [Self],
    );
}

macro_rules! single {
    ($($method:ident is $map:ident, $kind:ident);*) => {
        impl Convolve for f32 {
            $(fn $method(
                g: &Geometry,
                sizes: [usize; 3],
                precision: Precision,
                a: &[f32],
                b: &[f32],
                out: &mut [f32],
            ) {
                let [n, c_in, c_out] = sizes;
                let is_rounded = precision == Precision::Bf16;
                let chosen = choose(Kind::$kind, g, sizes, precision);
                #[cfg(target_arch = "x86_64")]
                if let (Chosen::MatrixUnit, false) = (&chosen, IS_SMALL) {
                    return if is_rounded {
                        matrix_unit::$map::<Amx, 1>(g, sizes, a, b, out)
                    } else {
                        matrix_unit::$map::<Amx, 2>(g, sizes, a, b, out)
                    };
                }
                if let (true, true, Chosen::Direct, false) = (is_rounded, has_bf16(), &chosen, IS_SMALL) {
                    return direct::$map::<Pair>(g, sizes, a, b, out);
                }
                let rounded = is_rounded.then(|| [rounded_copy(a), rounded_copy(b)]);
                let (a, b) = rounded.as_ref().map_or((a, b), |[a, b]| (a, b));
                match chosen {
                    Chosen::Winograd(winograd) => winograd.$map(a, b, out),
                    Chosen::Direct if !IS_SMALL => direct::$map::<f32>(g, sizes, a, b, out),
                    Chosen::Direct | Chosen::Im2col | Chosen::MatrixUnit => im2col::$map(g, n, c_in, c_out, a, b, out),
                }
            })*
        }
    };
}

/// `f64` serves checks, so its speed does not matter.
macro_rules! double {
    ($($method:ident is $map:ident),*) => {
        impl Convolve for f64 {
            $(fn $method(
                g: &Geometry,
                [n, c_in, c_out]: [usize; 3],
                _: Precision,
                a: &[f64],
                b: &[f64],
                out: &mut [f64],
            ) {
                match FORCED.get() {
                    Some(ConvAlgorithm::Winograd) if n > 0 => match Winograd::new(g, c_in, c_out) {
                        Some(winograd) => winograd.$map(a, b, out),
                        None => im2col::$map(g, n, c_in, c_out, a, b, out),
                    },
                    _ => im2col::$map(g, n, c_in, c_out, a, b, out),
                }
            })*
        }
    };
}

single!(conv_forward is forward, Forward; conv_input is input, Input; conv_weight is weight, Weight);
double!(conv_forward is forward, conv_input is input, conv_weight is weight);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Padding;
    use crate::kernels::reference::{maps, values};

    /// Layers for which each algorithm is chosen, in both precisions: close to the definition for the operands as they are
    /// rounded, with the same bits on 1, 2 and 5 threads.
    #[test]
    fn chosen_algorithms_are_exact_and_independent_of_threads() {
        for (size, kernel, stride, [c_in, c_out]) in [
            (8, 3, 1, [3, 20]),
            (8, 4, 2, [20, 3]),
            (8, 3, 1, [96, 96]),
            (9, 1, 1, [33, 17]),
            (16, 3, 1, [17, 32]),
        ] {
            let g = Geometry::forward([size, size], [kernel; 2], [stride; 2], [1, 1], Padding::Same);
            // As many images as a matrix unit needs.
            let n = FEWEST_IMAGES + 1;
            let sizes = [n, c_in, c_out];
            let [x, w, dy] = [
                size * size * c_in * n,
                g.taps() * c_in * c_out,
                g.positions() * c_out * n,
            ]
            .map(|len| {
                values(len, len as u64)
                    .iter()
                    .map(|&x| x as f32)
                    .collect::<Vec<_>>()
            });
            for precision in [Precision::F32, Precision::Bf16] {
                let exact = [&x, &w, &dy].map(|x| -> Vec<f64> {
                    let rounded = if precision == Precision::F32 {
                        x.clone()
                    } else {
                        rounded_copy(x).to_vec()
                    };
                    rounded.into_iter().map(f64::from).collect()
                });
                let wanted = maps(&g, n, [c_in, c_out], [&exact[0], &exact[1], &exact[2]]);
                let compute = |threads: usize| {
                    let pool = rayon::ThreadPoolBuilder::new()
                        .num_threads(threads)
                        .build()
                        .unwrap();
                    let mut found = [&dy, &x, &w].map(|like| vec![f32::NAN; like.len()]);
                    let [y, dx, dw] = &mut found;
                    pool.install(|| {
                        f32::conv_forward(&g, sizes, precision, &x, &w, y);
                        f32::conv_input(&g, sizes, precision, &dy, &w, dx);
                        f32::conv_weight(&g, sizes, precision, &x, &dy, dw);
                    });
                    found
                };
                let found = compute(1);
                for (found, wanted) in found.iter().zip(&wanted) {
                    let length = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
                    let error = length(&mut found.iter().zip(wanted).map(|(&f, w)| f64::from(f) - w));
                    let relative = error / length(&mut wanted.iter().copied());
                    assert!(relative < 2e-5, "{g:?} {precision}: {relative}");
                }
                for threads in [2, 5] {
                    assert!(
                        found == compute(threads),
                        "{g:?} {precision}: other bits on {threads} threads"
                    );
                }
            }
        }
    }
}
