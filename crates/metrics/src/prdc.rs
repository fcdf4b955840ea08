//! Nearest-neighbor measures: precision, recall, density, coverage.

use crate::error::MetricsError;
use crate::feature_set::{Features, comparable};
use crate::pairwise::{map_distances, nearest};
use serde::{Deserialize, Serialize};

/// `k` of precision and recall.
const OF_PRECISION: usize = 3;
/// `k` of density and coverage.
const OF_COVERAGE: usize = 5;

/// How two sets of images overlap. Each image has a ball whose radius is the distance to its `k`-th neighbor in the same set.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prdc {
    /// Share of generated images inside the ball of a real image (`k = 3`): fidelity.
    pub precision: f64,
    /// Share of real images inside the ball of a generated image (`k = 3`): diversity.
    pub recall: f64,
    /// Mean number of real balls (`k = 5`) that contain a generated image, divided by `k`. Above 1 if generated images
    /// are concentrated where real ones are dense.
    pub density: f64,
    /// Share of real images whose ball (`k = 5`) contains a generated image. Outliers among the generated images do not
    /// increase it.
    pub coverage: f64,
}

/// Precision and recall with `k = 3` and closed balls, density and coverage with `k = 5` and open balls.
///
/// *Source*: Kynkäänniemi et al., "Improved precision and recall metric for assessing generative models", 2019,
/// equation 1; Naeem et al., "Reliable fidelity and diversity metrics for generative models", 2020, equations 3 and 4.
///
/// ```
/// use engraft_metrics::{Features, prdc};
/// use ndarray::Array2;
/// let real = Features::new(Array2::from_shape_fn((8, 1), |(i, _)| i as f64))?;
/// let fake = Features::new(Array2::from_shape_fn((8, 1), |(i, _)| 0.1 * i as f64))?;
/// let found = prdc(&real, &fake)?;
/// assert_eq!(found.precision, 1.0); // all are among the real ones,
/// assert!(found.coverage < 1.0); //    but only at the left end
/// # Ok::<(), engraft_metrics::MetricsError>(())
/// ```
///
/// # Errors
/// If a set has fewer than six images, or the dimensions differ.
pub fn prdc(real: &Features, fake: &Features) -> Result<Prdc, MetricsError> {
    comparable(real, fake, OF_COVERAGE + 1)?;
    let of_real = radii(real);
    let of_fake: Vec<f64> = radii(fake).into_iter().map(|[r, _]| r).collect();
    let fakes = map_distances(fake, real, |_, row| {
        let precise = row.iter().zip(&of_real).any(|(d, [r, _])| d <= r);
        let balls = row.iter().zip(&of_real).filter(|(d, [_, r])| *d < r).count();
        (precise, balls)
    });
    let reals = map_distances(real, fake, |i, row| {
        let recalled = row.iter().zip(&of_fake).any(|(d, r)| d <= r);
        let covered = nearest(row).1 < of_real[i][1];
        (recalled, covered)
    });
    let share = |count: usize, of: &Features| count as f64 / of.len() as f64;
    let balls: usize = fakes.iter().map(|f| f.1).sum();
    Ok(Prdc {
        precision: share(fakes.iter().filter(|f| f.0).count(), fake),
        recall: share(reals.iter().filter(|r| r.0).count(), real),
        density: share(balls, fake) / OF_COVERAGE as f64,
        coverage: share(reals.iter().filter(|r| r.1).count(), real),
    })
}

/// Fewest real images with which [`balanced_coverage`] uses all generated images.
const MANY: usize = 100;
/// Most subsets of the generated images.
const SUBSETS: usize = 10;

/// Coverage ([`Prdc::coverage`]), for few real images with the same number of generated ones.
///
/// The radius of a ball depends on the number of real images: among few, it is large. Thousands of poor images then reach most
/// balls by chance. So with fewer than 100 real images, this is the mean over up to ten disjoint subsets of the generated
/// images, each with as many images as there are real ones.
///
/// # Errors
/// As [`prdc`].
pub fn balanced_coverage(real: &Features, fake: &Features) -> Result<f64, MetricsError> {
    let n = real.len();
    if n >= MANY || fake.len() <= n {
        return Ok(prdc(real, fake)?.coverage);
    }
    let subsets = (fake.len() / n).min(SUBSETS);
    let mut sum = 0.0;
    for subset in 0..subsets {
        // Every subset has images from the whole set, in case it is sorted.
        let members: Vec<usize> = (0..n)
            .map(|i| (i * subsets + subset) * fake.len() / (n * subsets))
            .collect();
        sum += prdc(real, &fake.select(&members))?.coverage;
    }
    Ok(sum / subsets as f64)
}

/// Squared distances of every point to its third and fifth neighbor in the same set.
fn radii(points: &Features) -> Vec<[f64; 2]> {
    map_distances(points, points, |i, row| {
        let mut others = [&row[..i], &row[i + 1..]].concat();
        let (below, &mut fifth, _) = others.select_nth_unstable_by(OF_COVERAGE - 1, f64::total_cmp);
        below.sort_unstable_by(f64::total_cmp);
        [below[OF_PRECISION - 1], fifth]
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::points;
    use ndarray::Array2;

    fn line(values: &[f64]) -> Features {
        Features::new(Array2::from_shape_vec((values.len(), 1), values.to_vec()).unwrap()).unwrap()
    }

    #[test]
    fn radii_by_hand() {
        // Neighbors of 0 at 1, 3, 7, 15, 31; of 31 at 16, 24, 28, 30, 31.
        let found = radii(&line(&[0.0, 1.0, 3.0, 7.0, 15.0, 31.0]));
        let expected = [[7.0, 31.0], [6.0, 30.0]].map(|r: [f64; 2]| r.map(|r| r * r));
        for (found, expected) in found.iter().zip(expected) {
            assert!((found[0] - expected[0]).abs() < 1e-9 && (found[1] - expected[1]).abs() < 1e-9);
        }
        assert!((found[5][0] - 28.0_f64.powi(2)).abs() < 1e-9);
    }

    #[test]
    fn equal_and_distant_sets() {
        let x = points(200, 4, 1);
        let same = prdc(&x, &points(200, 4, 2)).unwrap();
        assert!(
            same.precision > 0.8 && same.recall > 0.8 && same.coverage > 0.8,
            "{same:?}"
        );
        assert!((same.density - 1.0).abs() < 0.2, "{same:?}");
        let far = Features::new(&x.view() + 100.0).unwrap();
        let apart = prdc(&x, &far).unwrap();
        assert_eq!(
            [apart.precision, apart.recall, apart.density, apart.coverage],
            [0.0; 4]
        );
    }

    /// With 30 real images, 3000 points of a far wider cloud reach most balls, the same number of points few.
    #[test]
    fn few_real_images_are_not_covered_by_many_poor_ones() {
        let real = points(30, 4, 1);
        let wide = Features::new(&points(3000, 4, 2).view() * 3.0).unwrap();
        let all = prdc(&real, &wide).unwrap().coverage;
        let balanced = balanced_coverage(&real, &wide).unwrap();
        assert!(all > 0.9 && balanced < 0.6, "{all} {balanced}");
        let good = balanced_coverage(&real, &points(3000, 4, 3)).unwrap();
        assert!(good > 0.8, "{good}");
        let many = points(100, 4, 4);
        assert_eq!(
            balanced_coverage(&many, &wide).unwrap(),
            prdc(&many, &wide).unwrap().coverage
        );
    }

    /// Copies of a single image have high precision and cover one image's surroundings.
    #[test]
    fn a_collapsed_generator() {
        let x = points(200, 4, 1);
        let copies = x.select(&[7; 200]);
        let found = prdc(&x, &copies).unwrap();
        assert_eq!(found.precision, 1.0);
        assert!(found.recall < 0.02 && found.coverage < 0.1, "{found:?}");
    }
}
