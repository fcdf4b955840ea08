//! Sums with an order fixed by the shape alone: equal bits on any number of threads.
//!
//! Partial sums over fixed pieces also keep the rounding error small, as pairwise summation does.

use crate::real::Real;
use crate::recording::parallel;
use rayon::prelude::*;
use std::ops::Range;

/// Elements summed by one piece of work.
const CHUNK: usize = 16_384;
/// Rows added one after the other before a new partial sum begins: short runs keep the error small.
const RUN: usize = 1024;
/// Independent accumulators of a running sum, so that the loop vectorises.
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
    let parts: Vec<T> = parallel(|| x.par_chunks(CHUNK).map(sum_piece).collect());
    sum_piece(&parts)
}

/// Sum of each row of a matrix with `columns` columns.
pub(crate) fn sum_rows<T: Real>(x: &[T], columns: usize) -> Vec<T> {
    if x.len() <= CHUNK {
        return x.chunks_exact(columns).map(sum).collect();
    }
    parallel(|| x.par_chunks_exact(columns).map(sum).collect())
}

/// Folds the rows of a matrix into `width` sums: `f` adds a range of rows to a zeroed accumulator.
///
/// The ranges are cut by `columns` alone and their results added in a fixed order.
pub(crate) fn fold_rows<T: Real>(
    rows: usize,
    columns: usize,
    width: usize,
    f: impl Fn(Range<usize>, &mut [T]) + Sync,
) -> Vec<T> {
    let step = (CHUNK / columns.max(1)).clamp(1, RUN);
    let piece = |p: usize| {
        let mut sums = vec![T::zero(); width];
        f(p * step..((p + 1) * step).min(rows), &mut sums);
        sums
    };
    let pieces: Vec<Vec<T>> = if rows * columns <= 2 * CHUNK {
        (0..rows.div_ceil(step)).map(piece).collect()
    } else {
        parallel(|| (0..rows.div_ceil(step)).into_par_iter().map(piece).collect())
    };
    fold_pairs(pieces).unwrap_or_else(|| vec![T::zero(); width])
}

/// Adds neighbours, then neighbours of the sums, and so on: a fixed order with a short path for each term.
fn fold_pairs<T: Real>(mut parts: Vec<Vec<T>>) -> Option<Vec<T>> {
    while parts.len() > 1 {
        let mut pairs = parts.into_iter();
        let mut sums = Vec::new();
        while let Some(mut left) = pairs.next() {
            if let Some(right) = pairs.next() {
                left.iter_mut().zip(&right).for_each(|(l, &r)| *l += r);
            }
            sums.push(left);
        }
        parts = sums;
    }
    parts.pop()
}

/// Sum of each column of a matrix with `columns` columns.
pub(crate) fn sum_columns<T: Real>(x: &[T], columns: usize) -> Vec<T> {
    if columns == 0 {
        return Vec::new();
    }
    fold_rows(x.len() / columns, columns, columns, |rows, sums| {
        for row in x[rows.start * columns..rows.end * columns].chunks_exact(columns) {
            sums.iter_mut().zip(row).for_each(|(s, &v)| *s += v);
        }
    })
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
        // A plain running sum would be off by thousands.
        let x = vec![0.1_f32; 3_000_000];
        assert!((f64::from(sum(&x)) - 300_000.0).abs() < 3.0);
        let columns = sum_columns(&x, 3);
        assert!(
            columns.iter().all(|&c| (f64::from(c) - 100_000.0).abs() < 1.0),
            "{columns:?}"
        );
    }
}
