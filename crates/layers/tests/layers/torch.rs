//! Conversion to PyTorch's layouts is reversible and keeps every value.

use engraft_layers::{StateDict, TorchLayout};
use engraft_tensor::Tensor;
use proptest::prelude::*;
use std::path::Path;

/// A tensor whose elements are their own flat indices.
fn counting(shape: &[usize]) -> Tensor<f32> {
    let count: usize = shape.iter().product();
    Tensor::from_vec(shape, (0..count).map(|i| i as f32).collect())
}

fn state(tensors: &[(&str, &[usize])]) -> StateDict<f32> {
    let named = |(name, shape): &(&str, &[usize])| (name.to_string(), counting(shape));
    StateDict::from_tensors(tensors.iter().map(named).collect())
}

/// Element `[i, j, k, l]` of a tensor of rank 4.
fn at(x: &Tensor<f32>, i: [usize; 4]) -> f32 {
    x.view()[i.as_slice()]
}

#[test]
fn every_weight_lands_where_pytorch_reads_it() {
    let ours = state(&[
        ("conv.weight", &[2, 3, 4, 5]),
        ("dense.weight", &[3, 2]),
        ("conv.bias", &[5]),
    ]);
    let torch = TorchLayout::new().to_torch(&ours).unwrap();
    let (w, v) = (
        ours.get("conv.weight").unwrap(),
        torch.get("conv.weight").unwrap(),
    );
    assert_eq!(v.shape(), [5, 4, 2, 3]);
    assert_eq!(at(v, [4, 3, 1, 2]), at(w, [1, 2, 3, 4]));
    assert_eq!(at(v, [0, 2, 1, 0]), at(w, [1, 0, 2, 0]));
    assert_eq!(
        torch.get("dense.weight").unwrap().as_slice(),
        [0.0, 2.0, 4.0, 1.0, 3.0, 5.0]
    );
    assert_eq!(
        torch.get("conv.bias").unwrap().as_slice(),
        [0.0, 1.0, 2.0, 3.0, 4.0]
    );
}

/// Image of 1 row, 2 columns, 3 channels: PyTorch's feature `2 · c + w` is `3 · w + c` here.
#[test]
fn flattened_images_are_reordered() {
    let ours = state(&[
        ("stem.weight", &[1, 6]),
        ("stem.bias", &[6]),
        ("head.weight", &[6, 1]),
    ]);
    let layout = TorchLayout::new()
        .rename("stem", "fc")
        .image_output("stem", [1, 2, 3])
        .image_input("head", [1, 2, 3]);
    let torch = layout.to_torch(&ours).unwrap();
    let expected = [0.0, 3.0, 1.0, 4.0, 2.0, 5.0];
    for (name, shape) in [
        ("fc.weight", vec![6, 1]),
        ("fc.bias", vec![6]),
        ("head.weight", vec![1, 6]),
    ] {
        let tensor = torch.get(name).unwrap();
        assert_eq!(
            (tensor.shape(), tensor.as_slice()),
            (shape.as_slice(), expected.as_slice()),
            "{name}"
        );
    }
}

#[test]
fn embeddings_are_unchanged() {
    let ours = state(&[("label.weight", &[3, 2]), ("dense.weight", &[3, 2])]);
    let layout = TorchLayout::new().embedding("label").rename("label", "embed");
    let torch = layout.to_torch(&ours).unwrap();
    let kept = torch.get("embed.weight").unwrap();
    assert_eq!(
        (kept.shape(), kept.as_slice()),
        ([3, 2].as_slice(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0].as_slice())
    );
    assert_eq!(torch.get("dense.weight").unwrap().shape(), [2, 3]);
    let back = layout.from_torch(&torch).unwrap();
    for (name, tensor) in ours.tensors() {
        let other = back.get(name).unwrap();
        assert_eq!(
            (other.shape(), other.as_slice()),
            (tensor.shape(), tensor.as_slice()),
            "{name}"
        );
    }
    let vector = state(&[("label.bias", &[3])]);
    let error = layout.to_torch(&vector).unwrap_err().to_string();
    assert!(
        error.contains("embedding(\"label\")") && error.contains("no matrix"),
        "{error}"
    );
}

#[test]
fn a_rule_that_matches_nothing_is_named() {
    let ours = state(&[("stem.weight", &[1, 6]), ("stem10.bias", &[3])]);
    for layout in [
        TorchLayout::new().rename("stem1", "fc"),
        TorchLayout::new().image_input("stem1", [1, 2, 3]),
        TorchLayout::new().embedding("stem1"),
    ] {
        let error = layout.to_torch(&ours).unwrap_err().to_string();
        assert!(error.contains("\"stem1\""), "{error}");
    }
    let wrong = TorchLayout::new().image_output("stem", [2, 2, 2]);
    let error = wrong.to_torch(&ours).unwrap_err().to_string();
    assert!(
        error.contains("stem.weight") && error.contains("[1, 6]"),
        "{error}"
    );
    let no_weight = TorchLayout::new().image_input("stem10", [1, 1, 3]);
    assert!(no_weight.to_torch(&ours).is_err());
}

#[test]
fn two_names_never_become_one() {
    let ours = state(&[("a.weight", &[1]), ("b.weight", &[1])]);
    let layout = TorchLayout::new().rename("a", "b");
    let error = layout.to_torch(&ours).unwrap_err().to_string();
    assert!(
        error.contains("b.weight") || error.contains("a.weight"),
        "{error}"
    );
    let swap = layout.rename("b", "a");
    let there = swap.to_torch(&ours).unwrap();
    assert_eq!(swap.from_torch(&there).unwrap().tensors().len(), 2);
}

#[test]
fn batch_counters_are_written_and_dropped() {
    let ours = state(&[("norm.running_mean", &[2]), ("norm.weight", &[2])]);
    let layout = TorchLayout::new();
    let bytes = layout.to_torch_bytes(&ours).unwrap();
    let path = Path::new("net.safetensors");
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let counter = file.tensor("norm.num_batches_tracked").unwrap();
    assert_eq!((counter.shape().len(), counter.data()), (0, [0; 8].as_slice()));
    let back = layout.from_torch_bytes::<f32>(&bytes, path).unwrap();
    assert_eq!(back.tensors().len(), 2);
    let error = StateDict::<f32>::from_bytes(&bytes, path)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("net.safetensors") && error.contains("I64"),
        "{error}"
    );
}

proptest! {
    #![proptest_config(crate::cases(64))]

    #[test]
    fn there_and_back(image in [1_usize..4, 1..4, 1..4], kernel in [1_usize..4, 1..4], c in [1_usize..4, 1..4], rename in any::<bool>()) {
        let features = image.iter().product();
        let tensors = [
            ("stem.dense.weight", vec![c[0], features]),
            ("stem.norm.weight", vec![features]),
            ("stem.norm.bias", vec![features]),
            ("stem.norm.running_mean", vec![features]),
            ("stem.norm.running_var", vec![features]),
            ("conv.weight", vec![kernel[0], kernel[1], c[0], c[1]]),
            ("conv.bias", vec![c[1]]),
            ("head.weight", vec![features, c[1]]),
            ("head.bias", vec![c[1]]),
            ("label.weight", vec![c[0], c[1]]),
            ("scale", vec![]),
        ];
        let ours = StateDict::from_tensors(tensors.map(|(n, s)| (n.to_string(), counting(&s))).into());
        let mut layout = TorchLayout::new().image_output("stem", image).image_input("head", image).embedding("label");
        if rename {
            layout = layout.rename("stem.dense", "fc").rename("stem", "net.0").rename("head", "stem");
        }
        let torch = layout.to_torch(&ours).unwrap();
        prop_assert_eq!(torch.tensors().len(), ours.tensors().len());
        prop_assert!(!rename || torch.get("fc.weight").is_some() && torch.get("net.0.norm.bias").is_some());
        let bytes = layout.to_torch_bytes(&ours).unwrap();
        let from_bytes = layout.from_torch_bytes(&bytes, Path::new("x")).unwrap();
        for back in [layout.from_torch(&torch).unwrap(), from_bytes] {
            prop_assert_eq!(back.tensors().len(), ours.tensors().len());
            for (name, tensor) in ours.tensors() {
                let other = back.get(name).unwrap();
                prop_assert_eq!((other.shape(), other.as_slice()), (tensor.shape(), tensor.as_slice()), "{}", name);
            }
        }
    }
}
