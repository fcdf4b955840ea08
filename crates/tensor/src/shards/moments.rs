//! Batch norm over shards: the moments of the whole batch, and the sums of its gradient.

use super::group::fold_shards;
use super::mean::add;
use crate::real::Real;

/// Mean and biased variance of each channel over the rows of all shards, and the number of rows; those of this shard, unchanged,
/// outside of a group.
pub(crate) fn merged_moments<T: Real>([mean, variance]: [Vec<T>; 2], rows: usize) -> ([Vec<T>; 2], usize) {
    let numbers = || {
        // Count, means, and squared deviations: a variance times its count.
        let squares = variance.iter().map(|v| v.into_f64() * rows as f64);
        let means = mean.iter().map(|m| m.into_f64());
        [rows as f64].into_iter().chain(means).chain(squares).collect()
    };
    let Some(merged) = fold_shards(numbers, merge) else {
        return ([mean, variance], rows);
    };
    let (count, moments) = (merged[0], &merged[1..]);
    let (means, squares) = moments.split_at(mean.len());
    let means = means.iter().map(|m| T::from_f64(*m)).collect();
    let variances = squares.iter().map(|s| T::from_f64(s / count)).collect();
    ([means, variances], count as usize)
}

/// Merges count, means and squared deviations of two shards.
///
/// *Source*: Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979.
fn merge(left: &mut [f64], right: &[f64]) {
    assert!(
        left.len() == right.len(),
        "batch norm: all shards must have the same channels"
    );
    let channels = left.len() / 2;
    let count = left[0] + right[0];
    let (share, weight) = (right[0] / count, left[0] * right[0] / count);
    for i in 1..=channels {
        let distance = right[i] - left[i];
        left[i] += distance * share;
        left[channels + i] += right[channels + i] + distance * distance * weight;
    }
    left[0] = count;
}

/// The two rows of sums added over all shards; those of this shard, unchanged, outside of a group.
pub(crate) fn summed<T: Real>([a, b]: [&[T]; 2]) -> Option<[Vec<T>; 2]> {
    let numbers = || a.iter().chain(b).map(|v| v.into_f64()).collect();
    let sums = fold_shards(numbers, add)?;
    let (first, second) = sums.split_at(a.len());
    Some([first, second].map(|sums| sums.iter().map(|v| T::from_f64(*v)).collect()))
}
