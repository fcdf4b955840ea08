//! Residual connections, and a learned scale and shift that replaces normalization in them.

use crate::condition::Condition;
use crate::layer::sequential::Sequential;
use crate::mode::Mode;
use crate::module::{Arrangement, Module};
use crate::naming::named;
use crate::parameter::Parameter;
use crate::taps::Taps;
use crate::{children, slots};
use engraft_tensor::{Real, Tensor};

/// `skip(x) + branch(x)`. `skip` is the identity unless [set](Residual::skip).
///
/// *Shapes*: those of the branch. The skip path must have the same output shape. Names are `branch.…` and `skip.…`.
///
/// *Source*: He et al., "Deep residual learning for image recognition", 2016, equations 1 and 2.
///
/// ```
/// use engraft_layers::{Conv2d, Init, Mode, Module, Residual, Sequential};
/// use engraft_tensor::Tensor;
///
/// let init = &mut Init::glorot(1);
/// // The branch starts at zero, so the block starts as the identity.
/// let branch = Sequential::<f32>::new().add("conv", Conv2d::new(3, 3, 3, init).same().scaled(0.0));
/// let block = Residual::new(branch);
/// let x = Tensor::ones([1, 4, 4, 3]);
/// assert_eq!(block.forward(&x, Mode::Train).as_slice(), x.as_slice());
/// ```
pub struct Residual<T: Real = f32> {
    branch: Sequential<T>,
    skip: Sequential<T>,
}

impl<T: Real> Residual<T> {
    /// `x + branch(x)`.
    pub fn new(branch: Sequential<T>) -> Self {
        Self {
            branch,
            skip: Sequential::new(),
        }
    }

    /// Adds layers to the skip path, for example a projection if the number of channels or the size changes.
    #[must_use]
    pub fn skip(mut self, skip: Sequential<T>) -> Self {
        self.skip = skip;
        self
    }
}

impl<T: Real> Module<T> for Residual<T> {
    fn forward(&self, x: &Tensor<T>, mode: Mode) -> Tensor<T> {
        self.forward_with(x, &Condition::None, mode)
    }

    fn forward_with(&self, x: &Tensor<T>, condition: &Condition<T>, mode: Mode) -> Tensor<T> {
        self.forward_taps(x, condition, mode, &mut Taps::none())
    }

    fn forward_taps(
        &self,
        x: &Tensor<T>,
        condition: &Condition<T>,
        mode: Mode,
        taps: &mut Taps<'_, T>,
    ) -> Tensor<T> {
        let [branch, skip] = [("branch", &self.branch), ("skip", &self.skip)].map(|(name, path)| {
            let y = named(name, || {
                path.forward_taps(x, condition, mode, &mut taps.under(name))
            });
            taps.put(name, &y);
            y
        });
        assert!(
            branch.shape() == skip.shape(),
            "Residual: the branch outputs {:?}, but the skip path outputs {:?} (input {:?})",
            branch.shape(),
            skip.shape(),
            x.shape()
        );
        skip + branch
    }

    children!(T; branch, skip);

    fn describe(&self) -> String {
        "Residual".into()
    }

    fn arrangement(&self) -> Arrangement {
        Arrangement::Parallel
    }
}

/// `gain · x + bias` with two learned numbers, initially 1 and 0. It ends a residual branch without
/// normalization.
///
/// *Shapes*: any, unchanged; `gain [1]`, `bias [1]`.
///
/// *Source*: Zhang, Dauphin and Ma, "Fixup initialization: residual learning without normalization", 2019,
/// section 3, rule 3.
#[derive(Clone, Debug)]
pub struct ScaleShift<T: Real = f32> {
    gain: Parameter<T>,
    bias: Parameter<T>,
}

impl<T: Real> ScaleShift<T> {
    /// A gain of 1 and a bias of 0: the identity.
    pub fn new() -> Self {
        Self {
            gain: Parameter::new(Tensor::ones([1])),
            bias: Parameter::new(Tensor::zeros([1])),
        }
    }
}

impl<T: Real> Default for ScaleShift<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Real> Module<T> for ScaleShift<T> {
    fn forward(&self, x: &Tensor<T>, _: Mode) -> Tensor<T> {
        x * self.gain.tensor() + self.bias.tensor()
    }

    slots!(T; Parameter gain, Parameter bias);

    fn describe(&self) -> String {
        "ScaleShift".into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BatchNorm, Conv2d, Dense, Init, ReLU, SlotMut, parameters, summary, visit_mut};

    /// A dense layer whose weight is `value` everywhere.
    fn dense(inputs: usize, outputs: usize, value: f64) -> Dense<f64> {
        let mut layer = Dense::new(inputs, outputs, &mut Init::glorot(1)).no_bias();
        visit_mut(&mut layer, |_, slot| {
            if let SlotMut::Parameter(p) = slot {
                p.set(&Tensor::full([inputs, outputs], value));
            }
        });
        layer
    }

    #[test]
    fn a_block_by_hand() {
        let branch = || Sequential::new().add("act", ReLU).add("dense", dense(2, 2, 3.0));
        let x = Tensor::from_vec([1, 2], vec![1.0, -2.0]);
        // 3 · max(1, 0) + 3 · max(-2, 0) = 3, added to the input.
        let plain = Residual::new(branch());
        assert_eq!(plain.forward(&x, Mode::Eval).as_slice(), [4.0, 1.0]);
        // The projection doubles the sum: -2.
        let projected = Residual::new(branch()).skip(Sequential::new().add("dense", dense(2, 2, 2.0)));
        assert_eq!(projected.forward(&x, Mode::Eval).as_slice(), [1.0, 1.0]);
        let names: Vec<_> = parameters(&projected).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["branch.dense.weight", "skip.dense.weight"]);
    }

    #[test]
    fn gain_and_bias_by_hand() {
        let mut layer = ScaleShift::<f64>::new();
        let x = Tensor::from_vec([2], vec![1.0, -2.0]);
        assert_eq!(layer.forward(&x, Mode::Eval).as_slice(), [1.0, -2.0]);
        layer.gain.set(&Tensor::full([1], 3.0));
        layer.bias.set(&Tensor::full([1], 0.5));
        assert_eq!(layer.forward(&x, Mode::Eval).as_slice(), [3.5, -5.5]);
    }

    #[test]
    #[should_panic(
        expected = "Residual: the branch outputs [2, 3], but the skip path outputs [2, 1] (input [2, 1])"
    )]
    fn a_branch_is_not_broadcast() {
        let branch = Sequential::new().add("dense", dense(1, 3, 1.0));
        let _ = Residual::new(branch).forward(&Tensor::zeros([2, 1]), Mode::Eval);
    }

    /// The table shows the inner layers with their input and output sizes.
    #[test]
    fn the_table_shows_the_paths() {
        let init = &mut Init::glorot(1);
        let branch = Sequential::<f32>::new()
            .add("conv", Conv2d::new(3, 8, 3, init).stride(2).same())
            .add("gain", ScaleShift::new());
        let skip = Sequential::new().add("conv", Conv2d::new(3, 8, 1, init).stride(2).same());
        let net = Sequential::new().add("block", Residual::new(branch).skip(skip));
        let table = summary(&net, &[6, 6, 3]);
        let rows: Vec<_> = table
            .rows
            .iter()
            .map(|r| (r.name.as_str(), &r.input[..], &r.output[..], r.parameters))
            .collect();
        let (large, small): (&[usize], &[usize]) = (&[6, 6, 3], &[3, 3, 8]);
        assert_eq!(
            rows,
            [
                ("block.branch.conv", large, small, 9 * 24 + 8),
                ("block.branch.gain", small, small, 2),
                ("block.skip.conv", large, small, 24 + 8),
            ]
        );
    }

    #[test]
    fn norms_inside_are_folded() {
        let init = &mut Init::glorot(1);
        let branch = Sequential::<f32>::new()
            .add("dense", Dense::new(2, 2, init).no_bias())
            .add("norm", BatchNorm::new(2));
        let folded = Sequential::new().add("block", Residual::new(branch)).folded();
        let names: Vec<_> = parameters(&folded).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["block.branch.dense.weight", "block.branch.dense.bias"]);
    }
}
