//! Building a graph node by node, with constants by name.

use crate::graph::{Constant, Dim, Graph, Input, Node, Operand};
use crate::operator::Operator;
use engraft_tensor::Tensor;
use std::collections::{BTreeMap, BTreeSet};

/// A graph under construction.
pub(crate) struct Builder<'a> {
    graph: Graph,
    /// Names of the parameters.
    names: &'a [String],
    used: BTreeSet<String>,
    /// Number of layers whose weight has no name of a parameter.
    unnamed: usize,
    /// The one-hot rows of each input of labels.
    rows: BTreeMap<usize, Operand>,
}

impl<'a> Builder<'a> {
    pub(crate) fn new(inputs: Vec<Input>, names: &'a [String]) -> Self {
        Self {
            graph: Graph {
                inputs,
                constants: Vec::new(),
                nodes: Vec::new(),
                outputs: Vec::new(),
            },
            names,
            used: BTreeSet::new(),
            unnamed: 0,
            rows: BTreeMap::new(),
        }
    }

    pub(crate) fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The graph with these outputs, without what they do not need.
    pub(crate) fn finish(mut self, outputs: Vec<(String, Operand)>) -> Graph {
        self.graph.outputs = outputs;
        self.graph.prune();
        self.graph
    }

    pub(crate) fn push(&mut self, operator: Operator, operands: Vec<Operand>, shape: Vec<Dim>) -> Operand {
        self.graph.nodes.push(Node {
            operator,
            operands,
            shape,
        });
        Operand::Node(self.graph.nodes.len() - 1)
    }

    /// An input as real numbers: labels become one-hot rows.
    pub(crate) fn input(&mut self, index: usize) -> Operand {
        let input = &self.graph.inputs[index];
        let Some(classes) = input.classes else {
            return Operand::Input(index);
        };
        if let Some(rows) = self.rows.get(&index) {
            return *rows;
        }
        let shape = vec![input.shape[0], Dim::Fixed(classes)];
        let rows = self.push(Operator::OneHot { classes }, vec![Operand::Input(index)], shape);
        self.rows.insert(index, rows);
        rows
    }

    /// A constant that was computed from these parameters. It has the name of the first of them that is free, or one made of
    /// `otherwise`: the weights and biases of layers without names are `layer1.weight`, `layer1.bias` and so on.
    pub(crate) fn constant(&mut self, value: Tensor, parameters: &[usize], otherwise: &str) -> Operand {
        let same = |constant: &Constant| {
            constant.value.shape() == value.shape()
                && std::ptr::eq(constant.value.as_slice().as_ptr(), value.as_slice().as_ptr())
        };
        if let Some(at) = self.graph.constants.iter().position(same) {
            return Operand::Constant(at);
        }
        let names = parameters.iter().map(|&i| &self.names[i]);
        let mut base = names.clone().next().cloned().unwrap_or_else(|| otherwise.into());
        if parameters.is_empty() && ["weight", "bias"].contains(&otherwise) {
            self.unnamed += usize::from(otherwise == "weight");
            base = format!("layer{}.{otherwise}", self.unnamed);
        }
        let free = names
            .clone()
            .chain([&base])
            .find(|name| !self.used.contains(*name))
            .cloned();
        let numbered = || {
            (1..)
                .map(|i| format!("{base}_{i}"))
                .find(|name| !self.used.contains(name))
        };
        let name = free.or_else(numbered).unwrap_or_else(|| otherwise.into());
        self.used.insert(name.clone());
        self.graph.constants.push(Constant { name, value });
        Operand::Constant(self.graph.constants.len() - 1)
    }

    /// `scale · x + shift`, together with such a map before it.
    pub(crate) fn affine(&mut self, x: Operand, scale: f64, shift: f64) -> Operand {
        let mut map = (x, scale, shift);
        if let Operand::Node(i) = x
            && let Operator::Affine { scale: a, shift: b } = self.graph.nodes[i].operator
        {
            map = (self.graph.nodes[i].operands[0], scale * a, scale * b + shift);
        }
        let (x, scale, shift) = map;
        if ((scale - 1.0) as f32).abs() < f32::EPSILON && shift == 0.0 {
            return x;
        }
        let shape = self.graph.shape(x);
        self.push(Operator::Affine { scale, shift }, vec![x], shape)
    }

    /// Whether an operand is the result of a layer that can have a bias and has none.
    pub(crate) fn takes_bias(&self, operand: Operand) -> bool {
        let Operand::Node(i) = operand else { return false };
        let node = &self.graph.nodes[i];
        let is_layer = matches!(
            node.operator,
            Operator::Linear | Operator::Conv { .. } | Operator::ConvTranspose { .. }
        );
        is_layer && node.operands.len() == 2
    }

    /// Adds a bias to a layer that [takes one](Self::takes_bias).
    pub(crate) fn add_bias(&mut self, operand: Operand, bias: Operand) {
        if let Operand::Node(i) = operand {
            self.graph.nodes[i].operands.push(bias);
        }
    }
}
