//! Kernel distance of two sets of features (KID).

use crate::error::MetricsError;
use crate::feature_set::{Features, comparable};
use crate::pairwise::{map_blocks, map_products};
use ndarray::{Array1, Axis};
use serde::{Deserialize, Serialize};

/// A kernel distance with its standard error.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct KernelDistance {
    /// The squared distance. The estimate is unbiased, so it may be negative.
    pub value: f64,
    /// Standard error over the choice of both sets of images.
    pub standard_error: f64,
}

/// The unbiased squared maximum mean discrepancy with the kernel `k(x, y) = (x·y / d + 1)³`. With features of an Inception
/// network it is called KID:
/// `Σ_{i≠j} k(x_i, x_j) / n(n-1) + Σ_{i≠j} k(y_i, y_j) / m(m-1) - 2 Σ_{ij} k(x_i, y_j) / nm`.
///
/// It uses all pairs instead of random subsets. The mean over subsets has this value as its expectation. The standard
/// error is a jackknife estimate, which leaves out each image once. It does not include the variance over training runs;
/// train with several seeds for that.
///
/// *Source*: Bińkowski et al., "Demystifying MMD GANs", 2018, section 3; Efron and Stein, "The jackknife estimate of
/// variance", 1981.
///
/// ```
/// use engraft_metrics::{Features, kernel_distance};
/// use ndarray::array;
/// let x = Features::new(array![[0.0], [1.0], [0.0]])?;
/// let y = Features::new(array![[1.0], [1.0], [2.0]])?;
/// // Pairs within x: 1, 1, 1; within y: 8, 27, 27; across: 1 1 1, 8 8 27, 1 1 1.
/// let by_hand = 1.0 + 62.0 / 3.0 - 2.0 * 49.0 / 9.0;
/// assert!((kernel_distance(&x, &y)?.value - by_hand).abs() < 1e-12);
/// # Ok::<(), engraft_metrics::MetricsError>(())
/// ```
///
/// # Errors
/// If a set has fewer than three images, or the dimensions differ.
pub fn kernel_distance(real: &Features, fake: &Features) -> Result<KernelDistance, MetricsError> {
    comparable(real, fake, 3)?;
    let within = [Within::of(real), Within::of(fake)];
    let across = across(real, fake);
    let all_across: f64 = across[0].iter().sum();
    let [n, m] = [real.len() as f64, fake.len() as f64];
    let value = within[0].mean() + within[1].mean() - 2.0 * all_across / (n * m);
    let mut variance = 0.0;
    for side in 0..2 {
        let [own, other] = if side == 0 { [n, m] } else { [m, n] };
        let without: Vec<f64> = (0..own as usize)
            .map(|i| {
                within[side].mean_without(i) + within[1 - side].mean()
                    - 2.0 * (all_across - across[side][i]) / ((own - 1.0) * other)
            })
            .collect();
        let mean = without.iter().sum::<f64>() / own;
        let squares: f64 = without.iter().map(|w| (w - mean).powi(2)).sum();
        variance += (own - 1.0) / own * squares;
    }
    Ok(KernelDistance {
        value,
        standard_error: variance.sqrt(),
    })
}

/// Kernel values between the points of one set.
struct Within {
    /// For each point, the sum over all other points.
    sums: Vec<f64>,
    all: f64,
}

impl Within {
    fn of(points: &Features) -> Self {
        let kernel = kernel(points.dimension());
        let sums: Vec<f64> = map_products(points.view(), points.view(), |i, row| {
            row.iter().copied().map(&kernel).sum::<f64>() - kernel(row[i])
        });
        let all = sums.iter().sum();
        Self { sums, all }
    }

    fn mean(&self) -> f64 {
        let n = self.sums.len() as f64;
        self.all / (n * (n - 1.0))
    }

    /// The mean over all pairs without one of the points.
    fn mean_without(&self, i: usize) -> f64 {
        let n = self.sums.len() as f64;
        (self.all - 2.0 * self.sums[i]) / ((n - 1.0) * (n - 2.0))
    }
}

/// The kernel value of a product of two points with some dimension.
fn kernel(dimension: usize) -> impl Fn(f64) -> f64 {
    let scale = 1.0 / dimension as f64;
    move |product| (product * scale + 1.0).powi(3)
}

/// The sums of the kernel over `y` for each point of `x`, and over `x` for each of `y`, in one pass over the pairs.
fn across(x: &Features, y: &Features) -> [Vec<f64>; 2] {
    let kernel = kernel(x.dimension());
    let blocks = map_blocks(x.view(), y.view(), |_, mut products| {
        products.mapv_inplace(&kernel);
        let rows: Vec<f64> = products.rows().into_iter().map(|row| row.iter().sum()).collect();
        (rows, products.sum_axis(Axis(0)))
    });
    // Merged in the order of the blocks: the same bits for any number of threads.
    let (mut rows, mut columns) = (Vec::with_capacity(x.len()), Array1::zeros(y.len()));
    for (of_rows, of_columns) in blocks {
        rows.extend(of_rows);
        columns += &of_columns;
    }
    [rows, columns.to_vec()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::points;

    fn by_definition(x: &Features, y: &Features) -> f64 {
        let k = |a: ndarray::ArrayView1<'_, f64>, b: ndarray::ArrayView1<'_, f64>| {
            (a.dot(&b) / a.len() as f64 + 1.0).powi(3)
        };
        let within = |x: &Features| {
            let n = x.len();
            let mut sum = 0.0;
            for i in 0..n {
                for j in (0..n).filter(|&j| j != i) {
                    sum += k(x.view().row(i), x.view().row(j));
                }
            }
            sum / (n * (n - 1)) as f64
        };
        let mut across = 0.0;
        for a in x.view().rows() {
            for b in y.view().rows() {
                across += k(a, b);
            }
        }
        within(x) + within(y) - 2.0 * across / (x.len() * y.len()) as f64
    }

    #[test]
    fn value_and_error_by_the_definition() {
        let (x, y) = (points(23, 4, 1), points(17, 4, 2));
        let found = kernel_distance(&x, &y).unwrap();
        assert!((found.value - by_definition(&x, &y)).abs() < 1e-12);
        let without =
            |set: &Features, i: usize| set.select(&(0..set.len()).filter(|&j| j != i).collect::<Vec<_>>());
        let spread = |values: Vec<f64>| {
            let n = values.len() as f64;
            let mean = values.iter().sum::<f64>() / n;
            (n - 1.0) / n * values.iter().map(|v| (v - mean).powi(2)).sum::<f64>()
        };
        let variance = spread((0..23).map(|i| by_definition(&without(&x, i), &y)).collect())
            + spread((0..17).map(|i| by_definition(&x, &without(&y, i))).collect());
        assert!((found.standard_error / variance.sqrt() - 1.0).abs() < 1e-9);
    }

    /// More rows than a block has, so that column sums are merged from several blocks.
    #[test]
    fn sums_over_rows_and_columns_are_of_one_pass() {
        let (x, y) = (points(300, 4, 1), points(170, 4, 2));
        let [rows, columns] = across(&x, &y);
        let k = kernel(4);
        let all = x.view().dot(&y.view().t()).mapv(k);
        for (found, expected) in [(&rows, all.sum_axis(Axis(1))), (&columns, all.sum_axis(Axis(0)))] {
            assert_eq!(found.len(), expected.len());
            for (f, e) in found.iter().zip(&expected) {
                assert!((f - e).abs() < 1e-10 * e.abs().max(1.0), "{f} {e}");
            }
        }
        for threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            assert_eq!(pool.install(|| across(&x, &y)), [rows.clone(), columns.clone()]);
        }
    }

    /// The standard error predicts the spread of values from other images, within a factor of two.
    #[test]
    fn the_error_is_the_standard_deviation_of_repetitions() {
        let values: Vec<KernelDistance> = (0..40)
            .map(|i| kernel_distance(&points(60, 3, 2 * i), &points(60, 3, 2 * i + 1)).unwrap())
            .collect();
        let mean = values.iter().map(|v| v.value).sum::<f64>() / 40.0;
        let spread = (values.iter().map(|v| (v.value - mean).powi(2)).sum::<f64>() / 39.0).sqrt();
        let error = values.iter().map(|v| v.standard_error).sum::<f64>() / 40.0;
        assert!(error > spread / 2.0 && error < 2.0 * spread, "{error} {spread}");
    }
}
