//! Convolutions and matrix products on a matrix unit: direct sums of products of tiles, without transforms.
//!
//! With one part, operands are rounded to bfloat16. With two, an `f32` is the sum of two bfloat16 numbers, and three products
//! replace one: the error is 4.4e-6 of the norm. A number that is infinite, or becomes so when it is rounded to bfloat16, makes
//! the sums that it meets NaN.
//!
//! The rows of a block are up to 32 images at the same pixel. So all rows have the same taps, and neither a frame of zeros nor the
//! size of an image costs anything. The order of a sum depends on the sizes of a layer only, not on the number of threads.

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod axis;
mod images;
#[cfg(test)]
mod model;
mod pack;
mod product;
#[cfg(test)]
mod tests;
mod weight;

use crate::geometry::Geometry;
use crate::kernels::strided::Layout;
use product::{BLOCK, SIDE};

#[cfg(target_arch = "x86_64")]
pub(crate) use amx::Amx;
pub(crate) use product::Unit;

/// Rows and columns of a block.
const WIDE: usize = BLOCK * SIDE;

/// One pixel: a matrix product, whose rows are images.
const PIXEL: Geometry = Geometry {
    input: [1, 1],
    output: [1, 1],
    kernel: [1, 1],
    stride: [1, 1],
    dilation: [1, 1],
    pad: [0, 0],
};

/// A convolution whose pixels do not meet, as a matrix product with more rows.
fn simplified(g: &Geometry, [n, c_in, c_out]: [usize; 3]) -> (Geometry, [usize; 3]) {
    if g.taps() == 1 && g.stride == [1, 1] && g.pad == [0, 0] && g.input == g.output {
        (PIXEL, [n * g.positions(), c_in, c_out])
    } else {
        (*g, [n, c_in, c_out])
    }
}

/// # Panics
/// If this CPU lacks the unit, or the length of a slice differs from its sizes: `[large images, weight, small images]`.
fn assert_fits<U: Unit>(g: &Geometry, [n, c_in, c_out]: [usize; 3], lengths: [usize; 3]) {
    let product = |sizes: [usize; 4]| sizes.into_iter().try_fold(1_usize, usize::checked_mul);
    let wanted = [
        [n, g.input[0], g.input[1], c_in],
        [g.kernel[0], g.kernel[1], c_in, c_out],
        [n, g.output[0], g.output[1], c_out],
    ]
    .map(product);
    assert!(U::is_available(), "the CPU has no such matrix unit");
    assert!(
        wanted == lengths.map(Some),
        "matrix unit: {n} images of {c_in} and {c_out} channels for {g:?} with slices of {lengths:?}"
    );
}

/// `y = conv2d(x, w)`. Sizes as in [`crate::kernels::im2col`].
///
/// # Panics
/// If this CPU lacks the unit, or the length of a slice differs from its sizes; so do the other maps.
pub(crate) fn forward<U: Unit, const PARTS: usize>(
    g: &Geometry,
    sizes: [usize; 3],
    x: &[f32],
    w: &[f32],
    y: &mut [f32],
) {
    assert_fits::<U>(g, sizes, [x.len(), w.len(), y.len()]);
    let (g, sizes) = simplified(g, sizes);
    images::forward::<U, PARTS>(&g, sizes, x, w, y);
}

/// `dx = conv2d_input(dy, w)`.
pub(crate) fn input<U: Unit, const PARTS: usize>(
    g: &Geometry,
    sizes: [usize; 3],
    dy: &[f32],
    w: &[f32],
    dx: &mut [f32],
) {
    assert_fits::<U>(g, sizes, [dx.len(), w.len(), dy.len()]);
    let (g, sizes) = simplified(g, sizes);
    images::input::<U, PARTS>(&g, sizes, dy, w, dx);
}

/// `dw = conv2d_weight(x, dy)`.
pub(crate) fn weight<U: Unit, const PARTS: usize>(
    g: &Geometry,
    sizes: [usize; 3],
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
) {
    assert_fits::<U>(g, sizes, [x.len(), dw.len(), dy.len()]);
    let (g, sizes) = simplified(g, sizes);
    weight::weight::<U, PARTS>(&g, sizes, x, dy, dw);
}

/// `c = a · b` with sizes `[m, k, n]`; `false` and nothing else if both operands are transposed.
pub(crate) fn matrices<U: Unit, const PARTS: usize>(
    [m, k, n]: [usize; 3],
    (a, a_layout): (&[f32], Layout),
    (b, b_layout): (&[f32], Layout),
    c: &mut [f32],
) -> bool {
    match (a_layout, b_layout) {
        (Layout::Plain, Layout::Plain) => forward::<U, PARTS>(&PIXEL, [m, k, n], a, b, c),
        (Layout::Plain, Layout::Transposed) => input::<U, PARTS>(&PIXEL, [m, n, k], a, b, c),
        (Layout::Transposed, Layout::Plain) => weight::<U, PARTS>(&PIXEL, [k, m, n], a, b, c),
        (Layout::Transposed, Layout::Transposed) => return false,
    }
    true
}
