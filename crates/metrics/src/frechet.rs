//! Fréchet distance of two sets of features (FID).

use crate::error::MetricsError;
use crate::feature_set::{Features, comparable};
use engraft_tensor::{SymmetricEigen, symmetric_eigen, symmetric_eigenvalues};
use ndarray::{Array1, Array2};

/// Mean and covariance of features.
struct Gaussian {
    mean: Array1<f64>,
    covariance: Array2<f64>,
}

impl Gaussian {
    /// Fits a Gaussian to points, with the unbiased covariance (divided by `n - 1`).
    fn fit(points: &Features) -> Self {
        let mean = points.mean();
        let centered = &points.view() - &mean;
        let covariance = centered.t().dot(&centered) / (points.len() as f64 - 1.0);
        Self { mean, covariance }
    }
}

/// The Fréchet distance between Gaussians fitted to two sets of features. With features of an Inception network it is
/// called FID:
/// `|μ_X - μ_Y|² + Tr S_X + Tr S_Y - 2 Tr (S_X^½ S_Y S_X^½)^½`.
///
/// The last trace uses the eigenvalues of a symmetric matrix. Eigenvalues that rounding makes negative count as zero.
/// The distance is biased: fewer images give larger values. Compare only results with the same numbers of images.
///
/// *Source*: Heusel et al., "GANs trained by a two time-scale update rule converge to a local Nash equilibrium", 2017,
/// equation 6.
///
/// ```
/// use engraft_metrics::{Features, frechet_distance};
/// use ndarray::array;
/// // On a line: means 1 and 3, variances 1 and 4.
/// let x = Features::new(array![[0.0], [1.0], [2.0]])?;
/// let y = Features::new(array![[1.0], [3.0], [5.0]])?;
/// let by_hand = (3.0_f64 - 1.0).powi(2) + (1.0_f64 - 2.0).powi(2);
/// assert!((frechet_distance(&x, &y)? - by_hand).abs() < 1e-12);
/// # Ok::<(), engraft_metrics::MetricsError>(())
/// ```
///
/// # Errors
/// If a set has fewer than two images, the dimensions differ, or features are so large that
/// covariances or eigenvalues are not finite.
pub fn frechet_distance(real: &Features, fake: &Features) -> Result<f64, MetricsError> {
    comparable(real, fake, 2)?;
    let (x, y) = (Gaussian::fit(real), Gaussian::fit(fake));
    let root = square_root(&x.covariance)?;
    let product = root.dot(&y.covariance).dot(&root);
    let eigenvalues = symmetric_eigenvalues(&symmetric(&product)?, product.nrows());
    let trace_of_root = roots(&eigenvalues)?.sum();
    let means: f64 = (&x.mean - &y.mean).mapv(|d| d * d).sum();
    let traces = x.covariance.diag().sum() + y.covariance.diag().sum();
    finite(means + traces - 2.0 * trace_of_root, "the distances of the means")
}

fn finite(value: f64, what: &'static str) -> Result<f64, MetricsError> {
    value
        .is_finite()
        .then_some(value)
        .ok_or(MetricsError::Overflow { what })
}

/// The numbers of a matrix that is symmetric up to rounding, made symmetric.
fn symmetric(matrix: &Array2<f64>) -> Result<Vec<f64>, MetricsError> {
    let halves = matrix.indexed_iter().map(|((i, j), value)| {
        let half = 0.5 * value + 0.5 * matrix[[j, i]];
        finite(half, "covariances or their products")
    });
    halves.collect()
}

/// Roots of eigenvalues. Negative ones, caused by rounding, count as zero.
fn roots(eigenvalues: &[f64]) -> Result<Array1<f64>, MetricsError> {
    let root = |&value: &f64| Ok(finite(value, "eigenvalues")?.max(0.0).sqrt());
    eigenvalues.iter().map(root).collect()
}

/// The symmetric square root of a covariance.
fn square_root(matrix: &Array2<f64>) -> Result<Array2<f64>, MetricsError> {
    let n = matrix.nrows();
    let SymmetricEigen { values, vectors } = symmetric_eigen(&symmetric(matrix)?, n);
    let vectors = Array2::from_shape_vec((n, n), vectors).expect("the matrix is square");
    Ok((&vectors * &roots(&values)?).dot(&vectors.t()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::points;

    #[test]
    fn of_a_set_and_itself_nothing() {
        let x = points(200, 6, 1);
        assert!(frechet_distance(&x, &x).unwrap().abs() < 1e-9);
    }

    #[test]
    fn a_shift_costs_its_square() {
        let x = points(200, 3, 1);
        let y = Features::new(&x.view() + &ndarray::array![1.0, -2.0, 0.5]).unwrap();
        assert!((frechet_distance(&x, &y).unwrap() - 5.25).abs() < 1e-9);
    }

    #[test]
    fn symmetric_in_its_arguments() {
        let (x, y) = (points(50, 8, 1), points(70, 8, 2));
        let [a, b] = [
            frechet_distance(&x, &y).unwrap(),
            frechet_distance(&y, &x).unwrap(),
        ];
        assert!((a - b).abs() < 1e-9 * a, "{a} {b}");
    }

    #[test]
    fn numbers_that_are_not_finite_are_an_error() {
        let (x, y) = (points(9, 2, 1), points(9, 2, 2));
        let scaled = |set: &Features, by: f64| Features::new(&set.view() * by).unwrap();
        for by in [1e60, 1e100, 1e200] {
            let found = frechet_distance(&scaled(&x, by), &scaled(&y, by));
            if by < 1e70 {
                assert!(found.unwrap() > 0.0);
            } else {
                let text = found.unwrap_err().to_string();
                assert!(
                    text.contains("not finite") && text.contains("divide both"),
                    "{text}"
                );
            }
        }
        for value in [f64::NAN, f64::INFINITY] {
            assert!(roots(&[1.0, value]).is_err());
        }
        let found = roots(&[4.0, -1e-9]).unwrap();
        assert_eq!(found.to_vec(), [2.0, 0.0]);
    }

    /// With fewer images than features, the covariances have zero eigenvalues.
    #[test]
    fn fewer_images_than_features() {
        let (x, y) = (points(5, 20, 1), points(6, 20, 2));
        let distance = frechet_distance(&x, &y).unwrap();
        assert!(distance.is_finite() && distance > 0.0);
    }
}
