//! Products and distances of all pairs of points in blocks of rows, so that `n × m` numbers are never in memory at once.

use crate::feature_set::Features;
use ndarray::linalg::general_mat_mul;
use ndarray::{Array1, Array2, ArrayView2, ArrayViewMut2, Axis, s};
use rayon::prelude::*;

/// Rows per block. Its products with 10 000 points take 10 MB.
const ROWS: usize = 128;

/// Applies `each` to every block of rows of `x yᵀ`, with the index of its first row. Results are in the order of the rows.
/// The blocks have a fixed size.
pub(crate) fn map_blocks<R: Send>(
    x: ArrayView2<'_, f64>,
    y: ArrayView2<'_, f64>,
    each: impl Fn(usize, ArrayViewMut2<'_, f64>) -> R + Sync,
) -> Vec<R> {
    let blocks: Vec<usize> = (0..x.nrows()).step_by(ROWS).collect();
    blocks
        .into_par_iter()
        .map(|start| {
            let end = (start + ROWS).min(x.nrows());
            let mut products = Array2::zeros((end - start, y.nrows()));
            general_mat_mul(1.0, &x.slice(s![start..end, ..]), &y.t(), 0.0, &mut products);
            each(start, products.view_mut())
        })
        .collect()
}

/// Applies `each` to every row of `x yᵀ`, with the row's index. Results are in the order of the rows.
pub(crate) fn map_products<R: Send>(
    x: ArrayView2<'_, f64>,
    y: ArrayView2<'_, f64>,
    each: impl Fn(usize, &mut [f64]) -> R + Sync,
) -> Vec<R> {
    let results: Vec<Vec<R>> = map_blocks(x, y, |start, mut products| {
        let rows = products.axis_iter_mut(Axis(0)).enumerate();
        rows.map(|(i, mut row)| {
            let row = row.as_slice_mut().expect("the array is in row-major order");
            each(start + i, row)
        })
        .collect()
    });
    results.into_iter().flatten().collect()
}

/// Applies `each` to the squared distances of every point of `x` to all of `y`, with the point's index. Results are in
/// the order of the points.
///
/// Distances are computed from lengths and products, after the mean of `y` is subtracted from both. So their absolute
/// error is about 1e-16 of the variance.
pub(crate) fn map_distances<R: Send>(
    x: &Features,
    y: &Features,
    each: impl Fn(usize, &[f64]) -> R + Sync,
) -> Vec<R> {
    let mean = y.mean();
    let (x, y) = (&x.view() - &mean, &y.view() - &mean);
    let squares = |a: &Array2<f64>| -> Array1<f64> { a.map_axis(Axis(1), |row| row.dot(&row)) };
    let (of_x, of_y) = (squares(&x), squares(&y));
    map_products(x.view(), y.view(), |i, row| {
        for (value, square) in row.iter_mut().zip(&of_y) {
            *value = (of_x[i] + square - 2.0 * *value).max(0.0);
        }
        each(i, row)
    })
}

/// The smallest squared distance and its index, the first one of several equal ones.
pub(crate) fn nearest(row: &[f64]) -> (usize, f64) {
    let start = (0, f64::INFINITY);
    let smaller = |best: (usize, f64), (i, &d): (usize, &f64)| if d < best.1 { (i, d) } else { best };
    row.iter().enumerate().fold(start, smaller)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::points;

    #[test]
    fn distances_by_the_definition() {
        let (x, y) = (points(300, 5, 1), points(170, 5, 2));
        let rows = map_distances(&x, &y, |i, row| (i, row.to_vec()));
        assert_eq!(rows.len(), 300);
        for (at, (i, row)) in rows.iter().enumerate() {
            assert_eq!(at, *i);
            for (j, found) in row.iter().enumerate() {
                let difference = &x.view().row(*i) - &y.view().row(j);
                assert!((difference.dot(&difference) - found).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn the_nearest() {
        assert_eq!(nearest(&[3.0, 1.0, 2.0, 1.0]), (1, 1.0));
    }
}
