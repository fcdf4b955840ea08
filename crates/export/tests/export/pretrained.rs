//! The feature networks whose weights a user supplies, with random weights of the same shapes.

use crate::cases::{Case, channels_first};
use engraft_export::{Operator, features_graph};
use engraft_layers::StateDict;
use engraft_metrics::FeatureExtractor;
use engraft_metrics::pretrained::{Inception, MobileNetV2};
use engraft_tensor::{Tensor, no_grad};
use rand::SeedableRng;
use rand_pcg::Pcg64;
use std::collections::BTreeMap;

/// Weights of the shapes that a fixture of `metrics` lists.
fn weights(fixture: &str) -> (tempfile::TempDir, std::path::PathBuf) {
    let fixture: serde_json::Value = serde_json::from_str(fixture).unwrap();
    let shapes: BTreeMap<String, Vec<usize>> = serde_json::from_value(fixture["tensors"].clone()).unwrap();
    let rng = &mut Pcg64::seed_from_u64(5);
    let tensors = shapes.into_iter().map(|(name, shape)| {
        let inputs: usize = shape.iter().skip(1).product();
        let value = match shape.len() {
            1 if name.ends_with("weight") || name.ends_with("var") => Tensor::uniform(&shape, 0.8, 1.2, rng),
            1 => Tensor::uniform(&shape, -0.2, 0.2, rng),
            _ => Tensor::randn(&shape, rng) * (2.0 / inputs as f32).sqrt(),
        };
        (name, value)
    });
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    StateDict::from_tensors(tensors.collect::<BTreeMap<_, _>>())
        .save(&path)
        .unwrap();
    (folder, path)
}

/// Both networks, with one image.
pub(crate) fn all() -> Vec<Case> {
    let (_folder, path) = weights(include_str!(
        "../../../metrics/tests/pretrained/mobilenet_v2.json"
    ));
    let mobile = MobileNetV2::open(path).unwrap();
    let (_folder, path) = weights(include_str!("../../../metrics/tests/pretrained/inception.json"));
    let inception = Inception::open(path, [75, 90]).unwrap();
    [case(&mobile), case(&inception)].into()
}

fn case(extractor: &dyn FeatureExtractor) -> Case {
    let [h, w, c] = extractor.input().shape();
    let images = Tensor::uniform([1, h, w, c], -1.0, 1.0, &mut Pcg64::seed_from_u64(7));
    let found = no_grad(|| extractor.recorded(&images)).unwrap();
    Case {
        name: format!("{}-features", extractor.name()),
        graph: features_graph(extractor).unwrap(),
        input: channels_first(&images),
        labels: None,
        expected: vec![found.features],
    }
}

/// The numbers are compared where ONNX Runtime is installed: by definition in `f64` they would take minutes.
#[test]
fn every_layer_is_one_operator() {
    let [mobile, inception] = &all()[..] else {
        panic!("two networks")
    };
    let count = |case: &Case, is_it: fn(&Operator) -> bool| {
        let operators = case.graph.nodes.iter().map(|node| &node.operator);
        operators.filter(|operator| is_it(operator)).count()
    };
    let convolutions: fn(&Operator) -> bool = |operator| matches!(operator, Operator::Conv { .. });
    let depthwise: fn(&Operator) -> bool = |operator| matches!(operator, Operator::Conv { groups: 2.., .. });
    assert_eq!((count(mobile, convolutions), count(mobile, depthwise)), (52, 17));
    assert_eq!(
        (count(inception, convolutions), count(inception, depthwise)),
        (94, 0)
    );
    let pools: fn(&Operator) -> bool =
        |operator| matches!(operator, Operator::AveragePool(_) | Operator::MaxPool(_));
    assert_eq!(count(inception, pools), 13);
    let layouts: fn(&Operator) -> bool = |operator| matches!(operator, Operator::Transpose { .. });
    assert_eq!((count(mobile, layouts), count(inception, layouts)), (0, 0));
}
