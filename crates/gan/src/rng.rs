//! One random stream for each purpose, all derived from the seed of the run.
//!
//! Separate streams keep purposes independent: a sample grid does not change the latent vectors of training.

use engraft_base::seeds;
use rand_pcg::Pcg64;

/// What random numbers are used for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    Generator = 1,
    Discriminator = 2,
    Latent = 3,
    Samples = 4,
    Order = 5,
    LatentAgain = 6,
    Evaluation = 7,
    Mirror = 8,
    Augment = 16,
    Penalty = 17,
    Standing = 18,
    Label = 19,
}

/// Seed of a purpose. Seeds of different purposes and runs are unrelated.
pub(crate) fn seed(seed: u64, purpose: Purpose) -> u64 {
    seeds::derive(seed, purpose as u8)
}

/// Random stream of a purpose in its initial state.
pub(crate) fn stream(of: u64, purpose: Purpose) -> Pcg64 {
    seeds::stream(of, purpose as u8)
}
