//! Every family's ONNX file, run by an interpreter of its own, computes what this project computes.

use crate::cases::{self, Case, distance};
use crate::functions;
use crate::interpreter::{Value, run};
use engraft_export::onnx;
use engraft_tensor::Tensor;

fn value(tensor: &Tensor) -> Value {
    Value::new(
        tensor.shape(),
        tensor.as_slice().iter().map(|&v| f64::from(v)).collect(),
    )
}

fn outputs(case: &Case, opset: i64) -> Vec<Value> {
    let bytes = onnx::encode_as(&case.graph, &case.name, &[], opset);
    let mut inputs = vec![(case.graph.inputs[0].name.as_str(), value(&case.input))];
    if let Some(labels) = &case.labels {
        let labels = labels.iter().map(|&label| label as f64).collect::<Vec<_>>();
        inputs.push(("labels", Value::new(&[labels.len()], labels)));
    }
    run(&bytes, inputs)
}

#[test]
fn every_family_computes_the_same() {
    for case in cases::all() {
        compare(&case, onnx::OPSET);
    }
}

/// The functions use every operator, so they show that each version has what is written.
#[test]
fn every_version_of_the_operators_computes_the_same() {
    for case in functions::all() {
        for opset in [*onnx::OPSETS.start(), onnx::OPSET, *onnx::OPSETS.end()] {
            compare(&case, opset);
        }
    }
}

fn compare(case: &Case, opset: i64) {
    let found = outputs(case, opset);
    assert_eq!(found.len(), case.expected.len());
    for (found, expected) in found.iter().zip(&case.expected) {
        assert_eq!(found.shape, expected.shape(), "{}", case.name);
        let found: Vec<f32> = found.data.iter().map(|&v| v as f32).collect();
        let distance = distance(&found, expected);
        assert!(distance < 1e-5, "{}: {distance:e}", case.name);
    }
}
