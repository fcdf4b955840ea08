//! Per-channel (last axis) maps with an optional leaky ReLU, in one pass.

use crate::kernels::pieces::{self, piece};
use crate::kernels::reduce::{CHUNK, RUN, Tile, add_parts, add_row, fold_columns, join_pairs};
use crate::kernels::scratch;
use crate::kernels::simd::vectorized;
use crate::real::Real;
use std::ops::Range;

/// `v` where positive, `slope · v` elsewhere. A slope of 1 is the identity, bit for bit.
#[derive(Clone, Copy)]
pub(crate) struct Leaky<T> {
    slope: T,
    /// Smaller values are clamped to it first: with a slope of 0, -∞ becomes 0 instead of NaN.
    floor: T,
}

impl<T: Real> Leaky<T> {
    pub(crate) fn new(slope: T) -> Self {
        let floor = if slope == T::zero() {
            T::zero()
        } else {
            T::neg_infinity()
        };
        Self { slope, floor }
    }

    #[inline]
    pub(crate) fn apply(self, v: T) -> T {
        let lifted = if v < self.floor { self.floor } else { v };
        if v > T::zero() { v } else { self.slope * lifted }
    }

    /// Product of `dy` and the derivative. `y` is the argument, or the result if the slope is not negative: both have
    /// the same sign.
    #[inline]
    pub(crate) fn mask(self, dy: T, y: T) -> T {
        if y > T::zero() { dy } else { self.slope * dy }
    }
}

/// Builds a matrix row by row. `row` receives the index range of the row's elements and the row to fill.
fn by_rows<T: Real>(len: usize, columns: usize, row: impl Fn(Range<usize>, &mut [T]) + Sync) -> Vec<T> {
    let mut matrix = scratch::take(len);
    if len == 0 {
        return matrix;
    }
    let step = (CHUNK / columns).max(1) * columns;
    let part = |i: usize, part: &mut [T]| {
        vectorized(|| {
            for (j, values) in part.chunks_exact_mut(columns).enumerate() {
                let start = i * step + j * columns;
                row(start..start + columns, values);
            }
        });
    };
    if len <= 2 * CHUNK {
        part(0, &mut matrix);
    } else {
        pieces::each(&mut matrix, step, part);
    }
    matrix
}

/// `leaky((x - mean) * scale + shift)`. Mean, scale and shift are rows.
pub(crate) fn affine<T: Real>(x: &[T], mean: &[T], scale: &[T], shift: &[T], leaky: Leaky<T>) -> Vec<T> {
    by_rows(x.len(), mean.len(), |span, y| {
        let values = y.iter_mut().zip(&x[span]).zip(mean).zip(scale).zip(shift);
        for ((((y, &x), &m), &a), &b) in values {
            *y = leaky.apply((x - m) * a + b);
        }
    })
}

/// Sums over the rows of `g` and of `g · (x - mean)`. `g` is the product of `dy` and the derivative of the
/// leaky ReLU with result `y`.
pub(crate) fn backward_sums<T: Real>(dy: &[T], y: &[T], x: &[T], mean: &[T], leaky: Leaky<T>) -> [Vec<T>; 2] {
    let columns = mean.len();
    let fold = |tile: &Tile, [plain, with_x]: &mut [Vec<T>; 2]| {
        let mean = &mean[tile.columns.clone()];
        let rows = tile.of(dy, columns).zip(tile.of(y, columns));
        for ((dy, y), x) in rows.zip(tile.of(x, columns)) {
            add_to_sums(plain, with_x, [dy, y, x, mean], leaky);
        }
    };
    fold_columns(x.len() / columns.max(1), columns, fold, add_parts)
}

/// One row of [`backward_sums`]. A separate function, because only function arguments are known not to overlap.
fn add_to_sums<T: Real>(plain: &mut [T], with_x: &mut [T], [dy, y, x, mean]: [&[T]; 4], leaky: Leaky<T>) {
    let sums = plain.iter_mut().zip(with_x);
    for (((((p, w), &dy), &y), &x), &m) in sums.zip(dy).zip(y).zip(x).zip(mean) {
        let g = leaky.mask(dy, y);
        *p += g;
        *w += g * (x - m);
    }
}

/// Rows `a`, `b`, `c` of the derivative `a · g + b · (x - mean) + c`, one number per channel.
pub(crate) struct Coefficients<'a, T> {
    pub(crate) mean: &'a [T],
    pub(crate) a: Vec<T>,
    pub(crate) b: Vec<T>,
    pub(crate) c: Vec<T>,
}

/// `a · g + b · (x - mean) + c`, with `g` as in [`backward_sums`].
pub(crate) fn backward_input<T: Real>(
    dy: &[T],
    y: &[T],
    x: &[T],
    Coefficients { mean, a, b, c }: &Coefficients<'_, T>,
    leaky: Leaky<T>,
) -> Vec<T> {
    by_rows(x.len(), mean.len(), |span, dx| {
        let values = dx.iter_mut().zip(&dy[span.clone()]);
        let values = values.zip(&y[span.clone()]).zip(&x[span]);
        for (((((((dx, &dy), &y), &x), &m), &a), &b), &c) in values.zip(*mean).zip(a).zip(b).zip(c) {
            *dx = a * leaky.mask(dy, y) + b * (x - m) + c;
        }
    })
}

/// `g · scale` for every row, with `g` as in [`backward_sums`].
pub(crate) fn backward_scaled<T: Real>(dy: &[T], y: &[T], scale: &[T], leaky: Leaky<T>) -> Vec<T> {
    by_rows(dy.len(), scale.len(), |span, dx| {
        let values = dx.iter_mut().zip(&dy[span.clone()]).zip(&y[span]);
        for (((dx, &dy), &y), &a) in values.zip(scale) {
            *dx = a * leaky.mask(dy, y);
        }
    })
}

/// `g` and its sum over the rows, with `g` as in [`backward_sums`].
pub(crate) fn backward_bias<T: Real>(dy: &[T], y: &[T], columns: usize, leaky: Leaky<T>) -> (Vec<T>, Vec<T>) {
    let mut dx = scratch::take(dy.len());
    if dx.is_empty() {
        return (dx, vec![T::zero(); columns]);
    }
    // At least eight rows of a wide matrix, so that the partial sums are far smaller than the matrix.
    let step = (CHUNK / columns).clamp(8, RUN) * columns;
    let part = |i: usize, dx: &mut [T], sums: &mut [T]| {
        let (dy, y) = (piece(dy, step, i), piece(y, step, i));
        vectorized(|| {
            let rows = dx.chunks_exact_mut(columns).zip(dy.chunks_exact(columns));
            for ((dx, dy), y) in rows.zip(y.chunks_exact(columns)) {
                for (((dx, s), &dy), &y) in dx.iter_mut().zip(&mut *sums).zip(dy).zip(y) {
                    let g = leaky.mask(dy, y);
                    *dx = g;
                    *s += g;
                }
            }
        });
    };
    let mut sums = vec![T::zero(); dy.len().div_ceil(step) * columns];
    if dy.len() <= 2 * CHUNK {
        let both = dx.chunks_mut(step).zip(sums.chunks_mut(columns));
        both.enumerate().for_each(|(i, (dx, sums))| part(i, dx, sums));
    } else {
        pieces::each_of_two((&mut dx, step), (&mut sums, columns), part);
    }
    let parts = sums.chunks(columns).map(<[T]>::to_vec).collect();
    let sums = join_pairs(parts, |left, right| add_row(left, right));
    (dx, sums.expect("a nonempty matrix has at least one piece"))
}
