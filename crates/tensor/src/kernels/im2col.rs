//! The three maps of a convolution as matrix products over unrolled windows (im2col).
//!
//! Windows are unrolled piece by piece into a small buffer per thread, never for the whole batch.
//! The pieces depend on the sizes only, and partial sums are added in a fixed order. So the bits do not depend on
//! the number of threads.

use crate::geometry::Geometry;
use crate::kernels::gemm::{Accum, gemm, par_gemm};
use crate::kernels::pieces;
use crate::kernels::scratch::Scratch;
use crate::kernels::strided::Layout;
use crate::real::Real;
use std::ops::Range;

/// Output positions per piece of work. The windows of a 5x5 kernel over 128 channels then take 3 MB.
const POSITIONS: usize = 256;
/// Minimum number of pieces of the weight gradient, if the batch allows it.
const PIECES: usize = 16;
/// Minimum rows (taps times channels) of the weight gradient per piece, so that the products stay large.
const WEIGHT_ROWS: usize = 64;

/// `y = conv2d(x, w)`: windows of `x` times `w`. Sizes `[n, h, w, c_in]`, `[taps, c_in, c_out]`,
/// `[n, oh, ow, c_out]`.
pub(crate) fn forward<T: Real>(
    g: &Geometry,
    n: usize,
    c_in: usize,
    c_out: usize,
    x: &[T],
    w: &[T],
    y: &mut [T],
) {
    let line = g.output[1] * c_out;
    if n * g.output[0] * line == 0 {
        return;
    }
    let lines = (POSITIONS / g.output[1]).max(1);
    let depth = g.taps() * c_in;
    // A single piece leaves the threads to its product.
    let single = y.len() <= lines * line;
    pieces::each(y, lines * line, |piece, y| {
        let first = piece * lines;
        let positions = y.len() / c_out;
        let windows = unroll(g, c_in, x, first..first + y.len() / line, 0..g.taps());
        let (windows, w) = ((&windows[..], Layout::Plain), (w, Layout::Plain));
        if single {
            par_gemm(positions, depth, c_out, windows, w, y);
        } else {
            gemm(positions, depth, c_out, windows, w, y, Accum::Replace);
        }
    });
}

/// `dx = conv2d_input(dy, w)`: `dy` times the transposed `w`, scattered back to the windows.
pub(crate) fn input<T: Real>(
    g: &Geometry,
    n: usize,
    c_in: usize,
    c_out: usize,
    dy: &[T],
    w: &[T],
    dx: &mut [T],
) {
    let image = g.input[0] * g.input[1] * c_in;
    if n * image == 0 {
        return;
    }
    dx.fill(T::zero());
    if g.positions() * c_out == 0 {
        return;
    }
    let images = (POSITIONS / g.positions()).max(1);
    let depth = g.taps() * c_in;
    let single = n <= images;
    pieces::each(dx, images * image, |piece, dx| {
        let dy = pieces::piece(dy, images * g.positions() * c_out, piece);
        let positions = dy.len() / c_out;
        let mut windows = Scratch::take(positions * depth);
        let (dy, w) = ((dy, Layout::Plain), (w, Layout::Transposed));
        if single {
            par_gemm(positions, c_out, depth, dy, w, &mut windows);
        } else {
            gemm(positions, c_out, depth, dy, w, &mut windows, Accum::Replace);
        }
        roll(g, c_in, &windows, dx);
    });
}

/// `dw = conv2d_weight(x, dy)`: transposed windows of `x` times `dy`.
///
/// A piece is a range of taps and a range of the batch's lines. Pieces with the same taps are added in order.
pub(crate) fn weight<T: Real>(
    g: &Geometry,
    n: usize,
    c_in: usize,
    c_out: usize,
    x: &[T],
    dy: &[T],
    dw: &mut [T],
) {
    dw.fill(T::zero());
    let line = g.output[1] * c_out;
    let all_lines = n * g.output[0];
    if dw.is_empty() || all_lines * line == 0 {
        return;
    }
    let taps = WEIGHT_ROWS.div_ceil(c_in).min(g.taps());
    let blocks = g.taps().div_ceil(taps);
    let groups = PIECES.div_ceil(blocks).min(all_lines);
    let lines_of_group = all_lines.div_ceil(groups);
    let lines = (POSITIONS / g.output[1]).max(1);
    let sums = pieces::map(blocks * groups, |piece| {
        let (block, group) = (piece / groups, piece % groups);
        let taps = block * taps..((block + 1) * taps).min(g.taps());
        let rows = taps.len() * c_in;
        let mut sum = vec![T::zero(); rows * c_out];
        let end = ((group + 1) * lines_of_group).min(all_lines);
        for first in (group * lines_of_group..end).step_by(lines) {
            let span = first..(first + lines).min(end);
            let dy = &dy[span.start * line..span.end * line];
            let windows = unroll(g, c_in, x, span, taps.clone());
            let (windows, dy, depth) = (
                (&windows[..], Layout::Transposed),
                (dy, Layout::Plain),
                dy.len() / c_out,
            );
            gemm(rows, depth, c_out, windows, dy, &mut sum, Accum::Add);
        }
        sum
    });
    for (dw, sums) in dw.chunks_mut(taps * c_in * c_out).zip(sums.chunks(groups)) {
        for sum in sums {
            dw.iter_mut().zip(sum).for_each(|(d, &s)| *d += s);
        }
    }
}

/// Tap columns `k` of a kernel row that meet the image at output column `ox`, and the first image column.
/// With dilation 1 their elements are contiguous.
#[inline]
fn columns_inside(g: &Geometry, ox: usize, taps: &Range<usize>) -> (Range<usize>, usize) {
    let start = ox * g.stride[1];
    let first = taps.start.max(g.pad[1].saturating_sub(start));
    let last = taps.end.min((g.input[1] + g.pad[1]).saturating_sub(start));
    (first..last.max(first), (start + first).saturating_sub(g.pad[1]))
}

/// Calls `f(offset in the windows, offset in the images, length)` for every contiguous run of elements that windows
/// and images share, for the given output lines and taps. Padding elements belong to no run.
#[inline]
fn runs(
    g: &Geometry,
    c_in: usize,
    lines: Range<usize>,
    taps: Range<usize>,
    mut f: impl FnMut(usize, usize, usize),
) {
    let [kw, width] = [g.kernel[1], g.input[1]];
    let window = taps.len() * c_in;
    let mut at = 0;
    for line in lines {
        let (image, oy) = (line / g.output[0], line % g.output[0]);
        for ox in 0..g.output[1] {
            for ky in taps.start / kw..taps.end.div_ceil(kw) {
                let Some(iy) = g.input_index(0, oy, ky) else {
                    continue;
                };
                let row = (image * g.input[0] + iy) * width;
                // The part of this kernel row within the range of taps.
                let part = taps.start.max(ky * kw) - ky * kw..taps.end.min((ky + 1) * kw) - ky * kw;
                let to = |kx: usize| at + (ky * kw + kx - taps.start) * c_in;
                if g.dilation[1] == 1 {
                    let (inside, ix) = columns_inside(g, ox, &part);
                    if !inside.is_empty() {
                        f(to(inside.start), (row + ix) * c_in, inside.len() * c_in);
                    }
                } else {
                    for kx in part {
                        if let Some(ix) = g.input_index(1, ox, kx) {
                            f(to(kx), (row + ix) * c_in, c_in);
                        }
                    }
                }
            }
            at += window;
        }
    }
}

/// The windows of some output lines of a batch as rows. Each row is one output position: its taps in order, the channels of a tap
/// together.
fn unroll<T: Real>(
    g: &Geometry,
    c_in: usize,
    x: &[T],
    lines: Range<usize>,
    taps: Range<usize>,
) -> Scratch<T> {
    let mut windows = Scratch::take(lines.len() * g.output[1] * taps.len() * c_in);
    windows.fill(T::zero());
    runs(g, c_in, lines, taps, |to, from, length| {
        windows[to..to + length].copy_from_slice(&x[from..from + length]);
    });
    windows
}

/// Adds the rows of `windows` back to the images. The adjoint of [`unroll`].
fn roll<T: Real>(g: &Geometry, c_in: usize, windows: &[T], x: &mut [T]) {
    let lines = windows.len() / (g.output[1] * g.taps() * c_in);
    runs(g, c_in, 0..lines, 0..g.taps(), |from, to, length| {
        let (x, windows) = (&mut x[to..to + length], &windows[from..from + length]);
        x.iter_mut().zip(windows).for_each(|(x, &w)| *x += w);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Padding;
    use crate::kernels::reference::{geometries, maps, values};
    use proptest::prelude::*;

    fn close(a: &[f64], b: &[f64]) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-11)
    }

    proptest! {
        #[test]
        fn the_three_maps_equal_their_definition(
            g in geometries(5..12),
            n in 1_usize..4,
            c_in in prop_oneof![1_usize..5, Just(70)],
            c_out in 1_usize..5,
        ) {
            let x = values(n * g.input[0] * g.input[1] * c_in, 1);
            let w = values(g.taps() * c_in * c_out, 2);
            let dy = values(n * g.positions() * c_out, 3);
            let [y, dx, dw] = maps(&g, n, [c_in, c_out], [&x, &w, &dy]);
            let mut found = vec![f64::NAN; y.len()];
            forward(&g, n, c_in, c_out, &x, &w, &mut found);
            prop_assert!(close(&found, &y), "forward {:?}", g);
            let mut found = vec![f64::NAN; dx.len()];
            input(&g, n, c_in, c_out, &dy, &w, &mut found);
            prop_assert!(close(&found, &dx), "input {:?}", g);
            let mut found = vec![f64::NAN; dw.len()];
            weight(&g, n, c_in, c_out, &x, &dy, &mut found);
            prop_assert!(close(&found, &dw), "weight {:?}", g);
        }
    }

    #[test]
    fn empty_batches_give_nothing() {
        let g = Geometry::forward([4, 4], [3, 3], [1, 1], [1, 1], Padding::Same);
        forward::<f32>(&g, 0, 2, 3, &[], &[0.0; 54], &mut []);
        input::<f32>(&g, 0, 2, 3, &[], &[0.0; 54], &mut []);
        let mut dw = [f32::NAN; 54];
        weight::<f32>(&g, 0, 2, 3, &[], &[], &mut dw);
        assert_eq!(dw, [0.0; 54]);
    }
}
