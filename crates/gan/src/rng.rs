//! One random stream for each purpose, all from the seed of the run.
//!
//! Streams of their own keep purposes apart: drawing a sample grid does not move the noise of training.

use engraft_base::seeds;
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
    Evaluation = 7,
    Augment = 16,
    Penalty = 17,
    Standing = 18,
}

/// Seed of a purpose; a run's seeds are far apart from each other and from those of other runs.
pub(crate) fn seed(seed: u64, purpose: Purpose) -> u64 {
    seeds::derive(seed, purpose as u8)
}

/// The generator of a purpose in its first state.
pub(crate) fn stream(of: u64, purpose: Purpose) -> Pcg64 {
    seeds::stream(of, purpose as u8)
}
