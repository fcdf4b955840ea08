//! Mean, deviation and median of results over seeds.

use serde::Serialize;

/// How results scatter over seeds.
///
/// ```
/// use engraft_transfer::semi_supervised::Spread;
/// // One bad subset of labels makes the mean, but not the median.
/// let found = Spread::of(&[1.0, 2.0, 9.0]);
/// assert_eq!((found.mean, found.median), (4.0, 2.0));
/// assert!((found.deviation - 19.0_f64.sqrt()).abs() < 1e-12);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// Mean.
    pub mean: f64,
    /// Standard deviation of a sample, by one less than the number of results; 0 for one result.
    pub deviation: f64,
    /// The middle result, or the mean of the two in the middle.
    pub median: f64,
}

impl Spread {
    /// Of these results.
    ///
    /// # Panics
    /// If there are none.
    #[track_caller]
    pub fn of(results: &[f64]) -> Self {
        assert!(!results.is_empty(), "Spread: needs at least one result");
        let n = results.len();
        let mean = results.iter().sum::<f64>() / n as f64;
        let squares: f64 = results.iter().map(|r| (r - mean) * (r - mean)).sum();
        let mut sorted = results.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        Self {
            mean,
            deviation: (squares / (n - 1).max(1) as f64).sqrt(),
            median: (sorted[(n - 1) / 2] + sorted[n / 2]) / 2.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_even_number_and_one() {
        let found = Spread::of(&[4.0, 1.0, 3.0, 2.0]);
        assert_eq!((found.mean, found.median), (2.5, 2.5));
        let one = Spread::of(&[7.0]);
        assert_eq!((one.mean, one.deviation, one.median), (7.0, 0.0, 7.0));
    }
}
