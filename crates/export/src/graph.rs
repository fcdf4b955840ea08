//! A network as a graph of standard operators, with images in PyTorch's and ONNX's layout.

use crate::operator::Operator;
use engraft_tensor::Tensor;

/// The operators between the inputs and the outputs of a network, in an order in which they can be computed.
///
/// Images are `[n, channels, height, width]`. Weights have PyTorch's layout, which is also ONNX's: `[outputs, inputs]` of a
/// dense layer, `[outputs, inputs, height, width]` of a convolution, `[inputs, outputs, height, width]` of a transposed one.
/// [`trace`](crate::trace) makes a graph.
#[derive(Clone, Debug)]
pub struct Graph {
    /// The inputs.
    pub inputs: Vec<Input>,
    /// Weights and other fixed numbers.
    pub constants: Vec<Constant>,
    /// The operators.
    pub nodes: Vec<Node>,
    /// The outputs by name.
    pub outputs: Vec<(String, Operand)>,
}

/// An input of a [`Graph`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Its name.
    pub name: String,
    /// Its sizes.
    pub shape: Vec<Dim>,
    /// Number of classes, if the input has integer labels instead of real numbers.
    pub classes: Option<usize>,
}

/// A size of a tensor of a [`Graph`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dim {
    /// The same for every batch.
    Fixed(usize),
    /// The number of examples times this factor.
    Batch(usize),
    /// The number of examples divided by this number. The graph is for multiples of it only.
    Share(usize),
}

/// Fixed numbers of a [`Graph`].
#[derive(Clone, Debug)]
pub struct Constant {
    /// The dotted name of the parameter from which it comes, or a name of its own. Names are unique.
    pub name: String,
    /// Its value.
    pub value: Tensor,
}

/// Where an operand comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operand {
    /// An input, by index.
    Input(usize),
    /// A constant, by index.
    Constant(usize),
    /// The result of a node, by index.
    Node(usize),
}

/// One operator with its operands.
#[derive(Clone, Debug)]
pub struct Node {
    /// What is computed.
    pub operator: Operator,
    /// From what.
    pub operands: Vec<Operand>,
    /// The sizes of the result.
    pub shape: Vec<Dim>,
}

impl Dim {
    /// Whether it depends on the number of examples.
    pub fn grows(&self) -> bool {
        !matches!(self, Self::Fixed(_))
    }
}

impl Graph {
    /// The number of examples must be a multiple of this number, usually 1.
    pub fn batch_multiple(&self) -> usize {
        let sizes = self.nodes.iter().flat_map(|node| &node.shape);
        let shares = sizes.filter_map(|dim| match dim {
            Dim::Share(part) => Some(*part),
            _ => None,
        });
        shares.fold(1, least_common_multiple)
    }

    /// The sizes of an operand.
    pub fn shape(&self, operand: Operand) -> Vec<Dim> {
        match operand {
            Operand::Input(i) => self.inputs[i].shape.clone(),
            Operand::Node(i) => self.nodes[i].shape.clone(),
            Operand::Constant(i) => fixed(self.constants[i].value.shape()),
        }
    }

    /// Number of numbers in the constants.
    pub fn parameter_count(&self) -> usize {
        self.constants.iter().map(|constant| constant.value.len()).sum()
    }

    /// Clips an output to `[low, high]`, unless it is the result of a hyperbolic tangent and cannot exceed `[-1, 1]`.
    pub(crate) fn clip_output(&mut self, index: usize, low: f64, high: f64) {
        let operand = self.outputs[index].1;
        let is_tanh = matches!(operand, Operand::Node(i) if self.nodes[i].operator == Operator::Tanh);
        if is_tanh && low <= -1.0 && high >= 1.0 {
            return;
        }
        let shape = self.shape(operand);
        let high = Some(high);
        self.nodes.push(Node {
            operator: Operator::Clip { low, high },
            operands: vec![operand],
            shape,
        });
        self.outputs[index].1 = Operand::Node(self.nodes.len() - 1);
    }

    /// Removes nodes and constants that no output needs.
    pub(crate) fn prune(&mut self) {
        let mut needed = vec![false; self.nodes.len()];
        let mut constants = vec![false; self.constants.len()];
        let mut pending: Vec<Operand> = self.outputs.iter().map(|(_, operand)| *operand).collect();
        while let Some(operand) = pending.pop() {
            match operand {
                Operand::Input(_) => (),
                Operand::Constant(i) => constants[i] = true,
                Operand::Node(i) if needed[i] => (),
                Operand::Node(i) => {
                    needed[i] = true;
                    pending.extend(&self.nodes[i].operands);
                }
            }
        }
        let (nodes, kept) = (places(&needed), places(&constants));
        let moved = |operand: &mut Operand| match operand {
            Operand::Input(_) => (),
            Operand::Node(i) => *i = nodes[*i],
            Operand::Constant(i) => *i = kept[*i],
        };
        let mut at = needed.iter();
        self.nodes.retain(|_| at.next() == Some(&true));
        let mut at = constants.iter();
        self.constants.retain(|_| at.next() == Some(&true));
        for node in &mut self.nodes {
            node.operands.iter_mut().for_each(moved);
        }
        self.outputs.iter_mut().for_each(|(_, operand)| moved(operand));
    }
}

/// The new index of each element after those that are not kept are removed.
fn places(kept: &[bool]) -> Vec<usize> {
    let mut next = 0;
    let place = |&is_kept: &bool| {
        let place = next;
        next += usize::from(is_kept);
        place
    };
    kept.iter().map(place).collect()
}

fn least_common_multiple(a: usize, b: usize) -> usize {
    (1..=b)
        .map(|i| i * a)
        .find(|multiple| multiple.is_multiple_of(b))
        .unwrap_or(a * b)
}

/// Sizes that do not depend on the batch.
pub(crate) fn fixed(shape: &[usize]) -> Vec<Dim> {
    shape.iter().map(|&size| Dim::Fixed(size)).collect()
}
