//! Fused operations: per-channel bias or affine map, followed by a leaky ReLU.

use crate::grad_mode::is_recording;
use crate::kernels::channels::{self, Leaky};
use crate::kernels::elementwise::zip;
use crate::op::{Op, only};
use crate::operation::Operation;
use crate::ops::activation::{checked_slope, leaky_mask};
use crate::real::Real;
use crate::tensor::Tensor;

/// `leaky(x + bias)`.
struct Bias<T> {
    slope: T,
}

/// `leaky(x · scale + shift)`.
struct ChannelAffine<T> {
    slope: T,
}

impl<T: Real> Op<T> for Bias<T> {
    fn name(&self) -> &'static str {
        "bias_leaky_relu"
    }
    fn operation(&self) -> Option<Operation> {
        Some(Operation::BiasLeakyRelu {
            slope: self.slope.into_f64(),
        })
    }
    fn vjp(&self, i: usize, inputs: &[Tensor<T>], output: &Tensor<T>, dy: &Tensor<T>) -> Tensor<T> {
        only(i, |wanted| self.vjps(&wanted[..2], inputs, output, dy))
    }
    fn vjps(
        &self,
        wanted: &[bool],
        inputs: &[Tensor<T>],
        output: &Tensor<T>,
        dy: &Tensor<T>,
    ) -> Vec<Option<Tensor<T>>> {
        if is_recording() {
            let g = leaky_mask(dy, &output.detach(), self.slope);
            let d_bias = wanted[1].then(|| g.sum_to(inputs[1].shape()));
            return vec![wanted[0].then_some(g), d_bias];
        }
        let leaky = Leaky::new(self.slope);
        let (y, shape) = (output.as_slice(), inputs[1].shape());
        let (dx, d_bias) = if wanted[1] {
            let (dx, sums) = channels::backward_bias(dy.as_slice(), y, shape[0], leaky);
            (dx, Some(Tensor::from_vec(shape, sums)))
        } else {
            (zip(dy.as_slice(), y, |dy, y| leaky.mask(dy, y)), None)
        };
        vec![wanted[0].then(|| Tensor::from_array(dy.with_shape(dx))), d_bias]
    }
}

impl<T: Real> Op<T> for ChannelAffine<T> {
    fn name(&self) -> &'static str {
        "affine_leaky_relu"
    }
    fn operation(&self) -> Option<Operation> {
        Some(Operation::AffineLeakyRelu {
            slope: self.slope.into_f64(),
        })
    }
    fn vjp(&self, i: usize, inputs: &[Tensor<T>], output: &Tensor<T>, dy: &Tensor<T>) -> Tensor<T> {
        only(i, |wanted| self.vjps(wanted, inputs, output, dy))
    }
    fn vjps(
        &self,
        wanted: &[bool],
        inputs: &[Tensor<T>],
        output: &Tensor<T>,
        dy: &Tensor<T>,
    ) -> Vec<Option<Tensor<T>>> {
        let (x, scale) = (&inputs[0], &inputs[1]);
        if is_recording() {
            let g = leaky_mask(dy, &output.detach(), self.slope);
            let sum = |t: &Tensor<T>| t.sum_to(scale.shape());
            return vec![
                wanted[0].then(|| &g * scale),
                wanted[1].then(|| sum(&(&g * x))),
                wanted[2].then(|| sum(&g)),
            ];
        }
        let leaky = Leaky::new(self.slope);
        let (dy_values, y) = (dy.as_slice(), output.as_slice());
        let sums = (wanted[1] || wanted[2]).then(|| {
            let zeros = vec![T::zero(); scale.len()];
            channels::backward_sums(dy_values, y, x.as_slice(), &zeros, leaky)
        });
        let [d_shift, d_scale] = sums.unwrap_or_default();
        let row = |wanted: bool, sums| wanted.then(|| Tensor::from_vec(scale.shape(), sums));
        let dx = wanted[0].then(|| {
            let dx = channels::backward_scaled(dy_values, y, scale.as_slice(), leaky);
            Tensor::from_array(dy.with_shape(dx))
        });
        vec![dx, row(wanted[1], d_scale), row(wanted[2], d_shift)]
    }
}

/// `leaky_relu(x + bias)` with one bias per channel, fused. Same values and derivatives as the two operations, with
/// fewer passes over memory.
///
/// *Shapes*: `x [.., c]`, `bias [c]` -> as `x`.
///
/// ```
/// use engraft_tensor::{Tensor, bias_leaky_relu};
/// let x = Tensor::from_vec([2, 2], vec![1.0, 2.0, 3.0, 4.0]);
/// let y = bias_leaky_relu(&x, &Tensor::from_vec([2], vec![0.0, -3.0]), 0.5);
/// assert_eq!(y.as_slice(), [1.0, -0.5, 3.0, 1.0]);
/// ```
///
/// # Panics
/// If `x` has no axis, the bias is not `[c]`, or the slope is negative or not finite.
#[track_caller]
pub fn bias_leaky_relu<T: Real>(x: &Tensor<T>, bias: &Tensor<T>, slope: f64) -> Tensor<T> {
    let slope = checked_slope("bias_leaky_relu", slope);
    assert!(
        x.rank() > 0 && x.shape().ends_with(bias.shape()) && bias.rank() == 1,
        "bias_leaky_relu: the bias {:?} must be as long as the last axis of x {:?}",
        bias.shape(),
        x.shape()
    );
    let (zeros, ones) = (vec![T::zero(); bias.len()], vec![T::one(); bias.len()]);
    let y = channels::affine(x.as_slice(), &zeros, &ones, bias.as_slice(), Leaky::new(slope));
    Tensor::from_op(x.with_shape(y), Bias { slope }, &[x, bias])
}

/// `leaky_relu(x · scale + shift)` with a scale and a shift per channel, in one pass. A slope of 1 means no
/// leaky ReLU. Batch norm with given statistics is such a map.
///
/// *Shapes*: `x [.., c]`, `scale [c]`, `shift [c]` -> as `x`.
///
/// ```
/// use engraft_tensor::{Tensor, affine_leaky_relu};
/// let x = Tensor::from_vec([2, 2], vec![1.0, 2.0, 3.0, 4.0]);
/// let (scale, shift) = (Tensor::from_vec([2], vec![1.0, 2.0]), Tensor::from_vec([2], vec![-2.0, 0.0]));
/// assert_eq!(affine_leaky_relu(&x, &scale, &shift, 0.5).as_slice(), [-0.5, 4.0, 1.0, 8.0]);
/// assert_eq!(affine_leaky_relu(&x, &scale, &shift, 1.0).as_slice(), [-1.0, 4.0, 1.0, 8.0]);
/// ```
///
/// # Panics
/// If `x` has no axis, the scale or shift is not `[c]`, or the slope is negative or not finite.
#[track_caller]
pub fn affine_leaky_relu<T: Real>(
    x: &Tensor<T>,
    scale: &Tensor<T>,
    shift: &Tensor<T>,
    slope: f64,
) -> Tensor<T> {
    let slope = checked_slope("affine_leaky_relu", slope);
    assert!(
        x.rank() > 0
            && x.shape().ends_with(scale.shape())
            && scale.rank() == 1
            && shift.shape() == scale.shape(),
        "affine_leaky_relu: scale {:?} and shift {:?} must be as long as the last axis of x {:?}",
        scale.shape(),
        shift.shape(),
        x.shape()
    );
    let zeros = vec![T::zero(); scale.len()];
    let leaky = Leaky::new(slope);
    let y = channels::affine(x.as_slice(), &zeros, scale.as_slice(), shift.as_slice(), leaky);
    Tensor::from_op(x.with_shape(y), ChannelAffine { slope }, &[x, scale, shift])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{grad, grad_with_graph};
    use rand::SeedableRng;
    use rand_pcg::Pcg64;

    fn agree(a: &Tensor<f64>, b: &Tensor<f64>) {
        let difference = (a - b).abs().sum().item() / b.abs().sum().item();
        assert!(difference < 1e-13, "{difference}");
    }

    /// Fused, recorded and plain operations must agree, for a tall matrix and for a wide one.
    #[test]
    fn the_fused_rules_equal_those_of_the_separate_operations() {
        let rng = &mut Pcg64::seed_from_u64(4);
        for shape in [[20_011, 3], [19, 5003]] {
            let leaf = |shape: &[usize], rng: &mut Pcg64| Tensor::<f64>::randn(shape, rng).as_leaf();
            let inputs = [leaf(&shape, rng), leaf(&shape[1..], rng), leaf(&shape[1..], rng)];
            let [x, scale, shift] = &inputs;
            let dy = Tensor::randn(shape, rng);
            let pairs = [
                (bias_leaky_relu(x, shift, 0.3), (x + shift).leaky_relu(0.3)),
                (bias_leaky_relu(x, shift, 0.0), (x + shift).relu()),
                (
                    affine_leaky_relu(x, scale, shift, 0.3),
                    (x * scale + shift).leaky_relu(0.3),
                ),
                (affine_leaky_relu(x, scale, shift, 1.0), x * scale + shift),
            ];
            for (fused, separate) in pairs {
                assert_eq!(fused.as_slice(), separate.as_slice());
                let (fused, separate) = ((fused * &dy).sum(), (separate * &dy).sum());
                let expected = grad(&separate, inputs.each_ref());
                let plain = grad(&fused, inputs.each_ref());
                let recorded = grad_with_graph(&fused, inputs.each_ref());
                for i in (0..3).filter(|&i| expected[i].as_slice().iter().any(|&d| d != 0.0)) {
                    agree(&plain[i], &expected[i]);
                    agree(&recorded[i], &expected[i]);
                    // Alone, where another branch may be taken.
                    agree(&grad(&fused, [&inputs[i]])[0], &expected[i]);
                }
            }
        }
    }
}
