//! One random stream for each purpose, all from the seed of the run.
//!
//! Streams of their own keep purposes apart: drawing a sample grid does not move the noise of training.

use rand::SeedableRng;
use rand_pcg::Pcg64;

/// What random numbers are drawn for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    Generator = 1,
    Discriminator = 2,
    Latent = 3,
    Samples = 4,
    Order = 5,
    LatentAgain = 6,
    Watch = 7,
    Augment = 16,
    Penalty = 17,
    Standing = 18,
}

/// Seed of a purpose; a run's seeds are far apart from each other and from those of other runs.
pub(crate) fn seed(seed: u64, purpose: Purpose) -> u64 {
    // The multiplier is that of Knuth's MMIX generator: any odd one with well mixed bits serves.
    (seed ^ ((purpose as u64) << 56)).wrapping_mul(6_364_136_223_846_793_005)
}

/// The generator of a purpose in its first state.
pub(crate) fn stream(of: u64, purpose: Purpose) -> Pcg64 {
    Pcg64::seed_from_u64(seed(of, purpose))
}
