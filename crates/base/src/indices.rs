//! Selection of elements: a random subset, an equidistant subset, batches, the largest.

use rand::SeedableRng;
use rand::seq::index;
use rand_pcg::Pcg64;
use std::ops::Range;

/// A random subset of `k` of the indices `0..n`, in ascending order, drawn with `seed`. All indices if `n <= k`.
pub fn choose(n: usize, k: usize, seed: u64) -> Vec<usize> {
    if n <= k {
        return (0..n).collect();
    }
    let mut indices = index::sample(&mut Pcg64::seed_from_u64(seed), n, k).into_vec();
    indices.sort_unstable();
    indices
}

/// At most `k` equidistant indices of `0..n`: the middles of `k` equal parts.
///
/// If the elements are sorted by class, the subset contains every large enough class.
pub fn equidistant(k: usize, n: usize) -> Vec<usize> {
    let k = k.min(n);
    (0..k).map(|i| (2 * i + 1) * n / (2 * k)).collect()
}

/// Splits `0..n` into ranges of `size` elements. The last range holds the rest.
///
/// ```
/// let parts: Vec<_> = engraft_base::batches(5, 2).collect();
/// assert_eq!(parts, [0..2, 2..4, 4..5]);
/// ```
///
/// # Panics
/// If `size` is 0.
pub fn batches(n: usize, size: usize) -> impl ExactSizeIterator<Item = Range<usize>> {
    assert!(size > 0, "batches: the batch size must be at least 1");
    (0..n)
        .step_by(size)
        .map(move |start| start..n.min(start.saturating_add(size)))
}

/// Index of the largest element, the first one of several equal ones. A NaN is never larger than another element.
///
/// # Panics
/// If `row` is empty.
pub fn argmax<T: PartialOrd>(row: &[T]) -> usize {
    assert!(
        !row.is_empty(),
        "argmax: expected at least one element, found an empty row"
    );
    (1..row.len()).fold(0, |best, i| if row[i] > row[best] { i } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choose_takes_different_indices_in_ascending_order_by_the_seed() {
        let chosen = choose(1000, 50, 3);
        assert_eq!(chosen.len(), 50);
        assert!(chosen.is_sorted_by(|a, b| a < b) && chosen[49] < 1000);
        assert_eq!(chosen, choose(1000, 50, 3));
        assert_ne!(chosen, choose(1000, 50, 4));
        assert_eq!(choose(3, 5, 1), [0, 1, 2]);
    }

    #[test]
    fn choose_draws_what_it_always_drew() {
        assert_eq!(choose(20, 5, 1), [2, 5, 9, 12, 18]);
    }

    #[test]
    fn equidistant_takes_the_middles_of_equal_parts() {
        assert_eq!(equidistant(2, 4), [1, 3]);
        assert_eq!(equidistant(3, 10), [1, 5, 8]);
        assert_eq!(equidistant(5, 3), [0, 1, 2]);
        assert!(equidistant(0, 3).is_empty() && equidistant(3, 0).is_empty());
    }

    #[test]
    fn argmax_is_the_first_of_the_largest() {
        assert_eq!(argmax(&[1.0, 3.0, 3.0, f64::NAN]), 1);
        assert_eq!(argmax(&[7_u8]), 0);
    }

    #[test]
    #[should_panic(expected = "empty row")]
    fn argmax_of_nothing_panics() {
        argmax::<f32>(&[]);
    }
}
