//! The nodes and constants of an ONNX file.

use super::messages::{float, int, ints, tensor, text, value_info};
use super::op_type::op_type;
use super::proto::{Attribute, GraphProto, NodeProto, TensorProto};
use crate::graph::{Dim, Graph, Node, Operand};
use crate::operator::Operator;
use std::collections::{BTreeMap, BTreeSet};

/// Element types of ONNX.
const FLOAT: i32 = 1;
const INT64: i32 = 7;
const BOOL: usize = 9;

/// The first version of the operators in which the axes of a maximum are an input.
const AXES_AS_INPUT: i64 = 18;

/// Writes the nodes of a graph one after the other.
pub(super) struct Writer<'a> {
    graph: &'a Graph,
    opset: i64,
    /// Names of the results of the nodes.
    results: Vec<String>,
    nodes: Vec<NodeProto>,
    initializers: Vec<TensorProto>,
    /// Small constants that operators need, by their bytes.
    small: BTreeMap<(i32, Vec<i64>, Vec<u8>), String>,
    used: BTreeSet<String>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(graph: &'a Graph, opset: i64) -> Self {
        let inputs = graph.inputs.iter().map(|input| &input.name);
        let outputs = graph.outputs.iter().map(|(name, _)| name);
        let constants = graph.constants.iter().map(|constant| &constant.name);
        let used = inputs.chain(outputs).chain(constants).cloned().collect();
        Self {
            graph,
            opset,
            results: Vec::new(),
            nodes: Vec::new(),
            initializers: Vec::new(),
            small: BTreeMap::new(),
            used,
        }
    }

    /// A name that is not in use.
    fn fresh(&mut self, base: &str) -> String {
        let free = (0..)
            .map(|i| format!("{base}_{i}"))
            .find(|name| !self.used.contains(name));
        let name = free.unwrap_or_else(|| base.into());
        self.used.insert(name.clone());
        name
    }

    pub(super) fn write(mut self) -> GraphProto {
        for constant in &self.graph.constants {
            let shape = constant.value.shape().iter().map(|&size| size as i64).collect();
            let bytes = constant
                .value
                .as_slice()
                .iter()
                .flat_map(|v| v.to_le_bytes())
                .collect();
            self.initializers
                .push(tensor(&constant.name, FLOAT, shape, bytes));
        }
        for (i, node) in self.graph.nodes.iter().enumerate() {
            let output = self
                .graph
                .outputs
                .iter()
                .find(|(_, operand)| *operand == Operand::Node(i));
            let result = match output {
                Some((name, _)) => name.clone(),
                None => self.fresh(op_type(&node.operator)),
            };
            self.node(node, &result);
            self.results.push(result);
        }
        for (name, operand) in &self.graph.outputs {
            let source = self.name(*operand);
            if source != *name {
                self.push("Identity", vec![source], name, vec![]);
            }
        }
        let graph = self.graph;
        let inputs = graph.inputs.iter().map(|input| {
            let kind = if input.classes.is_some() { INT64 } else { FLOAT };
            let about = input
                .classes
                .map(|classes| format!("labels from 0 to {}", classes - 1));
            value_info(&input.name, kind, &input.shape, about.unwrap_or_default())
        });
        let outputs = graph.outputs.iter();
        let outputs =
            outputs.map(|(name, operand)| value_info(name, FLOAT, &graph.shape(*operand), String::new()));
        GraphProto {
            name: "engraft".into(),
            input: inputs.collect(),
            output: outputs.collect(),
            node: self.nodes,
            initializer: self.initializers,
        }
    }

    fn name(&self, operand: Operand) -> String {
        match operand {
            Operand::Input(i) => self.graph.inputs[i].name.clone(),
            Operand::Constant(i) => self.graph.constants[i].name.clone(),
            Operand::Node(i) => self.results[i].clone(),
        }
    }

    fn push(&mut self, op_type: &str, input: Vec<String>, result: &str, attribute: Vec<Attribute>) {
        self.nodes.push(NodeProto {
            input,
            output: vec![result.into()],
            name: result.into(),
            op_type: op_type.into(),
            attribute,
        });
    }

    /// The name of a small constant.
    fn constant(&mut self, kind: i32, shape: Vec<i64>, bytes: Vec<u8>) -> String {
        let key = (kind, shape.clone(), bytes.clone());
        if let Some(name) = self.small.get(&key) {
            return name.clone();
        }
        let name = self.fresh("constant");
        self.initializers.push(tensor(&name, kind, shape, bytes));
        self.small.insert(key, name.clone());
        name
    }

    fn scalar(&mut self, value: f64) -> String {
        self.constant(FLOAT, vec![], (value as f32).to_le_bytes().into())
    }

    fn floats(&mut self, values: &[f32]) -> String {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.constant(FLOAT, vec![values.len() as i64], bytes)
    }

    fn ints(&mut self, values: &[i64]) -> String {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.constant(INT64, vec![values.len() as i64], bytes)
    }

    /// Sizes as a constant, with `batch` for the one that depends on the number of examples.
    fn sizes(&mut self, shape: &[Dim], batch: i64) -> String {
        let size = |dim: &Dim| match dim {
            Dim::Fixed(size) => *size as i64,
            Dim::Batch(_) | Dim::Share(_) => batch,
        };
        self.ints(&shape.iter().map(size).collect::<Vec<_>>())
    }

    /// Writes one node of the graph; some need several of ONNX.
    fn node(&mut self, node: &Node, result: &str) {
        let mut input: Vec<String> = node.operands.iter().map(|&operand| self.name(operand)).collect();
        let mut attributes = Vec::new();
        match &node.operator {
            Operator::Affine { scale, shift } => {
                self.affine(input.remove(0), *scale, *shift, result);
                return;
            }
            Operator::Pow { exponent } => input.push(self.scalar(*exponent)),
            Operator::LeakyRelu { slope } if *slope != 0.0 => attributes.push(float("alpha", *slope)),
            Operator::Clip { low, high } => {
                input.push(self.scalar(*low));
                if let Some(high) = high {
                    input.push(self.scalar(*high));
                }
            }
            Operator::Linear => attributes.push(int("transB", 1)),
            Operator::Conv {
                stride,
                dilation,
                pads,
                groups,
            } => {
                attributes = vec![
                    ints("strides", stride),
                    ints("dilations", dilation),
                    ints("pads", pads),
                    int("group", *groups),
                ];
            }
            Operator::ConvTranspose {
                stride,
                dilation,
                pads,
                output_padding,
            } => {
                attributes = vec![
                    ints("strides", stride),
                    ints("dilations", dilation),
                    ints("pads", pads),
                    ints("output_padding", output_padding),
                ];
            }
            Operator::Sum { axes } => {
                let axes: Vec<i64> = axes.iter().map(|&axis| axis as i64).collect();
                input.push(self.ints(&axes));
                attributes.push(int("keepdims", 1));
            }
            Operator::Reshape => input.push(self.sizes(&node.shape, -1)),
            Operator::Expand => input.push(self.sizes(&node.shape, 1)),
            Operator::Transpose { order } => attributes.push(ints("perm", order)),
            Operator::Slice { axis, start, end } => {
                input.extend([start, end, axis].map(|&value| self.ints(&[value as i64])));
            }
            Operator::Pad { axis, before, after } => {
                let rank = node.shape.len();
                let mut pads = vec![0; 2 * rank];
                (pads[*axis], pads[rank + axis]) = (*before as i64, *after as i64);
                input.push(self.ints(&pads));
            }
            Operator::Concat { axis } => attributes.push(int("axis", *axis)),
            Operator::Upsample { factor } => {
                let factor = *factor as f32;
                input.extend([String::new(), self.floats(&[1.0, 1.0, factor, factor])]);
                attributes = vec![
                    text("mode", "nearest"),
                    text("coordinate_transformation_mode", "asymmetric"),
                    text("nearest_mode", "floor"),
                ];
            }
            Operator::ResizeBilinear => {
                let scales = self.scales(node);
                input.extend([String::new(), self.floats(&scales)]);
                attributes = vec![
                    text("mode", "linear"),
                    text("coordinate_transformation_mode", "half_pixel"),
                ];
            }
            Operator::AveragePool(window) | Operator::MaxPool(window) => {
                let [rows, columns] = window.padding;
                attributes = vec![
                    ints("kernel_shape", &window.kernel),
                    ints("strides", &window.stride),
                    ints("pads", &[rows, columns, rows, columns]),
                ];
            }
            Operator::Softmax { axis } | Operator::LogSoftmax { axis } => {
                attributes.push(int("axis", *axis));
            }
            Operator::ReduceMax { axis } | Operator::ReduceMin { axis } => {
                // The axes became an input later than those of a sum.
                if self.opset < AXES_AS_INPUT {
                    attributes.push(ints("axes", &[*axis]));
                } else {
                    input.push(self.ints(&[*axis as i64]));
                }
                attributes.push(int("keepdims", 1));
            }
            Operator::Select { axis, indices } => {
                let indices: Vec<i64> = indices.iter().map(|&index| index as i64).collect();
                input.push(self.ints(&indices));
                attributes.push(int("axis", *axis));
            }
            Operator::Where => {
                let holds = self.fresh("Cast");
                let condition = std::mem::replace(&mut input[0], holds.clone());
                self.push("Cast", vec![condition], &holds, vec![int("to", BOOL)]);
            }
            Operator::Greater | Operator::Less | Operator::Equal => {
                let holds = self.fresh(op_type(&node.operator));
                self.push(op_type(&node.operator), input, &holds, attributes);
                self.push("Cast", vec![holds], result, vec![int("to", FLOAT as usize)]);
                return;
            }
            Operator::Embedding => attributes.push(int("axis", 0)),
            Operator::OneHot { classes } => {
                let depth = self.constant(INT64, vec![], (*classes as i64).to_le_bytes().into());
                input.extend([depth, self.floats(&[0.0, 1.0])]);
            }
            _ => (),
        }
        self.push(op_type(&node.operator), input, result, attributes);
    }

    /// The factors of a resizing. A runtime multiplies the sizes by them and rounds down, so each is the smallest number for
    /// which that gives the size of the result.
    fn scales(&self, node: &Node) -> [f32; 4] {
        let from = self.graph.shape(node.operands[0]);
        let scale = |axis: usize| match (from[axis], node.shape[axis]) {
            (Dim::Fixed(from), Dim::Fixed(to)) => {
                let scale = to as f32 / from as f32;
                if from as f64 * f64::from(scale) < to as f64 {
                    scale.next_up()
                } else {
                    scale
                }
            }
            _ => 1.0,
        };
        [1.0, 1.0, scale(2), scale(3)]
    }

    fn affine(&mut self, x: String, scale: f64, shift: f64, result: &str) {
        if scale == -1.0 && shift == 0.0 {
            return self.push("Neg", vec![x], result, vec![]);
        }
        if shift == 0.0 {
            let scale = self.scalar(scale);
            return self.push("Mul", vec![x, scale], result, vec![]);
        }
        let mut scaled = x;
        if scale != 1.0 {
            let (scale, name) = (self.scalar(scale), self.fresh("Mul"));
            self.push("Mul", vec![scaled, scale], &name, vec![]);
            scaled = name;
        }
        let shift = self.scalar(shift);
        self.push("Add", vec![scaled, shift], result, vec![]);
    }
}
