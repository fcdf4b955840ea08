//! Sliced Wasserstein distance of two sets of features.

use crate::error::MetricsError;
use crate::feature_set::{Features, comparable};
use ndarray::{Array1, ArrayView1};
use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal};
use rand_pcg::Pcg64;
use rayon::prelude::*;

/// The directions that [`sliced_wasserstein`] projects on.
const DIRECTIONS: usize = 256;
const SEED: u64 = 1;

/// The sliced 2-Wasserstein distance: the root of the mean, over 256 random directions `u`, of the squared 2-Wasserstein
/// distance between the projections `x·u` of both sets.
///
/// Each distance is exact: in one dimension the optimal transport pairs the sorted values, and for sets of different sizes
/// their quantiles. The directions have unit length and are the same in every call. The distance has the unit of the
/// features and is 0 for equal sets. For finite samples of one distribution it is above 0, so compare it with the floor.
///
/// *Source*: Rabin et al., "Wasserstein barycenter and its application to texture mixing", 2011; Bonneel et al., "Sliced and
/// Radon Wasserstein barycenters of measures", 2015.
///
/// ```
/// use engraft_metrics::{Features, sliced_wasserstein};
/// use ndarray::array;
/// // In one dimension: sorted, 0 0 1 against 1 1 2 is a shift of 1.
/// let x = Features::new(array![[0.0], [1.0], [0.0]])?;
/// let y = Features::new(array![[1.0], [1.0], [2.0]])?;
/// assert!((sliced_wasserstein(&x, &y)? - 1.0).abs() < 1e-12);
/// # Ok::<(), engraft_metrics::MetricsError>(())
/// ```
///
/// # Errors
/// If a set is empty or the numbers of features differ.
pub fn sliced_wasserstein(real: &Features, fake: &Features) -> Result<f64, MetricsError> {
    comparable(real, fake, 1)?;
    let mut rng = Pcg64::seed_from_u64(SEED);
    let directions: Vec<Array1<f64>> = (0..DIRECTIONS)
        .map(|_| {
            let normal: Array1<f64> = (0..real.dimension())
                .map(|_| StandardNormal.sample(&mut rng))
                .collect();
            let length = normal.dot(&normal).sqrt();
            normal / length
        })
        .collect();
    let squares: Vec<f64> = directions
        .par_iter()
        .map(|direction| {
            let sorted = |set: &Features| {
                let mut values = set.view().dot(&ArrayView1::from(direction)).to_vec();
                values.sort_unstable_by(f64::total_cmp);
                values
            };
            squared_distance(&sorted(real), &sorted(fake))
        })
        .collect();
    Ok((squares.iter().sum::<f64>() / DIRECTIONS as f64).sqrt())
}

/// The squared 2-Wasserstein distance of two sorted samples: the integral of the squared difference of their quantiles.
fn squared_distance(x: &[f64], y: &[f64]) -> f64 {
    let [n, m] = [x.len() as u64, y.len() as u64];
    // Positions on the axis from 0 to 1, in units of 1 / (n m), so that they are exact.
    let (mut at, mut sum) = (0, 0.0);
    while at < n * m {
        let [i, j] = [at / m, at / n];
        let next = ((i + 1) * m).min((j + 1) * n);
        sum += (next - at) as f64 * (x[i as usize] - y[j as usize]).powi(2);
        at = next;
    }
    sum / (n * m) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::points;

    #[test]
    fn quantiles_of_sets_of_different_sizes_are_paired() {
        // 0 for the first half against 0, 1: the second half differs by 1.
        assert_eq!(squared_distance(&[0.0], &[0.0, 1.0]), 0.5);
        // Thirds against halves: 0 0 | 0 3 | 3 3, in sixths.
        assert_eq!(squared_distance(&[0.0, 0.0, 3.0], &[0.0, 3.0]), 9.0 / 6.0);
        assert_eq!(squared_distance(&[1.0, 2.0], &[1.0, 1.0, 2.0, 2.0]), 0.0);
    }

    #[test]
    fn a_shift_gives_its_share_along_a_direction() {
        let x = points(500, 9, 1);
        let moved = Features::new(x.view().to_owned() + 2.0).unwrap();
        let found = sliced_wasserstein(&x, &moved).unwrap();
        // A shift of length 6 in 9 dimensions has a mean square of 36 / 9 along a random direction.
        assert!((found - 2.0).abs() < 0.3, "{found}");
        assert_eq!(sliced_wasserstein(&x, &x).unwrap(), 0.0);
        let floor = sliced_wasserstein(&x, &points(500, 9, 2)).unwrap();
        assert!(floor < 0.2, "{floor}");
    }

    #[test]
    fn other_dimensions_are_refused() {
        assert!(sliced_wasserstein(&points(5, 2, 1), &points(5, 3, 1)).is_err());
    }
}
