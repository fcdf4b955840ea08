//! Default labels of generated images, and clipping of the generator's output.

use crate::class_prior::ClassPrior;
use engraft_layers::Condition;
use engraft_tensor::{Real, Tensor};
use rand::Rng;

/// Labels `0, 1, .., classes - 1, 0, 1, ..` for `n` images; [`Condition::None`] without classes.
pub(crate) fn cyclic_labels<T: Real>(n: usize, classes: usize) -> Condition<T> {
    match classes {
        0 => Condition::None,
        classes => (0..n).map(|i| i % classes).collect::<Vec<_>>().into(),
    }
}

/// Labels for `n` images that do not depend on chance: [spread](ClassPrior::spread) by the prior, without one
/// [`cyclic_labels`].
pub(crate) fn fixed_labels<T: Real>(n: usize, classes: usize, prior: Option<&ClassPrior>) -> Condition<T> {
    match prior {
        Some(prior) => prior.spread(n).into(),
        None => cyclic_labels(n, classes),
    }
}

/// Labels for `n` images of a sample: random by the prior, without one [`cyclic_labels`].
pub(crate) fn sampled_labels<T: Real>(
    n: usize,
    classes: usize,
    prior: Option<&ClassPrior>,
    rng: &mut impl Rng,
) -> Condition<T> {
    match prior {
        Some(prior) => (0..n).map(|_| prior.draw(rng)).collect::<Vec<_>>().into(),
        None => cyclic_labels(n, classes),
    }
}

/// Clips generated values to `[-1, 1]`. A generator without a final `tanh` can exceed this range; pixels
/// cannot.
pub(crate) fn as_image<T: Real>(generated: &Tensor<T>) -> Tensor<T> {
    -((-generated.clamp_min(-1.0)).clamp_min(-1.0))
}
