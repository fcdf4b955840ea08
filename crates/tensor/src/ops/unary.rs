//! Elementwise functions of one tensor.

use crate::kernels::elementwise::map;
use crate::op::Op;
use crate::operation::Operation;
use crate::real::Real;
use crate::tensor::Tensor;
use ndarray::{ArrayD, IxDyn};

struct Exp;
struct Ln;
struct Sqrt;
struct Abs;
struct Sin;
struct Cos;
struct Erf;
struct Powf {
    exponent: f64,
}

impl<T: Real> Op<T> for Exp {
    fn name(&self) -> &'static str {
        "exp"
    }
    fn operation(&self) -> Option<Operation> {
        Some(Operation::Exp)
    }
    fn vjp(&self, _: usize, _: &[Tensor<T>], y: &Tensor<T>, dy: &Tensor<T>) -> Tensor<T> {
        dy * y
    }
}

impl<T: Real> Op<T> for Ln {
    fn name(&self) -> &'static str {
        "ln"
    }
    fn operation(&self) -> Option<Operation> {
        Some(Operation::Ln)
    }
    fn vjp(&self, _: usize, inputs: &[Tensor<T>], _: &Tensor<T>, dy: &Tensor<T>) -> Tensor<T> {
        dy / &inputs[0]
    }
}

impl<T: Real> Op<T> for Sqrt {
    fn name(&self) -> &'static str {
        "sqrt"
    }
    fn operation(&self) -> Option<Operation> {
        Some(Operation::Sqrt)
    }
    fn vjp(&self, _: usize, _: &[Tensor<T>], y: &Tensor<T>, dy: &Tensor<T>) -> Tensor<T> {
        dy / y * T::from_f64(0.5)
    }
}

impl<T: Real> Op<T> for Abs {
    fn name(&self) -> &'static str {
        "abs"
    }
    fn operation(&self) -> Option<Operation> {
        Some(Operation::Abs)
    }
    fn vjp(&self, _: usize, inputs: &[Tensor<T>], _: &Tensor<T>, dy: &Tensor<T>) -> Tensor<T> {
        let sign = |v: T| if v == T::zero() { v } else { v.signum() };
        dy * Tensor::from_array(inputs[0].with_shape(map(inputs[0].as_slice(), sign)))
    }
}

impl<T: Real> Op<T> for Sin {
    fn name(&self) -> &'static str {
        "sin"
    }
    fn operation(&self) -> Option<Operation> {
        Some(Operation::Sin)
    }
    fn vjp(&self, _: usize, inputs: &[Tensor<T>], _: &Tensor<T>, dy: &Tensor<T>) -> Tensor<T> {
        dy * inputs[0].cos()
    }
}

impl<T: Real> Op<T> for Cos {
    fn name(&self) -> &'static str {
        "cos"
    }
    fn operation(&self) -> Option<Operation> {
        Some(Operation::Cos)
    }
    fn vjp(&self, _: usize, inputs: &[Tensor<T>], _: &Tensor<T>, dy: &Tensor<T>) -> Tensor<T> {
        -(dy * inputs[0].sin())
    }
}

impl<T: Real> Op<T> for Erf {
    fn name(&self) -> &'static str {
        "erf"
    }
    fn operation(&self) -> Option<Operation> {
        Some(Operation::Erf)
    }
    fn vjp(&self, _: usize, inputs: &[Tensor<T>], _: &Tensor<T>, dy: &Tensor<T>) -> Tensor<T> {
        dy * (-inputs[0].square()).exp() * T::FRAC_2_SQRT_PI()
    }
}

impl<T: Real> Op<T> for Powf {
    fn name(&self) -> &'static str {
        "powf"
    }
    fn operation(&self) -> Option<Operation> {
        Some(Operation::Powf {
            exponent: self.exponent,
        })
    }
    fn vjp(&self, _: usize, inputs: &[Tensor<T>], _: &Tensor<T>, dy: &Tensor<T>) -> Tensor<T> {
        if self.exponent == 0.0 {
            // Written out, `0 · x^-1` would be NaN at 0.
            return dy * T::zero();
        }
        dy * (inputs[0].powf(self.exponent - 1.0) * T::from_f64(self.exponent))
    }
}

impl<T: Real> Tensor<T> {
    /// An array of this tensor's shape from elements in row-major order.
    pub(crate) fn with_shape(&self, elements: Vec<T>) -> ArrayD<T> {
        ArrayD::from_shape_vec(IxDyn(self.shape()), elements)
            .expect("the element count equals that of the tensor")
    }

    /// `e^x`, elementwise.
    #[must_use]
    pub fn exp(&self) -> Self {
        Self::from_op(self.with_shape(map(self.as_slice(), T::exp)), Exp, &[self])
    }

    /// Natural logarithm, elementwise.
    #[must_use]
    pub fn ln(&self) -> Self {
        Self::from_op(self.with_shape(map(self.as_slice(), T::ln)), Ln, &[self])
    }

    /// Square root, elementwise. The gradient at 0 is infinite.
    #[must_use]
    pub fn sqrt(&self) -> Self {
        Self::from_op(self.with_shape(map(self.as_slice(), T::sqrt)), Sqrt, &[self])
    }

    /// Absolute value, elementwise. The gradient at 0 is 0.
    #[must_use]
    pub fn abs(&self) -> Self {
        Self::from_op(self.with_shape(map(self.as_slice(), T::abs)), Abs, &[self])
    }

    /// Sine, elementwise.
    #[must_use]
    pub fn sin(&self) -> Self {
        Self::from_op(self.with_shape(map(self.as_slice(), T::sin)), Sin, &[self])
    }

    /// Cosine, elementwise.
    #[must_use]
    pub fn cos(&self) -> Self {
        Self::from_op(self.with_shape(map(self.as_slice(), T::cos)), Cos, &[self])
    }

    /// The error function `2/√π ∫₀ˣ exp(-t²) dt`, elementwise.
    #[must_use]
    pub fn erf(&self) -> Self {
        Self::from_op(self.with_shape(map(self.as_slice(), Real::erf)), Erf, &[self])
    }

    /// `x²`, elementwise.
    #[must_use]
    pub fn square(&self) -> Self {
        self * self
    }

    /// `x^p` for a fixed real exponent, elementwise.
    #[must_use]
    pub fn powf(&self, p: f64) -> Self {
        let exponent = T::from_f64(p);
        let y = if p == 0.0 {
            map(self.as_slice(), |_| T::one())
        } else if p == 1.0 {
            self.as_slice().to_vec()
        } else {
            map(self.as_slice(), |v| v.powf(exponent))
        };
        Self::from_op(self.with_shape(y), Powf { exponent: p }, &[self])
    }
}
