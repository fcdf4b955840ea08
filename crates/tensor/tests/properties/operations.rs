//! Every public operation as data: the operation, its settings and its input shapes.

use engraft_tensor::ndarray::{ArrayD, IxDyn};
use engraft_tensor::{
    Geometry, Padding1d, Real, Tensor, affine_leaky_relu, batch_norm, batch_norm_leaky_relu, bias_leaky_relu,
    concat, conv1d, conv2d, conv2d_grouped, conv2d_input, conv2d_weight, select_where, stack,
};
use rand::SeedableRng;
use rand_pcg::Pcg64;

/// An operation with its settings. One generic `apply` serves both `f64` and `f32`.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    Add,
    Sub,
    Mul,
    Div,
    AddNumber(f64),
    SubNumber(f64),
    MulNumber(f64),
    DivNumber(f64),
    Neg,
    Exp,
    Ln,
    Sqrt,
    Abs,
    Square,
    Powf(f64),
    LeakyRelu(f64),
    Relu,
    ClampMin(f64),
    Tanh,
    Sigmoid,
    Softplus,
    Softmax(usize),
    LogSoftmax(usize),
    Sum,
    Mean,
    SumKeep(Vec<usize>),
    MeanKeep(Vec<usize>),
    SumAxes(Vec<usize>),
    MeanAxes(Vec<usize>),
    SumTo(Vec<usize>),
    BroadcastTo(Vec<usize>),
    Reshape(Vec<usize>),
    Permute(Vec<usize>),
    Transpose,
    Narrow(usize, usize, usize),
    Pad(usize, usize, usize),
    Concat(usize),
    Matmul,
    MatmulNt,
    MatmulTn,
    Conv2d(Geometry),
    Conv2dInput(Geometry),
    Conv2dWeight(Geometry),
    BatchNorm(f64),
    BatchNormLeakyRelu(f64, f64),
    BiasLeakyRelu(f64),
    AffineLeakyRelu(f64),
    UpsampleNearest(usize),
    SumPool(usize),
    MaxPool(usize),
    Blur,
    Sin,
    Cos,
    Erf,
    Gelu,
    Silu,
    Clip(f64, f64),
    Maximum,
    Minimum,
    SelectWhere,
    MaxKeep(usize),
    MinKeep(usize),
    MaxPoolWindows(usize, usize, usize),
    VarKeep(Vec<usize>),
    NormKeep(Vec<usize>),
    IndexSelect(usize, Vec<usize>),
    IndexAdd(usize, Vec<usize>, usize),
    /// Axis, size of the other tensor's axis, and a seed of the indices.
    Gather(usize, usize, usize),
    ScatterAdd(usize, usize, usize),
    Flip(usize),
    Roll(usize, isize),
    PadReflect(usize, usize, usize),
    /// Parts of these sizes, joined in reverse order.
    Split(usize, Vec<usize>),
    Stack(usize),
    BatchMatmul,
    BatchMatmulNt,
    BatchMatmulTn,
    Conv2dGrouped(Geometry, usize),
    /// Stride, dilation, and zeros before and after.
    Conv1d(usize, usize, [usize; 2]),
    ResizeBilinear([usize; 2]),
    AdaptiveAvgPool([usize; 2]),
    AvgPoolWindows(usize, usize),
    AvgPoolInside(usize, usize, usize),
}

/// Any indices of a shape, below `size`.
fn indices(shape: &[usize], size: usize, seed: usize) -> ArrayD<usize> {
    let count: usize = shape.iter().product();
    let all = (0..count).map(|i| (i * (2 * seed + 1) + seed) % 7 % size);
    ArrayD::from_shape_vec(IxDyn(shape), all.collect()).expect("as many indices as the shape has places")
}

/// Where an operation is smooth enough for a central difference.
enum Domain {
    Everywhere,
    Positive,
    /// At least this far from a kink or pole: `(point, distance)`.
    Away(f64, f64),
}

impl Call {
    /// The operation on tensors of either precision.
    pub(crate) fn apply<T: Real>(&self, x: &[Tensor<T>]) -> Tensor<T> {
        let number = T::from_f64;
        match self {
            Self::Add => &x[0] + &x[1],
            Self::Sub => &x[0] - &x[1],
            Self::Mul => &x[0] * &x[1],
            Self::Div => &x[0] / &x[1],
            Self::AddNumber(c) => &x[0] + number(*c),
            Self::SubNumber(c) => &x[0] - number(*c),
            Self::MulNumber(c) => &x[0] * number(*c),
            Self::DivNumber(c) => &x[0] / number(*c),
            Self::Neg => -&x[0],
            Self::Exp => x[0].exp(),
            Self::Ln => x[0].ln(),
            Self::Sqrt => x[0].sqrt(),
            Self::Abs => x[0].abs(),
            Self::Square => x[0].square(),
            Self::Powf(p) => x[0].powf(*p),
            Self::LeakyRelu(slope) => x[0].leaky_relu(*slope),
            Self::Relu => x[0].relu(),
            Self::ClampMin(floor) => x[0].clamp_min(*floor),
            Self::Tanh => x[0].tanh(),
            Self::Sigmoid => x[0].sigmoid(),
            Self::Softplus => x[0].softplus(),
            Self::Softmax(axis) => x[0].softmax(*axis),
            Self::LogSoftmax(axis) => x[0].log_softmax(*axis),
            Self::Sum => x[0].sum(),
            Self::Mean => x[0].mean(),
            Self::SumKeep(axes) => x[0].sum_keep(axes),
            Self::MeanKeep(axes) => x[0].mean_keep(axes),
            Self::SumAxes(axes) => x[0].sum_axes(axes),
            Self::MeanAxes(axes) => x[0].mean_axes(axes),
            Self::SumTo(shape) => x[0].sum_to(shape),
            Self::BroadcastTo(shape) => x[0].broadcast_to(shape),
            Self::Reshape(shape) => x[0].reshape(shape),
            Self::Permute(order) => x[0].permute(order),
            Self::Transpose => x[0].transpose(),
            Self::Narrow(axis, start, length) => x[0].narrow(*axis, *start, *length),
            Self::Pad(axis, before, after) => x[0].pad(*axis, *before, *after),
            Self::Concat(axis) => concat(&x.iter().collect::<Vec<_>>(), *axis),
            Self::Matmul => x[0].matmul(&x[1]),
            Self::MatmulNt => x[0].matmul_nt(&x[1]),
            Self::MatmulTn => x[0].matmul_tn(&x[1]),
            Self::Conv2d(g) => conv2d(&x[0], &x[1], g),
            Self::Conv2dInput(g) => conv2d_input(&x[0], &x[1], g),
            Self::Conv2dWeight(g) => conv2d_weight(&x[0], &x[1], g),
            Self::BatchNorm(eps) => batch_norm(&x[0], &x[1], &x[2], *eps).0,
            Self::BatchNormLeakyRelu(eps, slope) => {
                batch_norm_leaky_relu(&x[0], &x[1], &x[2], *eps, *slope).0
            }
            Self::BiasLeakyRelu(slope) => bias_leaky_relu(&x[0], &x[1], *slope),
            Self::AffineLeakyRelu(slope) => affine_leaky_relu(&x[0], &x[1], &x[2], *slope),
            Self::UpsampleNearest(factor) => x[0].upsample_nearest(*factor),
            Self::SumPool(factor) => x[0].sum_pool(*factor),
            Self::MaxPool(factor) => x[0].max_pool(*factor),
            Self::Blur => x[0].blur(),
            Self::Sin => x[0].sin(),
            Self::Cos => x[0].cos(),
            Self::Erf => x[0].erf(),
            Self::Gelu => x[0].gelu(),
            Self::Silu => x[0].silu(),
            Self::Clip(low, high) => x[0].clip(*low, *high),
            Self::Maximum => x[0].maximum(&x[1]),
            Self::Minimum => x[0].minimum(&x[1]),
            Self::SelectWhere => select_where(&x[0].greater(&Tensor::scalar(T::zero())), &x[1], &x[2]),
            Self::MaxKeep(axis) => x[0].max_keep(*axis),
            Self::MinKeep(axis) => x[0].min_keep(*axis),
            Self::MaxPoolWindows(kernel, stride, padding) => {
                x[0].max_pool_windows(*kernel, *stride, *padding)
            }
            Self::VarKeep(axes) => x[0].var_keep(axes, 0),
            Self::NormKeep(axes) => x[0].norm_keep(axes),
            Self::IndexSelect(axis, chosen) => x[0].index_select(*axis, chosen),
            Self::IndexAdd(axis, chosen, size) => x[0].index_add(*axis, chosen, *size),
            Self::Gather(axis, size, seed) => {
                let mut shape = x[0].shape().to_vec();
                let from = std::mem::replace(&mut shape[*axis], *size);
                x[0].gather(*axis, &indices(&shape, from, *seed).view())
            }
            Self::ScatterAdd(axis, size, seed) => {
                let index = indices(x[0].shape(), *size, *seed);
                x[0].scatter_add(*axis, &index.view(), *size)
            }
            Self::Flip(axis) => x[0].flip(*axis),
            Self::Roll(axis, shift) => x[0].roll(*axis, *shift),
            Self::PadReflect(axis, before, after) => x[0].pad_reflect(*axis, *before, *after),
            Self::Split(axis, sizes) => {
                let parts = x[0].split(*axis, sizes);
                concat(&parts.iter().rev().collect::<Vec<_>>(), *axis)
            }
            Self::Stack(axis) => stack(&x.iter().collect::<Vec<_>>(), *axis),
            Self::BatchMatmul => x[0].batch_matmul(&x[1]),
            Self::BatchMatmulNt => x[0].batch_matmul_nt(&x[1]),
            Self::BatchMatmulTn => x[0].batch_matmul_tn(&x[1]),
            Self::Conv2dGrouped(g, groups) => conv2d_grouped(&x[0], &x[1], g, *groups),
            Self::Conv1d(stride, dilation, [before, after]) => conv1d(
                &x[0],
                &x[1],
                *stride,
                *dilation,
                Padding1d::Zeros(*before, *after),
            ),
            Self::ResizeBilinear(size) => x[0].resize_bilinear(*size),
            Self::AdaptiveAvgPool(size) => x[0].adaptive_avg_pool(*size),
            Self::AvgPoolWindows(kernel, stride) => x[0].avg_pool_windows(*kernel, *stride),
            Self::AvgPoolInside(kernel, stride, padding) => x[0].avg_pool_inside(*kernel, *stride, *padding),
        }
    }

    fn domain(&self, input: usize) -> Domain {
        match self {
            Self::Div if input == 1 => Domain::Away(0.0, 0.5),
            Self::Ln | Self::Sqrt => Domain::Positive,
            // Whole powers are smooth for both signs, but too steep near 0.
            Self::Powf(p) if p.fract() == 0.0 => Domain::Away(0.0, 0.4),
            Self::Powf(_) => Domain::Positive,
            Self::Abs | Self::Relu | Self::LeakyRelu(_) => Domain::Away(0.0, 0.1),
            Self::ClampMin(floor) => Domain::Away(*floor, 0.1),
            // The other limit is beyond all numbers of the test.
            Self::Clip(low, high) if low.abs() < high.abs() => Domain::Away(*low, 0.1),
            Self::Clip(_, high) => Domain::Away(*high, 0.1),
            Self::SelectWhere if input == 0 => Domain::Away(0.0, 0.1),
            Self::NormKeep(_) => Domain::Away(0.0, 0.4),
            // Their kink depends on all inputs together; see `away_from_the_kink`.
            Self::BiasLeakyRelu(_) if input == 1 => Domain::Away(0.0, 0.1),
            Self::BatchNormLeakyRelu(..) | Self::AffineLeakyRelu(_) if input == 1 => Domain::Away(0.0, 0.3),
            Self::BatchNormLeakyRelu(..) if input == 2 => Domain::Away(0.0, 0.1),
            _ => Domain::Everywhere,
        }
    }

    /// Moves the arguments of a fused leaky ReLU away from 0, and those of a maximum apart.
    fn away_from_the_kink(&self, x: &mut [Tensor<f64>]) {
        let away = |t: Tensor<f64>| Tensor::from_array(t.view().mapv(|v| 0.1_f64.copysign(v)));
        match self {
            Self::BiasLeakyRelu(_) => x[0] = &x[0] + away(&x[0] + &x[1]),
            Self::AffineLeakyRelu(_) => x[0] = &x[0] + away(&x[0] * &x[1] + &x[2]) / &x[1],
            Self::BatchNormLeakyRelu(eps, _) if x[0].len() > x[1].len() => {
                // Moving a row moves all: the shift goes to the middle of the widest gap of its channel.
                let y = batch_norm(&x[0], &x[1], &Tensor::zeros(x[2].shape()), *eps).0;
                let channels = x[2].len();
                let shift = (0..channels).map(|channel| {
                    let mut values: Vec<f64> = y
                        .as_slice()
                        .iter()
                        .skip(channel)
                        .step_by(channels)
                        .copied()
                        .collect();
                    values.sort_by(f64::total_cmp);
                    let widest = values
                        .windows(2)
                        .max_by(|a, b| (a[1] - a[0]).total_cmp(&(b[1] - b[0])));
                    widest.map_or(0.0, |gap| -0.5 * (gap[0] + gap[1]))
                });
                x[2] = Tensor::from_vec([channels], shift.collect());
            }
            Self::Maximum | Self::Minimum => x[0] = &x[0] + away(&x[0] - &x[1]),
            Self::MaxPool(_) | Self::MaxPoolWindows(..) | Self::MaxKeep(_) | Self::MinKeep(_) => {
                // Replaces each number by its rank, scaled to between -2 and 2. The steps are larger than any difference quotient.
                // Far from 0, derivatives (of a tanh, say) would be lost in the rounding of the values.
                let values = x[0].as_slice();
                let step = 4.0 / values.len().max(1) as f64;
                let mut order: Vec<usize> = (0..values.len()).collect();
                order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
                let mut ranks = vec![0.0; values.len()];
                for (rank, &i) in order.iter().enumerate() {
                    ranks[i] = step * (rank as f64 - 0.5 * values.len() as f64);
                }
                x[0] = Tensor::from_vec(x[0].shape(), ranks);
            }
            _ => (),
        }
    }
}

/// An operation and a point at which to test it.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) call: Call,
    pub(crate) shapes: Vec<Vec<usize>>,
    pub(crate) seed: u64,
}

impl Sample {
    pub(crate) fn new<const N: usize>(call: Call, shapes: [&[usize]; N]) -> Self {
        Self {
            call,
            shapes: shapes.iter().map(|s| s.to_vec()).collect(),
            seed: 1,
        }
    }

    /// Normal numbers, moved into the domain of the operation.
    pub(crate) fn inputs(&self) -> Vec<Tensor<f64>> {
        let rng = &mut Pcg64::seed_from_u64(self.seed);
        let shapes = self.shapes.iter().enumerate();
        let mut inputs: Vec<Tensor<f64>> = shapes
            .map(|(i, shape)| {
                let x = Tensor::<f64>::randn(shape, rng);
                let moved = match self.call.domain(i) {
                    Domain::Everywhere => return x,
                    Domain::Positive => x.view().mapv(|v| 0.4 + v.abs()),
                    Domain::Away(point, distance) => x.view().mapv(|v| point + v + distance.copysign(v)),
                };
                Tensor::from_array(moved)
            })
            .collect();
        self.call.away_from_the_kink(&mut inputs);
        inputs
    }

    pub(crate) fn apply<T: Real>(&self, x: &[Tensor<T>]) -> Tensor<T> {
        self.call.apply(x)
    }
}
