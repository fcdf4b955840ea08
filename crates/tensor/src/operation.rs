//! What a recorded operation computes, as data.

use crate::geometry::Geometry;

/// What an operation computes, with the numbers that its inputs do not tell. [`trace`](crate::trace) lists the operations
/// behind a tensor, so that other programs can run them.
///
/// Names and conventions are those of the functions of this crate. Images are `[n, h, w, c]`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Operation {
    /// `a + b`, with broadcasting.
    Add,
    /// `a - b`, with broadcasting.
    Sub,
    /// `a · b`, with broadcasting.
    Mul,
    /// `a / b`, with broadcasting.
    Div,
    /// `scale · x + shift`.
    Affine {
        /// The factor.
        scale: f64,
        /// The summand.
        shift: f64,
    },
    /// `e^x`.
    Exp,
    /// Natural logarithm.
    Ln,
    /// Square root.
    Sqrt,
    /// Absolute value.
    Abs,
    /// `x^exponent`.
    Powf {
        /// The exponent.
        exponent: f64,
    },
    /// `x` where positive, `slope · x` elsewhere.
    LeakyRelu {
        /// The slope.
        slope: f64,
    },
    /// `max(x, floor)`.
    ClampMin {
        /// The floor.
        floor: f64,
    },
    /// Hyperbolic tangent.
    Tanh,
    /// `1 / (1 + e^-x)`.
    Sigmoid,
    /// `ln(1 + e^x)`.
    Softplus,
    /// `x` itself. Its derivative may differ from 1.
    Identity,
    /// Product of two matrices, each of them transposed first if its flag is set.
    MatMul {
        /// Whether `a` and `b` are transposed.
        transposed: [bool; 2],
    },
    /// [`conv2d`](crate::conv2d) of an image and a weight.
    Conv2d(Geometry),
    /// [`conv2d_input`](crate::conv2d_input) of a small image and a weight: the transposed convolution.
    Conv2dInput(Geometry),
    /// [`bias_leaky_relu`](crate::bias_leaky_relu) of `x` and a bias.
    BiasLeakyRelu {
        /// The slope; 1 for the identity.
        slope: f64,
    },
    /// [`affine_leaky_relu`](crate::affine_leaky_relu) of `x`, a scale and a shift.
    AffineLeakyRelu {
        /// The slope; 1 for the identity.
        slope: f64,
    },
    /// Sum over the axes that broadcasting repeats, to the shape of the result.
    SumTo,
    /// Repetition to the shape of the result.
    BroadcastTo,
    /// The same elements in the shape of the result.
    Reshape,
    /// Axis `i` of the result is axis `order[i]` of `x`.
    Permute {
        /// The axes of `x`.
        order: Vec<usize>,
    },
    /// A range of indices along an axis, as long as that of the result.
    Narrow {
        /// The axis.
        axis: usize,
        /// The first index.
        start: usize,
    },
    /// Zeros before and after along an axis, up to the length of the result.
    Pad {
        /// The axis.
        axis: usize,
        /// Zeros before the first entry.
        before: usize,
    },
    /// The inputs one after the other along an axis.
    Concat {
        /// The axis.
        axis: usize,
    },
    /// Repeats every pixel as a block of `factor · factor` pixels.
    UpsampleNearest {
        /// Side of a block.
        factor: usize,
    },
    /// Sums every block of `factor · factor` pixels.
    SumPool {
        /// Side of a block.
        factor: usize,
    },
    /// The largest value of every block of `factor · factor` pixels.
    MaxPool {
        /// Side of a block.
        factor: usize,
    },
    /// The binomial 3x3 filter [`Tensor::blur`](crate::Tensor::blur).
    Blur,
}
