//! Networks of every family with random weights and statistics, and what this project computes with them.

use engraft_export::{Graph, classifier_graph, discriminator_graph, features_graph, generator_graph};
use engraft_gan::networks::{self, GeneratorNorm, NetworkSpec};
use engraft_layers::{
    Adapter, Condition, Init, Mode, Module, SlotMut, StateDict, adapt, spectral_normalize, visit_mut,
};
use engraft_metrics::{FeatureExtractor, FeatureNetwork, RandomFeatures, features};
use engraft_tensor::{Tensor, no_grad};
use engraft_transfer::adapt::DomainClassifier;
use rand::SeedableRng;
use rand_pcg::Pcg64;

/// Examples of a comparison; another number than in the traces.
pub(crate) const EXAMPLES: usize = 4;

/// A network with inputs and outputs.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) graph: Graph,
    /// Latent vectors or images `[n, c, h, w]`.
    pub(crate) input: Tensor,
    pub(crate) labels: Option<Vec<usize>>,
    /// The outputs: images `[n, c, h, w]`, logits, or features and logits.
    pub(crate) expected: Vec<Tensor>,
}

/// Narrow specifications that together have all layers of the families.
fn specs() -> Vec<(&'static str, NetworkSpec)> {
    let light = |side: usize, widths: &[usize]| {
        let spec = NetworkSpec::new([side, side, 3]).latent_dim(9);
        spec.widths(widths)
    };
    let mut pixel_norm = light(16, &[6, 5, 4]);
    (pixel_norm.norm, pixel_norm.convolutions) = (Some(GeneratorNorm::Pixel), Some(2));
    pixel_norm.patch_logits = true;
    let gray = NetworkSpec::new([28, 28, 1]).latent_dim(7);
    vec![
        ("dcgan", gray.clone().widths([6, 5, 4])),
        ("dcgan", gray.clone().widths([6, 5, 4]).classes(10).packing(2)),
        ("residual", gray.clone().widths([5, 4, 3])),
        (
            "residual",
            NetworkSpec::new([32, 32, 3]).widths([5, 4, 3]).classes(3),
        ),
        ("mlp", NetworkSpec::new([9, 11, 4]).widths([20, 10]).packing(3)),
        ("mlp", NetworkSpec::new([8, 8, 2]).widths([20, 10]).classes(5)),
        ("light", light(32, &[7, 6, 5, 4])),
        ("light", light(16, &[6, 5, 4]).classes(4)),
        ("light", pixel_norm),
        ("light", NetworkSpec::new([64, 96, 3]).widths([6, 5, 4, 3, 2])),
        ("dcgan64", NetworkSpec::new([64, 64, 3]).widths([6, 5, 4, 3])),
    ]
}

/// Random weights, statistics and scales.
fn randomize(network: &mut dyn Module, seed: u64) {
    let rng = &mut Pcg64::seed_from_u64(seed);
    visit_mut(network, |name, slot| match slot {
        SlotMut::Parameter(p) if p.tensor().rank() == 1 => {
            let low = if name.contains("norm") { 0.5 } else { -0.5 };
            p.set(&Tensor::uniform(p.tensor().shape(), low, 1.5, rng));
        }
        SlotMut::Buffer(b) if name.ends_with("var") => {
            b.set(&Tensor::uniform(b.tensor().shape(), 0.3, 1.5, rng));
        }
        SlotMut::Buffer(b) if name.ends_with("mean") => {
            b.set(&Tensor::uniform(b.tensor().shape(), -0.5, 0.5, rng));
        }
        _ => (),
    });
}

pub(crate) fn channels_first(images: &Tensor) -> Tensor {
    images.permute(&[0, 3, 1, 2])
}

fn condition(labels: Option<&[usize]>) -> Condition {
    labels.map_or(Condition::None, Condition::from)
}

/// The generator and the discriminator of every specification. Some have adapters or spectral normalization.
pub(crate) fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for (i, (name, spec)) in specs().into_iter().enumerate() {
        let family = networks::find(name).unwrap();
        family.check(&spec).unwrap();
        let rng = &mut Pcg64::seed_from_u64(i as u64);
        let build = || {
            let mut generator = family.generator(&spec, &mut Init::he(3));
            let mut discriminator = family.discriminator(&spec, &mut Init::he(4));
            if i % 2 == 0 {
                adapt(&mut generator, Adapter::LowRank { rank: 1 }, &mut Init::he(5));
            }
            if i % 3 != 1 {
                spectral_normalize(&mut discriminator);
            }
            randomize(&mut generator, 1);
            randomize(&mut discriminator, 2);
            (generator, discriminator)
        };
        let (g, d) = build();
        let labels: Option<Vec<usize>> =
            (spec.classes > 0).then(|| (0..EXAMPLES).map(|i| (i * 3 + 1) % spec.classes).collect());
        let latent = family.latent_dim(&spec);
        let z = Tensor::randn([EXAMPLES, latent], rng);
        let of_labels = condition(labels.as_deref());
        let images = no_grad(|| g.forward_with(&z, &of_labels, Mode::Eval));
        let images = images.clamp_min(-1.0);
        let images = -((-images).clamp_min(-1.0));
        cases.push(Case {
            name: format!("{i}-{name}-generator"),
            graph: generator_graph(g, latent, spec.classes).unwrap(),
            input: z,
            labels: labels.clone(),
            expected: vec![channels_first(&images)],
        });
        let [h, w, c] = spec.packed_shape();
        let images = Tensor::randn([EXAMPLES, h, w, c], rng);
        let labels = labels.map(|labels| labels.repeat(spec.packing));
        let logits = no_grad(|| d.forward_with(&images, &condition(labels.as_deref()), Mode::Eval));
        cases.push(Case {
            name: format!("{i}-{name}-discriminator"),
            graph: discriminator_graph(d, spec.image, spec.packing, spec.classes).unwrap(),
            input: channels_first(&images),
            labels,
            expected: vec![logits],
        });
    }
    cases.extend(readers());
    cases
}

/// Classifiers and feature networks.
fn readers() -> Vec<Case> {
    let rng = &mut Pcg64::seed_from_u64(7);
    let mut cases = Vec::new();
    let extractors: [&dyn FeatureExtractor; 3] = [
        &FeatureNetwork::mnist(),
        &*features::find("cifar10", [32, 32]).unwrap(),
        &RandomFeatures::for_size(32),
    ];
    for extractor in extractors {
        let [h, w, c] = extractor.input().shape();
        let images = Tensor::uniform([2, h, w, c], -1.0, 1.0, rng);
        let found = no_grad(|| extractor.recorded(&images)).unwrap();
        // What the measures read.
        let read = extractor.read(&images).unwrap().features;
        let same = found.features.as_slice().iter().zip(read.view());
        assert!(
            same.into_iter()
                .all(|(&a, &b)| (f64::from(a) - b).abs() < 1e-4 * b.abs().max(1.0))
        );
        cases.push(Case {
            name: format!("{}-features", extractor.name()),
            graph: features_graph(extractor).unwrap(),
            input: channels_first(&images),
            labels: None,
            expected: std::iter::once(found.features).chain(found.logits).collect(),
        });
    }
    for heads in [1, 2] {
        let mut classifier = DomainClassifier::new([28, 28, 1], 3, heads, 1).unwrap();
        randomize(&mut classifier, 3);
        let images = Tensor::uniform([EXAMPLES, 28, 28, 1], -1.0, 1.0, rng);
        let logits = no_grad(|| classifier.forward(&images, Mode::Eval));
        let again = DomainClassifier::from_state(&StateDict::of(&classifier)).unwrap();
        cases.push(Case {
            name: format!("{heads}-heads-classifier"),
            graph: classifier_graph(again).unwrap(),
            input: channels_first(&images),
            labels: None,
            expected: vec![logits],
        });
    }
    cases
}

/// The largest difference, relative to the largest value.
pub(crate) fn distance(found: &[f32], expected: &Tensor) -> f32 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.as_slice().iter().fold(0.0_f32, |m, v| m.max(v.abs()));
    assert!(largest > 1e-3, "there is nothing to compare");
    let pairs = found.iter().zip(expected.as_slice());
    pairs.fold(0.0_f32, |m, (a, b)| m.max((a - b).abs())) / largest
}
