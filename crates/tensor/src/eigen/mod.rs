//! Eigenvalues and eigenvectors of a symmetric matrix.

mod diagonal;
mod tridiagonal;

use crate::kernels::pieces;
use crate::kernels::simd::vectorized;
use diagonal::{Rotation, diagonalize};
use tridiagonal::Tridiagonal;

/// Columns of the eigenvectors' matrix that one thread rotates at a time, so that all of its rows stay in the cache.
const COLUMNS: usize = 32;
/// Rotations that are collected before they are applied.
const COLLECTED: usize = 1 << 14;

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
/// Reflections make the matrix tridiagonal, then the QR algorithm makes it diagonal. The cost is about `6 n³` multiplications, on
/// all threads, with the same result on any number of them. Errors are a few times the rounding error of the largest eigenvalue. If a
/// number is not finite, all results are NaN.
///
/// *Source*: Golub and Van Loan, "Matrix computations", section 8.3.
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
    check_size("symmetric_eigen", matrix, n);
    let Some((matrix, unit)) = scaled(matrix) else {
        return SymmetricEigen {
            values: vec![f64::NAN; n],
            vectors: vec![f64::NAN; n * n],
        };
    };
    let mut tridiagonal = Tridiagonal::new(matrix, n);
    // The rows of `Qᵀ`, which become the eigenvectors: blocks of some columns each.
    let mut blocks = vec![0.0; n * n];
    pieces::each(&mut blocks, (n * COLUMNS).max(1), |block, columns| {
        let width = columns.len() / n;
        (0..width).for_each(|i| columns[(block * COLUMNS + i) * width + i] = 1.0);
        tridiagonal.apply_transposed(columns, width);
    });
    let mut collected = Vec::new();
    let mut values = std::mem::take(&mut tridiagonal.diagonal);
    diagonalize(&mut values, &mut tridiagonal.beside, |rotations| {
        collected.extend_from_slice(rotations);
        if collected.len() >= COLLECTED {
            rotate(&mut blocks, n, &collected);
            collected.clear();
        }
    });
    rotate(&mut blocks, n, &collected);
    let order = descending(&values);
    let mut vectors = vec![0.0; n * n];
    for (block, columns) in blocks.chunks((n * COLUMNS).max(1)).enumerate() {
        let width = columns.len() / n;
        for (to, &from) in order.iter().enumerate() {
            for (i, value) in columns[from * width..(from + 1) * width].iter().enumerate() {
                vectors[(block * COLUMNS + i) * n + to] = *value;
            }
        }
    }
    SymmetricEigen {
        values: order.iter().map(|&i| values[i] * unit).collect(),
        vectors,
    }
}

/// The eigenvalues of a symmetric matrix `[n, n]`, the largest first: those of [`symmetric_eigen`], in less than half
/// of the time.
///
/// ```
/// assert_eq!(engraft_tensor::symmetric_eigenvalues(&[1.0, 0.0, 0.0, 5.0], 2), [5.0, 1.0]);
/// ```
///
/// # Panics
/// If `matrix` does not have `n · n` numbers.
#[track_caller]
pub fn symmetric_eigenvalues(matrix: &[f64], n: usize) -> Vec<f64> {
    check_size("symmetric_eigenvalues", matrix, n);
    let Some((matrix, unit)) = scaled(matrix) else {
        return vec![f64::NAN; n];
    };
    let Tridiagonal {
        mut diagonal,
        mut beside,
        ..
    } = Tridiagonal::new(matrix, n);
    diagonalize(&mut diagonal, &mut beside, |_| {});
    let order = descending(&diagonal).into_iter();
    order.map(|i| diagonal[i] * unit).collect()
}

#[track_caller]
fn check_size(name: &str, matrix: &[f64], n: usize) {
    assert!(
        matrix.len() == n * n,
        "{name}: a matrix of {n} rows has {} numbers, got {}",
        n * n,
        matrix.len()
    );
}

/// The matrix divided by the power of two below its largest number, and that power, so that rounding does not depend on the scale.
/// `None` if a number is not finite.
fn scaled(matrix: &[f64]) -> Option<(Vec<f64>, f64)> {
    let mut largest: f64 = 0.0;
    for value in matrix {
        largest = value.is_finite().then(|| largest.max(value.abs()))?;
    }
    if largest == 0.0 {
        return Some((matrix.to_vec(), 1.0));
    }
    // The reciprocal of a larger or smaller power would not be a normal number.
    let exponent = (largest.log2().floor() as i32).clamp(-1000, 1000);
    let [unit, reciprocal] = [exponent, -exponent].map(|exponent| 2.0_f64.powi(exponent));
    Some((matrix.iter().map(|x| x * reciprocal).collect(), unit))
}

/// The indices of the values, the largest first.
fn descending(values: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&i, &j| values[j].total_cmp(&values[i]));
    order
}

/// Rotates the rows of all blocks.
fn rotate(blocks: &mut [f64], n: usize, rotations: &[Rotation]) {
    pieces::each(blocks, (n * COLUMNS).max(1), |_, columns| {
        let width = columns.len() / n;
        vectorized(|| {
            for rotation in rotations {
                let rows = &mut columns[rotation.first * width..(rotation.first + 2) * width];
                let (x, y) = rows.split_at_mut(width);
                rotation.turn(x, y);
            }
        });
    });
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

    /// Several blocks of columns, on one thread and on three.
    #[test]
    fn many_rows_on_any_number_of_threads() {
        // Enough for rotations that are applied in two parts.
        let n = 180;
        let half = Tensor::<f64>::randn([n, n], &mut Pcg64::seed_from_u64(2));
        let matrix = half.matmul_tn(&half);
        let decompose = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| symmetric_eigen(matrix.as_slice(), n))
        };
        let found = decompose(1);
        assert_eq!(found, decompose(3));
        assert_eq!(found.values, symmetric_eigenvalues(matrix.as_slice(), n));
        let v = Tensor::from_vec([n, n], found.vectors);
        let scaled = &v * Tensor::from_vec([n], found.values);
        let error = (scaled.matmul_nt(&v) - &matrix).abs().sum().item() / matrix.abs().sum().item();
        assert!(error < 1e-13, "{error}");
    }

    /// Scales at which squares overflow or vanish, and equal rows, whose rounding errors get smaller and smaller.
    #[test]
    fn vectors_are_orthonormal_at_every_scale() {
        let n = 8;
        let half = Tensor::<f64>::randn([n, n], &mut Pcg64::seed_from_u64(4));
        let plain = half.matmul_tn(&half);
        let mut near_diagonal = vec![2e-162; 9];
        for i in 0..3 {
            near_diagonal[4 * i] = (i + 1) as f64;
        }
        let mut cases = vec![
            (vec![3e5; 40 * 40], 40),
            (vec![1e-6; 40 * 40], 40),
            (near_diagonal, 3),
        ];
        for scale in [1e-300, 1e-170, 1e-160, 1e153, 1e290] {
            cases.push((plain.as_slice().iter().map(|x| x * scale).collect(), n));
        }
        for (matrix, n) in cases {
            let largest = matrix.iter().fold(0.0, |m: f64, x| m.max(x.abs()));
            let found = symmetric_eigen(&matrix, n);
            let v = Tensor::from_vec([n, n], found.vectors);
            let identity = v.matmul_tn(&v);
            let values = Tensor::from_vec([n], found.values.iter().map(|x| x / largest).collect());
            let product = (&v * values).matmul_nt(&v);
            for (i, entry) in matrix.iter().enumerate() {
                let one = f64::from(u8::from(i / n == i % n));
                assert!(
                    (identity.as_slice()[i] - one).abs() < 1e-13,
                    "{largest:e}: {identity:?}"
                );
                let error = product.as_slice()[i] - entry / largest;
                assert!(error.abs() < 1e-13, "{largest:e}: {error:e}");
            }
        }
    }

    #[test]
    fn numbers_that_are_not_finite_give_nan() {
        for value in [f64::NAN, f64::INFINITY] {
            let found = symmetric_eigen(&[1.0, value, value, 1.0], 2);
            assert!(found.values.iter().chain(&found.vectors).all(|x| x.is_nan()));
            assert!(symmetric_eigenvalues(&[value], 1)[0].is_nan());
        }
    }
}
