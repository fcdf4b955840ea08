//! The Python file: declarations of layers and parameters, and the forward pass as one line for each operator.

use super::TorchNetwork;
use super::functions::functional;
use super::names::Names;
use super::text::{add_pair, arguments_of, pair, sizes};
use crate::error::ExportError;
use crate::graph::{Dim, Graph, Node, Operand};
use crate::operator::Operator;
use engraft_layers::StateDict;
use engraft_tensor::Tensor;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// Examples that the function `example` makes.
const EXAMPLES: usize = 4;

/// Writes the class, with its weights.
pub(super) fn write(graph: &Graph, class: &str, about: &str) -> Result<TorchNetwork, ExportError> {
    let mut writer = Writer {
        graph,
        names: Names::default(),
        declared: BTreeMap::new(),
        order: Vec::new(),
        layers: BTreeMap::new(),
        parameters: BTreeMap::new(),
        tensors: BTreeMap::new(),
        lines: Vec::new(),
    };
    for (i, node) in graph.nodes.iter().enumerate() {
        let expression = writer.expression(node)?;
        let line = format!("x{i} = {expression}  # {}", sizes(&node.shape, "N"));
        writer.lines.push(line);
    }
    let outputs: Vec<String> = graph
        .outputs
        .iter()
        .map(|(_, operand)| writer.value(*operand))
        .collect();
    writer.lines.push(format!("return {}", outputs.join(", ")));
    let state = StateDict::from_tensors(std::mem::take(&mut writer.tensors)).with_metadata("format", "pt");
    Ok(TorchNetwork {
        source: writer.file(class, about),
        state,
    })
}

struct Writer<'a> {
    graph: &'a Graph,
    names: Names,
    /// What each attribute is, by dotted name.
    declared: BTreeMap<String, String>,
    /// The dotted names in the order of the forward pass.
    order: Vec<String>,
    /// Layers by declaration, weight and bias; a layer that is used twice is declared once.
    layers: BTreeMap<(String, Option<usize>, Option<usize>), String>,
    /// Names of constants that belong to no layer.
    parameters: BTreeMap<usize, String>,
    tensors: BTreeMap<String, Tensor>,
    lines: Vec<String>,
}

impl Writer<'_> {
    fn value(&mut self, operand: Operand) -> String {
        match operand {
            Operand::Input(i) => self.graph.inputs[i].name.clone(),
            Operand::Node(i) => format!("x{i}"),
            Operand::Constant(i) => format!("self.{}", self.parameter(i)),
        }
    }

    /// The name of a constant that is a parameter of its own.
    fn parameter(&mut self, index: usize) -> String {
        if let Some(name) = self.parameters.get(&index) {
            return name.clone();
        }
        let constant = &self.graph.constants[index];
        let name = self.names.unique(&constant.name);
        let shape = constant
            .value
            .shape()
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", ");
        self.declare(name.clone(), format!("nn.Parameter(torch.empty({shape}))"));
        self.tensors.insert(name.clone(), constant.value.clone());
        self.parameters.insert(index, name.clone());
        name
    }

    fn declare(&mut self, name: String, what: String) {
        self.order.push(name.clone());
        self.declared.insert(name, what);
    }

    /// The layer with this declaration and the weight and bias of a node.
    fn layer(
        &mut self,
        declaration: String,
        weight: Operand,
        bias: Option<&Operand>,
    ) -> Result<String, ExportError> {
        let index = |operand: Operand| match operand {
            Operand::Constant(i) => Ok(i),
            _ => Err(ExportError::NotTraceable("a weight depends on an input".into())),
        };
        let (weight, bias) = (index(weight)?, bias.map(|&bias| index(bias)).transpose()?);
        let key = (declaration.clone(), Some(weight), bias);
        if let Some(name) = self.layers.get(&key) {
            return Ok(name.clone());
        }
        let constants = &self.graph.constants;
        let full = &constants[weight].name;
        let name = full
            .strip_suffix("weight")
            .map_or(full.as_str(), |stem| stem.trim_end_matches('.'));
        let name = self.names.unique(if name.is_empty() { "layer" } else { name });
        self.declare(name.clone(), declaration);
        self.tensors
            .insert(format!("{name}.weight"), constants[weight].value.clone());
        if let Some(bias) = bias {
            self.tensors
                .insert(format!("{name}.bias"), constants[bias].value.clone());
        }
        self.layers.insert(key, name.clone());
        Ok(name)
    }

    /// The sizes of a constant.
    fn constant_shape(&self, operand: Operand) -> Vec<usize> {
        let size = |dim: Dim| match dim {
            Dim::Fixed(size) | Dim::Batch(size) | Dim::Share(size) => size,
        };
        self.graph.shape(operand).into_iter().map(size).collect()
    }

    /// The result of a node as a Python expression.
    fn expression(&mut self, node: &Node) -> Result<String, ExportError> {
        let operands = &node.operands;
        // Weights are part of their layers.
        let of_layer = match &node.operator {
            Operator::Linear | Operator::Conv { .. } | Operator::ConvTranspose { .. } => 1,
            Operator::Embedding => 0,
            _ => operands.len(),
        };
        let values: Vec<String> = operands[..of_layer]
            .iter()
            .map(|&operand| self.value(operand))
            .collect();
        let x = values.first().cloned().unwrap_or_default();
        Ok(match &node.operator {
            Operator::Linear => {
                let shape = self.constant_shape(operands[1]);
                let bias = if operands.len() > 2 { "" } else { ", bias=False" };
                let layer = format!("nn.Linear({}, {}{bias})", shape[1], shape[0]);
                format!("self.{}({x})", self.layer(layer, operands[1], operands.get(2))?)
            }
            Operator::Embedding => {
                let shape = self.constant_shape(operands[0]);
                let layer = format!("nn.Embedding({}, {})", shape[0], shape[1]);
                let labels = self.value(operands[1]);
                format!("self.{}({labels})", self.layer(layer, operands[0], None)?)
            }
            Operator::Conv { .. } => self.convolution(node, &x)?,
            Operator::ConvTranspose { .. } => self.transposed_convolution(node, &x)?,
            operator => functional(operator, &values, &node.shape)
                .ok_or_else(|| ExportError::NotTraceable(format!("{operator:?} has no expression")))?,
        })
    }

    fn convolution(&mut self, node: &Node, x: &str) -> Result<String, ExportError> {
        let Operator::Conv {
            stride,
            dilation,
            pads,
            groups,
        } = &node.operator
        else {
            return Ok(String::new());
        };
        let [top, left, bottom, right] = *pads;
        let is_even = top == bottom && left == right;
        let mut layer = self.kernel("Conv2d", node, *groups, [false, true]);
        add_pair(&mut layer, "stride", *stride, 1);
        if is_even {
            add_pair(&mut layer, "padding", [top, left], 0);
        }
        add_pair(&mut layer, "dilation", *dilation, 1);
        if *groups != 1 {
            let _ = write!(layer, ", groups={groups}");
        }
        let name = self.layer(layer + ")", node.operands[1], node.operands.get(2))?;
        // PyTorch pads both sides equally, so other paddings are written out.
        Ok(match is_even {
            true => format!("self.{name}({x})"),
            false => format!("self.{name}(F.pad({x}, ({left}, {right}, {top}, {bottom})))"),
        })
    }

    fn transposed_convolution(&mut self, node: &Node, x: &str) -> Result<String, ExportError> {
        let Operator::ConvTranspose {
            stride,
            dilation,
            pads,
            output_padding,
        } = &node.operator
        else {
            return Ok(String::new());
        };
        let [top, left, bottom, right] = *pads;
        let cut = [top.min(bottom), left.min(right)];
        let mut layer = self.kernel("ConvTranspose2d", node, 1, [true, false]);
        add_pair(&mut layer, "stride", *stride, 1);
        add_pair(&mut layer, "padding", cut, 0);
        add_pair(&mut layer, "output_padding", *output_padding, 0);
        add_pair(&mut layer, "dilation", *dilation, 1);
        let name = self.layer(layer + ")", node.operands[1], node.operands.get(2))?;
        let size = |axis: usize| match node.shape[axis] {
            Dim::Fixed(size) | Dim::Batch(size) | Dim::Share(size) => size,
        };
        // PyTorch cuts both sides equally; the rest is cut by indices.
        let range = |before: usize, after: usize, axis: usize| match (before, after) {
            (0, 0) => ":".to_string(),
            (0, _) => format!(":{}", size(axis)),
            _ => format!("{before}:{}", before + size(axis)),
        };
        let rows = range(top - cut[0], bottom - cut[0], 2);
        let columns = range(left - cut[1], right - cut[1], 3);
        let rest = match (rows.as_str(), columns.as_str()) {
            (":", ":") => String::new(),
            _ => format!("[:, :, {rows}, {columns}]"),
        };
        Ok(format!("self.{name}({x}){rest}"))
    }

    /// The start of the declaration of a convolution. `order` tells on which axis of the weight the channels are.
    fn kernel(&self, class: &str, node: &Node, groups: usize, order: [bool; 2]) -> String {
        let shape = self.constant_shape(node.operands[1]);
        let channels = if order[0] {
            [shape[0], shape[1]]
        } else {
            [shape[1] * groups, shape[0]]
        };
        let bias = if node.operands.len() > 2 {
            ""
        } else {
            ", bias=False"
        };
        let [from, to] = channels;
        format!("nn.{class}({from}, {to}, {}{bias}", pair([shape[2], shape[3]]))
    }

    /// The lines that declare the attributes, parents first.
    fn declarations(&self) -> Vec<String> {
        let (mut lines, mut done) = (Vec::new(), BTreeSet::new());
        for name in &self.order {
            for (end, _) in name.match_indices('.').chain([(name.len(), "")]) {
                let prefix = &name[..end];
                if done.insert(prefix.to_string()) {
                    let what = self.declared.get(prefix).map_or("nn.Module()", String::as_str);
                    lines.push(format!("self.{prefix} = {what}"));
                }
            }
        }
        lines
    }

    fn file(&self, class: &str, about: &str) -> String {
        let about = about.replace('\\', "/").replace("\"\"\"", "'''");
        let inputs: Vec<&str> = self
            .graph
            .inputs
            .iter()
            .map(|input| input.name.as_str())
            .collect();
        let describe = |name: &str, shape: &[Dim], classes: Option<usize>| {
            let kind = classes.map_or(String::new(), |classes| {
                format!(" of integers from 0 to {}", classes - 1)
            });
            format!("`{name}` {}{kind}", sizes(shape, "N"))
        };
        let given: Vec<String> = self
            .graph
            .inputs
            .iter()
            .map(|input| describe(&input.name, &input.shape, input.classes))
            .collect();
        let outputs = self.graph.outputs.iter();
        let results: Vec<String> = outputs
            .map(|(name, operand)| describe(name, &self.graph.shape(*operand), None))
            .collect();
        let examples = self.graph.inputs.iter().map(|input| match input.classes {
            Some(classes) => format!("torch.arange({}) % {classes}", arguments_of(&input.shape)),
            None => format!("torch.randn({})", arguments_of(&input.shape)),
        });
        let examples: Vec<String> = examples.collect();
        let indent = |lines: &[String]| {
            lines
                .iter()
                .map(|line| format!("        {line}\n"))
                .collect::<String>()
        };
        let (declarations, lines) = (indent(&self.declarations()), indent(&self.lines));
        format!(
            "\"\"\"{about}\n\nWritten by engraft {version}. Batch norms are part of the weights before them where that is possible.\n\
             The weights are in the file of the same name with the extension .safetensors.\n\"\"\"\n\n\
             import pathlib\n\nimport torch\nimport torch.nn.functional as F\nfrom safetensors.torch import load_file\nfrom torch import nn\n\n\n\
             class {class}(nn.Module):\n    \"\"\"{given} to {results}.\"\"\"\n\n    \
             def __init__(self):\n        super().__init__()\n{declarations}\n    \
             def forward(self, {inputs}):\n{lines}\n\n\
             def load(path=None):\n    \"\"\"The network with its weights, for evaluation.\"\"\"\n    \
             network = {class}()\n    \
             network.load_state_dict(load_file(path or pathlib.Path(__file__).with_suffix(\".safetensors\")))\n    \
             return network.eval()\n\n\n\
             def example(n={count}):\n    \"\"\"Inputs of `n` examples.\"\"\"\n    return ({examples},)\n\n\n\
             if __name__ == \"__main__\":\n    with torch.no_grad():\n        print(load()(*example()))\n",
            version = env!("CARGO_PKG_VERSION"),
            given = given.join(", "),
            results = results.join(", "),
            inputs = inputs.join(", "),
            examples = examples.join(", "),
            count = self.graph.batch_multiple().max(EXAMPLES),
        )
    }
}
