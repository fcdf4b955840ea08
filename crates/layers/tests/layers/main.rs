//! Properties of layers, optimizers and state dicts, through the public API.
//!
//! `PROPTEST_CASES` scales the number of points; the default is 256.

mod adapters;
mod configurations;
mod folding;
mod fusion;
mod gradients;
mod hostile;
mod networks;
mod optimizers;
mod state;
mod torch;

use proptest::test_runner::Config;

/// A run of `ordinary` cases, scaled by the environment.
fn cases(ordinary: u32) -> Config {
    let scaled = u64::from(ordinary) * u64::from(Config::default().cases) / 256;
    Config::with_cases(u32::try_from(scaled.max(1)).unwrap_or(u32::MAX))
}
