//! Exported files in the programs that they are for, where these are installed. `ENGRAFT_PYTHON` names the interpreter.

use crate::cases::{self, Case};
use engraft_data::write_npy;
use engraft_export::{onnx, torch_network};
use engraft_tensor::Tensor;
use std::path::Path;
use std::process::Command;

fn python() -> Command {
    Command::new(std::env::var("ENGRAFT_PYTHON").unwrap_or_else(|_| "python3".into()))
}

/// Whether Python has a package. Tells when it does not.
fn has(package: &str) -> bool {
    let found = python().args(["-c", &format!("import {package}")]).output();
    let has = found.is_ok_and(|output| output.status.success());
    if !has {
        println!("skipped: python3 has no {package}");
    }
    has
}

fn write_arrays(case: &Case, folder: &Path) {
    let write = |name: &str, tensor: &Tensor| {
        let path = folder.join(format!("{}.{name}.npy", case.name));
        write_npy(&path, tensor.shape(), tensor.as_slice()).unwrap();
    };
    write(&case.graph.inputs[0].name, &case.input);
    write(&case.graph.outputs[0].0, &case.expected);
    if let Some(labels) = &case.labels {
        let labels = labels.iter().map(|&label| label as f32).collect::<Vec<_>>();
        write("labels", &Tensor::from_vec([labels.len()], labels));
    }
}

#[test]
fn onnx_runtime_computes_the_same() {
    if !has("onnxruntime") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for case in cases::all() {
        let bytes = onnx::encode(&case.graph, &case.name, &[("license".into(), "CC0".into())]);
        std::fs::write(folder.path().join(format!("{}.onnx", case.name)), bytes).unwrap();
        write_arrays(&case, folder.path());
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/check_onnx.py");
    let output = python().arg(script).arg(folder.path()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    println!("{text}");
}

/// Loads every exported module and compares it.
const COMPARE: &str = r#"
import importlib.util, pathlib, sys, numpy, torch
worst = 0.0
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.py")):
    spec = importlib.util.spec_from_file_location("exported", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    array = lambda name: torch.from_numpy(numpy.load(path.with_name(f"{path.stem}.{name}.npy")))
    first, last = ("z", "images") if "generator" in path.stem else ("images", "logits")
    inputs = [array(first)]
    if path.with_name(f"{path.stem}.labels.npy").exists():
        inputs.append(array("labels").long())
    with torch.no_grad():
        network = module.load()
        network(*module.example(3))
        found, expected = network(*inputs), array(last)
    assert found.shape == expected.shape, (path, found.shape, expected.shape)
    distance = float((found - expected).abs().max() / expected.abs().max())
    print(f"{path.stem}: {distance:.1e}")
    assert distance <= 1e-5, path
print("torch", torch.__version__)
"#;

#[test]
fn pytorch_computes_the_same() {
    if !has("torch, safetensors, numpy") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for case in cases::all() {
        let torch = torch_network(&case.graph, "Network", &case.name).unwrap();
        let at = |extension: &str| folder.path().join(format!("{}.{extension}", case.name));
        std::fs::write(at("py"), &torch.source).unwrap();
        torch.state.save(at("safetensors")).unwrap();
        write_arrays(&case, folder.path());
    }
    let output = python()
        .args(["-c", COMPARE])
        .arg(folder.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    println!("{text}");
}
