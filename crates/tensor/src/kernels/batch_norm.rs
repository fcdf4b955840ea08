//! Statistics of batch normalization over the rows of a matrix.

use crate::kernels::reduce::{Part, Tile, fold_columns};
use crate::real::Real;

/// Mean and biased variance of each column.
///
/// Memory is read once. Each tile computes its mean and squared deviations in two passes while it is in a cache,
/// so a large mean loses no precision. The tiles are then merged pairwise.
///
/// *Source*: Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample
/// variances", 1979.
pub(crate) fn moments<T: Real>(x: &[T], columns: usize) -> [Vec<T>; 2] {
    let count = |rows: usize| T::from_f64(rows as f64);
    let fold = |tile: &Tile, [mean, squares]: &mut [Vec<T>; 2]| {
        let per_row = T::one() / count(tile.rows.len());
        for row in tile.of(x, columns) {
            mean.iter_mut().zip(row).for_each(|(m, &v)| *m += v);
        }
        mean.iter_mut().for_each(|m| *m *= per_row);
        for row in tile.of(x, columns) {
            for ((s, &v), &m) in squares.iter_mut().zip(row).zip(mean.iter()) {
                *s += (v - m) * (v - m);
            }
        }
    };
    let join = |left: &mut Part<T, 2>, right: &Part<T, 2>| {
        let rows = left.rows + right.rows;
        let share = count(right.rows) / count(rows);
        let weight = count(left.rows) * share;
        let [mean, squares] = &mut left.numbers;
        let [other_mean, other_squares] = &right.numbers;
        let numbers = mean.iter_mut().zip(squares).zip(other_mean).zip(other_squares);
        for (((m, s), &om), &os) in numbers {
            let distance = om - *m;
            *m += distance * share;
            *s += os + distance * distance * weight;
        }
        left.rows = rows;
    };
    let rows = x.len() / columns;
    let [mean, mut variance] = fold_columns(rows, columns, fold, join);
    variance.iter_mut().for_each(|v| *v /= count(rows));
    [mean, variance]
}
