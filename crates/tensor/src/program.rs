//! A recorded computation that can be stored and run again without the code that made it.

use crate::grad_mode::no_grad;
use crate::operation::Operation;
use crate::ops::{
    affine_leaky_relu, bias_leaky_relu, concat, conv2d, conv2d_grouped, conv2d_input, select_where,
};
use crate::real::Real;
use crate::tensor::Tensor;
use crate::trace::behind;
use ndarray::{ArrayD, IxDyn};
use std::collections::BTreeMap;
use std::fmt;

/// A computation as a list of operations, each of which reads results of earlier nodes. The last node is the result.
///
/// [`Program::record`] makes it from the graph behind a tensor. It holds for the recorded shapes only, so a network is
/// recorded with as many examples as it will be run with.
///
/// ```
/// use engraft_tensor::{Program, Tensor};
///
/// let (w, x) = (Tensor::from_vec([2, 1], vec![2.0, 3.0]), Tensor::ones([1, 2]).as_leaf());
/// let program = Program::record(&[&x], &x.matmul(&w).tanh())?;
/// let y = program.run(&[&Tensor::from_vec([1, 2], vec![0.5, -0.5])]);
/// assert_eq!(y.item(), (-0.5_f32).tanh());
/// # Ok::<(), engraft_tensor::ProgramError>(())
/// ```
#[derive(Clone)]
pub struct Program<T: Real = f32> {
    nodes: Vec<Node<T>>,
    /// The nodes whose values are not read after this node.
    done: Vec<Vec<usize>>,
}

/// One node of a [`Program`].
#[derive(Clone)]
pub enum Node<T: Real = f32> {
    /// The input with this index.
    Input(usize),
    /// A tensor that does not depend on the inputs.
    Constant(Tensor<T>),
    /// An operation.
    Step(Step),
}

/// An operation of a [`Program`].
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What it computes.
    pub operation: Operation,
    /// The earlier nodes that it reads.
    pub operands: Vec<usize>,
    /// Shape of the result.
    pub shape: Vec<usize>,
}

/// Why there is no such program.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProgramError {
    /// The graph has an operation that does not say what it computes, see [`Op::operation`](crate::Op::operation).
    NotStored {
        /// Name of the operation.
        operation: &'static str,
    },
    /// A node reads a node that does not come before it, or has the wrong number of inputs, or there is no node.
    Node {
        /// Index of the node.
        index: usize,
    },
}

impl fmt::Display for ProgramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotStored { operation } => {
                write!(f, "the operation {operation:?} cannot be stored and run again")
            }
            Self::Node { index } => write!(f, "node {index} of the program has wrong inputs"),
        }
    }
}

impl std::error::Error for ProgramError {}

impl<T: Real> Program<T> {
    /// The computation of `output` from leaves. Everything that does not depend on recorded leaves is a constant; other
    /// leaves than `inputs`, such as trainable parameters, are constants too.
    ///
    /// # Errors
    /// [`ProgramError::NotStored`] if an operation cannot be stored.
    pub fn record(inputs: &[&Tensor<T>], output: &Tensor<T>) -> Result<Self, ProgramError> {
        // The order of the ids has every operand before its use, and the output last.
        let seen = behind(&[output], inputs);
        let index: BTreeMap<u64, usize> = seen.keys().enumerate().map(|(i, &id)| (id, i)).collect();
        let node = |x: &Tensor<T>| {
            if let Some(i) = inputs.iter().position(|input| input.id() == x.id()) {
                return Ok(Node::Input(i));
            }
            let Some(origin) = x.origin() else {
                return Ok(Node::Constant(x.detach()));
            };
            let (operation, operands) = origin.as_data();
            Ok(Node::Step(Step {
                operation: operation.ok_or(ProgramError::NotStored {
                    operation: origin.name(),
                })?,
                operands: operands.iter().map(|x| index[&x.id()]).collect(),
                shape: x.shape().to_vec(),
            }))
        };
        Self::new(seen.values().map(node).collect::<Result<_, _>>()?)
    }

    /// The program of these nodes.
    ///
    /// # Errors
    /// [`ProgramError::Node`] if a node reads a later one or has the wrong number of inputs, or there is no node.
    pub fn new(nodes: Vec<Node<T>>) -> Result<Self, ProgramError> {
        let mut last_use: Vec<usize> = (0..nodes.len()).collect();
        for (index, node) in nodes.iter().enumerate() {
            let Node::Step(Step {
                operation, operands, ..
            }) = node
            else {
                continue;
            };
            let is_count = operation
                .operand_count()
                .map_or(!operands.is_empty(), |n| n == operands.len());
            if !is_count || operands.iter().any(|&operand| operand >= index) {
                return Err(ProgramError::Node { index });
            }
            operands.iter().for_each(|&operand| last_use[operand] = index);
        }
        let Some(last) = nodes.len().checked_sub(1) else {
            return Err(ProgramError::Node { index: 0 });
        };
        let mut done = vec![Vec::new(); nodes.len()];
        for (node, &at) in last_use.iter().enumerate().filter(|&(node, _)| node != last) {
            done[at].push(node);
        }
        Ok(Self { nodes, done })
    }

    /// The nodes, in the order of computation.
    pub fn nodes(&self) -> &[Node<T>] {
        &self.nodes
    }

    /// Runs the program on its inputs. Nothing is recorded.
    ///
    /// # Panics
    /// If an input is missing or its shape does not fit an operation.
    #[must_use]
    #[track_caller]
    pub fn run(&self, inputs: &[&Tensor<T>]) -> Tensor<T> {
        let mut values: Vec<Option<Tensor<T>>> = vec![None; self.nodes.len()];
        no_grad(|| {
            for (index, node) in self.nodes.iter().enumerate() {
                values[index] = Some(match node {
                    Node::Input(i) => inputs[*i].clone(),
                    Node::Constant(value) => value.clone(),
                    Node::Step(step) => evaluate(step, &values),
                });
                self.done[index].iter().for_each(|&node| values[node] = None);
            }
        });
        values
            .pop()
            .flatten()
            .expect("a program has a node, and the value of the last one stays")
    }

    /// The same program with everything computed that does not depend on an input.
    #[must_use]
    pub fn folded(self) -> Self {
        let mut nodes: Vec<Node<T>> = Vec::with_capacity(self.nodes.len());
        let mut values: Vec<Option<Tensor<T>>> = Vec::with_capacity(self.nodes.len());
        for node in self.nodes {
            let value = match &node {
                Node::Input(_) => None,
                Node::Constant(value) => Some(value.clone()),
                Node::Step(step) => {
                    let is_constant = step.operands.iter().all(|&operand| values[operand].is_some());
                    is_constant.then(|| no_grad(|| evaluate(step, &values)))
                }
            };
            nodes.push(value.clone().map_or(node, Node::Constant));
            values.push(value);
        }
        // Folded operands are not needed any more.
        let mut used = vec![false; nodes.len()];
        let mut places = vec![0; nodes.len()];
        used[nodes.len() - 1] = true;
        for node in &nodes {
            if let Node::Step(step) = node {
                step.operands.iter().for_each(|&operand| used[operand] = true);
            }
        }
        let mut kept = Vec::new();
        for (index, node) in nodes.into_iter().enumerate().filter(|&(index, _)| used[index]) {
            places[index] = kept.len();
            kept.push(match node {
                Node::Step(mut step) => {
                    step.operands
                        .iter_mut()
                        .for_each(|operand| *operand = places[*operand]);
                    Node::Step(step)
                }
                other => other,
            });
        }
        Self::new(kept).expect("the order of the nodes is unchanged")
    }
}

/// Indices with a shape, as [`Tensor::gather`] reads them.
fn of_shape(shape: &[usize], index: &[usize]) -> ArrayD<usize> {
    ArrayD::from_shape_vec(IxDyn(shape), index.to_vec()).expect("one index for each element")
}

/// The result of a step on the values of earlier nodes.
fn evaluate<T: Real>(step: &Step, values: &[Option<Tensor<T>>]) -> Tensor<T> {
    let Step { operands, shape, .. } = step;
    let value = |i: usize| {
        values[operands[i]]
            .as_ref()
            .expect("a value stays until its last use")
    };
    let x = value(0);
    match &step.operation {
        Operation::Add => x + value(1),
        Operation::Sub => x - value(1),
        Operation::Mul => x * value(1),
        Operation::Div => x / value(1),
        // As it was computed: a factor of 1 and a summand of 0 are left out.
        Operation::Affine { scale, shift } => match (*scale == 1.0, *shift == 0.0) {
            (true, _) => x + T::from_f64(*shift),
            (_, true) => x * T::from_f64(*scale),
            _ => x * T::from_f64(*scale) + T::from_f64(*shift),
        },
        Operation::Exp => x.exp(),
        Operation::Ln => x.ln(),
        Operation::Sqrt => x.sqrt(),
        Operation::Abs => x.abs(),
        Operation::Powf { exponent } => x.powf(*exponent),
        Operation::LeakyRelu { slope } => x.leaky_relu(*slope),
        Operation::ClampMin { floor } => x.clamp_min(*floor),
        Operation::Tanh => x.tanh(),
        Operation::Sigmoid => x.sigmoid(),
        Operation::Softplus => x.softplus(),
        Operation::Identity => x.clone(),
        Operation::MatMul {
            transposed: [false, false],
        } => x.matmul(value(1)),
        Operation::MatMul {
            transposed: [false, true],
        } => x.matmul_nt(value(1)),
        Operation::MatMul {
            transposed: [true, false],
        } => x.matmul_tn(value(1)),
        Operation::MatMul {
            transposed: [true, true],
        } => value(1).matmul(x).transpose(),
        Operation::Conv2d(geometry) => conv2d(x, value(1), geometry),
        Operation::Conv2dInput(geometry) => conv2d_input(x, value(1), geometry),
        Operation::BiasLeakyRelu { slope } => bias_leaky_relu(x, value(1), *slope),
        Operation::AffineLeakyRelu { slope } => affine_leaky_relu(x, value(1), value(2), *slope),
        Operation::SumTo => x.sum_to(shape),
        Operation::BroadcastTo => x.broadcast_to(shape),
        Operation::Reshape => x.reshape(shape),
        Operation::Permute { order } => x.permute(order),
        Operation::Narrow { axis, start } => x.narrow(*axis, *start, shape[*axis]),
        Operation::Pad { axis, before } => x.pad(*axis, *before, shape[*axis] - before - x.shape()[*axis]),
        Operation::Concat { axis } => {
            let all: Vec<&Tensor<T>> = (0..operands.len()).map(value).collect();
            concat(&all, *axis)
        }
        Operation::UpsampleNearest { factor } => x.upsample_nearest(*factor),
        Operation::SumPool { factor } => x.sum_pool(*factor),
        Operation::MaxPool { factor } => x.max_pool(*factor),
        Operation::Blur => x.blur(),
        Operation::MaxPoolWindows {
            kernel,
            stride,
            padding,
        } => x.max_pool_windows(*kernel, *stride, *padding),
        Operation::AvgPoolWindows {
            kernel,
            stride,
            padding,
        } => x.avg_pool_inside(*kernel, *stride, *padding),
        Operation::AdaptiveAvgPool => x.adaptive_avg_pool([shape[1], shape[2]]),
        Operation::ResizeBilinear => x.resize_bilinear([shape[1], shape[2]]),
        Operation::Conv2dGrouped { geometry, groups } => conv2d_grouped(x, value(1), geometry, *groups),
        Operation::BatchMatMul {
            transposed: [false, false],
        } => x.batch_matmul(value(1)),
        Operation::BatchMatMul {
            transposed: [false, true],
        } => x.batch_matmul_nt(value(1)),
        Operation::BatchMatMul {
            transposed: [true, false],
        } => x.batch_matmul_tn(value(1)),
        Operation::BatchMatMul {
            transposed: [true, true],
        } => value(1).batch_matmul(x).permute(&[0, 2, 1]),
        Operation::Sin => x.sin(),
        Operation::Cos => x.cos(),
        Operation::Erf => x.erf(),
        Operation::Softmax { axis } => x.softmax(*axis),
        Operation::LogSoftmax { axis } => x.log_softmax(*axis),
        Operation::Greater => x.greater(value(1)),
        Operation::Less => x.less(value(1)),
        Operation::Equals => x.equals(value(1)),
        Operation::SelectWhere => select_where(x, value(1), value(2)),
        Operation::Maximum => x.maximum(value(1)),
        Operation::Minimum => x.minimum(value(1)),
        Operation::Clip { low, high } => x.clip(*low, *high),
        Operation::MaxKeep { axis } => x.max_keep(*axis),
        Operation::MinKeep { axis } => x.min_keep(*axis),
        Operation::IndexSelect { axis, indices } => x.index_select(*axis, indices),
        Operation::IndexAdd { axis, indices } => x.index_add(*axis, indices, shape[*axis]),
        Operation::Gather { axis, index } => x.gather(*axis, &of_shape(shape, index).view()),
        Operation::ScatterAdd { axis, index } => {
            x.scatter_add(*axis, &of_shape(x.shape(), index).view(), shape[*axis])
        }
    }
}
