//! From recorded operations, with images `[n, h, w, c]`, to the operators of a graph, with images `[n, c, h, w]`.

pub(crate) mod indices;
mod layers;
mod layout;
mod values;
mod windows;

use crate::builder::Builder;
use crate::error::ExportError;
use crate::graph::{Dim, Graph, Input, Operand};
use crate::operator::{Operator, Window};
use engraft_tensor::{Operation, Trace, TraceValue};
use layout::{TO_CHANNELS_FIRST, TO_CHANNELS_LAST, axis_in_graph, dim, in_graph};
use values::{Site, Values};

/// The graph of traces that have the same operations, with these numbers of examples.
pub(crate) fn lower(
    [trace, other]: [&Trace<f32>; 2],
    batches: [usize; 2],
    inputs: Vec<Input>,
    outputs: &[&str],
    names: &[String],
) -> Result<Graph, ExportError> {
    let mut shapes = Vec::new();
    for (i, (node, other)) in trace.nodes.iter().zip(&other.nodes).enumerate() {
        let sizes = node.shape.iter().zip(&other.shape);
        let dims: Option<Vec<Dim>> = sizes.map(|(&a, &b)| dim([a, b], batches)).collect();
        shapes.push(dims.ok_or_else(|| {
            Site::new(node, i, Vec::new())
                .refuse("has a size that is neither fixed nor a multiple of the number of examples")
        })?);
    }
    let mut uses = vec![0; trace.nodes.len()];
    let operands = trace.nodes.iter().flat_map(|node| &node.operands);
    for value in operands.chain(&trace.outputs) {
        if let TraceValue::Node(i) = value {
            uses[*i] += 1;
        }
    }
    let mut values = Values {
        trace,
        shapes,
        uses,
        results: Vec::new(),
        builder: Builder::new(inputs, names),
    };
    for (i, node) in trace.nodes.iter().enumerate() {
        let site = Site::new(node, i, values.shapes[i].clone());
        let result = lowered(&mut values, &site)?;
        values.results.push(result);
    }
    let mut found = Vec::new();
    for (name, output) in outputs.iter().zip(&trace.outputs) {
        let operand = match output {
            TraceValue::Constant { .. } => {
                let reason =
                    format!("the output {name:?} does not depend on the input by recorded operations");
                return Err(ExportError::NotTraceable(reason));
            }
            value => values.operand(value),
        };
        found.push(((*name).to_string(), operand));
    }
    Ok(values.builder.finish(found))
}

/// The operators of a node, and the operand that is its result.
fn lowered(values: &mut Values<'_>, site: &Site<'_>) -> Result<Operand, ExportError> {
    let operation = site.node.operation.as_ref().ok_or_else(|| site.unknown())?;
    if let Some(operator) = elementwise(operation) {
        return Ok(values.broadcasting(site, operator));
    }
    let axis_here = |axis: usize| axis_in_graph(axis, site.shape.len());
    Ok(match operation {
        Operation::Add => layers::add(values, site),
        Operation::Affine { scale, shift } => {
            let x = values.operand(site.x());
            values.builder.affine(x, *scale, *shift)
        }
        Operation::Identity => values.operand(site.x()),
        Operation::BiasLeakyRelu { slope } => {
            let biased = layers::add(values, site);
            leaky_relu(values, site, biased, *slope)
        }
        Operation::AffineLeakyRelu { slope } => {
            let (rank, here) = (site.shape.len(), &site.here);
            let [x, scale, shift] = [0, 1, 2].map(|i| values.broadcast(&site.node.operands[i], rank));
            let scaled = values.builder.push(Operator::Mul, vec![x, scale], here.clone());
            let shifted = values
                .builder
                .push(Operator::Add, vec![scaled, shift], here.clone());
            leaky_relu(values, site, shifted, *slope)
        }
        Operation::MatMul { transposed } => layers::matmul(values, site, *transposed),
        Operation::BatchMatMul { transposed } => layers::product(values, site, *transposed),
        Operation::Conv2d(geometry) => layers::convolution(values, site, layers::forward(geometry, 1))?,
        Operation::Conv2dGrouped { geometry, groups } => {
            layers::convolution(values, site, layers::forward(geometry, *groups))?
        }
        Operation::Conv2dInput(geometry) => layers::convolution(values, site, layers::transposed(geometry))?,
        Operation::Blur => layers::blur(values, site)?,
        Operation::SumTo => sum_to(values, site),
        Operation::BroadcastTo => broadcast_to(values, site)?,
        Operation::Reshape => {
            if site.shape.iter().filter(|dim| dim.grows()).count() != 1 {
                return Err(site.refuse("must have exactly one axis that grows with the number of examples"));
            }
            let (from, x) = (values.shape(site.x()), values.operand(site.x()));
            values.reshape(x, &from, &site.shape)
        }
        Operation::Permute { order } => {
            let order = match site.shape.len() {
                4 => TO_CHANNELS_FIRST
                    .map(|axis| TO_CHANNELS_LAST[order[axis]])
                    .to_vec(),
                _ => order.clone(),
            };
            values.unary(site, Operator::Transpose { order })
        }
        Operation::Narrow { axis, start } => {
            let (Dim::Fixed(length), Dim::Fixed(_)) = (site.shape[*axis], values.shape(site.x())[*axis])
            else {
                return Err(site.refuse("selects examples of the batch"));
            };
            let operator = Operator::Slice {
                axis: axis_here(*axis),
                start: *start,
                end: start + length,
            };
            values.unary(site, operator)
        }
        Operation::Pad { axis, before } => {
            let (Dim::Fixed(to), Dim::Fixed(from)) = (site.shape[*axis], values.shape(site.x())[*axis])
            else {
                return Err(site.refuse("adds examples to the batch"));
            };
            let operator = Operator::Pad {
                axis: axis_here(*axis),
                before: *before,
                after: to - from - before,
            };
            values.unary(site, operator)
        }
        Operation::Concat { axis } => {
            let operands = site.node.operands.iter();
            let operands = operands.map(|value| values.operand(value)).collect();
            let operator = Operator::Concat {
                axis: axis_here(*axis),
            };
            values.builder.push(operator, operands, site.here.clone())
        }
        Operation::UpsampleNearest { factor } => values.unary(site, Operator::Upsample { factor: *factor }),
        Operation::SumPool { factor } => {
            let mean = values.unary(site, Operator::AveragePool(Window::blocks([*factor; 2])));
            values.builder.affine(mean, (factor * factor) as f64, 0.0)
        }
        Operation::MaxPool { factor } => values.unary(site, Operator::MaxPool(Window::blocks([*factor; 2]))),
        Operation::MaxPoolWindows {
            kernel,
            stride,
            padding,
        } => values.unary(site, Operator::MaxPool(window(*kernel, *stride, *padding))),
        Operation::AvgPoolWindows {
            kernel,
            stride,
            padding,
        } => values.unary(site, Operator::AveragePool(window(*kernel, *stride, *padding))),
        Operation::AdaptiveAvgPool => windows::adaptive_average(values, site)?,
        Operation::ResizeBilinear => values.unary(site, Operator::ResizeBilinear),
        Operation::Softmax { axis } => over_axis(values, site, *axis, |axis| Operator::Softmax { axis })?,
        Operation::LogSoftmax { axis } => {
            over_axis(values, site, *axis, |axis| Operator::LogSoftmax { axis })?
        }
        Operation::MaxKeep { axis } => over_axis(values, site, *axis, |axis| Operator::ReduceMax { axis })?,
        Operation::MinKeep { axis } => over_axis(values, site, *axis, |axis| Operator::ReduceMin { axis })?,
        Operation::IndexSelect { axis, indices } => indices::select(values, site, *axis, indices)?,
        Operation::IndexAdd { axis, indices } => indices::add(values, site, *axis, indices)?,
        Operation::Gather { axis, index } => indices::gather(values, site, *axis, index)?,
        Operation::ScatterAdd { axis, index } => indices::scatter(values, site, *axis, index)?,
        _ => return Err(site.unknown()),
    })
}

/// The operator of an operation that computes each element from those at the same place.
fn elementwise(operation: &Operation) -> Option<Operator> {
    Some(match operation {
        Operation::Sub => Operator::Sub,
        Operation::Mul => Operator::Mul,
        Operation::Div => Operator::Div,
        Operation::Exp => Operator::Exp,
        Operation::Ln => Operator::Log,
        Operation::Sqrt => Operator::Sqrt,
        Operation::Abs => Operator::Abs,
        Operation::Sin => Operator::Sin,
        Operation::Cos => Operator::Cos,
        Operation::Erf => Operator::Erf,
        Operation::Powf { exponent } => Operator::Pow { exponent: *exponent },
        Operation::LeakyRelu { slope } => Operator::LeakyRelu { slope: *slope },
        Operation::ClampMin { floor } => Operator::Clip {
            low: *floor,
            high: None,
        },
        Operation::Clip { low, high } => Operator::Clip {
            low: *low,
            high: Some(*high),
        },
        Operation::Tanh => Operator::Tanh,
        Operation::Sigmoid => Operator::Sigmoid,
        Operation::Softplus => Operator::Softplus,
        Operation::Greater => Operator::Greater,
        Operation::Less => Operator::Less,
        Operation::Equals => Operator::Equal,
        Operation::SelectWhere => Operator::Where,
        Operation::Maximum => Operator::Maximum,
        Operation::Minimum => Operator::Minimum,
        _ => return None,
    })
}

fn window(kernel: usize, stride: usize, padding: usize) -> Window {
    Window {
        kernel: [kernel; 2],
        stride: [stride; 2],
        padding: [padding; 2],
    }
}

/// A leaky ReLU; nothing for a slope of 1.
fn leaky_relu(values: &mut Values<'_>, site: &Site<'_>, x: Operand, slope: f64) -> Operand {
    if slope == 1.0 {
        return x;
    }
    let operator = Operator::LeakyRelu { slope };
    values.builder.push(operator, vec![x], site.here.clone())
}

/// An operator along an axis that is not the one of the batch.
fn over_axis(
    values: &mut Values<'_>,
    site: &Site<'_>,
    axis: usize,
    operator: fn(usize) -> Operator,
) -> Result<Operand, ExportError> {
    let shape = values.shape(site.x());
    if shape[axis].grows() {
        return Err(site.refuse("mixes the examples of the batch"));
    }
    Ok(values.unary(site, operator(axis_in_graph(axis, shape.len()))))
}

fn broadcast_to(values: &mut Values<'_>, site: &Site<'_>) -> Result<Operand, ExportError> {
    let from = values.shape(site.x());
    let missing = site.shape.len() - from.len();
    let grows = |(i, to): (usize, &Dim)| {
        let from = i.checked_sub(missing).map_or(Dim::Fixed(1), |i| from[i]);
        to.grows() && from != *to
    };
    if site.shape.iter().enumerate().any(grows) {
        return Err(site.refuse("repeats its operand once for each example"));
    }
    Ok(values.broadcasting(site, Operator::Expand))
}

fn sum_to(values: &mut Values<'_>, site: &Site<'_>) -> Operand {
    let (from, to) = (values.shape(site.x()), &site.shape);
    let missing = from.len() - to.len();
    let is_summed = |i: usize| {
        let kept = i.checked_sub(missing).map_or(Dim::Fixed(1), |i| to[i]);
        kept == Dim::Fixed(1) && from[i] != Dim::Fixed(1)
    };
    let summed: Vec<usize> = (0..from.len()).filter(|&i| is_summed(i)).collect();
    let mut sums = from.clone();
    summed.iter().for_each(|&i| sums[i] = Dim::Fixed(1));
    let mut axes: Vec<usize> = summed.iter().map(|&i| axis_in_graph(i, from.len())).collect();
    axes.sort_unstable();
    let mut operand = values.operand(site.x());
    if !axes.is_empty() {
        operand = values
            .builder
            .push(Operator::Sum { axes }, vec![operand], in_graph(&sums));
    }
    values.reshape(operand, &sums, to)
}
