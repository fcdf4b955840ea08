//! One step of each learner: who moves, and which way.

use super::{Batch, Learner, adda::Adda, decayed, learner, mcd::Mcd};
use crate::adapt::method::Method;
use crate::adapt::model::Model;
use engraft_layers::{Dense, Gradients, Init, Mode, StateDict};
use engraft_tensor::Tensor;
use rand::SeedableRng;
use rand_pcg::Pcg64;

const IMAGE: [usize; 3] = [16, 16, 1];

fn model(heads: usize) -> Model {
    Model::new(IMAGE, 3, heads, 1).unwrap()
}

fn batch(seed: u64) -> Batch {
    let rng = &mut Pcg64::seed_from_u64(seed);
    let mut images = || Tensor::uniform([6, 16, 16, 1], -1.0, 1.0, rng);
    Batch {
        source: images(),
        target: images() * 0.5 + 0.3,
        labels: vec![0, 1, 2, 0, 1, 2],
    }
}

/// Parameters under a name, as bits.
fn under(model: &Model, name: &str) -> Vec<u32> {
    let tensors = StateDict::of(model).into_tensors();
    let wanted = tensors
        .iter()
        .filter(|(n, _)| n.starts_with(name) && !n.contains("running"));
    wanted
        .flat_map(|(_, t)| t.as_slice().iter().map(|v| v.to_bits()))
        .collect()
}

#[test]
fn every_learner_moves_its_classifier() {
    for method in Method::ALL {
        let mut learner = learner(method, model(method.heads()), 1);
        let before = under(learner.classifier(), "extractor");
        for _ in 0..2 {
            assert!(learner.step(&batch(1), 0.2).is_finite());
        }
        assert_ne!(before, under(learner.classifier(), "extractor"), "{method}");
    }
}

#[test]
fn the_parts_of_a_discrepancy_step_move_their_own() {
    let mut mcd = Mcd::new(model(2));
    let batch = batch(2);
    let (extractor, heads) = (
        under(mcd.classifier(), "extractor"),
        under(mcd.classifier(), "classifier"),
    );
    mcd.part(&batch);
    assert_eq!(extractor, under(mcd.classifier(), "extractor"));
    assert_ne!(heads, under(mcd.classifier(), "classifier"));
    let (extractor, heads) = (
        under(mcd.classifier(), "extractor"),
        under(mcd.classifier(), "classifier"),
    );
    mcd.join(&batch);
    assert_ne!(extractor, under(mcd.classifier(), "extractor"));
    assert_eq!(heads, under(mcd.classifier(), "classifier"));
}

#[test]
fn the_second_part_of_adda_moves_the_targets_features_towards_the_sources() {
    let mut adda = Adda::new(model(1), 1);
    let batch = batch(3);
    assert!(adda.is_prelude(0.5) && !adda.is_prelude(0.6));
    adda.step(&batch, 0.0);
    let heads = under(adda.classifier(), "classifier");
    adda.step(&batch, 0.5);
    let source = adda.source_features(&batch.source);
    let fooled = |adda: &Adda| adda.fooled(&adda.classifier().features(&batch.target, Mode::Train));
    let before = fooled(&adda);
    // The discriminator stands still meanwhile.
    for _ in 0..8 {
        let loss = fooled(&adda);
        adda.learn_features(&loss);
    }
    assert!(fooled(&adda).item() < before.item());
    adda.step(&batch, 0.9);
    assert_eq!(heads, under(adda.classifier(), "classifier"));
    assert_eq!(source.as_slice(), adda.source_features(&batch.source).as_slice());
}

#[test]
fn decay_adds_the_weight_to_its_gradient() {
    let dense = Dense::<f32>::new(2, 1, &mut Init::glorot(1)).no_bias();
    let weight = StateDict::of(&dense).get("weight").unwrap().clone();
    let zero: Gradients = [("weight".to_string(), Tensor::zeros([2, 1]))].into();
    let found = decayed(zero, &dense, 0.5);
    assert_eq!(found["weight"].as_slice(), (weight * 0.5).as_slice());
}
