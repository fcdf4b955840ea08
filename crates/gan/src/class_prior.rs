//! The distribution of labels from which a conditional generator samples.

use rand::Rng;

/// The golden ratio's fractional part. Its multiples modulo 1 fill the unit interval evenly.
const GOLDEN: f64 = 0.618_033_988_749_894_9;

/// An empirical distribution of labels: the share of each class among the training images.
///
/// ```
/// use engraft_gan::ClassPrior;
/// let prior = ClassPrior::from_counts(&[30, 0, 10]);
/// assert_eq!(prior.shares(), [0.75, 0.0, 0.25]);
/// let labels = prior.spread(8);
/// assert_eq!(labels.iter().filter(|&&label| label == 2).count(), 2);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ClassPrior {
    counts: Vec<u64>,
    /// Share of the classes up to each class, itself included.
    cumulative: Vec<f64>,
}

impl ClassPrior {
    /// The distribution with the share of each class from its number of images.
    ///
    /// # Panics
    /// If all counts are 0.
    #[track_caller]
    pub fn from_counts(counts: &[u64]) -> Self {
        let all: u64 = counts.iter().sum();
        assert!(
            all > 0,
            "ClassPrior::from_counts: expected at least one image, got counts of 0"
        );
        let mut sum = 0;
        let cumulative = counts.iter().map(|count| {
            sum += count;
            sum as f64 / all as f64
        });
        Self {
            cumulative: cumulative.collect(),
            counts: counts.to_vec(),
        }
    }

    /// Number of classes, including those without images.
    pub fn classes(&self) -> usize {
        self.counts.len()
    }

    /// Images of each class.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// Share of each class. The shares sum to 1.
    pub fn shares(&self) -> Vec<f64> {
        let all: u64 = self.counts.iter().sum();
        self.counts
            .iter()
            .map(|&count| count as f64 / all as f64)
            .collect()
    }

    /// A random label.
    pub fn draw(&self, rng: &mut impl Rng) -> usize {
        self.at((rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64)
    }

    /// `n` labels whose shares are close to those of the classes, in mixed order. They are the same at each call, and the
    /// shares are also close in each part of them.
    ///
    /// The labels are the quantiles of the multiples of the golden ratio modulo 1 (a Weyl sequence).
    pub fn spread(&self, n: usize) -> Vec<usize> {
        (0..n)
            .map(|i| self.at((0.5 + i as f64 * GOLDEN).fract()))
            .collect()
    }

    /// The label at quantile `u` in `[0, 1)`. A class without images is never chosen.
    fn at(&self, u: f64) -> usize {
        self.cumulative.partition_point(|&upper| upper <= u)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_pcg::Pcg64;

    #[test]
    fn labels_have_the_shares_of_their_classes() {
        let counts = [940, 0, 50, 10, 0];
        let prior = ClassPrior::from_counts(&counts);
        assert!((prior.shares().iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert_eq!((prior.classes(), prior.counts()), (5, &counts[..]));
        let rng = &mut Pcg64::seed_from_u64(1);
        let drawn: Vec<usize> = (0..100_000).map(|_| prior.draw(rng)).collect();
        for (labels, tolerance) in [(prior.spread(1000), 0.003), (drawn, 0.005)] {
            for (class, share) in prior.shares().into_iter().enumerate() {
                let found = labels.iter().filter(|&&label| label == class).count() as f64;
                let found = found / labels.len() as f64;
                assert!((found - share).abs() <= tolerance, "class {class}: {found}");
                assert!(share > 0.0 || found == 0.0);
            }
        }
    }
}
