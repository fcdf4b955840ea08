//! Every family's ONNX file, run by an interpreter of its own, computes what this project computes.

use crate::cases::{self, Case, distance};
use crate::interpreter::{Value, run};
use engraft_export::onnx;
use engraft_tensor::Tensor;

fn value(tensor: &Tensor) -> Value {
    Value::new(
        tensor.shape(),
        tensor.as_slice().iter().map(|&v| f64::from(v)).collect(),
    )
}

fn outputs(case: &Case) -> Vec<Value> {
    let bytes = onnx::encode(&case.graph, &case.name, &[]);
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
        let found = outputs(&case);
        assert_eq!(found.len(), case.expected.len());
        for (found, expected) in found.iter().zip(&case.expected) {
            assert_eq!(found.shape, expected.shape(), "{}", case.name);
            let found: Vec<f32> = found.data.iter().map(|&v| v as f32).collect();
            let distance = distance(&found, expected);
            assert!(distance < 1e-5, "{}: {distance:e}", case.name);
        }
    }
}
