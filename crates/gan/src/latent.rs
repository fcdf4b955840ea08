//! What goes into a generator beside its latent vectors, and what its output becomes.

use engraft_layers::Condition;
use engraft_tensor::{Real, Tensor};

/// Labels of `n` examples, each class in turn; [`Condition::None`] without classes.
pub(crate) fn cyclic_labels<T: Real>(n: usize, classes: usize) -> Condition<T> {
    match classes {
        0 => Condition::None,
        classes => (0..n).map(|i| i % classes).collect::<Vec<_>>().into(),
    }
}

/// What is outside of `[-1, 1]`, as a generator without a `tanh` gives it, cut off there: a file of pixels has no more.
pub(crate) fn as_image<T: Real>(generated: &Tensor<T>) -> Tensor<T> {
    -((-generated.clamp_min(-1.0)).clamp_min(-1.0))
}
