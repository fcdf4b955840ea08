//! Householder reflections that make a symmetric matrix tridiagonal.

use crate::kernels::pieces;
use crate::kernels::simd::vectorized;

/// Rows per piece of parallel work.
const ROWS: usize = 16;
/// Numbers of a matrix below which a second thread does not pay off.
const SMALL: usize = 1 << 14;
/// Independent accumulators of a dot product, so that the loop vectorizes.
const LANES: usize = 32;

/// A symmetric matrix `A = Q T Qᵀ` with `T` tridiagonal and `Q` orthogonal.
pub(super) struct Tridiagonal {
    /// The diagonal of `T`.
    pub(super) diagonal: Vec<f64>,
    /// The numbers beside the diagonal, one fewer.
    pub(super) beside: Vec<f64>,
    /// The reflections `I - v vᵀ` whose product is `Q`: row `k` of this matrix holds `v` from column `k + 1` on. `v` is 0 or has
    /// the length `√2`.
    reflections: Vec<f64>,
}

/// `x · y`.
#[inline(always)]
fn dot(x: &[f64], y: &[f64]) -> f64 {
    let mut lanes = [0.0; LANES];
    let (x, y) = (x.chunks_exact(LANES), y.chunks_exact(LANES));
    let rest: f64 = x.remainder().iter().zip(y.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in x.zip(y) {
        for ((lane, x), y) in lanes.iter_mut().zip(x).zip(y) {
            *lane += x * y;
        }
    }
    lanes.iter().sum::<f64>() + rest
}

/// `row -= a · x + b · y`.
#[inline(always)]
fn subtract(row: &mut [f64], [a, b]: [f64; 2], [x, y]: [&[f64]; 2]) {
    for ((row, x), y) in row.iter_mut().zip(x).zip(y) {
        *row -= a * x + b * y;
    }
}

/// `work` for each piece of rows, in parallel if there are enough numbers.
fn each_rows(
    rows: &mut [f64],
    width: usize,
    products: &mut [f64],
    work: impl Fn(usize, &mut [f64], &mut [f64]) + Sync,
) {
    if rows.len() <= SMALL {
        work(0, rows, products);
    } else {
        pieces::each_of_two((rows, ROWS * width), (products, ROWS), |i, rows, products| {
            work(i * ROWS, rows, products);
        });
    }
}

/// The vector `v` of the reflection that maps `x` to `(α, 0, ..)`, and `α`. It works on `x` divided by its largest number, whose square
/// neither overflows nor vanishes.
fn reflection(x: &[f64]) -> (Vec<f64>, f64) {
    let largest = x.iter().fold(0.0, |largest: f64, x| largest.max(x.abs()));
    if largest == 0.0 || x.len() == 1 {
        return (vec![0.0; x.len()], x[0]);
    }
    let mut v: Vec<f64> = x.iter().map(|x| x / largest).collect();
    let length = v.iter().map(|x| x * x).sum::<f64>().sqrt();
    let scale = 1.0 / (length * (length + v[0].abs())).sqrt();
    // The sign of `α` is that for which nothing cancels.
    let alpha = -length.copysign(v[0]);
    v[0] -= alpha;
    v.iter_mut().for_each(|v| *v *= scale);
    (v, alpha * largest)
}

impl Tridiagonal {
    /// Reduces the symmetric matrix `[n, n]`.
    ///
    /// Step `k` reflects the rows and columns after `k`: `A ← A - v wᵀ - w vᵀ` with `w = A v - (vᵀ A v / 2) v`. One pass over
    /// the matrix applies this change and multiplies the result by the next `v`.
    ///
    /// *Source*: Golub and Van Loan, "Matrix computations", section 8.3.
    pub(super) fn new(mut a: Vec<f64>, n: usize) -> Self {
        let (mut diagonal, mut beside) = (Vec::with_capacity(n), Vec::with_capacity(n));
        // The change that the rows from `k` on still need.
        let (mut v, mut w) = (vec![0.0; n], vec![0.0; n]);
        for k in 0..n {
            let (done, below) = a.split_at_mut((k + 1) * n);
            let row = &mut done[k * n..];
            subtract(&mut row[k..], [v[k], w[k]], [&w[k..], &v[k..]]);
            diagonal.push(row[k]);
            if k + 1 == n {
                break;
            }
            let (next, alpha) = reflection(&row[k + 1..]);
            beside.push(alpha);
            row[k + 1..].copy_from_slice(&next);
            let mut products = vec![0.0; n - k - 1];
            let span = k + 1..n;
            each_rows(below, n, &mut products, |first, rows, products| {
                vectorized(|| {
                    for (i, (row, product)) in rows.chunks_exact_mut(n).zip(products).enumerate() {
                        let (row, i) = (&mut row[span.clone()], k + 1 + first + i);
                        subtract(row, [v[i], w[i]], [&w[span.clone()], &v[span.clone()]]);
                        *product = dot(row, &next);
                    }
                });
            });
            let half = 0.5 * dot(&products, &next);
            v[k + 1..].copy_from_slice(&next);
            for ((w, product), v) in w[k + 1..].iter_mut().zip(products).zip(&next) {
                *w = product - half * v;
            }
        }
        Self {
            diagonal,
            beside,
            reflections: a,
        }
    }

    /// Multiplies columns by `Qᵀ` from the left; `columns` is a matrix of `n` rows and `width` columns.
    pub(super) fn apply_transposed(&self, columns: &mut [f64], width: usize) {
        let n = self.diagonal.len();
        vectorized(|| {
            let mut products = vec![0.0; width];
            for k in 0..n.saturating_sub(2) {
                let v = &self.reflections[k * n + k + 1..(k + 1) * n];
                let rows = &mut columns[(k + 1) * width..];
                products.fill(0.0);
                for (row, &v) in rows.chunks_exact(width).zip(v) {
                    products.iter_mut().zip(row).for_each(|(p, x)| *p += v * x);
                }
                for (row, &v) in rows.chunks_exact_mut(width).zip(v) {
                    row.iter_mut().zip(&products).for_each(|(x, p)| *x -= v * p);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Tensor;
    use rand::SeedableRng;
    use rand_pcg::Pcg64;

    /// `Q T Qᵀ` is the matrix, with few and with many rows.
    #[test]
    fn the_product_is_the_matrix() {
        for n in [1, 2, 3, 7, 40, 150] {
            let half = Tensor::<f64>::randn([n, n], &mut Pcg64::seed_from_u64(n as u64));
            let matrix = &half + &half.transpose();
            let found = Tridiagonal::new(matrix.as_slice().to_vec(), n);
            let mut t = vec![0.0; n * n];
            for (i, &value) in found.diagonal.iter().enumerate() {
                t[i * n + i] = value;
            }
            for (i, &value) in found.beside.iter().enumerate() {
                t[i * n + i + 1] = value;
                t[(i + 1) * n + i] = value;
            }
            let mut q = vec![0.0; n * n];
            (0..n).for_each(|i| q[i * n + i] = 1.0);
            found.apply_transposed(&mut q, n);
            let [transposed, t] = [q, t].map(|values| Tensor::from_vec([n, n], values));
            let product = transposed.matmul_tn(&t).matmul(&transposed);
            let error = (product - &matrix).abs().sum().item() / matrix.abs().sum().item();
            assert!(error < 1e-14, "{n}: {error}");
        }
    }
}
