//! Sums in an order fixed by the shape: the same bits on any number of threads.
//!
//! Partial sums over fixed pieces also keep the rounding error small, like pairwise summation.

use crate::kernels::pieces::{self, piece};
use crate::kernels::simd::vectorized;
use crate::real::Real;
use std::ops::Range;

/// Elements summed by one piece of work.
pub(crate) const CHUNK: usize = 16_384;
/// Rows per partial sum. Short runs keep the rounding error small.
pub(crate) const RUN: usize = 1024;
/// Maximum columns of a tile. Several rows of accumulators then fit into the L1 cache.
const WIDTH: usize = 512;
/// Independent accumulators of a running sum, so that the loop vectorizes.
const LANES: usize = 16;

/// Sum of one piece: lanes first, then the lanes in order.
fn sum_piece<T: Real>(x: &[T]) -> T {
    let mut lanes = [T::zero(); LANES];
    let chunks = x.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(l, &v)| *l += v);
    }
    lanes.iter().chain(rest).fold(T::zero(), |s, &v| s + v)
}

/// Sum of all elements.
pub(crate) fn sum<T: Real>(x: &[T]) -> T {
    if x.len() <= CHUNK {
        return sum_piece(x);
    }
    let parts = pieces::map(x.len().div_ceil(CHUNK), |i| sum_piece(piece(x, CHUNK, i)));
    sum_piece(&parts)
}

/// Sum of each row of a matrix with `columns` columns.
pub(crate) fn sum_rows<T: Real>(x: &[T], columns: usize) -> Vec<T> {
    if x.len() <= CHUNK {
        return x.chunks_exact(columns).map(sum).collect();
    }
    pieces::map(x.len() / columns, |i| sum(piece(x, columns, i)))
}

/// Some rows of some columns of a matrix.
pub(crate) struct Tile {
    pub(crate) rows: Range<usize>,
    pub(crate) columns: Range<usize>,
}

impl Tile {
    /// The tile's part of each of its rows, of a matrix with `columns` columns.
    pub(crate) fn of<'a, T>(&self, x: &'a [T], columns: usize) -> impl Iterator<Item = &'a [T]> {
        let span = self.columns.clone();
        self.rows
            .clone()
            .map(move |row| &x[row * columns + span.start..row * columns + span.end])
    }
}

/// The result of a tile: `K` numbers for each of its columns, and the number of its rows.
pub(crate) struct Part<T, const K: usize> {
    pub(crate) rows: usize,
    pub(crate) numbers: [Vec<T>; K],
}

/// Reduces each column of a matrix to `K` numbers. `fold` reduces a tile, starting from zeros. `join` merges a tile
/// with the one below it.
///
/// The tiles depend on the sizes only. They are merged pairwise in a fixed order, so each term takes part in few
/// additions. A wide matrix with few rows is cut into blocks of columns, so that the accumulators stay in the L1
/// cache.
pub(crate) fn fold_columns<T: Real, const K: usize>(
    rows: usize,
    columns: usize,
    fold: impl Fn(&Tile, &mut [Vec<T>; K]) + Sync,
    join: impl Fn(&mut Part<T, K>, &Part<T, K>),
) -> [Vec<T>; K] {
    let blocks = columns.div_ceil(WIDTH).max(1);
    let width = columns.div_ceil(blocks).max(1);
    let step = (CHUNK / width).clamp(1, RUN);
    let height = rows.div_ceil(step).max(1);
    let part = |i: usize| {
        let (block, first) = (i / height * width, i % height * step);
        let tile = Tile {
            rows: first..(first + step).min(rows),
            columns: block..(block + width).min(columns),
        };
        let mut numbers = std::array::from_fn(|_| vec![T::zero(); tile.columns.len()]);
        vectorized(|| fold(&tile, &mut numbers));
        let rows = tile.rows.len();
        Part { rows, numbers }
    };
    let count = columns.div_ceil(width) * height;
    let parts: Vec<Part<T, K>> = if rows * columns <= 2 * CHUNK {
        (0..count).map(part).collect()
    } else {
        pieces::map(count, part)
    };
    let mut found = std::array::from_fn(|_| Vec::with_capacity(columns));
    let mut parts = parts.into_iter();
    while parts.len() > 0 {
        let block: Vec<_> = parts.by_ref().take(height).collect();
        let joined = join_pairs(block, &join).expect("a block has at least one tile");
        for (all, some) in found.iter_mut().zip(joined.numbers) {
            all.extend(some);
        }
    }
    found
}

/// Merges neighbors, then neighbors of the results, and so on.
pub(crate) fn join_pairs<P>(mut parts: Vec<P>, join: impl Fn(&mut P, &P)) -> Option<P> {
    while parts.len() > 1 {
        let mut pairs = parts.into_iter();
        let mut joined = Vec::new();
        while let Some(mut left) = pairs.next() {
            if let Some(right) = pairs.next() {
                join(&mut left, &right);
            }
            joined.push(left);
        }
        parts = joined;
    }
    parts.pop()
}

/// Merges sums by addition.
pub(crate) fn add_parts<T: Real, const K: usize>(left: &mut Part<T, K>, right: &Part<T, K>) {
    left.rows += right.rows;
    for (left, right) in left.numbers.iter_mut().zip(&right.numbers) {
        add_row(left, right);
    }
}

/// `sums_j += row_j`.
pub(crate) fn add_row<T: Real>(sums: &mut [T], row: &[T]) {
    sums.iter_mut().zip(row).for_each(|(s, &v)| *s += v);
}

/// Sum of each column of a matrix with `columns` columns.
pub(crate) fn sum_columns<T: Real>(x: &[T], columns: usize) -> Vec<T> {
    let rows = x.len() / columns.max(1);
    let fold = |tile: &Tile, [sums]: &mut [Vec<T>; 1]| tile.of(x, columns).for_each(|row| add_row(sums, row));
    let [sums] = fold_columns(rows, columns, fold, add_parts);
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_by_hand() {
        let x = [1.0_f64, 2.0, 3.0, 4.0, 5.0, 6.0];
        assert_eq!(sum(&x), 21.0);
        assert_eq!(sum_rows(&x, 3), [6.0, 15.0]);
        assert_eq!(sum_columns(&x, 3), [5.0, 7.0, 9.0]);
        assert_eq!(sum::<f32>(&[]), 0.0);
    }

    #[test]
    fn long_sums_lose_nothing_visible() {
        // A plain running sum would be wrong by thousands.
        let x = vec![0.1_f32; 3_000_000];
        assert!((f64::from(sum(&x)) - 300_000.0).abs() < 3.0);
        let columns = sum_columns(&x, 3);
        assert!(
            columns.iter().all(|&c| (f64::from(c) - 100_000.0).abs() < 1.0),
            "{columns:?}"
        );
    }
}
