//! Checks both domains before adaptation. A different range, polarity or contrast is usually a mistake in preprocessing and
//! not a domain gap.

use engraft_data::Dataset;
use serde::Serialize;
use std::fmt;

/// Maximum number of images for the statistics.
const MAX_IMAGES: usize = 500;
/// A background below the first pixel value is dark, above the second one bright.
const BACKGROUND: [f64; 2] = [85.0, 170.0];
/// Minimum factor between two ranges that counts as an error.
const RANGE: f64 = 2.0;
/// Minimum factor between two means or standard deviations that gives a warning.
const MOMENTS: f64 = 3.0;

/// Pixel statistics of a domain, in values from 0 to 255.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PixelStats {
    /// Smallest and largest pixel value.
    pub range: [u8; 2],
    /// Mean of the border pixels.
    pub background: f64,
    /// Mean of all pixels.
    pub mean: f64,
    /// Standard deviation of all pixels.
    pub deviation: f64,
}

impl PixelStats {
    /// Statistics of up to 500 evenly spaced images of a data set.
    ///
    /// # Panics
    /// If there are no images.
    #[track_caller]
    pub fn from_dataset(data: &Dataset) -> Self {
        assert!(
            !data.is_empty(),
            "PixelStats: expected at least one image in {}",
            data.name()
        );
        let [height, width, channels] = data.image_size();
        let step = data.len().div_ceil(MAX_IMAGES);
        let (mut range, mut edge, mut all) = ([255, 0], Sums::default(), Sums::default());
        for index in (0..data.len()).step_by(step) {
            for (i, &v) in data.image(index).iter().enumerate() {
                let (row, column) = (i / channels / width, i / channels % width);
                range = [range[0].min(v), range[1].max(v)];
                all.add(v);
                if row == 0 || column == 0 || row + 1 == height || column + 1 == width {
                    edge.add(v);
                }
            }
        }
        Self {
            range,
            background: edge.mean(),
            mean: all.mean(),
            deviation: all.deviation(),
        }
    }

    fn width(self) -> f64 {
        f64::from(self.range[1].saturating_sub(self.range[0])).max(1.0)
    }
}

#[derive(Default)]
struct Sums {
    count: f64,
    sum: f64,
    squares: f64,
}

impl Sums {
    fn add(&mut self, v: u8) {
        let v = f64::from(v);
        self.count += 1.0;
        self.sum += v;
        self.squares += v * v;
    }

    fn mean(&self) -> f64 {
        self.sum / self.count
    }

    fn deviation(&self) -> f64 {
        (self.squares / self.count - self.mean().powi(2)).max(0.0).sqrt()
    }
}

/// Severity of a difference between domains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Severity {
    /// The difference can be a domain gap.
    Warning,
    /// The difference is a mistake in preprocessing, which the classifier would learn.
    Refusal,
}

/// Pixel statistics of both domains, and the differences between them.
///
/// ```
/// use engraft_data::{Dataset, Provenance, Split, drawn_digits};
/// use engraft_transfer::adapt::{PixelStatsGap, Severity};
/// let digits = drawn_digits(Split::Train, 20, 1);
/// assert!(PixelStatsGap::between(&digits, &digits).problems().is_empty());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PixelStatsGap {
    /// Statistics of the source.
    pub source: PixelStats,
    /// Statistics of the target.
    pub target: PixelStats,
}

impl PixelStatsGap {
    /// Computes the statistics of both domains.
    ///
    /// # Panics
    /// If a domain has no images.
    #[track_caller]
    pub fn between(source: &Dataset, target: &Dataset) -> Self {
        Self {
            source: PixelStats::from_dataset(source),
            target: PixelStats::from_dataset(target),
        }
    }

    /// Whether one domain has a dark background and the other a bright one.
    pub fn is_inverted(&self) -> bool {
        let dark = |stats: PixelStats| stats.background < BACKGROUND[0];
        let bright = |stats: PixelStats| stats.background > BACKGROUND[1];
        let [s, t] = [self.source, self.target];
        (dark(s) && bright(t)) || (bright(s) && dark(t))
    }

    /// Large differences, each with its severity and what to do.
    pub fn problems(&self) -> Vec<(Severity, String)> {
        let [s, t] = [self.source, self.target];
        let mut problems = Vec::new();
        if self.is_inverted() {
            problems.push((
                Severity::Refusal,
                format!(
                    "polarity: the border pixels have a mean of {:.0} in the source and {:.0} in the target (of 255); invert \
                     one of them",
                    s.background, t.background
                ),
            ));
        }
        let factor = |a: f64, b: f64| (a / b).max(b / a);
        if factor(s.width(), t.width()) >= RANGE {
            problems.push((
                Severity::Refusal,
                format!(
                    "range: pixel values are {} to {} in the source and {} to {} in the target; scale both to 0 to 255",
                    s.range[0], s.range[1], t.range[0], t.range[1]
                ),
            ));
        }
        for (what, a, b) in [
            ("brightness: the mean pixel value", s.mean, t.mean),
            ("contrast: the standard deviation", s.deviation, t.deviation),
        ] {
            if factor(a.max(1.0), b.max(1.0)) >= MOMENTS {
                problems.push((
                    Severity::Warning,
                    format!(
                        "{what} is {a:.0} in the source and {b:.0} in the target; check that both had the same preprocessing"
                    ),
                ));
            }
        }
        problems
    }
}

impl fmt::Display for PixelStatsGap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [s, t] = [self.source, self.target];
        write!(
            f,
            "pixel values {}-{} and {}-{}, background {:.0} and {:.0}, mean {:.0} and {:.0}, standard deviation {:.0} and {:.0}",
            s.range[0],
            s.range[1],
            t.range[0],
            t.range[1],
            s.background,
            t.background,
            s.mean,
            t.mean,
            s.deviation,
            t.deviation
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_data::{Provenance, Split};

    fn changed(change: impl Fn(u8) -> u8) -> Dataset {
        let digits = engraft_data::drawn_digits(Split::Train, 30, 1);
        let images = digits.images().iter().map(|&v| change(v)).collect();
        Dataset::new(
            "changed",
            Provenance::Memory,
            images,
            digits.image_size(),
            digits.labels().to_vec(),
        )
        .unwrap()
    }

    #[test]
    fn preprocessing_mistakes_are_found() {
        let digits = changed(|v| v);
        assert!(PixelStatsGap::between(&digits, &changed(|v| 255 - v)).is_inverted());
        assert!(!PixelStatsGap::between(&digits, &changed(|v| v / 2)).is_inverted());
        let found = |other: Dataset| {
            PixelStatsGap::between(&digits, &other)
                .problems()
                .into_iter()
                .map(|(severity, text)| (severity, text.split(':').next().unwrap().to_string()))
                .collect::<Vec<_>>()
        };
        assert!(found(changed(|v| v)).is_empty());
        assert_eq!(
            found(changed(|v| 255 - v))[0],
            (Severity::Refusal, "polarity".into())
        );
        let unscaled = found(changed(|v| v / 255));
        assert_eq!(unscaled[0], (Severity::Refusal, "range".into()));
        assert!(unscaled[1..].iter().all(|(s, _)| *s == Severity::Warning));
        // Slightly brighter images are a domain gap, not a mistake.
        assert!(found(changed(|v| v.saturating_add(30))).is_empty());
    }
}
