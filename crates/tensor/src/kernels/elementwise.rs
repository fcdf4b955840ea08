//! Elementwise loops, parallel above a fixed size.

use crate::kernels::pieces::{self, piece};
use crate::kernels::scratch;
use crate::kernels::simd::vectorized;
use crate::real::Real;

/// Elements per piece of parallel work: 64 kB of `f32`, so that a piece stays in the L1 or L2 cache.
const CHUNK: usize = 16_384;

/// `f(x_i)` for every element.
pub(crate) fn map<T: Real>(x: &[T], f: impl Fn(T) -> T + Sync + Send) -> Vec<T> {
    let mut y = scratch::take(x.len());
    let part = |y: &mut [T], x: &[T]| {
        vectorized(|| y.iter_mut().zip(x).for_each(|(y, &x)| *y = f(x)));
    };
    if x.len() <= 2 * CHUNK {
        part(&mut y, x);
    } else {
        pieces::each(&mut y, CHUNK, |i, y| part(y, piece(x, CHUNK, i)));
    }
    y
}

/// `f(a_i, b_i)` for every element of two slices of equal length.
pub(crate) fn zip<T: Real>(a: &[T], b: &[T], f: impl Fn(T, T) -> T + Sync + Send) -> Vec<T> {
    debug_assert_eq!(a.len(), b.len());
    let mut y = scratch::take(a.len());
    let part = |y: &mut [T], a: &[T], b: &[T]| {
        vectorized(|| y.iter_mut().zip(a).zip(b).for_each(|((y, &a), &b)| *y = f(a, b)));
    };
    if a.len() <= 2 * CHUNK {
        part(&mut y, a, b);
    } else {
        pieces::each(&mut y, CHUNK, |i, y| {
            part(y, piece(a, CHUNK, i), piece(b, CHUNK, i))
        });
    }
    y
}

/// `f(a_ij, row_j)`: pairs every row of the matrix `a` with `row`.
pub(crate) fn zip_row<T: Real>(a: &[T], row: &[T], f: impl Fn(T, T) -> T + Sync + Send) -> Vec<T> {
    let mut y = scratch::take(a.len());
    if row.is_empty() {
        return y;
    }
    let rows = (CHUNK / row.len()).max(1) * row.len();
    let part = |y: &mut [T], a: &[T]| {
        vectorized(|| {
            for (y, a) in y.chunks_exact_mut(row.len()).zip(a.chunks_exact(row.len())) {
                y.iter_mut()
                    .zip(a)
                    .zip(row)
                    .for_each(|((y, &a), &r)| *y = f(a, r));
            }
        });
    };
    if a.len() <= 2 * CHUNK {
        part(&mut y, a);
    } else {
        pieces::each(&mut y, rows, |i, y| part(y, piece(a, rows, i)));
    }
    y
}

/// Sizes of a block of a tensor, whose rows are all paired with one row of another tensor.
#[derive(Clone, Copy)]
pub(crate) struct Blocks {
    /// Rows of a block.
    pub(crate) rows: usize,
    /// Numbers of a row.
    pub(crate) row: usize,
}

/// `f(a_kij, b_kj)`: pairs every row of block `k` of `a` with row `k` of `b`.
pub(crate) fn zip_blocks<T: Real>(
    a: &[T],
    b: &[T],
    blocks: Blocks,
    f: impl Fn(T, T) -> T + Sync + Send,
) -> Vec<T> {
    let mut y = scratch::take(a.len());
    if a.is_empty() {
        return y;
    }
    let Blocks { rows, row } = blocks;
    let block = rows * row;
    let part = |y: &mut [T], a: &[T], b: &[T]| {
        vectorized(|| {
            let blocks = y.chunks_exact_mut(block).zip(a.chunks_exact(block));
            for ((y, a), b) in blocks.zip(b.chunks_exact(row)) {
                if let [b] = *b {
                    y.iter_mut().zip(a).for_each(|(y, &a)| *y = f(a, b));
                    continue;
                }
                for (y, a) in y.chunks_exact_mut(row).zip(a.chunks_exact(row)) {
                    y.iter_mut().zip(a).zip(b).for_each(|((y, &a), &b)| *y = f(a, b));
                }
            }
        });
    };
    if a.len() <= 2 * CHUNK {
        part(&mut y, a, b);
    } else {
        let step = (CHUNK / block).max(1);
        pieces::each(&mut y, step * block, |i, y| {
            part(y, piece(a, step * block, i), piece(b, step * row, i));
        });
    }
    y
}

/// `a_i += b_i` for every element of two slices of equal length.
pub(crate) fn add_assign<T: Real>(a: &mut [T], b: &[T]) {
    debug_assert_eq!(a.len(), b.len());
    let part = |a: &mut [T], b: &[T]| {
        vectorized(|| a.iter_mut().zip(b).for_each(|(a, &b)| *a += b));
    };
    if a.len() <= 2 * CHUNK {
        part(a, b);
    } else {
        pieces::each(a, CHUNK, |i, a| part(a, piece(b, CHUNK, i)));
    }
}
