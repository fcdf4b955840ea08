//! From a network to its graph: recorded forward passes that differ in the number of examples.

use crate::error::ExportError;
use crate::graph::{Dim, Graph, Input};
use crate::lower::indices::per_example;
use crate::lower::lower;
use engraft_layers::{Module, SlotMut, one_hot, parameters, visit_mut};
use engraft_tensor::{Operation, Tensor, Trace, TraceNode, TraceValue};
use rand::SeedableRng;
use rand_pcg::Pcg64;

/// Examples of the two forward passes that the graph is read from.
const BATCHES: [usize; 2] = [2, 3];
/// Examples of the pass that confirms it.
const MORE: usize = 8;
/// Examples of the two passes for networks that split the batch into groups, of a size that divides these numbers.
const WHOLE_GROUPS: [usize; 2] = [24, 48];

/// An input of a network that is traced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputSpec {
    /// Its name in the exported file.
    pub name: String,
    /// What it contains.
    pub kind: InputKind,
    /// Number of its rows for each example, usually 1.
    pub rows: usize,
}

/// What an input contains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InputKind {
    /// Real numbers of this shape for each row. Three sizes are those of an image: height, width, channels.
    Numbers(Vec<usize>),
    /// One label below this number for each row. The forward pass gets [`one_hot`] rows.
    Labels(usize),
}

impl InputSpec {
    /// An input of real numbers.
    pub fn numbers(name: &str, shape: impl Into<Vec<usize>>) -> Self {
        Self {
            name: name.into(),
            kind: InputKind::Numbers(shape.into()),
            rows: 1,
        }
    }

    /// An input of labels.
    pub fn labels(name: &str, classes: usize) -> Self {
        Self {
            name: name.into(),
            kind: InputKind::Labels(classes),
            rows: 1,
        }
    }

    /// A batch of `n` examples as a leaf.
    fn example(&self, n: usize, rng: &mut Pcg64) -> Tensor {
        let rows = n * self.rows;
        let value = match &self.kind {
            InputKind::Numbers(shape) => Tensor::randn([&[rows], shape.as_slice()].concat(), rng),
            InputKind::Labels(classes) => one_hot(
                &(0..rows).map(|i| (i + n) % classes).collect::<Vec<_>>(),
                *classes,
            ),
        };
        value.as_leaf()
    }

    fn declared(&self) -> Input {
        let batch = Dim::Batch(self.rows);
        let (shape, classes) = match &self.kind {
            InputKind::Numbers(shape) => match shape[..] {
                [h, w, c] => (vec![c, h, w], None),
                _ => (shape.clone(), None),
            },
            InputKind::Labels(classes) => (vec![], Some(*classes)),
        };
        let rest = shape.into_iter().map(Dim::Fixed);
        Input {
            name: self.name.clone(),
            shape: std::iter::once(batch).chain(rest).collect(),
            classes,
        }
    }
}

/// The graph of a module's forward pass. Any module works whose forward pass uses tensor operations only.
///
/// `forward` runs the module on the inputs, in evaluation mode, and returns the outputs. It runs with 2, 3 and 8 examples, and
/// the operations are read from the recorded graph. Parameters become trainable, so that constants that are computed from them
/// have their names.
///
/// A network that splits the batch into groups, as [`MinibatchStd`](engraft_layers::MinibatchStd) does, runs with 24 and 48
/// examples, and its graph is for [whole groups](Graph::batch_multiple) only.
///
/// ```
/// use engraft_export::{InputSpec, Operator, trace};
/// use engraft_layers::{Dense, Init, Mode, Module, ReLU, Sequential};
/// let init = &mut Init::glorot(1);
/// let mut net = Sequential::<f32>::new().add("hidden", Dense::new(4, 8, init)).add("act", ReLU).add("head", Dense::new(8, 1, init));
/// let input = [InputSpec::numbers("x", [4])];
/// let graph = trace(&mut net, &input, &["y"], |net, x| vec![net.forward(&x[0], Mode::Eval)])?;
/// let operators: Vec<_> = graph.nodes.iter().map(|node| node.operator.clone()).collect();
/// assert_eq!(operators, [Operator::Linear, Operator::LeakyRelu { slope: 0.0 }, Operator::Linear]);
/// assert_eq!(graph.constants[0].name, "hidden.weight");
/// # Ok::<(), engraft_export::ExportError>(())
/// ```
///
/// # Errors
/// [`ExportError::Operation`] for an operation that a graph does not have, and [`ExportError::NotTraceable`] if the
/// operations or their constants depend on the examples in another way than by their number.
pub fn trace<M: Module>(
    module: &mut M,
    inputs: &[InputSpec],
    outputs: &[&str],
    forward: impl Fn(&M, &[Tensor]) -> Vec<Tensor>,
) -> Result<Graph, ExportError> {
    visit_mut(module, |_, slot| {
        if let SlotMut::Parameter(parameter) = slot {
            parameter.unfreeze();
        }
    });
    let named = parameters(module);
    let (names, tensors): (Vec<String>, Vec<&Tensor>) = named
        .iter()
        .map(|(name, parameter)| (name.clone(), parameter.tensor()))
        .unzip();
    let rng = &mut Pcg64::seed_from_u64(1);
    let mut run = |n: usize| -> Result<Run, ExportError> {
        let examples: Vec<Tensor> = inputs.iter().map(|input| input.example(n, rng)).collect();
        let results = forward(module, &examples);
        let [results, examples]: [Vec<&Tensor>; 2] = [results.iter().collect(), examples.iter().collect()];
        if results.len() != outputs.len() {
            return Err(ExportError::NotTraceable(format!(
                "the forward pass has {} outputs, expected {}: {}",
                results.len(),
                outputs.len(),
                outputs.join(", ")
            )));
        }
        Ok((n, engraft_tensor::trace(&results, &examples, &tensors)))
    };
    let declared: Vec<Input> = inputs.iter().map(InputSpec::declared).collect();
    let (few, more) = ([run(BATCHES[0])?, run(BATCHES[1])?], run(MORE)?);
    let equal = check_equal(&few[0], &few[1]).and_then(|()| check_equal(&few[0], &more));
    let Err(error) = equal else {
        return lower([&few[0].1, &few[1].1], BATCHES, declared, outputs, &names);
    };
    let [first, second] = [run(WHOLE_GROUPS[0])?, run(WHOLE_GROUPS[1])?];
    let graph = check_equal(&first, &second)
        .and_then(|()| lower([&first.1, &second.1], WHOLE_GROUPS, declared, outputs, &names));
    // Without groups, the operations depend on the number of examples in a way that was not found out.
    graph.ok().filter(|graph| graph.batch_multiple() > 1).ok_or(error)
}

/// A number of examples and the trace of a forward pass with them.
type Run = (usize, Trace<f32>);

/// Checks that two traces have the same operations and constants.
fn check_equal((of_a, a): &Run, (of_b, b): &Run) -> Result<(), ExportError> {
    let differs = |index: usize, node: &TraceNode<f32>, reason: &str| ExportError::Operation {
        operation: node.name.into(),
        index,
        reason: reason.into(),
    };
    if a.nodes.len() != b.nodes.len() {
        return Err(ExportError::NotTraceable(format!(
            "its forward pass has {} operations for {} examples, and {} for {}",
            a.nodes.len(),
            of_a,
            b.nodes.len(),
            of_b
        )));
    }
    for (i, (first, second)) in a.nodes.iter().zip(&b.nodes).enumerate() {
        let operations = [&first.operation, &second.operation];
        if first.name != second.name || !is_same_operation(operations, [*of_a, *of_b]) {
            return Err(differs(i, first, "depends on the number of examples"));
        }
        for (x, y) in first.operands.iter().zip(&second.operands) {
            if !is_same(x, y) {
                return Err(differs(
                    i,
                    first,
                    "has an operand that depends on the examples but is not recorded (detached, random, or as long as the batch)",
                ));
            }
        }
    }
    Ok(())
}

/// Whether two operations are equal. Those with an index for each element are if all examples have the same indices.
fn is_same_operation(operations: [&Option<Operation>; 2], examples: [usize; 2]) -> bool {
    let [a, b] = operations.map(|operation| match operation {
        Some(Operation::Gather { axis, index }) => Some((0, axis, index)),
        Some(Operation::ScatterAdd { axis, index }) => Some((1, axis, index)),
        _ => None,
    });
    match (a, b) {
        (Some((kind, axis, index)), Some((other_kind, other_axis, other))) => {
            let [one, of_other] =
                [(index, examples[0]), (other, examples[1])].map(|(index, n)| per_example(index, n));
            (kind, axis) == (other_kind, other_axis) && one.is_some() && one == of_other
        }
        _ => operations[0] == operations[1],
    }
}

fn is_same(a: &TraceValue<f32>, b: &TraceValue<f32>) -> bool {
    match (a, b) {
        (TraceValue::Input(a), TraceValue::Input(b)) | (TraceValue::Node(a), TraceValue::Node(b)) => a == b,
        (TraceValue::Constant { value: a, .. }, TraceValue::Constant { value: b, .. }) => {
            a.shape() == b.shape() && a.as_slice() == b.as_slice()
        }
        _ => false,
    }
}
