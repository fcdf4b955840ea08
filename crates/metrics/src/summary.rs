//! Statistics of an experiment over several seeds.

use serde::Serialize;
use std::fmt;

/// Mean, standard deviation and median over several seeds.
///
/// ```
/// use engraft_metrics::SeedSummary;
/// let spread = SeedSummary::of(&[1.0, 2.0, 6.0]).expect("there are figures");
/// assert_eq!((spread.mean, spread.median), (3.0, 2.0));
/// assert!((spread.deviation - 7.0_f64.sqrt()).abs() < 1e-12);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SeedSummary {
    /// Number of values.
    pub count: usize,
    /// Mean of the values.
    pub mean: f64,
    /// Standard deviation, divided by `count - 1`. 0 for a single value.
    pub deviation: f64,
    /// Median. For an even count, the mean of the two middle values.
    pub median: f64,
}

impl SeedSummary {
    /// The summary of these values, or `None` if there are none.
    pub fn of(figures: &[f64]) -> Option<Self> {
        let count = figures.len();
        let mean = figures.iter().sum::<f64>() / count as f64;
        let squares: f64 = figures.iter().map(|f| (f - mean).powi(2)).sum();
        let mut sorted = figures.to_vec();
        sorted.sort_by(f64::total_cmp);
        let upper = *sorted.get(count / 2)?;
        let lower = sorted[(count - 1) / 2];
        Some(Self {
            count,
            mean,
            deviation: (squares / (count - 1).max(1) as f64).sqrt(),
            median: (lower + upper) / 2.0,
        })
    }

    /// The same values in another unit.
    #[must_use]
    pub fn scaled(self, factor: f64) -> Self {
        Self {
            count: self.count,
            mean: self.mean * factor,
            deviation: self.deviation * factor.abs(),
            median: self.median * factor,
        }
    }
}

impl fmt::Display for SeedSummary {
    /// `94.12 ± 0.45`, with the precision of the format, by default two digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(2);
        write!(f, "{:.digits$} ± {:.digits$}", self.mean, self.deviation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_figures() {
        assert_eq!(SeedSummary::of(&[]), None);
        let one = SeedSummary::of(&[4.0]).unwrap();
        assert_eq!((one.mean, one.deviation, one.median), (4.0, 0.0, 4.0));
        let even = SeedSummary::of(&[4.0, 1.0, 2.0, 9.0]).unwrap().scaled(10.0);
        assert_eq!((even.mean, even.median), (40.0, 30.0));
        assert_eq!(format!("{even:.1}"), "40.0 ± 35.6");
    }
}
