//! The three maps of a convolution, and the choice of the algorithm.

use crate::geometry::Geometry;
use crate::kernels::im2col;
use crate::kernels::winograd::Winograd;
use crate::real::Real;
use std::cell::Cell;

/// The algorithm of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConvAlgorithm {
    /// A matrix product over unrolled windows. Works for any shape and has the smallest rounding error.
    Im2col,
    /// Winograd's algorithms. They need several times fewer multiplications. They apply to square kernels of 2 to 5
    /// taps (3 to 10 at stride 2) without dilation. The relative error is at most 2e-5 in `f32`. A value that is not
    /// finite spreads over its tile of the image.
    Winograd,
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

/// With fewer tiles, transforming the weight costs more than the saved products.
const FEWEST_TILES: usize = 24;
/// With fewer channels, the transforms cost more than the saved products.
const FEWEST_CHANNELS: usize = 16;

/// Chooses the algorithm: a prepared Winograd, or `None` for im2col.
fn choose<T: Real>(g: &Geometry, n: usize, c_in: usize, c_out: usize) -> Option<Winograd> {
    match FORCED.get() {
        Some(ConvAlgorithm::Im2col) => return None,
        Some(ConvAlgorithm::Winograd) if n > 0 => return Winograd::new(g, c_in, c_out),
        _ => {}
    }
    // f64 serves checks, so its speed does not matter.
    if size_of::<T>() != size_of::<f32>() || c_in.min(c_out) < FEWEST_CHANNELS {
        return None;
    }
    let winograd = Winograd::new(g, c_in, c_out)?;
    let pays = winograd.tiles() * n >= FEWEST_TILES && 2 * winograd.products() < g.positions() * g.taps();
    pays.then_some(winograd)
}

/// The three maps for an element type.
///
/// A trait with one implementation per type instead of generic functions. Generic functions would be compiled again
/// in every crate that uses a tensor.
pub trait Convolve: Sized {
    /// `y = conv2d(x, w)`. Sizes `[n, h, w, c_in]`, `[taps, c_in, c_out]`, `[n, oh, ow, c_out]`. `sizes` holds `n`,
    /// `c_in` and `c_out`.
    #[doc(hidden)]
    fn conv_forward(g: &Geometry, sizes: [usize; 3], x: &[Self], w: &[Self], y: &mut [Self]);
    /// `dx = conv2d_input(dy, w)`: the adjoint in `x`.
    #[doc(hidden)]
    fn conv_input(g: &Geometry, sizes: [usize; 3], dy: &[Self], w: &[Self], dx: &mut [Self]);
    /// `dw = conv2d_weight(x, dy)`: the adjoint in `w`.
    #[doc(hidden)]
    fn conv_weight(g: &Geometry, sizes: [usize; 3], x: &[Self], dy: &[Self], dw: &mut [Self]);
}

macro_rules! convolve {
    ($t:ty, $($method:ident is $map:ident),*) => {
        impl Convolve for $t {
            $(fn $method(g: &Geometry, [n, c_in, c_out]: [usize; 3], a: &[Self], b: &[Self], out: &mut [Self]) {
                match choose::<$t>(g, n, c_in, c_out) {
                    Some(winograd) => winograd.$map(a, b, out),
                    None => im2col::$map(g, n, c_in, c_out, a, b, out),
                }
            })*
        }
    };
}

convolve!(f32, conv_forward is forward, conv_input is input, conv_weight is weight);
convolve!(f64, conv_forward is forward, conv_input is input, conv_weight is weight);
