//! Writes a graph as an ONNX file.

pub mod proto;

use crate::graph::{Dim, Graph, Node, Operand, Operator};
use prost::Message;
use proto::{
    Attribute, Dimension, Entry, GraphProto, Model, NodeProto, OperatorSet, Size, TensorProto, TensorShape,
    TensorType, TypeProto, ValueInfo,
};
use std::collections::{BTreeMap, BTreeSet};

/// Version of the format. ONNX Runtime reads it since 2021.
const IR_VERSION: i64 = 8;
/// Version of the operators.
pub const OPSET: i64 = 17;

/// Element types of ONNX.
const FLOAT: i32 = 1;
const INT64: i32 = 7;

/// The bytes of an ONNX file of a graph: format version 8, operators of version 17.
///
/// The number of examples is the symbol `N`. Values are `f32`, labels `i64`. `about` and `metadata` are stored with the
/// model.
///
/// ```
/// use engraft_export::{InputSpec, onnx, trace};
/// use engraft_layers::{Dense, Init, Mode, Module, Sequential};
/// let mut net = Sequential::<f32>::new().add("dense", Dense::new(4, 1, &mut Init::glorot(1)));
/// let graph = trace(&mut net, &[InputSpec::numbers("x", [4])], &["y"], |net, x| vec![net.forward(&x[0], Mode::Eval)])?;
/// let bytes = onnx::encode(&graph, "one dense layer", &[("license".into(), "CC0".into())]);
/// assert!(bytes.len() > 4 * 5);
/// # Ok::<(), engraft_export::ExportError>(())
/// ```
pub fn encode(graph: &Graph, about: &str, metadata: &[(String, String)]) -> Vec<u8> {
    let entry = |(key, value): &(String, String)| Entry {
        key: key.clone(),
        value: value.clone(),
    };
    let model = Model {
        ir_version: IR_VERSION,
        producer_name: "engraft".into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        doc_string: about.into(),
        graph: Some(Writer::new(graph).write()),
        opset_import: vec![OperatorSet {
            domain: String::new(),
            version: OPSET,
        }],
        metadata_props: metadata.iter().map(entry).collect(),
    };
    model.encode_to_vec()
}

struct Writer<'a> {
    graph: &'a Graph,
    /// Names of the results of the nodes.
    results: Vec<String>,
    nodes: Vec<NodeProto>,
    initializers: Vec<TensorProto>,
    /// Small constants that operators need, by their bytes.
    small: BTreeMap<(i32, Vec<i64>, Vec<u8>), String>,
    used: BTreeSet<String>,
}

impl<'a> Writer<'a> {
    fn new(graph: &'a Graph) -> Self {
        let inputs = graph.inputs.iter().map(|input| &input.name);
        let outputs = graph.outputs.iter().map(|(name, _)| name);
        let constants = graph.constants.iter().map(|constant| &constant.name);
        let used = inputs.chain(outputs).chain(constants).cloned().collect();
        Self {
            graph,
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

    fn write(mut self) -> GraphProto {
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
            Dim::Batch(_) => batch,
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
            Operator::AveragePool { factor } | Operator::MaxPool { factor } => {
                attributes = vec![
                    ints("kernel_shape", &[*factor; 2]),
                    ints("strides", &[*factor; 2]),
                ];
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

/// ONNX's name of an operator.
fn op_type(operator: &Operator) -> &'static str {
    match operator {
        Operator::Add => "Add",
        Operator::Sub => "Sub",
        Operator::Mul | Operator::Affine { .. } => "Mul",
        Operator::Div => "Div",
        Operator::Exp => "Exp",
        Operator::Log => "Log",
        Operator::Sqrt => "Sqrt",
        Operator::Abs => "Abs",
        Operator::Pow { .. } => "Pow",
        Operator::LeakyRelu { slope } if *slope == 0.0 => "Relu",
        Operator::LeakyRelu { .. } => "LeakyRelu",
        Operator::Clip { .. } => "Clip",
        Operator::Tanh => "Tanh",
        Operator::Sigmoid => "Sigmoid",
        Operator::Softplus => "Softplus",
        Operator::Linear => "Gemm",
        Operator::MatMul => "MatMul",
        Operator::Conv { .. } => "Conv",
        Operator::ConvTranspose { .. } => "ConvTranspose",
        Operator::Sum { .. } => "ReduceSum",
        Operator::Reshape => "Reshape",
        Operator::Transpose { .. } => "Transpose",
        Operator::Expand => "Expand",
        Operator::Slice { .. } => "Slice",
        Operator::Pad { .. } => "Pad",
        Operator::Concat { .. } => "Concat",
        Operator::Upsample { .. } => "Resize",
        Operator::AveragePool { .. } => "AveragePool",
        Operator::MaxPool { .. } => "MaxPool",
        Operator::Embedding => "Gather",
        Operator::OneHot { .. } => "OneHot",
    }
}

fn tensor(name: &str, data_type: i32, dims: Vec<i64>, raw_data: Vec<u8>) -> TensorProto {
    TensorProto {
        dims,
        data_type,
        name: name.into(),
        raw_data,
    }
}

fn value_info(name: &str, elem_type: i32, shape: &[Dim], doc_string: String) -> ValueInfo {
    let dimension = |dim: &Dim| Dimension {
        size: Some(match dim {
            Dim::Fixed(size) => Size::Value(*size as i64),
            Dim::Batch(1) => Size::Param("N".into()),
            Dim::Batch(factor) => Size::Param(format!("{factor}N")),
        }),
    };
    let shape = TensorShape {
        dim: shape.iter().map(dimension).collect(),
    };
    ValueInfo {
        name: name.into(),
        r#type: Some(TypeProto {
            tensor_type: Some(TensorType {
                elem_type,
                shape: Some(shape),
            }),
        }),
        doc_string,
    }
}

fn attribute(name: &str, kind: i32) -> Attribute {
    Attribute {
        name: name.into(),
        kind,
        ..Attribute::default()
    }
}

fn float(name: &str, value: f64) -> Attribute {
    Attribute {
        f: Some(value as f32),
        ..attribute(name, 1)
    }
}

fn int(name: &str, value: usize) -> Attribute {
    Attribute {
        i: Some(value as i64),
        ..attribute(name, 2)
    }
}

fn text(name: &str, value: &str) -> Attribute {
    Attribute {
        s: Some(value.into()),
        ..attribute(name, 3)
    }
}

fn ints(name: &str, values: &[usize]) -> Attribute {
    Attribute {
        ints: values.iter().map(|&value| value as i64).collect(),
        ..attribute(name, 7)
    }
}
