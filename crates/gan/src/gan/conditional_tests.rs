//! Steps of class-conditional networks.

use crate::networks::{NetworkSpec, mlp};
use crate::{FeatureMatching, Gan, Objective, ObjectiveConfig, RegularizeConfig};
use engraft_layers::{Adam, Condition, Init, Mode, Module, Optimizer, Sequential, gradients, parameters};
use engraft_tensor::Tensor;
use rand::SeedableRng;
use rand_pcg::Pcg64;

const IMAGE: [usize; 3] = [8, 8, 1];
const LABELS: [usize; 4] = [2, 0, 1, 2];

fn adam() -> Adam<f64> {
    Adam::new(1e-2)
}

fn spec() -> NetworkSpec {
    NetworkSpec::new(IMAGE).classes(3)
}

fn networks(spec: &NetworkSpec) -> [Sequential<f64>; 2] {
    [
        mlp::build_generator(spec, &mut Init::glorot(1)),
        mlp::build_discriminator(spec, &mut Init::glorot(2)),
    ]
}

fn gan_of(spec: &NetworkSpec) -> Gan<f64> {
    let [g, d] = networks(spec);
    Gan::new(g, d, mlp::LATENT).classes(3).optimizers(adam(), adam())
}

fn gan() -> Gan<f64> {
    gan_of(&spec())
}

fn real() -> Tensor<f64> {
    Tensor::uniform([4, 8, 8, 1], -1.0, 1.0, &mut Pcg64::seed_from_u64(3))
}

#[test]
fn a_labeled_step_equals_one_with_explicit_labels() {
    let mut found = gan();
    found.step(&real(), LABELS, &mut Pcg64::seed_from_u64(4));

    let [mut g, mut d] = networks(&spec());
    let z = Tensor::randn([4, mlp::LATENT], &mut Pcg64::seed_from_u64(4));
    let labels = Condition::from(LABELS);
    let fake = g.forward_with(&z, &labels, Mode::Train);
    let real_logits = d.forward_with(&real(), &labels, Mode::Train);
    let fake_logits = d.forward_with(&fake, &labels, Mode::Train);
    let dg = gradients(&Objective::NonSaturating.generator(&fake_logits, None), &g);
    let dd = gradients(
        &Objective::NonSaturating.discriminator(&real_logits, &fake_logits),
        &d,
    );
    adam().step(&mut g, &dg);
    adam().step(&mut d, &dd);
    for (spelt_out, taken) in [
        (parameters(&g), parameters(&found.generator)),
        (parameters(&d), parameters(&found.discriminator)),
    ] {
        assert_eq!(spelt_out.len(), taken.len());
        for ((_, a), (name, b)) in spelt_out.iter().zip(&taken) {
            let apart = (a.tensor() - b.tensor()).abs().sum().item();
            assert!(apart < 1e-9, "{name}: {apart}");
        }
    }
}

#[test]
fn the_label_decides_which_image_is_generated() {
    let gan = gan();
    let draw = |labels: [usize; 3]| {
        let z = gan.noise(3, &mut Pcg64::seed_from_u64(5));
        gan.generator.forward_with(&z, &labels.into(), Mode::Eval)
    };
    let (a, b) = (draw([0, 1, 2]), draw([1, 1, 2]));
    let first = |t: &Tensor<f64>| t.narrow(0, 0, 1).as_slice().to_vec();
    let last = |t: &Tensor<f64>| t.narrow(0, 2, 1).as_slice().to_vec();
    assert!(first(&a) != first(&b) && last(&a) == last(&b));
    // The default labels cycle through the classes.
    assert_eq!(gan.cyclic_labels(4).labels(), Some(&[0, 1, 2, 0][..]));
}

/// Packs have the labels of their images, and a feature layer may lie within the conditional discriminator.
#[test]
fn packing_and_feature_matching_take_classes() {
    let objective = ObjectiveConfig {
        packing: 2,
        feature_matching: Some(FeatureMatching {
            layer: "projection.features.hidden1".into(),
            weight: 1.0,
        }),
        ..ObjectiveConfig::default()
    };
    let penalized = RegularizeConfig {
        r1_gamma: 1.0,
        ..RegularizeConfig::default()
    };
    let mut gan = gan_of(&spec().packing(2))
        .objective(objective)
        .regularize(penalized);
    gan.check().unwrap();
    let [plain, other] = [LABELS, [0, 0, 1, 2]].map(|labels| {
        let condition = labels.into();
        let packs = crate::pack(&real(), 2);
        let logits = gan.discriminator.forward_with(&packs, &condition, Mode::Eval);
        assert_eq!(logits.shape(), [2, 1]);
        logits.as_slice().to_vec()
    });
    assert!(
        plain[0] != other[0] && plain[1] == other[1],
        "each pack has its own labels"
    );
    for seed in 0..3 {
        let report = gan.step(&real(), LABELS, &mut Pcg64::seed_from_u64(seed));
        assert!(report.is_finite() && report.penalty > 0.0);
    }
}

#[test]
fn penalties_and_paired_objectives_use_the_class() {
    let penalized = RegularizeConfig {
        r1_gamma: 1.0,
        r2_gamma: 1.0,
        interval: 2,
        ..RegularizeConfig::default()
    };
    let mut gan = gan().objective(Objective::Relativistic).regularize(penalized);
    // The fully connected discriminator has no batch norm.
    gan.check().unwrap();
    for seed in 0..3 {
        let report = gan.step(&real(), LABELS, &mut Pcg64::seed_from_u64(seed));
        assert!(report.is_finite());
    }
}

#[test]
#[should_panic(expected = "got 0 labels for images")]
fn images_without_labels_are_refused() {
    gan().step(&real(), Condition::None, &mut Pcg64::seed_from_u64(1));
}
