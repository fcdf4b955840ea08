//! Activation functions.

use crate::kernels::channels::Leaky;
use crate::kernels::elementwise::{map, zip};
use crate::op::Op;
use crate::operation::Operation;
use crate::real::Real;
use crate::tensor::Tensor;

/// `max(x, slope · x)` for `slope <= 1`.
struct LeakyRelu<T> {
    slope: T,
}

/// `dy` where the saved `x` is positive, `slope · dy` elsewhere. Linear in `dy`, and its own derivative.
struct LeakyMask<T: Real> {
    x: Tensor<T>,
    slope: T,
}

impl<T: Real> Op<T> for LeakyRelu<T> {
    fn name(&self) -> &'static str {
        "leaky_relu"
    }
    fn operation(&self) -> Option<Operation> {
        Some(Operation::LeakyRelu {
            slope: self.slope.into_f64(),
        })
    }
    fn vjp(&self, _: usize, inputs: &[Tensor<T>], _: &Tensor<T>, dy: &Tensor<T>) -> Tensor<T> {
        leaky_mask(dy, &inputs[0].detach(), self.slope)
    }
}

impl<T: Real> Op<T> for LeakyMask<T> {
    fn name(&self) -> &'static str {
        "leaky_mask"
    }
    fn vjp(&self, _: usize, _: &[Tensor<T>], _: &Tensor<T>, dy: &Tensor<T>) -> Tensor<T> {
        leaky_mask(dy, &self.x, self.slope)
    }
}

pub(super) fn leaky_mask<T: Real>(dy: &Tensor<T>, x: &Tensor<T>, slope: T) -> Tensor<T> {
    let leaky = Leaky::new(slope);
    let dx = zip(dy.as_slice(), x.as_slice(), |dy, x| leaky.mask(dy, x));
    Tensor::from_op(dy.with_shape(dx), LeakyMask { x: x.clone(), slope }, &[dy])
}

/// The slope of a fused leaky ReLU. Its derivative depends on the sign of the result, so the slope must not be negative.
#[track_caller]
pub(super) fn checked_slope<T: Real>(name: &str, slope: f64) -> T {
    let rounded = T::from_f64(slope);
    assert!(
        rounded >= T::zero() && rounded.is_finite(),
        "{name}: the slope must be finite and not negative, got {slope:?}"
    );
    rounded
}

/// `max(x, floor)`.
struct ClampMin<T> {
    floor: T,
}

impl<T: Real> Op<T> for ClampMin<T> {
    fn name(&self) -> &'static str {
        "clamp_min"
    }
    fn operation(&self) -> Option<Operation> {
        Some(Operation::ClampMin {
            floor: self.floor.into_f64(),
        })
    }
    fn vjp(&self, _: usize, inputs: &[Tensor<T>], _: &Tensor<T>, dy: &Tensor<T>) -> Tensor<T> {
        leaky_mask(dy, &(inputs[0].detach() - self.floor), T::zero())
    }
}

struct Tanh;
struct Sigmoid;
struct Softplus;

impl<T: Real> Op<T> for Tanh {
    fn name(&self) -> &'static str {
        "tanh"
    }
    fn operation(&self) -> Option<Operation> {
        Some(Operation::Tanh)
    }
    fn vjp(&self, _: usize, _: &[Tensor<T>], y: &Tensor<T>, dy: &Tensor<T>) -> Tensor<T> {
        dy * (-(y * y) + T::one())
    }
}

impl<T: Real> Op<T> for Sigmoid {
    fn name(&self) -> &'static str {
        "sigmoid"
    }
    fn operation(&self) -> Option<Operation> {
        Some(Operation::Sigmoid)
    }
    fn vjp(&self, _: usize, _: &[Tensor<T>], y: &Tensor<T>, dy: &Tensor<T>) -> Tensor<T> {
        dy * (y - y * y)
    }
}

impl<T: Real> Op<T> for Softplus {
    fn name(&self) -> &'static str {
        "softplus"
    }
    fn operation(&self) -> Option<Operation> {
        Some(Operation::Softplus)
    }
    fn vjp(&self, _: usize, inputs: &[Tensor<T>], _: &Tensor<T>, dy: &Tensor<T>) -> Tensor<T> {
        dy * inputs[0].sigmoid()
    }
}

/// `1 / (1 + e^-x)` without overflow for either sign.
fn sigmoid<T: Real>(x: T) -> T {
    let e = (-x.abs()).exp();
    if x >= T::zero() {
        T::one() / (T::one() + e)
    } else {
        e / (T::one() + e)
    }
}

impl<T: Real> Tensor<T> {
    /// `x` where positive, `slope · x` elsewhere. At 0 the derivative is `slope`.
    #[must_use]
    pub fn leaky_relu(&self, slope: f64) -> Self {
        let slope = T::from_f64(slope);
        let leaky = Leaky::new(slope);
        let y = map(self.as_slice(), |v| leaky.apply(v));
        Self::from_op(self.with_shape(y), LeakyRelu { slope }, &[self])
    }

    /// `max(x, 0)`, elementwise: a leaky ReLU with slope 0. At 0 the derivative is 0.
    #[must_use]
    pub fn relu(&self) -> Self {
        self.leaky_relu(0.0)
    }

    /// `max(x, floor)`, elementwise. At the floor the derivative is 0.
    #[must_use]
    pub fn clamp_min(&self, floor: f64) -> Self {
        let floor = T::from_f64(floor);
        let y = map(self.as_slice(), |v| if v <= floor { floor } else { v });
        Self::from_op(self.with_shape(y), ClampMin { floor }, &[self])
    }

    /// Hyperbolic tangent, elementwise.
    #[must_use]
    pub fn tanh(&self) -> Self {
        Self::from_op(self.with_shape(map(self.as_slice(), T::tanh)), Tanh, &[self])
    }

    /// `x · Φ(x)` with the distribution function `Φ` of the normal distribution, elementwise: PyTorch's `GELU` without
    /// approximation.
    ///
    /// *Source*: Hendrycks and Gimpel, "Gaussian error linear units (GELUs)", 2016.
    #[must_use]
    pub fn gelu(&self) -> Self {
        self * ((self * T::FRAC_1_SQRT_2()).erf() + T::one()) * T::from_f64(0.5)
    }

    /// `x · sigmoid(x)`, elementwise: PyTorch's `SiLU`, also called swish.
    #[must_use]
    pub fn silu(&self) -> Self {
        self * self.sigmoid()
    }

    /// Logistic function `1 / (1 + e^-x)`, elementwise, without overflow.
    #[must_use]
    pub fn sigmoid(&self) -> Self {
        Self::from_op(self.with_shape(map(self.as_slice(), sigmoid)), Sigmoid, &[self])
    }

    /// `ln(1 + e^x)`, elementwise, without overflow and exact for large `|x|`.
    ///
    /// `softplus(-x) = -ln(sigmoid(x))`. The usual GAN losses are softplus of logits.
    #[must_use]
    pub fn softplus(&self) -> Self {
        let f = |v: T| v.max(T::zero()) + (-v.abs()).exp().ln_1p();
        Self::from_op(self.with_shape(map(self.as_slice(), f)), Softplus, &[self])
    }

    /// `ln(e^x_i / Σ_j e^x_j)` along one axis.
    ///
    /// # Panics
    /// If the axis does not exist.
    #[must_use]
    #[track_caller]
    pub fn log_softmax(&self, axis: usize) -> Self {
        let shifted = self - self.max_along(axis);
        let y = &shifted - shifted.exp().sum_keep(&[axis]).ln();
        y.summarized(Operation::LogSoftmax { axis }, &[self])
    }

    /// `e^x_i / Σ_j e^x_j` along one axis.
    ///
    /// # Panics
    /// If the axis does not exist.
    #[must_use]
    #[track_caller]
    pub fn softmax(&self, axis: usize) -> Self {
        let e = (self - self.max_along(axis)).exp();
        (&e / e.sum_keep(&[axis])).summarized(Operation::Softmax { axis }, &[self])
    }

    /// Largest value along an axis, as a constant with size 1 there. Softmax does not change when a constant is
    /// subtracted, so the gradient is still exact.
    #[track_caller]
    fn max_along(&self, axis: usize) -> Self {
        assert!(
            axis < self.rank(),
            "softmax: no axis {axis} in shape {:?}",
            self.shape()
        );
        let max = self.view().map_axis(ndarray::Axis(axis), |lane| {
            lane.fold(T::neg_infinity(), |m, &v| if v > m { v } else { m })
        });
        Self::from_array(max.insert_axis(ndarray::Axis(axis)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extreme_inputs_stay_finite() {
        let x = Tensor::from_vec([5], vec![-1000.0_f32, -100.0, 0.0, 100.0, 1000.0]);
        assert_eq!(x.sigmoid().as_slice()[2], 0.5);
        assert!(x.sigmoid().is_finite() && x.softplus().is_finite());
        assert_eq!(x.softplus().as_slice()[4], 1000.0);
        assert_eq!(x.relu().as_slice(), [0.0, 0.0, 0.0, 100.0, 1000.0]);
        assert_eq!(x.softmax(0).as_slice(), [0.0, 0.0, 0.0, 0.0, 1.0]);
        assert_eq!(
            x.log_softmax(0).as_slice(),
            [-2000.0, -1100.0, -1000.0, -900.0, 0.0]
        );
    }

    #[test]
    fn leaky_relu_by_hand() {
        let x = Tensor::from_vec([3], vec![-2.0_f64, 0.0, 3.0]).as_leaf();
        let y = x.leaky_relu(0.3);
        assert_eq!(y.as_slice(), [-0.6, 0.0, 3.0]);
        let [dx] = crate::grad(&y.sum(), [&x]);
        assert_eq!(dx.as_slice(), [0.3, 0.3, 1.0]);
    }

    #[test]
    fn infinity_is_no_special_case() {
        let x = Tensor::from_vec([2], vec![f32::NEG_INFINITY, f32::INFINITY]);
        assert_eq!(x.relu().as_slice(), [0.0, f32::INFINITY]);
        assert_eq!(x.leaky_relu(0.2).as_slice(), x.as_slice());
    }

    #[test]
    fn not_a_number_passes_through() {
        let x = Tensor::scalar(f32::NAN);
        for y in [x.relu(), x.leaky_relu(0.2), x.tanh(), x.sigmoid(), x.softplus()] {
            assert!(y.item().is_nan());
        }
    }
}
