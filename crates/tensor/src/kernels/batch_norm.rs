//! Batch normalisation over the rows of a matrix: statistics, normalisation, and the first-order rule.

use crate::kernels::reduce::{fold_rows, sum_columns};
use crate::real::Real;
use crate::recording::parallel;
use rayon::prelude::*;

/// Elements in one piece of parallel work.
const CHUNK: usize = 16_384;

/// Mean and biased variance of each column, in two passes so that a large mean costs no digits.
pub(crate) fn moments<T: Real>(x: &[T], columns: usize) -> (Vec<T>, Vec<T>) {
    let rows = x.len() / columns;
    let per_row = T::one() / T::from_f64(rows as f64);
    let mean: Vec<T> = sum_columns(x, columns).iter().map(|&s| s * per_row).collect();
    let var = fold_rows(rows, columns, columns, |range, sums: &mut [T]| {
        for row in x[range.start * columns..range.end * columns].chunks_exact(columns) {
            for ((s, &v), &m) in sums.iter_mut().zip(row).zip(&mean) {
                *s += (v - m) * (v - m);
            }
        }
    });
    let var = var.iter().map(|&s| s * per_row).collect();
    (mean, var)
}

/// `(x - mean) * scale + shift`, each of the three a row.
pub(crate) fn normalise<T: Real>(x: &[T], mean: &[T], scale: &[T], shift: &[T]) -> Vec<T> {
    let columns = mean.len();
    let mut y = vec![T::zero(); x.len()];
    let step = (CHUNK / columns).max(1) * columns;
    let piece = |(y, x): (&mut [T], &[T])| {
        for (y, x) in y.chunks_exact_mut(columns).zip(x.chunks_exact(columns)) {
            for ((((y, &x), &m), &a), &b) in y.iter_mut().zip(x).zip(mean).zip(scale).zip(shift) {
                *y = (x - m) * a + b;
            }
        }
    };
    if x.len() <= 2 * CHUNK {
        piece((&mut y, x));
    } else {
        parallel(|| y.par_chunks_mut(step).zip(x.par_chunks(step)).for_each(piece));
    }
    y
}

/// Sums over the rows of `dy` and of `dy · x̂`, with `x̂ = (x - mean) * inv_std`: the gradients of the
/// shift and of the scale.
pub(crate) fn backward_sums<T: Real>(dy: &[T], x: &[T], mean: &[T], inv_std: &[T]) -> (Vec<T>, Vec<T>) {
    let columns = mean.len();
    let mut sums = fold_rows(
        x.len() / columns,
        columns,
        2 * columns,
        |range, sums: &mut [T]| {
            let (plain, with_x) = sums.split_at_mut(columns);
            let span = range.start * columns..range.end * columns;
            for (dy, x) in dy[span.clone()]
                .chunks_exact(columns)
                .zip(x[span].chunks_exact(columns))
            {
                for ((((p, w), &dy), &x), &m) in
                    plain.iter_mut().zip(with_x.iter_mut()).zip(dy).zip(x).zip(mean)
                {
                    *p += dy;
                    *w += dy * (x - m);
                }
            }
        },
    );
    let mut with_x = sums.split_off(columns);
    with_x.iter_mut().zip(inv_std).for_each(|(w, &s)| *w *= s);
    (sums, with_x)
}

/// Gradient of the input: `gamma · inv_std · (dy - mean(dy) - x̂ · mean(dy · x̂))`.
pub(crate) fn backward_input<T: Real>(
    dy: &[T],
    x: &[T],
    mean: &[T],
    inv_std: &[T],
    gamma: &[T],
    sums: (&[T], &[T]),
) -> Vec<T> {
    let columns = mean.len();
    let per_row = T::from_f64(columns as f64 / x.len() as f64);
    // dx = a dy + b (x - mean) + c, one triple of coefficients for each column
    let coefficients: Vec<[T; 3]> = (0..columns)
        .map(|j| {
            let a = gamma[j] * inv_std[j];
            [a, -a * inv_std[j] * sums.1[j] * per_row, -a * sums.0[j] * per_row]
        })
        .collect();
    let mut dx = vec![T::zero(); x.len()];
    let step = (CHUNK / columns).max(1) * columns;
    let piece = |((dx, dy), x): ((&mut [T], &[T]), &[T])| {
        for ((dx, dy), x) in dx
            .chunks_exact_mut(columns)
            .zip(dy.chunks_exact(columns))
            .zip(x.chunks_exact(columns))
        {
            for ((((dx, &dy), &x), &m), &[a, b, c]) in
                dx.iter_mut().zip(dy).zip(x).zip(mean).zip(&coefficients)
            {
                *dx = a * dy + b * (x - m) + c;
            }
        }
    };
    if x.len() <= 2 * CHUNK {
        piece(((&mut dx, dy), x));
    } else {
        parallel(|| {
            dx.par_chunks_mut(step)
                .zip(dy.par_chunks(step))
                .zip(x.par_chunks(step))
                .for_each(piece);
        });
    }
    dx
}
