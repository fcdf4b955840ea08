//! Exported files in the programs that they are for, where these are installed. `ENGRAFT_PYTHON` names the interpreter.

use crate::cases::{self, Case, distance};
use crate::{functions, pretrained};
use engraft_data::{Npy, Numbers, write_npy};
use engraft_export::{onnx, pytorch_dcgan, torch_network};
use engraft_layers::Condition;
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
    for ((name, _), expected) in case.graph.outputs.iter().zip(&case.expected) {
        write(name, expected);
    }
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
    let write = |case: &mut Case, opset: i64| {
        let metadata = [("license".into(), "CC0".into())];
        let bytes = onnx::encode_as(&case.graph, &case.name, &metadata, opset);
        std::fs::write(folder.path().join(format!("{}.onnx", case.name)), bytes).unwrap();
        write_arrays(case, folder.path());
    };
    for mut case in cases::all().into_iter().chain(pretrained::all()) {
        write(&mut case, onnx::OPSET);
    }
    for case in functions::all() {
        for opset in onnx::OPSETS {
            let mut case = case.clone();
            case.name = format!("opset-{opset}-{}", case.name);
            write(&mut case, opset);
        }
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
    kind = path.stem.rsplit("-")[-1]
    first = {"generator": "z", "function": "x"}.get(kind, "images")
    last = {"generator": ["images"], "features": ["features", "logits"], "function": ["y"]}.get(kind, ["logits"])
    last = [name for name in last if path.with_name(f"{path.stem}.{name}.npy").exists()]
    inputs = [array(first)]
    if path.with_name(f"{path.stem}.labels.npy").exists():
        inputs.append(array("labels").long())
    with torch.no_grad():
        network = module.load()
        network(*module.example())
        network(*module.example(8))
        found = network(*inputs)
    found = found if isinstance(found, tuple) else (found,)
    assert len(found) == len(last)
    for found, expected in zip(found, map(array, last)):
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
    let cases = cases::all().into_iter().chain(functions::all());
    for case in cases.chain(pretrained::all()) {
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

/// The generator of PyTorch's DCGAN tutorial after some batches in training mode.
const TUTORIAL: &str = r#"
import sys, numpy, torch
from torch import nn
from safetensors.torch import save_file
torch.manual_seed(1)
widths = [16, 8, 4, 2]
layers = [nn.ConvTranspose2d(10, 16, 4, 1, 0, bias=False), nn.BatchNorm2d(16), nn.ReLU(True)]
for a, b in zip(widths, widths[1:]):
    layers += [nn.ConvTranspose2d(a, b, 4, 2, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU(True)]
layers += [nn.ConvTranspose2d(2, 3, 4, 2, 1, bias=False), nn.Tanh()]
network = nn.Module()
network.main = nn.Sequential(*layers)
for _ in range(3):
    network.main(torch.randn(8, 10, 1, 1) * 3)
network.eval()
z = torch.randn(4, 10)
with torch.no_grad():
    images = network.main(z[:, :, None, None])
save_file(network.state_dict(), sys.argv[1] + "/g.safetensors")
numpy.save(sys.argv[1] + "/z.npy", z.numpy())
numpy.save(sys.argv[1] + "/images.npy", images.numpy())
"#;

#[test]
fn a_generator_of_pytorchs_tutorial_is_read() {
    if !has("torch, safetensors, numpy") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let output = python()
        .args(["-c", TUTORIAL])
        .arg(folder.path())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let array = |name: &str| {
        let array = Npy::open(folder.path().join(name)).unwrap();
        let Numbers::F32(values) = array.numbers() else {
            panic!("expected f32")
        };
        Tensor::from_vec(array.shape(), values.to_vec())
    };
    let source = pytorch_dcgan(&folder.path().join("g.safetensors"), None).unwrap();
    let images = source
        .sampler()
        .unwrap()
        .generate_from(&array("z.npy"), &Condition::None);
    let distance = distance(cases::channels_first(&images).as_slice(), &array("images.npy"));
    println!("from PyTorch: {distance:.1e}");
    assert!(distance < 1e-5, "{distance:e}");
}
