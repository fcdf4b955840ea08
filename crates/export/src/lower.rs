//! From recorded operations, with images `[n, h, w, c]`, to the operators of a graph, with images `[n, c, h, w]`.

use crate::builder::Builder;
use crate::error::ExportError;
use crate::graph::{Dim, Graph, Input, Operand, Operator, fixed};
use engraft_tensor::{Geometry, Operation, Tensor, Trace, TraceNode, TraceValue};

/// Axis `i` of an image here is axis `TO_CHANNELS_LAST[i]` of the image in the graph.
const TO_CHANNELS_LAST: [usize; 4] = [0, 2, 3, 1];
/// The inverse.
const TO_CHANNELS_FIRST: [usize; 4] = [0, 3, 1, 2];

/// The graph of traces that have the same operations, with these numbers of examples.
pub(crate) fn lower(
    traces: &[Trace<f32>],
    batches: [usize; 2],
    inputs: Vec<Input>,
    outputs: &[&str],
    names: &[String],
) -> Result<Graph, ExportError> {
    let (trace, other) = (&traces[0], &traces[1]);
    let mut shapes = Vec::new();
    for (i, (node, other)) in trace.nodes.iter().zip(&other.nodes).enumerate() {
        let sizes = node.shape.iter().zip(&other.shape);
        let dims: Option<Vec<Dim>> = sizes.map(|(&a, &b)| dim([a, b], batches)).collect();
        shapes.push(dims.ok_or_else(|| {
            refused(
                node,
                i,
                "has a size that is neither fixed nor a multiple of the number of examples",
            )
        })?);
    }
    let mut uses = vec![0; trace.nodes.len()];
    let operands = trace.nodes.iter().flat_map(|node| &node.operands);
    for value in operands.chain(&trace.outputs) {
        if let TraceValue::Node(i) = value {
            uses[*i] += 1;
        }
    }
    let mut lowering = Lowering {
        trace,
        shapes,
        uses,
        values: Vec::new(),
        builder: Builder::new(inputs, names),
    };
    for i in 0..trace.nodes.len() {
        let value = lowering.node(i)?;
        lowering.values.push(value);
    }
    let mut found = Vec::new();
    for (name, output) in outputs.iter().zip(&trace.outputs) {
        let operand = match output {
            TraceValue::Constant { .. } => {
                let reason =
                    format!("the output {name:?} does not depend on the input by recorded operations");
                return Err(ExportError::NotTraceable(reason));
            }
            value => lowering.operand(value),
        };
        found.push(((*name).to_string(), operand));
    }
    Ok(lowering.builder.finish(found))
}

/// The size whose value is `sizes` for the numbers of examples `batches`.
fn dim(sizes: [usize; 2], batches: [usize; 2]) -> Option<Dim> {
    let [a, b] = sizes;
    if a == b {
        return Some(Dim::Fixed(a));
    }
    let factor = b.checked_sub(a)? / (batches[1] - batches[0]);
    (factor > 0 && [a, b] == batches.map(|n| factor * n)).then_some(Dim::Batch(factor))
}

fn refused(node: &TraceNode<f32>, index: usize, reason: &str) -> ExportError {
    ExportError::Operation {
        operation: node.name.into(),
        index,
        reason: reason.into(),
    }
}

struct Lowering<'a> {
    trace: &'a Trace<f32>,
    /// The sizes of each node's result, in this project's layout.
    shapes: Vec<Vec<Dim>>,
    /// How often each node's result is used.
    uses: Vec<usize>,
    /// The result of each node in the graph.
    values: Vec<Operand>,
    builder: Builder<'a>,
}

impl Lowering<'_> {
    /// The sizes of a value, in this project's layout.
    fn shape(&self, value: &TraceValue<f32>) -> Vec<Dim> {
        match value {
            TraceValue::Node(i) => self.shapes[*i].clone(),
            TraceValue::Constant { value, .. } => fixed(value.shape()),
            TraceValue::Input(i) => {
                let input = &self.builder.graph().inputs[*i];
                match (input.classes, input.shape.len()) {
                    (Some(classes), _) => vec![input.shape[0], Dim::Fixed(classes)],
                    (None, 4) => TO_CHANNELS_LAST.map(|axis| input.shape[axis]).to_vec(),
                    (None, _) => input.shape.clone(),
                }
            }
        }
    }

    /// A value in the layout of the graph.
    fn operand(&mut self, value: &TraceValue<f32>) -> Operand {
        match value {
            TraceValue::Node(i) => self.values[*i],
            TraceValue::Input(i) => self.builder.input(*i),
            TraceValue::Constant { value, parameters } => {
                let value = match value.rank() {
                    4 => value.permute(&TO_CHANNELS_FIRST),
                    _ => value.clone(),
                };
                self.builder.constant(value, parameters, "constant")
            }
        }
    }

    /// A value that is broadcast to `rank` axes. Only the broadcasting of images needs more axes than the value has.
    fn broadcast(&mut self, value: &TraceValue<f32>, rank: usize) -> Operand {
        let shape = self.shape(value);
        if rank != 4 || shape.len() == 4 {
            return self.operand(value);
        }
        let mut all = vec![Dim::Fixed(1); 4 - shape.len()];
        all.extend(&shape);
        if let TraceValue::Constant { value, parameters } = value {
            let sizes = [vec![1; 4 - shape.len()], value.shape().to_vec()].concat();
            let value = value.reshape(&sizes).permute(&TO_CHANNELS_FIRST);
            return self.builder.constant(value, parameters, "constant");
        }
        let operand = self.operand(value);
        self.reshape(operand, &shape, &all)
    }

    /// The same elements in another shape; both shapes are in this project's layout.
    fn reshape(&mut self, mut operand: Operand, from: &[Dim], to: &[Dim]) -> Operand {
        if from.len() == 4 && !is_layout_free(from) {
            operand = self.builder.push(
                Operator::Transpose {
                    order: TO_CHANNELS_LAST.into(),
                },
                vec![operand],
                from.into(),
            );
        }
        let target = match to {
            [n, h, w, c] if is_layout_free(to) => vec![*n, *c, *h, *w],
            _ => to.to_vec(),
        };
        if self.builder.graph().shape(operand) != target {
            operand = self.builder.push(Operator::Reshape, vec![operand], target);
        }
        if to.len() == 4 && !is_layout_free(to) {
            let shape = TO_CHANNELS_FIRST.map(|axis| to[axis]).to_vec();
            operand = self.builder.push(
                Operator::Transpose {
                    order: TO_CHANNELS_FIRST.into(),
                },
                vec![operand],
                shape,
            );
        }
        operand
    }

    /// The operators of a node, and the operand that is its result.
    fn node(&mut self, index: usize) -> Result<Operand, ExportError> {
        let node = &self.trace.nodes[index];
        let Some(operation) = &node.operation else {
            return Err(refused(node, index, "has no counterpart in the exported formats"));
        };
        let refuse = |reason: &str| refused(node, index, reason);
        let shape = self.shapes[index].clone();
        let here = in_graph(&shape);
        let x = &node.operands[0];
        let unary = |lowering: &mut Self, operator: Operator| {
            let x = lowering.operand(x);
            lowering.builder.push(operator, vec![x], here.clone())
        };
        Ok(match operation {
            Operation::Add => match self.with_bias(x, &node.operands[1]) {
                Some(operand) => operand,
                None => self.binary(node, Operator::Add, &here),
            },
            Operation::Sub => self.binary(node, Operator::Sub, &here),
            Operation::Mul => self.binary(node, Operator::Mul, &here),
            Operation::Div => self.binary(node, Operator::Div, &here),
            Operation::Affine { scale, shift } => {
                let x = self.operand(x);
                self.builder.affine(x, *scale, *shift)
            }
            Operation::Exp => unary(self, Operator::Exp),
            Operation::Ln => unary(self, Operator::Log),
            Operation::Sqrt => unary(self, Operator::Sqrt),
            Operation::Abs => unary(self, Operator::Abs),
            Operation::Powf { exponent } => unary(self, Operator::Pow { exponent: *exponent }),
            Operation::LeakyRelu { slope } => unary(self, Operator::LeakyRelu { slope: *slope }),
            Operation::ClampMin { floor } => unary(
                self,
                Operator::Clip {
                    low: *floor,
                    high: None,
                },
            ),
            Operation::Tanh => unary(self, Operator::Tanh),
            Operation::Sigmoid => unary(self, Operator::Sigmoid),
            Operation::Softplus => unary(self, Operator::Softplus),
            Operation::Identity => self.operand(x),
            Operation::BiasLeakyRelu { slope } => {
                let biased = match self.with_bias(x, &node.operands[1]) {
                    Some(operand) => operand,
                    None => self.binary(node, Operator::Add, &here),
                };
                self.leaky_relu(biased, *slope, here)
            }
            Operation::AffineLeakyRelu { slope } => {
                let rank = shape.len();
                let [x, scale, shift] = [0, 1, 2].map(|i| self.broadcast(&node.operands[i], rank));
                let scaled = self.builder.push(Operator::Mul, vec![x, scale], here.clone());
                let shifted = self
                    .builder
                    .push(Operator::Add, vec![scaled, shift], here.clone());
                self.leaky_relu(shifted, *slope, here)
            }
            Operation::MatMul { transposed } => self.matmul(node, *transposed, here),
            Operation::Conv2d(geometry) => {
                let weight = self.weight(node).map_err(refuse)?;
                let (operator, x) = (convolution(geometry), self.operand(x));
                self.builder.push(operator, vec![x, weight], here)
            }
            Operation::Conv2dInput(geometry) => {
                let weight = self.weight(node).map_err(refuse)?;
                let (operator, x) = (transposed_convolution(geometry), self.operand(x));
                self.builder.push(operator, vec![x, weight], here)
            }
            Operation::SumTo => self.sum_to(x, &shape),
            Operation::BroadcastTo => {
                let from = self.shape(x);
                let missing = shape.len() - from.len();
                let grows = |(i, to): (usize, &Dim)| {
                    let from = i.checked_sub(missing).map_or(Dim::Fixed(1), |i| from[i]);
                    matches!(to, Dim::Batch(_)) && from != *to
                };
                if shape.iter().enumerate().any(grows) {
                    return Err(refuse("repeats its operand once for each example"));
                }
                let x = self.broadcast(x, shape.len());
                self.builder.push(Operator::Expand, vec![x], here)
            }
            Operation::Reshape => {
                let batches = shape.iter().filter(|dim| matches!(dim, Dim::Batch(_)));
                if batches.count() != 1 {
                    return Err(refuse(
                        "must have exactly one axis that grows with the number of examples",
                    ));
                }
                let (from, x) = (self.shape(x), self.operand(x));
                self.reshape(x, &from, &shape)
            }
            Operation::Permute { order } => {
                let order = match shape.len() {
                    4 => TO_CHANNELS_FIRST
                        .map(|axis| TO_CHANNELS_LAST[order[axis]])
                        .to_vec(),
                    _ => order.clone(),
                };
                unary(self, Operator::Transpose { order })
            }
            Operation::Narrow { axis, start } => {
                let Dim::Fixed(length) = shape[*axis] else {
                    return Err(refuse("selects examples of the batch"));
                };
                if matches!(self.shape(x)[*axis], Dim::Batch(_)) {
                    return Err(refuse("selects examples of the batch"));
                }
                let axis = axis_in_graph(*axis, shape.len());
                let end = start + length;
                unary(
                    self,
                    Operator::Slice {
                        axis,
                        start: *start,
                        end,
                    },
                )
            }
            Operation::Pad { axis, before } => {
                let (Dim::Fixed(to), Dim::Fixed(from)) = (shape[*axis], self.shape(x)[*axis]) else {
                    return Err(refuse("adds examples to the batch"));
                };
                let (before, after) = (*before, to - from - before);
                let axis = axis_in_graph(*axis, shape.len());
                unary(self, Operator::Pad { axis, before, after })
            }
            Operation::Concat { axis } => {
                let axis = axis_in_graph(*axis, shape.len());
                let operands = node.operands.iter().map(|value| self.operand(value)).collect();
                self.builder.push(Operator::Concat { axis }, operands, here)
            }
            Operation::UpsampleNearest { factor } => unary(self, Operator::Upsample { factor: *factor }),
            Operation::MaxPool { factor } => unary(self, Operator::MaxPool { factor: *factor }),
            Operation::SumPool { factor } => {
                let mean = unary(self, Operator::AveragePool { factor: *factor });
                self.builder.affine(mean, (factor * factor) as f64, 0.0)
            }
            Operation::Blur => {
                let Some(Dim::Fixed(channels)) = shape.last().copied() else {
                    return Err(refuse("needs a fixed number of channels"));
                };
                let filter = [1.0, 2.0, 1.0, 2.0, 4.0, 2.0, 1.0, 2.0, 1.0].map(|tap: f32| tap / 16.0);
                let weight = Tensor::from_vec([channels, 1, 3, 3], filter.repeat(channels));
                let (weight, x) = (self.builder.constant(weight, &[], "blur"), self.operand(x));
                let operator = Operator::Conv {
                    stride: [1, 1],
                    dilation: [1, 1],
                    pads: [1; 4],
                    groups: channels,
                };
                self.builder.push(operator, vec![x, weight], here)
            }
            _ => return Err(refuse("has no counterpart in the exported formats")),
        })
    }

    /// `x + bias` as part of the dense or convolutional layer that computes `x`, if nothing else reads `x`.
    fn with_bias(&mut self, x: &TraceValue<f32>, bias: &TraceValue<f32>) -> Option<Operand> {
        let (TraceValue::Node(i), TraceValue::Constant { value, parameters }) = (x, bias) else {
            return None;
        };
        let is_layer = matches!(
            self.trace.nodes[*i].operation,
            Some(
                Operation::MatMul { .. } | Operation::Conv2d(_) | Operation::Conv2dInput(_) | Operation::Blur
            )
        );
        let outputs = *self.shapes[*i].last()?;
        let fits = self.uses[*i] == 1 && value.rank() == 1 && outputs == Dim::Fixed(value.len());
        let layer = self.values[*i];
        if !is_layer || !fits || !self.builder.takes_bias(layer) {
            return None;
        }
        let bias = self.builder.constant(value.clone(), parameters, "bias");
        self.builder.add_bias(layer, bias);
        Some(layer)
    }

    fn binary(&mut self, node: &TraceNode<f32>, operator: Operator, here: &[Dim]) -> Operand {
        let [a, b] = [0, 1].map(|i| self.broadcast(&node.operands[i], here.len()));
        self.builder.push(operator, vec![a, b], here.into())
    }

    /// A leaky ReLU; nothing for a slope of 1.
    fn leaky_relu(&mut self, x: Operand, slope: f64, here: Vec<Dim>) -> Operand {
        if slope == 1.0 {
            return x;
        }
        self.builder.push(Operator::LeakyRelu { slope }, vec![x], here)
    }

    fn matmul(&mut self, node: &TraceNode<f32>, transposed: [bool; 2], here: Vec<Dim>) -> Operand {
        let [x, weight] = [0, 1].map(|i| &node.operands[i]);
        let is_labels =
            matches!(x, TraceValue::Input(i) if self.builder.graph().inputs[*i].classes.is_some());
        if let (TraceValue::Constant { value, parameters }, false) = (weight, transposed[0]) {
            if let (true, TraceValue::Input(i)) = (is_labels, x) {
                let table = if transposed[1] {
                    value.transpose()
                } else {
                    value.clone()
                };
                let table = self.builder.constant(table, parameters, "table");
                return self
                    .builder
                    .push(Operator::Embedding, vec![table, Operand::Input(*i)], here);
            }
            let weight = if transposed[1] {
                value.clone()
            } else {
                value.transpose()
            };
            let weight = self.builder.constant(weight, parameters, "weight");
            let x = self.operand(x);
            return self.builder.push(Operator::Linear, vec![x, weight], here);
        }
        let operands = [0, 1].map(|i| {
            let (operand, shape) = (self.operand(&node.operands[i]), self.shape(&node.operands[i]));
            match transposed[i] {
                true => {
                    let order = vec![1, 0];
                    let shape = vec![shape[1], shape[0]];
                    self.builder
                        .push(Operator::Transpose { order }, vec![operand], shape)
                }
                false => operand,
            }
        });
        self.builder.push(Operator::MatMul, operands.into(), here)
    }

    /// The weight of a convolution in the layout of the graph.
    fn weight(&mut self, node: &TraceNode<f32>) -> Result<Operand, &'static str> {
        match &node.operands[1] {
            TraceValue::Constant { value, parameters } => {
                // Both kinds have their input and output axes mirrored, so one permutation serves both.
                Ok(self
                    .builder
                    .constant(value.permute(&[3, 2, 0, 1]), parameters, "weight"))
            }
            _ => Err("has a weight that depends on an input"),
        }
    }

    fn sum_to(&mut self, x: &TraceValue<f32>, to: &[Dim]) -> Operand {
        let from = self.shape(x);
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
        let mut operand = self.operand(x);
        if !axes.is_empty() {
            operand = self
                .builder
                .push(Operator::Sum { axes }, vec![operand], in_graph(&sums));
        }
        self.reshape(operand, &sums, to)
    }
}

/// Sizes in the layout of the graph.
fn in_graph(shape: &[Dim]) -> Vec<Dim> {
    match shape.len() {
        4 => TO_CHANNELS_FIRST.map(|axis| shape[axis]).to_vec(),
        _ => shape.to_vec(),
    }
}

/// An axis in the layout of the graph, of a tensor with `rank` axes.
fn axis_in_graph(axis: usize, rank: usize) -> usize {
    match rank {
        4 => TO_CHANNELS_LAST[axis],
        _ => axis,
    }
}

/// Whether the elements of images have the same order in both layouts.
fn is_layout_free(shape: &[Dim]) -> bool {
    shape[3] == Dim::Fixed(1) || shape[1..3] == [Dim::Fixed(1); 2]
}

/// Rows or columns between the first and the last tap of a kernel, both included.
fn extent(geometry: &Geometry, axis: usize) -> usize {
    (geometry.kernel[axis] - 1) * geometry.dilation[axis] + 1
}

fn convolution(geometry: &Geometry) -> Operator {
    let after = |a: usize| {
        let end = (geometry.output[a] - 1) * geometry.stride[a] + extent(geometry, a);
        end.saturating_sub(geometry.input[a] + geometry.pad[a])
    };
    Operator::Conv {
        stride: geometry.stride,
        dilation: geometry.dilation,
        pads: [geometry.pad[0], geometry.pad[1], after(0), after(1)],
        groups: 1,
    }
}

fn transposed_convolution(geometry: &Geometry) -> Operator {
    // Rows after the first cut; negative if the result has more rows than the taps reach.
    let [rows, columns] = [0, 1].map(|a| {
        let full = (geometry.output[a] - 1) * geometry.stride[a] + extent(geometry, a);
        let wanted = geometry.input[a] + geometry.pad[a];
        (full.saturating_sub(wanted), wanted.saturating_sub(full))
    });
    Operator::ConvTranspose {
        stride: geometry.stride,
        dilation: geometry.dilation,
        pads: [geometry.pad[0], geometry.pad[1], rows.0, columns.0],
        output_padding: [rows.1, columns.1],
    }
}
