//! Networks of PyTorch's DCGAN tutorial, read from state dicts that the test writes in PyTorch's layout.

use crate::interpreter::{Value, run};
use engraft_export::onnx::proto::{
    Attribute, GraphProto, Model, NodeProto, OperatorSet, TensorProto, ValueInfo,
};
use engraft_export::pytorch_dcgan;
use engraft_layers::{Condition, Mode, Module, StateDict};
use engraft_tensor::{Tensor, no_grad};
use prost::Message;
use rand::SeedableRng;
use rand_pcg::Pcg64;
use std::collections::BTreeMap;
use std::path::Path;

/// Number of a convolution, kernel `[first, second, 4, 4]`, and number of its batch norm with its channels.
type Layer = (usize, [usize; 2], Option<(usize, usize)>);

const WIDTHS: [usize; 4] = [6, 5, 4, 3];
const LATENT: usize = 7;

fn generator_layers() -> Vec<Layer> {
    let [a, b, c, d] = WIDTHS;
    vec![
        (0, [LATENT, a], Some((1, a))),
        (3, [a, b], Some((4, b))),
        (6, [b, c], Some((7, c))),
        (9, [c, d], Some((10, d))),
        (12, [d, 3], None),
    ]
}

fn discriminator_layers() -> Vec<Layer> {
    let [a, b, c, d] = WIDTHS;
    vec![
        (0, [d, 3], None),
        (2, [c, d], Some((3, c))),
        (5, [b, c], Some((6, b))),
        (8, [a, b], Some((9, a))),
        (11, [1, a], None),
    ]
}

/// A state dict with random weights and statistics.
fn tensors(layers: &[Layer], seed: u64) -> BTreeMap<String, Tensor> {
    let rng = &mut Pcg64::seed_from_u64(seed);
    let mut found = BTreeMap::new();
    for &(at, [first, second], norm) in layers {
        let weight = Tensor::randn([first, second, 4, 4], rng) * 0.2;
        found.insert(format!("main.{at}.weight"), weight);
        if let Some((norm, channels)) = norm {
            for (part, low, high) in [
                ("weight", 0.5, 1.5),
                ("bias", -0.5, 0.5),
                ("running_mean", -0.3, 0.3),
                ("running_var", 0.001, 1.0),
            ] {
                let tensor = Tensor::uniform([channels], low, high, rng);
                found.insert(format!("main.{norm}.{part}"), tensor);
            }
        }
    }
    found
}

fn ints(name: &str, values: &[i64]) -> Attribute {
    Attribute {
        name: name.into(),
        ints: values.into(),
        kind: 7,
        ..Attribute::default()
    }
}

/// The tutorial's network as an ONNX file that keeps PyTorch's kernels, with the scale and shift of each batch norm.
fn reference(layers: &[Layer], tensors: &BTreeMap<String, Tensor>, is_generator: bool) -> Vec<u8> {
    let mut graph = GraphProto::default();
    let mut current = "x".to_string();
    let push = |graph: &mut GraphProto, op: &str, input: &[&str], attribute: Vec<Attribute>| {
        let result = format!("v{}", graph.node.len());
        graph.node.push(NodeProto {
            input: input.iter().map(|name| (*name).to_string()).collect(),
            output: vec![result.clone()],
            op_type: op.into(),
            attribute,
            ..NodeProto::default()
        });
        result
    };
    let constant = |graph: &mut GraphProto, name: &str, dims: &[usize], values: Vec<f32>| {
        graph.initializer.push(TensorProto {
            dims: dims.iter().map(|&size| size as i64).collect(),
            data_type: 1,
            name: name.into(),
            raw_data: values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        });
    };
    for (i, &(at, _, norm)) in layers.iter().enumerate() {
        let name = format!("main.{at}.weight");
        let weight = &tensors[&name];
        constant(&mut graph, &name, weight.shape(), weight.as_slice().to_vec());
        let is_dense = if is_generator {
            i == 0
        } else {
            i + 1 == layers.len()
        };
        let (stride, pad) = if is_dense { (1, 0) } else { (2, 1) };
        let mut attributes = vec![
            ints("strides", &[stride; 2]),
            ints("dilations", &[1; 2]),
            ints("pads", &[pad; 4]),
            ints("output_padding", &[0; 2]),
        ];
        attributes.push(Attribute {
            name: "group".into(),
            i: Some(1),
            kind: 2,
            ..Attribute::default()
        });
        let op = if is_generator { "ConvTranspose" } else { "Conv" };
        current = push(&mut graph, op, &[&current, &name], attributes);
        if let Some((norm, channels)) = norm {
            let part = |part: &str| tensors[&format!("main.{norm}.{part}")].as_slice();
            let (weight, bias, mean, var) = (
                part("weight"),
                part("bias"),
                part("running_mean"),
                part("running_var"),
            );
            let scale: Vec<f64> = (0..channels)
                .map(|c| f64::from(weight[c]) / (f64::from(var[c]) + 1e-5).sqrt())
                .collect();
            let shift = (0..channels).map(|c| (f64::from(bias[c]) - f64::from(mean[c]) * scale[c]) as f32);
            let [a, b] = [format!("scale{norm}"), format!("shift{norm}")];
            constant(&mut graph, &b, &[1, channels, 1, 1], shift.collect());
            constant(
                &mut graph,
                &a,
                &[1, channels, 1, 1],
                scale.iter().map(|&v| v as f32).collect(),
            );
            current = push(&mut graph, "Mul", &[&current, &a], vec![]);
            current = push(&mut graph, "Add", &[&current, &b], vec![]);
        }
        let is_last = i + 1 == layers.len();
        current = match (is_generator, is_last) {
            (true, true) => push(&mut graph, "Tanh", &[&current], vec![]),
            (true, false) => push(&mut graph, "Relu", &[&current], vec![]),
            (false, true) => current,
            (false, false) => {
                let alpha = Attribute {
                    name: "alpha".into(),
                    f: Some(0.2),
                    kind: 1,
                    ..Attribute::default()
                };
                push(&mut graph, "LeakyRelu", &[&current], vec![alpha])
            }
        };
    }
    let named = |name: &str| ValueInfo {
        name: name.into(),
        ..ValueInfo::default()
    };
    graph.input = vec![named("x")];
    graph.output = vec![named(&current)];
    let model = Model {
        ir_version: 8,
        graph: Some(graph),
        opset_import: vec![OperatorSet {
            version: 17,
            ..OperatorSet::default()
        }],
        ..Model::default()
    };
    model.encode_to_vec()
}

fn value(shape: &[usize], tensor: &Tensor) -> Value {
    Value::new(shape, tensor.as_slice().iter().map(|&v| v.into()).collect())
}

#[track_caller]
fn agree(found: &Tensor, expected: &Value) {
    let largest = expected.data.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    assert!(largest > 0.01 && found.len() == expected.data.len());
    for (a, b) in found.as_slice().iter().zip(&expected.data) {
        assert!((f64::from(*a) - b).abs() < 1e-5 * largest, "{a} {b}");
    }
}

fn save(folder: &Path, name: &str, tensors: BTreeMap<String, Tensor>) -> std::path::PathBuf {
    let path = folder.join(name);
    StateDict::from_tensors(tensors).save(&path).unwrap();
    path
}

#[test]
fn both_networks_compute_the_same_and_can_be_a_source() {
    let folder = tempfile::tempdir().unwrap();
    let (g, d) = (
        tensors(&generator_layers(), 1),
        tensors(&discriminator_layers(), 2),
    );
    let [g_path, d_path] = [
        save(folder.path(), "g.safetensors", g.clone()),
        // As DataParallel names them.
        save(
            folder.path(),
            "d.safetensors",
            d.iter()
                .map(|(name, tensor)| (format!("module.{name}"), tensor.clone()))
                .collect(),
        ),
    ];
    let source = pytorch_dcgan(&g_path, Some(&d_path)).unwrap();
    let saved = folder.path().join("source");
    source.save(&saved).unwrap();
    let source = engraft_transfer::open_source(&saved, Default::default()).unwrap();
    let networks = source.networks().unwrap();
    assert_eq!((networks.latent_dim, source.config.image), (LATENT, [64, 64, 3]));

    let z = Tensor::randn([2, LATENT], &mut Pcg64::seed_from_u64(3));
    let images = no_grad(|| networks.generator.forward(&z, Mode::Eval));
    let expected = run(
        &reference(&generator_layers(), &g, true),
        vec![("x", value(&[2, LATENT, 1, 1], &z))],
    );
    assert_eq!(expected[0].shape, [2, 3, 64, 64]);
    agree(&images.permute(&[0, 3, 1, 2]), &expected[0]);

    let logits = no_grad(|| {
        networks
            .discriminator
            .forward_with(&images, &Condition::None, Mode::Eval)
    });
    let images = images.permute(&[0, 3, 1, 2]);
    let expected = run(
        &reference(&discriminator_layers(), &d, false),
        vec![("x", value(images.shape(), &images))],
    );
    agree(&logits, &expected[0]);
}

#[test]
fn other_files_are_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let d = save(
        folder.path(),
        "d.safetensors",
        tensors(&discriminator_layers(), 1),
    );
    let refused = |path: &Path, parts: &[&str]| {
        let error = pytorch_dcgan(path, None).unwrap_err().to_string();
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    };
    refused(
        &d,
        &[
            "d.safetensors",
            "netG",
            "missing: main.1.weight",
            "main.11.weight",
        ],
    );
    let mut wide = tensors(&generator_layers(), 1);
    wide.insert("main.3.weight".into(), Tensor::zeros([5, 5, 4, 4]));
    refused(
        &save(folder.path(), "wide.safetensors", wide),
        &["wide.safetensors", "block1.conv.weight"],
    );
    let mut large = tensors(&generator_layers(), 1);
    large.insert("main.0.weight".into(), Tensor::zeros([LATENT, 6, 3, 3]));
    refused(
        &save(folder.path(), "large.safetensors", large),
        &["main.0.weight", "4x4", "[3, 3,"],
    );
    let pickle = folder.path().join("netG.pth");
    std::fs::write(&pickle, b"PK\x03\x04rest").unwrap();
    refused(&pickle, &["netG.pth", "torch.save", "save_file"]);
    std::fs::write(&pickle, b"nothing").unwrap();
    refused(&pickle, &["netG.pth"]);
}
