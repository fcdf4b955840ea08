//! Default labels of generated images, and clipping of the generator's output.

use engraft_layers::Condition;
use engraft_tensor::{Real, Tensor};

/// Labels `0, 1, .., classes - 1, 0, 1, ..` for `n` images; [`Condition::None`] without classes.
pub(crate) fn cyclic_labels<T: Real>(n: usize, classes: usize) -> Condition<T> {
    match classes {
        0 => Condition::None,
        classes => (0..n).map(|i| i % classes).collect::<Vec<_>>().into(),
    }
}

/// Clips generated values to `[-1, 1]`. A generator without a final `tanh` can exceed this range; pixels
/// cannot.
pub(crate) fn as_image<T: Real>(generated: &Tensor<T>) -> Tensor<T> {
    -((-generated.clamp_min(-1.0)).clamp_min(-1.0))
}
