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
    /// [`Tensor::max_pool_windows`](crate::Tensor::max_pool_windows).
    MaxPoolWindows {
        /// Side of a window.
        kernel: usize,
        /// Pixels between windows.
        stride: usize,
        /// Pixels around the image, which are never chosen.
        padding: usize,
    },
    /// [`Tensor::avg_pool_windows`](crate::Tensor::avg_pool_windows), [`Tensor::avg_pool_inside`](crate::Tensor::avg_pool_inside).
    AvgPoolWindows {
        /// Side of a window.
        kernel: usize,
        /// Pixels between windows.
        stride: usize,
        /// Pixels around the image, which are not part of a mean.
        padding: usize,
    },
    /// [`Tensor::adaptive_avg_pool`](crate::Tensor::adaptive_avg_pool) to the size of the result.
    AdaptiveAvgPool,
    /// [`Tensor::resize_bilinear`](crate::Tensor::resize_bilinear) to the size of the result.
    ResizeBilinear,
    /// [`conv2d_grouped`](crate::conv2d_grouped) of an image and a weight.
    Conv2dGrouped {
        /// Sizes, strides and padding.
        geometry: Geometry,
        /// Groups of channels.
        groups: usize,
    },
    /// Product of each two matrices of two batches, each of them transposed first if its flag is set.
    BatchMatMul {
        /// Whether the matrices of `a` and `b` are transposed.
        transposed: [bool; 2],
    },
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
    Equals,
    /// [`select_where`](crate::select_where) of a condition and two tensors, with broadcasting.
    SelectWhere,
    /// The larger of two elements, with broadcasting.
    Maximum,
    /// The smaller of two elements, with broadcasting.
    Minimum,
    /// Elements limited to a range.
    Clip {
        /// The smallest value.
        low: f64,
        /// The largest value.
        high: f64,
    },
    /// The largest element along an axis, which is kept with size 1.
    MaxKeep {
        /// The axis.
        axis: usize,
    },
    /// The smallest element along an axis, which is kept with size 1.
    MinKeep {
        /// The axis.
        axis: usize,
    },
    /// Some indices of an axis, in their order.
    IndexSelect {
        /// The axis.
        axis: usize,
        /// The indices.
        indices: Vec<usize>,
    },
    /// Zeros in the shape of the result, to which entry `i` along an axis is added at `indices[i]`.
    IndexAdd {
        /// The axis.
        axis: usize,
        /// The indices.
        indices: Vec<usize>,
    },
    /// For each element of the result, the element whose index along an axis is given.
    Gather {
        /// The axis.
        axis: usize,
        /// The indices, in the row-major order of the result.
        index: Vec<usize>,
    },
    /// Zeros in the shape of the result, to which each element is added at the index along an axis that is given for it.
    ScatterAdd {
        /// The axis.
        axis: usize,
        /// The indices, in the row-major order of the operand.
        index: Vec<usize>,
    },
    /// The binomial 3x3 filter [`Tensor::blur`](crate::Tensor::blur).
    Blur,
}

/// The numbers of a geometry, in a fixed order.
fn sizes(g: &Geometry) -> Vec<usize> {
    [g.input, g.output, g.kernel, g.stride, g.dilation, g.pad].concat()
}

/// The geometry of these numbers, if there are as many as it has.
fn geometry(sizes: &[usize]) -> Option<Geometry> {
    let &[i0, i1, o0, o1, k0, k1, s0, s1, d0, d1, p0, p1] = sizes else {
        return None;
    };
    Some(Geometry {
        input: [i0, i1],
        output: [o0, o1],
        kernel: [k0, k1],
        stride: [s0, s1],
        dilation: [d0, d1],
        pad: [p0, p1],
    })
}

/// An axis and the indices along it.
fn after(axis: usize, indices: &[usize]) -> Vec<usize> {
    [&[axis], indices].concat()
}

impl Operation {
    /// Its name, sizes and numbers, for a file.
    ///
    /// ```
    /// use engraft_tensor::Operation;
    /// let narrow = Operation::Narrow { axis: 1, start: 2 };
    /// assert_eq!(narrow.parts(), ("narrow", vec![1, 2], vec![]));
    /// assert_eq!(Operation::from_parts("narrow", &[1, 2], &[]), Some(narrow));
    /// assert_eq!(Operation::from_parts("narrow", &[1], &[]), None);
    /// ```
    pub fn parts(&self) -> (&'static str, Vec<usize>, Vec<f64>) {
        let plain = |name| (name, Vec::new(), Vec::new());
        let sized = |name, sizes: &[usize]| (name, sizes.to_vec(), Vec::new());
        let number = |name, number: f64| (name, Vec::new(), vec![number]);
        match self {
            Self::Add => plain("add"),
            Self::Sub => plain("sub"),
            Self::Mul => plain("mul"),
            Self::Div => plain("div"),
            Self::Affine { scale, shift } => ("affine", Vec::new(), vec![*scale, *shift]),
            Self::Exp => plain("exp"),
            Self::Ln => plain("ln"),
            Self::Sqrt => plain("sqrt"),
            Self::Abs => plain("abs"),
            Self::Powf { exponent } => number("powf", *exponent),
            Self::LeakyRelu { slope } => number("leaky_relu", *slope),
            Self::ClampMin { floor } => number("clamp_min", *floor),
            Self::Tanh => plain("tanh"),
            Self::Sigmoid => plain("sigmoid"),
            Self::Softplus => plain("softplus"),
            Self::Identity => plain("identity"),
            Self::MatMul { transposed } => sized("matmul", &transposed.map(usize::from)),
            Self::Conv2d(g) => sized("conv2d", &sizes(g)),
            Self::Conv2dInput(g) => sized("conv2d_input", &sizes(g)),
            Self::BiasLeakyRelu { slope } => number("bias_leaky_relu", *slope),
            Self::AffineLeakyRelu { slope } => number("affine_leaky_relu", *slope),
            Self::SumTo => plain("sum_to"),
            Self::BroadcastTo => plain("broadcast_to"),
            Self::Reshape => plain("reshape"),
            Self::Permute { order } => sized("permute", order),
            Self::Narrow { axis, start } => sized("narrow", &[*axis, *start]),
            Self::Pad { axis, before } => sized("pad", &[*axis, *before]),
            Self::Concat { axis } => sized("concat", &[*axis]),
            Self::UpsampleNearest { factor } => sized("upsample_nearest", &[*factor]),
            Self::SumPool { factor } => sized("sum_pool", &[*factor]),
            Self::MaxPool { factor } => sized("max_pool", &[*factor]),
            Self::Blur => plain("blur"),
            Self::MaxPoolWindows {
                kernel,
                stride,
                padding,
            } => sized("max_pool_windows", &[*kernel, *stride, *padding]),
            Self::AvgPoolWindows {
                kernel,
                stride,
                padding,
            } => sized("avg_pool_windows", &[*kernel, *stride, *padding]),
            Self::AdaptiveAvgPool => plain("adaptive_avg_pool"),
            Self::ResizeBilinear => plain("resize_bilinear"),
            Self::Conv2dGrouped { geometry, groups } => {
                sized("conv2d_grouped", &[&sizes(geometry)[..], &[*groups]].concat())
            }
            Self::BatchMatMul { transposed } => sized("batch_matmul", &transposed.map(usize::from)),
            Self::Sin => plain("sin"),
            Self::Cos => plain("cos"),
            Self::Erf => plain("erf"),
            Self::Softmax { axis } => sized("softmax", &[*axis]),
            Self::LogSoftmax { axis } => sized("log_softmax", &[*axis]),
            Self::Greater => plain("greater"),
            Self::Less => plain("less"),
            Self::Equals => plain("equals"),
            Self::SelectWhere => plain("select_where"),
            Self::Maximum => plain("maximum"),
            Self::Minimum => plain("minimum"),
            Self::Clip { low, high } => ("clip", Vec::new(), vec![*low, *high]),
            Self::MaxKeep { axis } => sized("max_keep", &[*axis]),
            Self::MinKeep { axis } => sized("min_keep", &[*axis]),
            Self::IndexSelect { axis, indices } => ("index_select", after(*axis, indices), Vec::new()),
            Self::IndexAdd { axis, indices } => ("index_add", after(*axis, indices), Vec::new()),
            Self::Gather { axis, index } => ("gather", after(*axis, index), Vec::new()),
            Self::ScatterAdd { axis, index } => ("scatter_add", after(*axis, index), Vec::new()),
        }
    }

    /// The operation with these [`parts`](Operation::parts), if there is one.
    pub fn from_parts(name: &str, sizes: &[usize], numbers: &[f64]) -> Option<Self> {
        Some(match (name, sizes, numbers) {
            ("add", [], []) => Self::Add,
            ("sub", [], []) => Self::Sub,
            ("mul", [], []) => Self::Mul,
            ("div", [], []) => Self::Div,
            ("affine", [], &[scale, shift]) => Self::Affine { scale, shift },
            ("exp", [], []) => Self::Exp,
            ("ln", [], []) => Self::Ln,
            ("sqrt", [], []) => Self::Sqrt,
            ("abs", [], []) => Self::Abs,
            ("powf", [], &[exponent]) => Self::Powf { exponent },
            ("leaky_relu", [], &[slope]) => Self::LeakyRelu { slope },
            ("clamp_min", [], &[floor]) => Self::ClampMin { floor },
            ("tanh", [], []) => Self::Tanh,
            ("sigmoid", [], []) => Self::Sigmoid,
            ("softplus", [], []) => Self::Softplus,
            ("identity", [], []) => Self::Identity,
            ("matmul", &[a, b], []) => Self::MatMul {
                transposed: [a != 0, b != 0],
            },
            ("conv2d", sizes, []) => Self::Conv2d(geometry(sizes)?),
            ("conv2d_input", sizes, []) => Self::Conv2dInput(geometry(sizes)?),
            ("bias_leaky_relu", [], &[slope]) => Self::BiasLeakyRelu { slope },
            ("affine_leaky_relu", [], &[slope]) => Self::AffineLeakyRelu { slope },
            ("sum_to", [], []) => Self::SumTo,
            ("broadcast_to", [], []) => Self::BroadcastTo,
            ("reshape", [], []) => Self::Reshape,
            ("permute", order, []) => Self::Permute {
                order: order.to_vec(),
            },
            ("narrow", &[axis, start], []) => Self::Narrow { axis, start },
            ("pad", &[axis, before], []) => Self::Pad { axis, before },
            ("concat", &[axis], []) => Self::Concat { axis },
            ("upsample_nearest", &[factor], []) => Self::UpsampleNearest { factor },
            ("sum_pool", &[factor], []) => Self::SumPool { factor },
            ("max_pool", &[factor], []) => Self::MaxPool { factor },
            ("blur", [], []) => Self::Blur,
            ("max_pool_windows", &[kernel, stride, padding], []) => Self::MaxPoolWindows {
                kernel,
                stride,
                padding,
            },
            ("avg_pool_windows", &[kernel, stride, padding], []) => Self::AvgPoolWindows {
                kernel,
                stride,
                padding,
            },
            ("adaptive_avg_pool", [], []) => Self::AdaptiveAvgPool,
            ("resize_bilinear", [], []) => Self::ResizeBilinear,
            ("conv2d_grouped", [sizes @ .., groups], []) => Self::Conv2dGrouped {
                geometry: geometry(sizes)?,
                groups: *groups,
            },
            ("batch_matmul", &[a, b], []) => Self::BatchMatMul {
                transposed: [a != 0, b != 0],
            },
            ("sin", [], []) => Self::Sin,
            ("cos", [], []) => Self::Cos,
            ("erf", [], []) => Self::Erf,
            ("softmax", &[axis], []) => Self::Softmax { axis },
            ("log_softmax", &[axis], []) => Self::LogSoftmax { axis },
            ("greater", [], []) => Self::Greater,
            ("less", [], []) => Self::Less,
            ("equals", [], []) => Self::Equals,
            ("select_where", [], []) => Self::SelectWhere,
            ("maximum", [], []) => Self::Maximum,
            ("minimum", [], []) => Self::Minimum,
            ("clip", [], &[low, high]) => Self::Clip { low, high },
            ("max_keep", &[axis], []) => Self::MaxKeep { axis },
            ("min_keep", &[axis], []) => Self::MinKeep { axis },
            ("index_select", [axis, indices @ ..], []) => Self::IndexSelect {
                axis: *axis,
                indices: indices.to_vec(),
            },
            ("index_add", [axis, indices @ ..], []) => Self::IndexAdd {
                axis: *axis,
                indices: indices.to_vec(),
            },
            ("gather", [axis, index @ ..], []) => Self::Gather {
                axis: *axis,
                index: index.to_vec(),
            },
            ("scatter_add", [axis, index @ ..], []) => Self::ScatterAdd {
                axis: *axis,
                index: index.to_vec(),
            },
            _ => return None,
        })
    }

    /// Number of operands; `None` for any number of at least one.
    pub fn operand_count(&self) -> Option<usize> {
        match self {
            Self::Add
            | Self::Sub
            | Self::Mul
            | Self::Div
            | Self::MatMul { .. }
            | Self::Conv2d(_)
            | Self::Conv2dInput(_)
            | Self::Conv2dGrouped { .. }
            | Self::BatchMatMul { .. }
            | Self::Greater
            | Self::Less
            | Self::Equals
            | Self::Maximum
            | Self::Minimum
            | Self::BiasLeakyRelu { .. } => Some(2),
            Self::AffineLeakyRelu { .. } | Self::SelectWhere => Some(3),
            Self::Concat { .. } => None,
            _ => Some(1),
        }
    }
}
