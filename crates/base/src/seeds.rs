//! Seeds of several random streams, derived from one seed.
//!
//! Every purpose has its own stream. Drawing more numbers for one purpose does not change the numbers of another.
//! Published results and checkpoints depend on these functions, so they never change.

use rand::SeedableRng;
use rand_pcg::Pcg64;

/// Derives the seed of a purpose, which is a number below 256. Different seeds and purposes give distant results.
///
/// ```
/// enum Purpose { Noise = 1, Order = 2 }
/// let [noise, order] = [Purpose::Noise as u8, Purpose::Order as u8].map(|p| engraft_base::seeds::derive(7, p));
/// assert_ne!(noise, order);
/// ```
pub fn derive(seed: u64, purpose: u8) -> u64 {
    // The multiplier of Knuth's MMIX generator. Any odd multiplier with well mixed bits works.
    (seed ^ (u64::from(purpose) << 56)).wrapping_mul(6_364_136_223_846_793_005)
}

/// The random stream of a purpose, in its initial state.
pub fn stream(seed: u64, purpose: u8) -> Pcg64 {
    Pcg64::seed_from_u64(derive(seed, purpose))
}

/// Seed of stream `index` of `count` streams. With the same `count`, two different seeds never give the same result.
///
/// The results are adjacent numbers. Use it only where adjacent seeds give unrelated streams, as in
/// `Pcg64::seed_from_u64` or a shuffle by hash.
pub fn numbered(seed: u64, count: u64, index: u64) -> u64 {
    seed.wrapping_mul(count).wrapping_add(index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;

    #[test]
    fn seeds_are_those_of_earlier_runs() {
        assert_eq!(
            derive(0, 1),
            (1_u64 << 56).wrapping_mul(6_364_136_223_846_793_005)
        );
        assert_eq!(
            derive(42, 7),
            42_u64
                .wrapping_add(7 << 56)
                .wrapping_mul(6_364_136_223_846_793_005)
        );
        assert_eq!(numbered(5, 4, 3), 23);
        assert_eq!(stream(42, 3).next_u64(), 141_939_864_422_772_543);
    }

    #[test]
    fn purposes_and_numbers_differ() {
        let all = (0..64).flat_map(|seed| (0..=255).map(move |purpose| derive(seed, purpose)));
        let mut all: Vec<u64> = all.collect();
        all.sort_unstable();
        assert!(all.is_sorted_by(|a, b| a < b));
    }
}
