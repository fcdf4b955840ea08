//! The operators of a graph.

/// An operator. Axes count in the layout of the graph.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Operator {
    /// `a + b` with broadcasting.
    Add,
    /// `a - b` with broadcasting.
    Sub,
    /// `a · b` with broadcasting.
    Mul,
    /// `a / b` with broadcasting.
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
    Log,
    /// Square root.
    Sqrt,
    /// Absolute value.
    Abs,
    /// `x^exponent`.
    Pow {
        /// The exponent.
        exponent: f64,
    },
    /// Leaky ReLU; a ReLU if the slope is 0.
    LeakyRelu {
        /// The slope.
        slope: f64,
    },
    /// `max(x, low)`, and `min(.., high)` if there is a high.
    Clip {
        /// The smallest value.
        low: f64,
        /// The largest value.
        high: Option<f64>,
    },
    /// Hyperbolic tangent.
    Tanh,
    /// Logistic function.
    Sigmoid,
    /// `ln(1 + e^x)`.
    Softplus,
    /// `x · weightᵀ + bias`: operands x, weight `[outputs, inputs]` and perhaps a bias.
    Linear,
    /// Product of two matrices, or of the matrices in the last two axes, with broadcasting of the others.
    MatMul,
    /// Convolution: operands x, weight and perhaps a bias.
    Conv {
        /// Rows and columns between outputs.
        stride: [usize; 2],
        /// Rows and columns between kernel taps.
        dilation: [usize; 2],
        /// Zeros above, left, below, right.
        pads: [usize; 4],
        /// Groups of channels that are convolved apart.
        groups: usize,
    },
    /// Transposed convolution: operands x, weight and perhaps a bias.
    ConvTranspose {
        /// Rows and columns between inputs, in the result.
        stride: [usize; 2],
        /// Rows and columns between kernel taps.
        dilation: [usize; 2],
        /// Rows and columns that are cut away above, left, below, right.
        pads: [usize; 4],
        /// Rows and columns of zeros that are added below and right.
        output_padding: [usize; 2],
    },
    /// Sum over axes, which stay with size 1.
    Sum {
        /// The axes.
        axes: Vec<usize>,
    },
    /// The same elements in the shape of the node.
    Reshape,
    /// Axis `i` of the result is axis `order[i]`.
    Transpose {
        /// The axes of the operand.
        order: Vec<usize>,
    },
    /// Repetition to the shape of the node.
    Expand,
    /// Indices `start .. end` of an axis.
    Slice {
        /// The axis.
        axis: usize,
        /// The first index.
        start: usize,
        /// The index after the last.
        end: usize,
    },
    /// Zeros around an axis.
    Pad {
        /// The axis.
        axis: usize,
        /// Zeros before.
        before: usize,
        /// Zeros after.
        after: usize,
    },
    /// The operands one after the other.
    Concat {
        /// The axis.
        axis: usize,
    },
    /// Nearest-neighbor upsampling of images.
    Upsample {
        /// The factor.
        factor: usize,
    },
    /// Mean over windows of pixels.
    AveragePool(Window),
    /// Largest value of windows of pixels.
    MaxPool(Window),
    /// Bilinear resizing of images to the size of the node, with pixels as squares.
    ResizeBilinear,
    /// Sine.
    Sin,
    /// Cosine.
    Cos,
    /// Error function.
    Erf,
    /// `e^x_i / Σ_j e^x_j` along an axis.
    Softmax {
        /// The axis.
        axis: usize,
    },
    /// Logarithm of the softmax.
    LogSoftmax {
        /// The axis.
        axis: usize,
    },
    /// 1 where `a > b`, 0 elsewhere, with broadcasting.
    Greater,
    /// 1 where `a < b`, 0 elsewhere, with broadcasting.
    Less,
    /// 1 where `a = b`, 0 elsewhere, with broadcasting.
    Equal,
    /// Operands condition, a, b: `a` where the condition is not 0, `b` elsewhere, with broadcasting.
    Where,
    /// The larger of two elements, with broadcasting.
    Maximum,
    /// The smaller of two elements, with broadcasting.
    Minimum,
    /// The largest element along an axis, which stays with size 1.
    ReduceMax {
        /// The axis.
        axis: usize,
    },
    /// The smallest element along an axis, which stays with size 1.
    ReduceMin {
        /// The axis.
        axis: usize,
    },
    /// Some indices of an axis, in their order.
    Select {
        /// The axis.
        axis: usize,
        /// The indices.
        indices: Vec<usize>,
    },
    /// Rows of a table by label: operands table and labels.
    Embedding,
    /// One-hot rows of labels.
    OneHot {
        /// Their length.
        classes: usize,
    },
}

/// The windows of a pooling. The padding belongs to no window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Rows and columns of a window.
    pub kernel: [usize; 2],
    /// Rows and columns between windows.
    pub stride: [usize; 2],
    /// Rows above and below, and columns to the left and right, around the image.
    pub padding: [usize; 2],
}

impl Window {
    /// Blocks of pixels that cover the image.
    pub fn blocks(size: [usize; 2]) -> Self {
        Self {
            kernel: size,
            stride: size,
            padding: [0, 0],
        }
    }
}
