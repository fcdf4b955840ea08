//! The checker itself: it passes what is right, and fails what is wrong, unknown or left over.

use super::check_directory;
use safetensors::tensor::{Dtype, TensorView, serialize};
use serde_json::{Value, json};
use std::path::Path;

/// Tensors of a case of `tanh`, correct by the formula.
fn tanh_case() -> Vec<(&'static str, Vec<f64>)> {
    let (x, dy): ([f64; 3], [f64; 3]) = ([-0.5, 0.25, 2.0], [1.0, -2.0, 0.5]);
    let gradient = x.iter().zip(dy).map(|(x, dy)| dy * (1.0 - x.tanh().powi(2)));
    vec![
        ("input", x.to_vec()),
        ("output", x.iter().map(|x| x.tanh()).collect()),
        ("grad_output", dy.to_vec()),
        ("grad_input", gradient.collect()),
    ]
}

fn write_case(dir: &Path, op: &str, params: &Value, tensors: &[(&str, Vec<f64>)]) {
    let bytes: Vec<(&str, Vec<u8>)> = tensors
        .iter()
        .map(|(n, v)| (*n, v.iter().flat_map(|x| x.to_le_bytes()).collect()))
        .collect();
    let views = bytes
        .iter()
        .map(|(n, b)| (*n, TensorView::new(Dtype::F64, vec![b.len() / 8], b).unwrap()));
    std::fs::write(dir.join("case.f64.safetensors"), serialize(views, None).unwrap()).unwrap();
    let shapes: serde_json::Map<String, Value> = tensors
        .iter()
        .map(|(n, v)| (n.to_string(), json!([v.len()])))
        .collect();
    let trajectory = json!({"loss_relative": 1e-9, "weights_max_abs": 1e-8});
    let index = json!({
        "torch": "none", "note": "", "cases": [{
            "name": "case", "op": op, "params": params, "shapes": shapes, "files": {"f64": "case.f64.safetensors"},
        }],
        "tolerance": {"rule": "", "f64": 1e-9, "f32": 2e-5, "dcgan": {"f64": trajectory, "f32": trajectory, "why": ""}},
    });
    std::fs::write(dir.join("index.json"), index.to_string()).unwrap();
}

/// Number of failed cases of a directory with one case.
fn failures(op: &str, params: &Value, tensors: &[(&str, Vec<f64>)]) -> usize {
    let dir = tempfile::tempdir().unwrap();
    write_case(dir.path(), op, params, tensors);
    let report = check_directory(dir.path(), "").unwrap();
    assert_eq!(report.passed + report.failed.len(), 1);
    report.failed.len()
}

#[test]
fn one_altered_number_fails() {
    let right = tanh_case();
    assert_eq!(failures("tanh", &json!({}), &right), 0);
    for tensor in 0..right.len() {
        for element in 0..3 {
            let mut wrong = right.clone();
            wrong[tensor].1[element] += 1e-6;
            assert_eq!(
                failures("tanh", &json!({}), &wrong),
                1,
                "{} {element}",
                right[tensor].0
            );
            wrong[tensor].1[element] = f64::NAN;
            assert_eq!(
                failures("tanh", &json!({}), &wrong),
                1,
                "{} {element}",
                right[tensor].0
            );
        }
    }
}

#[test]
fn what_is_not_understood_fails() {
    let right = tanh_case();
    assert_eq!(failures("tahn", &json!({}), &right), 1);
    assert_eq!(failures("tanh", &json!({"slope": 0.1}), &right), 1);
    let mut more = right.clone();
    more.push(("grad_weight", vec![0.0]));
    assert_eq!(failures("tanh", &json!({}), &more), 1);
    assert_eq!(failures("tanh", &json!({}), &right[..3]), 1);
    let mut longer = right;
    longer[2].1.push(0.0);
    assert_eq!(failures("tanh", &json!({}), &longer), 1);
}

#[test]
fn a_panic_of_the_library_fails_the_case() {
    let tensors = [
        ("input", vec![0.0, 1.0]),
        ("target", vec![0.0]),
        ("output", vec![0.0]),
        ("grad_input", vec![0.0]),
    ];
    assert_eq!(failures("mse", &json!({"reduction": "mean"}), &tensors), 1);
}

#[test]
fn a_file_that_no_case_names_fails() {
    let dir = tempfile::tempdir().unwrap();
    write_case(dir.path(), "tanh", &json!({}), &tanh_case());
    std::fs::copy(
        dir.path().join("case.f64.safetensors"),
        dir.path().join("case.f32.safetensors"),
    )
    .unwrap();
    let report = check_directory(dir.path(), "").unwrap();
    assert_eq!((report.passed, report.failed.len()), (1, 1));
}

#[test]
fn a_directory_that_is_not_one_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let message = |dir: &Path| format!("{:#}", check_directory(dir, "").map(|_| ()).unwrap_err());
    assert!(message(&dir.path().join("none")).contains("index.json"));
    std::fs::write(dir.path().join("index.json"), "{\"torch\": 1").unwrap();
    assert!(message(dir.path()).contains("index.json"));
    write_case(dir.path(), "tanh", &json!({}), &tanh_case());
    assert!(
        format!(
            "{:#}",
            check_directory(dir.path(), "conv").map(|_| ()).unwrap_err()
        )
        .contains("conv")
    );
    let index = std::fs::read_to_string(dir.path().join("index.json")).unwrap();
    std::fs::write(
        dir.path().join("index.json"),
        index.replace("case.f64", "../case.f64"),
    )
    .unwrap();
    assert_eq!(check_directory(dir.path(), "").unwrap().failed.len(), 2);
    std::fs::write(
        dir.path().join("index.json"),
        index.replace("case.f64", "no_such_file"),
    )
    .unwrap();
    assert_eq!(check_directory(dir.path(), "").unwrap().failed.len(), 2);
}

#[cfg(unix)]
#[test]
fn a_named_pipe_is_refused_and_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("case.safetensors");
    let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    let text = engraft_base::read_bounded(&path, 10).unwrap_err().to_string();
    assert!(text.contains("regular file"), "{text}");
}
