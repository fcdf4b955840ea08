//! The registry: for every public operation a strategy of settings and shapes.

use crate::operations::{Call, Sample};
use engraft_tensor::{Geometry, Padding};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use std::ops::RangeInclusive;

/// One operation of the registry.
pub(crate) struct Entry {
    /// Name of the public function, or of the method behind an operator.
    pub(crate) name: &'static str,
    pub(crate) samples: BoxedStrategy<Sample>,
}

type Shape = Vec<usize>;

/// Every public operation.
pub(crate) fn registry() -> Vec<Entry> {
    [
        elementwise(),
        reductions(),
        movements(),
        choices(),
        products(),
        maps(),
        more_maps(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn entry(name: &'static str, points: impl Strategy<Value = (Call, Vec<Shape>)> + 'static) -> Entry {
    let samples = (points, any::<u64>()).prop_map(|((call, shapes), seed)| Sample { call, shapes, seed });
    Entry {
        name,
        samples: samples.boxed(),
    }
}

fn shape(rank: RangeInclusive<usize>) -> impl Strategy<Value = Shape> {
    vec(1_usize..=4, rank)
}

/// A shape and one of its axes.
fn with_axis() -> impl Strategy<Value = (Shape, usize)> {
    shape(1..=4).prop_flat_map(|s| {
        let rank = s.len();
        (Just(s), 0..rank)
    })
}

/// A shape and any set of its axes.
fn with_axes() -> impl Strategy<Value = (Shape, Vec<usize>)> {
    (shape(0..=4), any::<[bool; 4]>()).prop_map(|(s, chosen)| {
        let axes = (0..s.len()).filter(|&i| chosen[i]).collect();
        (s, axes)
    })
}

/// A shape that broadcasts to `shape`: some axes of size 1, some leading axes missing.
fn shrunk(shape: &[usize], ones: [bool; 4], missing: usize) -> Shape {
    (missing.min(shape.len())..shape.len())
        .map(|i| if ones[i] { 1 } else { shape[i] })
        .collect()
}

/// A shape and one that broadcasts to it.
fn with_shrunk() -> impl Strategy<Value = (Shape, Shape)> {
    (shape(0..=4), any::<[bool; 4]>(), 0_usize..=2).prop_map(|(s, ones, missing)| {
        let small = shrunk(&s, ones, missing);
        (s, small)
    })
}

/// Two shapes that broadcast to a common one, with ones and missing axes in every position.
fn broadcasting_pair() -> impl Strategy<Value = Vec<Shape>> {
    let operand = || (any::<[bool; 4]>(), 0_usize..=2);
    (shape(0..=4), operand(), operand())
        .prop_map(|(s, a, b)| vec![shrunk(&s, a.0, a.1), shrunk(&s, b.0, b.1)])
}

fn elementwise() -> Vec<Entry> {
    let pairs = |name, call: Call| entry(name, broadcasting_pair().prop_map(move |s| (call.clone(), s)));
    let plain = |name, call: Call| entry(name, shape(0..=3).prop_map(move |s| (call.clone(), vec![s])));
    let with = |name, numbers: Vec<f64>, call: fn(f64) -> Call| {
        entry(
            name,
            (select(numbers), shape(0..=3)).prop_map(move |(c, s)| (call(c), vec![s])),
        )
    };
    let numbers = || vec![-1.5, 1.0, 0.25, 3.0];
    vec![
        pairs("add", Call::Add),
        pairs("sub", Call::Sub),
        pairs("mul", Call::Mul),
        pairs("div", Call::Div),
        with("add_number", numbers(), Call::AddNumber),
        with("sub_number", numbers(), Call::SubNumber),
        with("mul_number", vec![-1.5, 0.0, 1.0, 3.0], Call::MulNumber),
        with("div_number", numbers(), Call::DivNumber),
        plain("neg", Call::Neg),
        plain("exp", Call::Exp),
        plain("ln", Call::Ln),
        plain("sqrt", Call::Sqrt),
        plain("abs", Call::Abs),
        plain("square", Call::Square),
        with(
            "powf",
            vec![-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.7, 2.0, 3.0],
            Call::Powf,
        ),
        with("leaky_relu", vec![0.0, 0.2, 0.3, 1.0], Call::LeakyRelu),
        plain("relu", Call::Relu),
        with("clamp_min", vec![-0.5, 0.0, 1.0], Call::ClampMin),
        plain("tanh", Call::Tanh),
        plain("sigmoid", Call::Sigmoid),
        plain("softplus", Call::Softplus),
        plain("sin", Call::Sin),
        plain("cos", Call::Cos),
        plain("erf", Call::Erf),
        plain("gelu", Call::Gelu),
        plain("silu", Call::Silu),
        with("clip", vec![-0.5, 0.0, 1.0], |limit| match limit > 0.0 {
            true => Call::Clip(-50.0, limit),
            false => Call::Clip(limit, 50.0),
        }),
    ]
}

fn reductions() -> Vec<Entry> {
    let along = |name, call: fn(usize) -> Call| {
        entry(name, with_axis().prop_map(move |(s, axis)| (call(axis), vec![s])))
    };
    let over = |name, call: fn(Vec<usize>) -> Call| {
        entry(name, with_axes().prop_map(move |(s, axes)| (call(axes), vec![s])))
    };
    vec![
        along("softmax", Call::Softmax),
        along("log_softmax", Call::LogSoftmax),
        entry("sum", shape(0..=4).prop_map(|s| (Call::Sum, vec![s]))),
        entry("mean", shape(0..=4).prop_map(|s| (Call::Mean, vec![s]))),
        over("sum_keep", Call::SumKeep),
        over("mean_keep", Call::MeanKeep),
        over("sum_axes", Call::SumAxes),
        over("mean_axes", Call::MeanAxes),
        over("var_keep", Call::VarKeep),
        over("norm_keep", Call::NormKeep),
        along("max_keep", Call::MaxKeep),
        along("min_keep", Call::MinKeep),
        entry(
            "sum_to",
            with_shrunk().prop_map(|(large, small)| (Call::SumTo(small), vec![large])),
        ),
        entry(
            "broadcast_to",
            with_shrunk().prop_map(|(large, small)| (Call::BroadcastTo(large), vec![small])),
        ),
    ]
}

fn movements() -> Vec<Entry> {
    let shuffled = |s: Shape| (Just(s.clone()), Just(s).prop_shuffle());
    let reshapes = shape(0..=4).prop_flat_map(shuffled).prop_map(|(s, mut other)| {
        // Either the same sizes in another order, or the first two axes joined and a new axis of size 1.
        if other.len() > 1 && other[0] % 2 == 0 {
            let second = other.remove(1);
            other[0] *= second;
        }
        other.push(1);
        (Call::Reshape(other), vec![s])
    });
    let permutes = shape(0..=4).prop_flat_map(|s| {
        let order: Vec<usize> = (0..s.len()).collect();
        Just(order)
            .prop_shuffle()
            .prop_map(move |order| (Call::Permute(order), vec![s.clone()]))
    });
    let narrows = (with_axis(), 0_usize..=4, 0_usize..=4).prop_map(|((s, axis), a, b)| {
        let (a, b) = (a.min(s[axis]), b.min(s[axis]));
        (Call::Narrow(axis, a.min(b), a.abs_diff(b)), vec![s])
    });
    let pads = (with_axis(), 0_usize..=2, 0_usize..=2)
        .prop_map(|((s, axis), before, after)| (Call::Pad(axis, before, after), vec![s]));
    let concats = (with_axis(), vec(0_usize..=3, 1..=3)).prop_map(|((s, axis), sizes)| {
        let of_size = |n| {
            let mut one = s.clone();
            one[axis] = n;
            one
        };
        (Call::Concat(axis), sizes.into_iter().map(of_size).collect())
    });
    vec![
        entry("reshape", reshapes),
        entry("permute", permutes),
        entry("transpose", shape(2..=2).prop_map(|s| (Call::Transpose, vec![s]))),
        entry("narrow", narrows),
        entry("pad", pads),
        entry("concat", concats),
    ]
}

/// Choices between tensors, and of elements by their indices.
fn choices() -> Vec<Entry> {
    let equal = |name, call: Call, count: usize| {
        let shapes = shape(0..=3).prop_map(move |s| vec![s; count]);
        entry(name, shapes.prop_map(move |s| (call.clone(), s)))
    };
    let along = |name, call: fn(usize) -> Call| {
        entry(name, with_axis().prop_map(move |(s, axis)| (call(axis), vec![s])))
    };
    let selected = (with_axis(), vec(0_usize..=3, 0..=4)).prop_map(|((s, axis), chosen)| {
        let chosen = chosen.into_iter().map(|i| i % s[axis]).collect();
        (Call::IndexSelect(axis, chosen), vec![s])
    });
    let added = (with_axis(), vec(0_usize..=3, 4), 1_usize..=5).prop_map(|((s, axis), chosen, size)| {
        let chosen = chosen[..s[axis]].iter().map(|i| i % size).collect();
        (Call::IndexAdd(axis, chosen, size), vec![s])
    });
    let indexed = |name, call: fn(usize, usize, usize) -> Call| {
        let points = (with_axis(), 1_usize..=4, 0_usize..=5);
        entry(
            name,
            points.prop_map(move |((s, axis), size, seed)| (call(axis, size, seed), vec![s])),
        )
    };
    let rolled = (with_axis(), -5_isize..=5).prop_map(|((s, axis), by)| (Call::Roll(axis, by), vec![s]));
    let reflected = (with_axis(), 0_usize..=3, 0_usize..=3).prop_map(|((s, axis), before, after)| {
        let [before, after] = [before, after].map(|count| count.min(s[axis] - 1));
        (Call::PadReflect(axis, before, after), vec![s])
    });
    let parts = (with_axis(), 0_usize..=4).prop_map(|((s, axis), first)| {
        let first = first.min(s[axis]);
        (Call::Split(axis, vec![first, s[axis] - first]), vec![s])
    });
    let stacked = (shape(0..=3), 0_usize..=3, 1_usize..=3)
        .prop_map(|(s, axis, count)| (Call::Stack(axis.min(s.len())), vec![s; count]));
    vec![
        equal("maximum", Call::Maximum, 2),
        equal("minimum", Call::Minimum, 2),
        equal("select_where", Call::SelectWhere, 3),
        entry("index_select", selected),
        entry("index_add", added),
        indexed("gather", Call::Gather),
        indexed("scatter_add", Call::ScatterAdd),
        along("flip", Call::Flip),
        entry("roll", rolled),
        entry("pad_reflect", reflected),
        entry("split", parts),
        entry("stack", stacked),
    ]
}

/// Convolutions in groups and along one axis, pooling over windows, resizing.
fn more_maps() -> Vec<Entry> {
    let grouped = (geometry(), 1_usize..=2, 1_usize..=3, [1_usize..=2, 1..=2]).prop_map(
        |(g, n, groups, [c_in, c_out])| {
            let [x, mut w, _] = conv_shapes(&g, n, groups * c_in, groups * c_out);
            w[2] = c_in;
            (Call::Conv2dGrouped(g, groups), vec![x, w])
        },
    );
    let lines = (
        [1_usize..=3, 1..=2, 1..=3],
        [0_usize..=2, 0..=2, 0..=4],
        [1_usize..=2, 1..=3, 1..=3],
    )
        .prop_map(
            |([kernel, dilation, stride], [before, after, more], [n, c_in, c_out])| {
                let length = (kernel - 1) * dilation + 1 + more;
                let shapes = vec![vec![n, length, c_in], vec![kernel, c_in, c_out]];
                (Call::Conv1d(stride, dilation, [before, after]), shapes)
            },
        );
    let sizes = |name, call: fn([usize; 2]) -> Call| {
        let points = (shape(4..=4), [1_usize..=5, 1..=5]);
        entry(name, points.prop_map(move |(s, size)| (call(size), vec![s])))
    };
    let windows = |name, call: fn(usize, usize, usize) -> Call| {
        let points = (shape(4..=4), [1_usize..=3, 1..=3], 0_usize..=1);
        entry(
            name,
            points.prop_map(move |(s, [kernel, stride], padding)| {
                let kernel = kernel.min(s[1]).min(s[2]);
                (call(kernel, stride, padding.min(kernel / 2)), vec![s])
            }),
        )
    };
    vec![
        entry("conv2d_grouped", grouped),
        entry("conv1d", lines),
        sizes("resize_bilinear", Call::ResizeBilinear),
        sizes("adaptive_avg_pool", Call::AdaptiveAvgPool),
        windows("avg_pool_windows", |kernel, stride, _| {
            Call::AvgPoolWindows(kernel, stride)
        }),
        windows("avg_pool_inside", Call::AvgPoolInside),
        windows("max_pool_windows", Call::MaxPoolWindows),
    ]
}

fn products() -> Vec<Entry> {
    let sizes = || [1_usize..=6, 1..=6, 1..=6];
    let batches = |name, call: Call, shapes: fn(usize, [usize; 3]) -> Vec<Shape>| {
        let points = (1_usize..=3, sizes());
        entry(
            name,
            points.prop_map(move |(n, sizes)| (call.clone(), shapes(n, sizes))),
        )
    };
    vec![
        batches("batch_matmul", Call::BatchMatmul, |b, [m, k, n]| {
            vec![vec![b, m, k], vec![b, k, n]]
        }),
        batches("batch_matmul_nt", Call::BatchMatmulNt, |b, [m, k, n]| {
            vec![vec![b, m, k], vec![b, n, k]]
        }),
        batches("batch_matmul_tn", Call::BatchMatmulTn, |b, [m, k, n]| {
            vec![vec![b, k, m], vec![b, k, n]]
        }),
        entry(
            "matmul",
            sizes().prop_map(|[m, k, n]| (Call::Matmul, vec![vec![m, k], vec![k, n]])),
        ),
        entry(
            "matmul_nt",
            sizes().prop_map(|[m, k, n]| (Call::MatmulNt, vec![vec![m, k], vec![n, k]])),
        ),
        entry(
            "matmul_tn",
            sizes().prop_map(|[m, k, n]| (Call::MatmulTn, vec![vec![k, m], vec![k, n]])),
        ),
    ]
}

/// Shapes of `x`, `w` and `y` in `y = conv2d(x, w)`.
pub(crate) fn conv_shapes(g: &Geometry, n: usize, c_in: usize, c_out: usize) -> [Shape; 3] {
    [
        vec![n, g.input[0], g.input[1], c_in],
        vec![g.kernel[0], g.kernel[1], c_in, c_out],
        vec![n, g.output[0], g.output[1], c_out],
    ]
}

fn maps() -> Vec<Entry> {
    let sizes = || (geometry(), 1_usize..=2, 1_usize..=3, 1_usize..=3);
    let map = |name, call: fn(Geometry) -> Call, read: [usize; 2]| {
        let points = sizes().prop_map(move |(g, n, c_in, c_out)| {
            let shapes = conv_shapes(&g, n, c_in, c_out);
            (call(g), read.map(|i| shapes[i].clone()).to_vec())
        });
        entry(name, points)
    };
    // One or two numbers per channel. With one axis, all inputs have the same shape.
    let channels = |rank, call: fn(f64, f64) -> Call, rows: usize| {
        let settings = (select(vec![1e-3, 0.1]), select(vec![0.0, 0.2, 1.0]));
        (shape(rank), settings).prop_map(move |(s, (eps, slope))| {
            let row = vec![s[s.len() - 1]];
            let rows = std::iter::repeat_n(row, rows);
            (call(eps, slope), std::iter::once(s).chain(rows).collect())
        })
    };
    let blocks = |call: fn(usize) -> Call, large: bool| {
        (shape(4..=4), 1_usize..=3).prop_map(move |(mut s, factor)| {
            let size = if large { factor } else { 1 };
            s[1..3].iter_mut().for_each(|side| *side *= size);
            (call(factor), vec![s])
        })
    };
    let affine = channels(2..=4, |_, slope| Call::AffineLeakyRelu(slope), 2);
    vec![
        map("conv2d", Call::Conv2d, [0, 1]),
        map("conv2d_input", Call::Conv2dInput, [2, 1]),
        map("conv2d_weight", Call::Conv2dWeight, [0, 2]),
        entry("batch_norm", channels(1..=4, |eps, _| Call::BatchNorm(eps), 2)),
        entry(
            "batch_norm_leaky_relu",
            channels(1..=4, Call::BatchNormLeakyRelu, 2),
        ),
        entry(
            "bias_leaky_relu",
            channels(1..=4, |_, slope| Call::BiasLeakyRelu(slope), 1),
        ),
        entry("affine_leaky_relu", affine),
        entry("upsample_nearest", blocks(Call::UpsampleNearest, false)),
        entry("sum_pool", blocks(Call::SumPool, true)),
        entry("max_pool", blocks(Call::MaxPool, true)),
        entry("blur", shape(4..=4).prop_map(|s| (Call::Blur, vec![s]))),
    ]
}

/// Geometries of plain and transposed convolutions. The two axes have different settings.
pub(crate) fn geometry() -> impl Strategy<Value = Geometry> {
    prop_oneof![forward_geometry(), transposed_geometry()]
}

fn padding() -> impl Strategy<Value = Padding> {
    prop_oneof![
        Just(Padding::Valid),
        Just(Padding::Same),
        [0_usize..=2, 0..=2].prop_map(Padding::Symmetric),
        [0_usize..=2, 0..=2, 0..=2, 0..=2].prop_map(Padding::Explicit),
    ]
}

/// Zeros on both sides of an axis. The callers handle `Same`.
fn both_sides(padding: Padding, axis: usize) -> usize {
    match padding {
        Padding::Valid | Padding::Same => 0,
        Padding::Symmetric(p) => 2 * p[axis],
        Padding::Explicit(p) => p[2 * axis] + p[2 * axis + 1],
    }
}

fn forward_geometry() -> impl Strategy<Value = Geometry> {
    let steps = ([1_usize..=5, 1..=5], [1_usize..=3, 1..=3], [1_usize..=2, 1..=2]);
    (steps, padding(), [0_usize..=6, 0..=6]).prop_map(|((kernel, stride, dilation), padding, more)| {
        // An image that is at least as large as the kernel.
        let input = [0, 1].map(|a| {
            let extent = (kernel[a] - 1) * dilation[a] + 1;
            let needed = match padding {
                Padding::Same => 1,
                _ => extent.saturating_sub(both_sides(padding, a)).max(1),
            };
            needed + more[a]
        });
        Geometry::forward(input, kernel, stride, dilation, padding)
    })
}

fn transposed_geometry() -> impl Strategy<Value = Geometry> {
    let steps = ([1_usize..=5, 1..=5], [1_usize..=3, 1..=3], [1_usize..=2, 1..=2]);
    let sizes = ([1_usize..=4, 1..=4], [0_usize..=2, 0..=2]);
    (steps, padding(), sizes).prop_map(|((kernel, stride, dilation), padding, (mut small, mut extra))| {
        for a in 0..2 {
            extra[a] = match padding {
                Padding::Same => 0,
                _ => extra[a].min(stride[a].max(dilation[a]) - 1),
            };
            // Large enough that the crop leaves something.
            while (small[a] - 1) * stride[a] + (kernel[a] - 1) * dilation[a] + 1 + extra[a]
                <= both_sides(padding, a)
            {
                small[a] += 1;
            }
        }
        Geometry::transposed(small, kernel, stride, dilation, padding, extra)
    })
}
