//! Folding a map of each channel into the weight and bias of the layer before it.

use crate::parameter::Parameter;
use engraft_tensor::{Real, Tensor};

/// Makes `weight` and `bias` those of a layer whose result is `y · scale + shift`. `along` is the scale in a
/// shape that broadcasts over the outputs of the weight.
pub(super) fn absorb<T: Real>(
    weight: &mut Parameter<T>,
    bias: &mut Option<Parameter<T>>,
    along: &Tensor<T>,
    scale: &Tensor<T>,
    shift: &Tensor<T>,
) {
    weight.set(&(weight.tensor() * along));
    let shifted = match bias {
        Some(bias) => bias.tensor() * scale + shift,
        None => shift.clone(),
    };
    *bias = Some(Parameter::new(shifted));
}
