//! Eigenvalues and eigenvectors of a symmetric matrix.

/// Maximum number of passes over all pairs. About eight are needed.
const SWEEPS: usize = 50;
/// Stop when the off-diagonal share of the sum of squares falls below this number.
const LEFT: f64 = 1e-30;

/// Rotates rows `p < q` of an `n`-column matrix in their plane.
fn turn(rows: &mut [f64], n: usize, [p, q]: [usize; 2], [cos, sin]: [f64; 2]) {
    let (upper, lower) = rows.split_at_mut(q * n);
    for (x, y) in upper[p * n..(p + 1) * n].iter_mut().zip(&mut lower[..n]) {
        (*x, *y) = (cos * *x - sin * *y, sin * *x + cos * *y);
    }
}

/// Eigenvalues and eigenvectors of a symmetric matrix, see [`symmetric_eigen`].
#[derive(Clone, Debug, PartialEq)]
pub struct SymmetricEigen {
    /// The `n` eigenvalues, the largest first.
    pub values: Vec<f64>,
    /// The eigenvectors in the order of the eigenvalues: the columns of a matrix `[n, n]` in row-major order. They
    /// are orthonormal.
    pub vectors: Vec<f64>,
}

/// Decomposes a symmetric matrix `[n, n]`, given in row-major order.
///
/// Uses the cyclic Jacobi method: it rotates pairs of axes until all off-diagonal numbers vanish.
/// The cost is about `50 n³` multiplications. The result is accurate to the last bits. The squares of the numbers
/// must be finite, otherwise the result is meaningless.
///
/// *Source*: Golub and Van Loan, "Matrix computations", section 8.5.
///
/// ```
/// use engraft_tensor::symmetric_eigen;
/// let found = symmetric_eigen(&[1.0, 0.0, 0.0, 5.0], 2);
/// assert_eq!(found.values, [5.0, 1.0]);
/// assert_eq!(found.vectors, [0.0, 1.0, 1.0, 0.0]);
/// ```
///
/// # Panics
/// If `matrix` does not have `n · n` numbers.
#[track_caller]
pub fn symmetric_eigen(matrix: &[f64], n: usize) -> SymmetricEigen {
    assert!(
        matrix.len() == n * n,
        "symmetric_eigen: a matrix of {n} rows has {} numbers, got {}",
        n * n,
        matrix.len()
    );
    let mut a = matrix.to_vec();
    // The rows of `vectors` become the eigenvectors.
    let mut rows = vec![0.0; n * n];
    (0..n).for_each(|i| rows[i * n + i] = 1.0);
    let whole: f64 = a.iter().map(|x| x * x).sum();
    for _ in 0..SWEEPS {
        let upper = |p: usize| a[p * n + p + 1..(p + 1) * n].iter();
        let off_diagonal: f64 = (0..n).flat_map(upper).map(|x| x * x).sum();
        if 2.0 * off_diagonal <= LEFT * whole {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                let joint = a[p * n + q];
                if joint == 0.0 {
                    continue;
                }
                // The smaller of the two angles: tan² + 2 cot(2 angle) tan - 1 = 0.
                let cot = (a[q * n + q] - a[p * n + p]) / (2.0 * joint);
                let tan = 1.0_f64.copysign(cot) / (cot.abs() + cot.hypot(1.0));
                let cos = 1.0 / tan.hypot(1.0);
                let angle = [cos, tan * cos];
                let diagonal = [a[p * n + p] - tan * joint, a[q * n + q] + tan * joint];
                turn(&mut a, n, [p, q], angle);
                for (i, value) in [p, q].into_iter().zip(diagonal) {
                    (0..n).for_each(|k| a[k * n + i] = a[i * n + k]);
                    a[i * n + i] = value;
                }
                a[p * n + q] = 0.0;
                a[q * n + p] = 0.0;
                turn(&mut rows, n, [p, q], angle);
            }
        }
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&i, &j| a[j * n + j].total_cmp(&a[i * n + i]));
    let columns = (0..n).flat_map(|k| order.iter().map(move |&i| (i, k)));
    SymmetricEigen {
        values: order.iter().map(|&i| a[i * n + i]).collect(),
        vectors: columns.map(|(i, k)| rows[i * n + k]).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Tensor;
    use rand::SeedableRng;
    use rand_pcg::Pcg64;

    #[test]
    fn two_axes_by_hand() {
        // Eigenvalues 3 and 1, along [1, 1] and [1, -1].
        let SymmetricEigen { values, vectors: v } = symmetric_eigen(&[2.0, 1.0, 1.0, 2.0], 2);
        assert!(
            (values[0] - 3.0).abs() < 1e-15 && (values[1] - 1.0).abs() < 1e-15,
            "{values:?}"
        );
        let half = 0.5_f64.sqrt();
        assert!(v.iter().all(|x| (x.abs() - half).abs() < 1e-15), "{v:?}");
        assert!(v[0] * v[2] > 0.0 && v[1] * v[3] < 0.0, "{v:?}");
        // A diagonal matrix is only sorted.
        let diagonal = symmetric_eigen(&[1.0, 0.0, 0.0, 5.0], 2);
        assert_eq!(diagonal.vectors, [0.0, 1.0, 1.0, 0.0]);
        assert_eq!(diagonal.values, [5.0, 1.0]);
        assert_eq!(symmetric_eigen(&[0.0], 1).vectors, [1.0]);
        assert!(symmetric_eigen(&[], 0).values.is_empty());
    }

    /// Includes repeated eigenvalues: 20 zeros and 10 others.
    #[test]
    fn they_are_orthogonal_and_make_the_matrix_diagonal() {
        let n = 30;
        let half = Tensor::<f64>::randn([10, n], &mut Pcg64::seed_from_u64(1));
        let matrix = half.matmul_tn(&half);
        let found = symmetric_eigen(matrix.as_slice(), n);
        let v = Tensor::from_vec([n, n], found.vectors);
        let (identity, diagonal) = (v.matmul_tn(&v), v.matmul_tn(&matrix).matmul(&v));
        for (i, (one, value)) in identity.as_slice().iter().zip(diagonal.as_slice()).enumerate() {
            let on = i / n == i % n;
            assert!((one - f64::from(u8::from(on))).abs() < 1e-13, "{one}");
            assert!(on || value.abs() < 1e-12, "{value}");
        }
        let values = found.values;
        for (i, value) in values.iter().enumerate() {
            assert!((diagonal.as_slice()[i * n + i] - value).abs() < 1e-12, "{value}");
        }
        assert!(values.windows(2).all(|w| w[0] >= w[1] - 1e-12), "{values:?}");
        assert!(values[9] > 1e-3 && values[10].abs() < 1e-12, "{values:?}");
    }

    #[test]
    fn numbers_that_are_not_finite_end() {
        assert_eq!(symmetric_eigen(&[f64::NAN; 9], 3).vectors.len(), 9);
    }
}
