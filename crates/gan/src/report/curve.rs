//! Curves over the steps: means of bins, and exponential moving averages.

/// Maximum number of points of a curve; longer runs are averaged in bins.
const BINS: usize = 400;
/// The half-life of the moving average is this part of the run.
const HALF_LIVES: usize = 25;
/// Values above this are not plotted. Losses are `f32`, so a larger value in a file is not from a run.
const MAX_VALUE: f64 = f32::MAX as f64;

/// Points of a curve: step and value.
pub(super) type Points = Vec<(u64, f64)>;

/// Points that can be plotted.
pub(super) fn plottable(points: impl Iterator<Item = (u64, f64)>) -> Points {
    points.filter(|(_, value)| value.abs() <= MAX_VALUE).collect()
}

/// Number of points in each bin of a curve of `n` points.
pub(super) fn bin_size(n: usize) -> usize {
    n.div_ceil(BINS).max(1)
}

/// Means over equal bins of consecutive points.
pub(super) fn binned(points: &[(u64, f64)]) -> Points {
    points
        .chunks(bin_size(points.len()))
        .map(|bin| {
            let mean = bin.iter().map(|&(_, value)| value).sum::<f64>() / bin.len() as f64;
            (bin[bin.len() / 2].0, mean)
        })
        .collect()
}

/// Half-life of the moving average of a curve of `n` points, in points.
pub(super) fn half_life(n: usize) -> usize {
    (n / HALF_LIVES).max(1)
}

/// Exponential moving average, corrected for its start (as in Adam), at the last point of each bin.
pub(super) fn smoothed(points: &[(u64, f64)]) -> Points {
    let decay = 0.5_f64.powf(1.0 / half_life(points.len()) as f64);
    let (mut sum, mut weight) = (0.0, 0.0);
    let averages: Points = points
        .iter()
        .map(|&(step, value)| {
            sum = decay * sum + (1.0 - decay) * value;
            weight = decay * weight + (1.0 - decay);
            (step, sum / weight)
        })
        .collect();
    let bins = averages.chunks(bin_size(points.len()));
    bins.filter_map(|bin| bin.last().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_average_neighbors() {
        let points: Points = (1..=800).map(|step| (step, step as f64)).collect();
        let bins = binned(&points);
        assert_eq!((bins.len(), bins[0]), (400, (2, 1.5)));
        assert!(binned(&[]).is_empty());
    }

    #[test]
    fn averages_by_hand() {
        // A half-life of one point: weights 1/2, 1/4, .. divided by their sum.
        let found = smoothed(&[(1, 1.0), (2, 4.0), (3, 0.0)]);
        let expected = [1.0, (2.0 + 0.25) / 0.75, (0.0 + 1.0 + 0.125) / 0.875];
        for ((_, found), expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
        let constant: Points = (0..10_000).map(|step| (step, 3.0)).collect();
        let found = smoothed(&constant);
        assert_eq!((found.len(), found[399].0), (400, 9_999));
        assert!(found.iter().all(|(_, value)| (value - 3.0).abs() < 1e-9));
    }

    /// A damaged file may contain any number.
    #[test]
    fn impossible_values_are_not_plotted() {
        let values = [1.75e308, -1.75e308, 1e39, f64::INFINITY, f64::NAN, 2.0];
        assert_eq!(plottable(values.iter().map(|&value| (1, value))), [(1, 2.0)]);
    }
}
