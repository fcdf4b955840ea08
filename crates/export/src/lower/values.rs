//! The values of a trace as operands of a graph under construction.

use super::layout::{TO_CHANNELS_FIRST, TO_CHANNELS_LAST, in_graph, is_layout_free};
use crate::builder::Builder;
use crate::error::ExportError;
use crate::graph::{Dim, Operand, fixed};
use crate::operator::Operator;
use engraft_tensor::{Trace, TraceNode, TraceValue};

/// What is known of a trace while its nodes are lowered one after the other.
pub(super) struct Values<'a> {
    pub(super) trace: &'a Trace<f32>,
    /// The sizes of each node's result, in this project's layout.
    pub(super) shapes: Vec<Vec<Dim>>,
    /// How often each node's result is used.
    pub(super) uses: Vec<usize>,
    /// The result of each node in the graph.
    pub(super) results: Vec<Operand>,
    pub(super) builder: Builder<'a>,
}

/// A node that is lowered.
pub(super) struct Site<'a> {
    pub(super) node: &'a TraceNode<f32>,
    /// Its place in the trace.
    pub(super) index: usize,
    /// The sizes of its result, in this project's layout.
    pub(super) shape: Vec<Dim>,
    /// The same in the layout of the graph.
    pub(super) here: Vec<Dim>,
}

impl<'a> Site<'a> {
    pub(super) fn new(node: &'a TraceNode<f32>, index: usize, shape: Vec<Dim>) -> Self {
        let here = in_graph(&shape);
        Self {
            node,
            index,
            shape,
            here,
        }
    }

    pub(super) fn x(&self) -> &'a TraceValue<f32> {
        &self.node.operands[0]
    }

    /// The error that names the operation.
    pub(super) fn refuse(&self, reason: &str) -> ExportError {
        ExportError::Operation {
            operation: self.node.name.into(),
            index: self.index,
            reason: reason.into(),
        }
    }

    /// The error for operations that have no counterpart.
    pub(super) fn unknown(&self) -> ExportError {
        self.refuse("has no counterpart in the exported formats")
    }
}

impl Values<'_> {
    /// The sizes of a value, in this project's layout.
    pub(super) fn shape(&self, value: &TraceValue<f32>) -> Vec<Dim> {
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
    pub(super) fn operand(&mut self, value: &TraceValue<f32>) -> Operand {
        match value {
            TraceValue::Node(i) => self.results[*i],
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
    pub(super) fn broadcast(&mut self, value: &TraceValue<f32>, rank: usize) -> Operand {
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
    pub(super) fn reshape(&mut self, mut operand: Operand, from: &[Dim], to: &[Dim]) -> Operand {
        if from.len() == 4 && !is_layout_free(from) {
            operand = self.transpose(operand, &TO_CHANNELS_LAST, from.into());
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
            operand = self.transpose(operand, &TO_CHANNELS_FIRST, shape);
        }
        operand
    }

    /// A permutation of axes to a shape in the layout of the graph.
    pub(super) fn transpose(&mut self, x: Operand, order: &[usize], shape: Vec<Dim>) -> Operand {
        let order = order.to_vec();
        self.builder.push(Operator::Transpose { order }, vec![x], shape)
    }

    /// An operator on the node's only operand.
    pub(super) fn unary(&mut self, site: &Site<'_>, operator: Operator) -> Operand {
        let x = self.operand(site.x());
        self.builder.push(operator, vec![x], site.here.clone())
    }

    /// An operator on all operands of the node, with broadcasting.
    pub(super) fn broadcasting(&mut self, site: &Site<'_>, operator: Operator) -> Operand {
        let rank = site.shape.len();
        let values = site.node.operands.iter();
        let operands = values.map(|value| self.broadcast(value, rank)).collect();
        self.builder.push(operator, operands, site.here.clone())
    }
}
