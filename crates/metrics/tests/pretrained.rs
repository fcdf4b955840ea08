//! The pretrained feature extractors compute what PyTorch computes with the same weights.

#![allow(clippy::unwrap_used)]

use engraft_layers::StateDict;
use engraft_metrics::pretrained::{Inception, MobileNetV2};
use engraft_metrics::{FeatureExtractor, MetricsError};
use engraft_tensor::Tensor;
use std::collections::BTreeMap;

/// Numbers from -0.5 to 0.5 that follow from a name, as `make.py` has them.
fn uniform(name: &str, count: usize) -> impl Iterator<Item = f64> {
    let seed = (name.bytes()).fold(2_166_136_261_u32, |seed, byte| {
        (seed ^ u32::from(byte)).wrapping_mul(16_777_619)
    });
    (0..count as u32).map(move |i| {
        let mut x = seed.wrapping_add(i.wrapping_mul(2_654_435_761));
        for _ in 0..2 {
            x = (x ^ (x >> 16)).wrapping_mul(73_244_475);
        }
        f64::from(x ^ (x >> 16)) / f64::from(2.0_f32.powi(32)) - 0.5
    })
}

fn weight(name: &str, shape: &[usize]) -> Tensor {
    let fan_in = shape.iter().skip(1).product::<usize>() as f64;
    let values = uniform(name, shape.iter().product()).map(|u| {
        let value = if shape.len() >= 2 {
            u * (24.0 / fan_in).sqrt()
        } else if name.ends_with("weight") || name.ends_with("running_var") {
            1.0 + 0.4 * u
        } else {
            0.4 * u
        };
        value as f32
    });
    Tensor::from_vec(shape, values.collect())
}

#[derive(serde::Deserialize)]
struct Fixture {
    size: [usize; 2],
    tensors: BTreeMap<String, Vec<usize>>,
    features: Vec<Vec<f64>>,
}

impl Fixture {
    fn read(text: &str) -> Self {
        serde_json::from_str(text).unwrap()
    }

    fn state(&self) -> BTreeMap<String, Tensor> {
        let tensors = self.tensors.iter();
        tensors
            .map(|(name, shape)| (name.clone(), weight(name, shape)))
            .collect()
    }

    /// The two images twice, so that there are enough for every algorithm of a convolution.
    fn images(&self) -> Tensor {
        let [height, width] = self.size;
        let two: Vec<f64> = uniform("images", 2 * height * width * 3).collect();
        let noise = two.repeat(2).into_iter().enumerate();
        let values = noise.map(|(i, u)| {
            let row = i / (3 * width) % height;
            (u + row as f64 / height as f64 - 0.5) as f32
        });
        Tensor::from_vec([4, height, width, 3], values.collect())
    }

    /// Compares to 1e-4 of the largest feature: the fast path and the recorded operations.
    fn check(&self, extractor: &dyn FeatureExtractor) {
        let found = extractor.read(&self.images()).unwrap().features;
        assert_eq!([found.len(), found.dimension()], [4, self.features[0].len()]);
        self.compare(|row, column| found.view()[[row, column]]);
        let recorded = extractor.recorded(&self.images().as_leaf()).unwrap().features;
        assert!(recorded.requires_grad());
        self.compare(|row, column| f64::from(recorded.view()[[row, column]]));
    }

    fn compare(&self, found: impl Fn(usize, usize) -> f64) {
        let largest = self
            .features
            .iter()
            .flatten()
            .fold(0.0_f64, |most, x| most.max(x.abs()));
        for (row, expected) in self.features.iter().cycle().take(4).enumerate() {
            for (column, &y) in expected.iter().enumerate() {
                let x = found(row, column);
                assert!(
                    (x - y).abs() < 1e-4 * largest,
                    "{row} {column}: {x} against {y} of {largest}"
                );
            }
        }
    }
}

fn saved(tensors: BTreeMap<String, Tensor>) -> (tempfile::TempDir, std::path::PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("weights.safetensors");
    StateDict::from_tensors(tensors).save(&path).unwrap();
    (directory, path)
}

#[test]
fn mobilenet_v2_agrees_with_pytorch() {
    let fixture = Fixture::read(include_str!("pretrained/mobilenet_v2.json"));
    let (_directory, path) = saved(fixture.state());
    fixture.check(&MobileNetV2::open(path).unwrap());
}

#[test]
fn inception_agrees_with_pytorch() {
    let fixture = Fixture::read(include_str!("pretrained/inception.json"));
    let (_directory, path) = saved(fixture.state());
    fixture.check(&Inception::open(path, fixture.size).unwrap());
}

#[test]
fn other_weights_are_refused_by_name() {
    let fixture = Fixture::read(include_str!("pretrained/mobilenet_v2.json"));
    let refused = |tensors| {
        let (_directory, path) = saved(tensors);
        match MobileNetV2::open(&path).err() {
            Some(MetricsError::PretrainedWeights { problem, .. }) => problem,
            other => panic!("{other:?}"),
        }
    };
    let mut missing = fixture.state();
    missing.remove("features.3.conv.1.0.weight");
    assert!(refused(missing).contains("features.3.conv.1.0.weight"));
    let mut wrong = fixture.state();
    wrong.insert("features.0.0.weight".into(), Tensor::zeros([32, 1, 3, 3]));
    assert!(refused(wrong).contains("[32, 1, 3, 3]"));
    let mut negative = fixture.state();
    negative.insert("features.0.1.running_var".into(), Tensor::full([32], -1.0));
    assert!(refused(negative).contains("features.0.1.running_var"));
    let nothing = MobileNetV2::open("no such file").err().unwrap();
    assert!(matches!(nothing, MetricsError::PretrainedWeights { .. }));
}
