//! Every operation as a program: recorded on one example, run on another.

use crate::strategies::registry;
use engraft_tensor::{
    Geometry, Node, Operation, Padding, Program, ProgramError, Step, Tensor, conv2d_weight,
};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use std::collections::BTreeSet;

/// Fewest operations of the registry that say what they compute.
const FEWEST_STORED: usize = 30;
/// Samples of each operation.
const SAMPLES: usize = 8;

#[test]
fn a_recorded_operation_gives_the_same_on_other_inputs() {
    let mut runner = TestRunner::deterministic();
    let mut stored = BTreeSet::new();
    for entry in registry() {
        for _ in 0..SAMPLES {
            let sample = entry.samples.new_tree(&mut runner).unwrap().current();
            let leaves: Vec<Tensor<f64>> = sample.inputs().iter().map(Tensor::as_leaf).collect();
            let inputs: Vec<&Tensor<f64>> = leaves.iter().collect();
            let Ok(program) = Program::record(&inputs, &sample.apply(&leaves)) else {
                continue;
            };
            stored.insert(entry.name);
            let others: Vec<Tensor<f64>> = leaves.iter().map(|x| (x * 0.75).detach()).collect();
            let expected = sample.apply(&others);
            let nodes = program.nodes().iter().map(|node| match node {
                Node::Step(step) => {
                    let (name, sizes, numbers) = step.operation.parts();
                    let operation = Operation::from_parts(name, &sizes, &numbers).unwrap();
                    assert_eq!(operation, step.operation);
                    Node::Step(Step {
                        operation,
                        ..step.clone()
                    })
                }
                other => other.clone(),
            });
            let program = Program::new(nodes.collect()).unwrap();
            let found = program.run(&others.iter().collect::<Vec<_>>());
            assert_eq!(found.shape(), expected.shape(), "{}", entry.name);
            let near =
                |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-9 * b.abs().max(1.0) || (a.is_nan() && b.is_nan());
            let same = found.as_slice().iter().zip(expected.as_slice()).all(near);
            assert!(same, "{}: {:?}", entry.name, sample);
        }
    }
    assert!(stored.len() >= FEWEST_STORED, "only {stored:?}");
}

/// Weights are constants, also trainable ones; what depends on them alone is computed once.
#[test]
fn constants_are_folded() {
    let w = Tensor::<f64>::from_vec([2, 2], vec![1.0, 2.0, 3.0, 4.0]).as_leaf();
    let x = Tensor::ones([1, 2]).as_leaf();
    let y = x.matmul(&(&w * 2.0).transpose()) + &x;
    let program = Program::record(&[&x], &y).unwrap();
    let folded = program.clone().folded();
    assert_eq!((program.nodes().len(), folded.nodes().len()), (6, 4));
    let z = Tensor::from_vec([1, 2], vec![1.0, -1.0]);
    for program in [program, folded] {
        assert_eq!(program.run(&[&z]).as_slice(), [-1.0, -3.0]);
    }
}

#[test]
fn what_is_no_program_is_refused() {
    let new = |nodes: Vec<Node<f64>>| Program::new(nodes).map(|_| ());
    let step = |operation, operands: &[usize]| {
        Node::Step(Step {
            operation,
            operands: operands.to_vec(),
            shape: vec![1],
        })
    };
    assert_eq!(new(vec![]), Err(ProgramError::Node { index: 0 }));
    for wrong in [
        step(Operation::Tanh, &[1]),
        step(Operation::Tanh, &[]),
        step(Operation::Add, &[0]),
        step(Operation::Add, &[0, 7]),
    ] {
        assert_eq!(
            new(vec![Node::Input(0), wrong]),
            Err(ProgramError::Node { index: 1 })
        );
    }
    let g = Geometry::forward([2, 2], [1, 1], [1, 1], [1, 1], Padding::Valid);
    let x = Tensor::<f64>::ones([1, 2, 2, 1]).as_leaf();
    let error = Program::record(&[&x], &conv2d_weight(&x, &x, &g)).err().unwrap();
    assert!(error.to_string().contains("conv2d_weight"), "{error}");
}
