//! Points for tests.

use crate::feature_set::Features;
use ndarray::Array2;
use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal};
use rand_pcg::Pcg64;

/// `n` normal points in `d` dimensions.
pub(crate) fn points(n: usize, d: usize, seed: u64) -> Features {
    let rng = &mut Pcg64::seed_from_u64(seed);
    let values = Array2::from_shape_fn((n, d), |_| StandardNormal.sample(rng));
    Features::new(values).unwrap()
}
