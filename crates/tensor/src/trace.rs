//! The recorded operations between some inputs and a result, as a list.

use crate::operation::Operation;
use crate::real::Real;
use crate::tensor::Tensor;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

/// The operations between some inputs and some outputs, in an order in which they can be computed.
#[derive(Clone, Debug)]
pub struct Trace<T: Real> {
    /// The operations that depend on an input.
    pub nodes: Vec<TraceNode<T>>,
    /// The outputs.
    pub outputs: Vec<TraceValue<T>>,
}

/// One operation of a [`Trace`].
#[derive(Clone, Debug)]
pub struct TraceNode<T: Real> {
    /// Name of the operation for messages.
    pub name: &'static str,
    /// What it computes. `None` for an operation that does not say so, see [`Op::operation`](crate::Op::operation).
    pub operation: Option<Operation>,
    /// The operands.
    pub operands: Vec<TraceValue<T>>,
    /// Shape of the result.
    pub shape: Vec<usize>,
}

/// An operand or output of a [`Trace`].
#[derive(Clone, Debug)]
pub enum TraceValue<T: Real> {
    /// An input, by index.
    Input(usize),
    /// The result of a node, by index.
    Node(usize),
    /// A tensor that depends on no input.
    Constant {
        /// Its value.
        value: Tensor<T>,
        /// The parameters from which it was computed, by index.
        parameters: Vec<usize>,
    },
}

/// Lists the recorded operations that compute `outputs` from `inputs`. Everything that does not depend on an input is a
/// constant, for example a weight that is computed from others.
///
/// The inputs must be [leaves](Tensor::as_leaf), and recording must be on. Whatever an operation
/// [detaches](Tensor::detach) is a constant too. Two traces with different inputs reveal such constants.
///
/// ```
/// use engraft_tensor::{Operation, Tensor, TraceValue, trace};
/// let (x, w) = (Tensor::from_vec([2], vec![1.0, 2.0]).as_leaf(), Tensor::scalar(3.0_f32).as_leaf());
/// let y = (&x * w.exp()).tanh();
/// let found = trace(&[&y], &[&x], &[&w]);
/// let operations: Vec<_> = found.nodes.iter().map(|node| node.operation.clone()).collect();
/// assert_eq!(operations, [Some(Operation::Mul), Some(Operation::Tanh)]);
/// let TraceValue::Constant { value, parameters } = &found.nodes[0].operands[1] else { panic!() };
/// assert_eq!((value.item(), parameters.as_slice()), (3.0_f32.exp(), [0].as_slice()));
/// ```
pub fn trace<T: Real>(outputs: &[&Tensor<T>], inputs: &[&Tensor<T>], parameters: &[&Tensor<T>]) -> Trace<T> {
    let mut nodes = behind(outputs, inputs);
    let index = |x: &Tensor<T>| inputs.iter().position(|input| input.id() == x.id());
    // Operands come before their results, so one pass in the order of the ids finds what depends on an input.
    let mut dependent: BTreeSet<u64> = inputs.iter().map(|x| x.id()).collect();
    for (&id, x) in &nodes {
        if operands(x)
            .iter()
            .any(|operand| dependent.contains(&operand.id()))
        {
            dependent.insert(id);
        }
    }
    nodes.retain(|id, x| dependent.contains(id) && index(x).is_none());
    let places: BTreeMap<u64, usize> = nodes.keys().enumerate().map(|(i, &id)| (id, i)).collect();
    let value = |x: &Tensor<T>| match (index(x), places.get(&x.id())) {
        (Some(i), _) => TraceValue::Input(i),
        (None, Some(&i)) => TraceValue::Node(i),
        (None, None) => TraceValue::Constant {
            value: x.detach(),
            parameters: parameters_of(x, parameters),
        },
    };
    let node = |x: &Tensor<T>| {
        let origin = x.origin()?;
        let (operation, operands) = origin.as_data();
        Some(TraceNode {
            name: origin.name(),
            operands: operands.iter().map(value).collect(),
            shape: x.shape().to_vec(),
            operation,
        })
    };
    Trace {
        nodes: nodes.values().filter_map(node).collect(),
        outputs: outputs.iter().map(|x| value(x)).collect(),
    }
}

/// The tensors that `x` was computed from, as other programs see it.
fn operands<T: Real>(x: &Tensor<T>) -> &[Tensor<T>] {
    x.origin().map_or(&[], |origin| origin.as_data().1)
}

/// All tensors from which some outputs were computed, themselves included, by id. The walk ends at the inputs and at constants.
/// Ids grow with time, so the order of the ids has every operand before its use.
pub(crate) fn behind<T: Real>(outputs: &[&Tensor<T>], inputs: &[&Tensor<T>]) -> BTreeMap<u64, Tensor<T>> {
    let ends: BTreeSet<u64> = inputs.iter().map(|x| x.id()).collect();
    let mut found = BTreeMap::new();
    let mut pending: Vec<Tensor<T>> = outputs.iter().map(|&x| x.clone()).collect();
    while let Some(x) = pending.pop() {
        if let Entry::Vacant(place) = found.entry(x.id()) {
            if !ends.contains(&x.id()) {
                pending.extend(operands(&x).iter().cloned());
            }
            place.insert(x);
        }
    }
    found
}

/// The parameters behind a tensor, by index.
fn parameters_of<T: Real>(x: &Tensor<T>, parameters: &[&Tensor<T>]) -> Vec<usize> {
    let ids: BTreeMap<u64, usize> = parameters.iter().enumerate().map(|(i, p)| (p.id(), i)).collect();
    let (mut found, mut seen) = (BTreeSet::new(), BTreeSet::new());
    let mut pending = vec![x.clone()];
    while let Some(x) = pending.pop() {
        if seen.insert(x.id()) {
            found.extend(ids.get(&x.id()));
            pending.extend(x.origin().iter().flat_map(|origin| origin.inputs.iter().cloned()));
        }
    }
    found.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::no_grad;

    #[test]
    fn shared_results_and_constants_occur_once() {
        let x = Tensor::from_vec([2], vec![1.0_f64, 2.0]).as_leaf();
        let w = Tensor::from_vec([2], vec![3.0_f64, 4.0]).as_leaf();
        let square = x.square();
        let y = &square + &square * (&w * &w);
        let found = trace(&[&y, &square, &w], &[&x], &[&w]);
        let names: Vec<_> = found.nodes.iter().map(|node| node.name).collect();
        assert_eq!(names, ["mul", "mul", "add"]);
        assert!(matches!(
            found.nodes[2].operands[..],
            [TraceValue::Node(0), TraceValue::Node(1)]
        ));
        assert!(matches!(
            found.outputs[..],
            [
                TraceValue::Node(2),
                TraceValue::Node(0),
                TraceValue::Constant { .. }
            ]
        ));
        assert!(matches!(
            &found.nodes[1].operands[1],
            TraceValue::Constant { value, parameters } if value.as_slice() == [9.0, 16.0] && *parameters == [0]
        ));
    }

    #[test]
    fn a_result_that_was_not_recorded_is_a_constant() {
        let x = Tensor::scalar(2.0_f32).as_leaf();
        let y = no_grad(|| x.exp());
        let found = trace(&[&y], &[&x], &[]);
        assert!(found.nodes.is_empty());
        assert!(
            matches!(&found.outputs[0], TraceValue::Constant { parameters, .. } if parameters.is_empty())
        );
    }
}
