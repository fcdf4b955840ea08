//! One training step of each algorithm: which networks change, and in which direction.

use super::{
    Algorithm, Batch, adda::Adda, algorithm, cogan::Cogan, cross_entropy, mcd::Mcd, with_weight_decay,
};
use crate::adapt::cogan_networks::LATENT;
use crate::adapt::domain_classifier::DomainClassifier;
use crate::adapt::losses::{coupled_losses, pair_distance};
use crate::adapt::method::AdaptationMethod;
use engraft_layers::{
    Dense, Gradients, Init, Mode, Module, StateDict, gradients, parameters, rng_states, set_rng_states,
};
use engraft_tensor::Tensor;
use rand::SeedableRng;
use rand_pcg::Pcg64;
use std::collections::BTreeSet;

const IMAGE: [usize; 3] = [16, 16, 1];

fn model(heads: usize) -> DomainClassifier {
    DomainClassifier::new(IMAGE, 3, heads, 1).unwrap()
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
fn under(model: &dyn Module, name: &str) -> Vec<u32> {
    let tensors = StateDict::of(model).into_tensors();
    let wanted = tensors
        .iter()
        .filter(|(n, _)| n.starts_with(name) && !n.contains("running"));
    wanted
        .flat_map(|(_, t)| t.as_slice().iter().map(|v| v.to_bits()))
        .collect()
}

#[test]
fn every_algorithm_trains_its_classifier() {
    for method in AdaptationMethod::ALL {
        let mut algorithm = algorithm(method, model(method.heads()), 1);
        let before = under(algorithm.classifier(), "extractor");
        for _ in 0..2 {
            assert!(algorithm.step(&batch(1), 0.2).is_finite());
        }
        assert_ne!(before, under(algorithm.classifier(), "extractor"), "{method}");
    }
}

#[test]
fn mcd_steps_train_heads_and_extractor_separately() {
    let mut mcd = Mcd::new(model(2));
    let batch = batch(2);
    let (extractor, heads) = (
        under(mcd.classifier(), "extractor"),
        under(mcd.classifier(), "classifier"),
    );
    mcd.maximize_discrepancy(&batch);
    assert_eq!(extractor, under(mcd.classifier(), "extractor"));
    assert_ne!(heads, under(mcd.classifier(), "classifier"));
    let (extractor, heads) = (
        under(mcd.classifier(), "extractor"),
        under(mcd.classifier(), "classifier"),
    );
    mcd.minimize_discrepancy(&batch);
    assert_ne!(extractor, under(mcd.classifier(), "extractor"));
    assert_eq!(heads, under(mcd.classifier(), "classifier"));
}

#[test]
fn adda_moves_the_target_logits_towards_the_source_logits() {
    let mut adda = Adda::new(model(1), 1);
    let batch = batch(3);
    assert!(adda.is_source_pretraining(0.5) && !adda.is_source_pretraining(0.6));
    adda.step(&batch, 0.0);
    adda.step(&batch, 0.5);
    let weights = |adda: &Adda| {
        let source = adda.source.as_ref().unwrap();
        ["extractor", "classifier"].map(|part| [under(source, part), under(adda.classifier(), part)])
    };
    let before = weights(&adda);
    // In evaluation mode, because dropout noise is larger than the change by training.
    let adversarial_loss =
        |adda: &Adda| adda.adversarial_loss(&adda.classifier().forward(&batch.target, Mode::Eval));
    let before_training = adversarial_loss(&adda);
    // The discriminator does not change.
    for _ in 0..8 {
        let loss = adda.adversarial_loss(&adda.classifier().forward(&batch.target, Mode::Train));
        adda.step_target(&loss);
    }
    assert!(adversarial_loss(&adda).item() < before_training.item());
    adda.step(&batch, 0.9);
    for ([source, copy], [source_then, copy_then]) in weights(&adda).into_iter().zip(before) {
        assert_eq!(source, source_then);
        assert_ne!(copy, copy_then);
    }
}

fn noise(seed: u64) -> Tensor {
    Tensor::randn([6, LATENT], &mut Pcg64::seed_from_u64(seed))
}

/// Names of the blocks with a gradient.
fn blocks(of: &Gradients) -> BTreeSet<&str> {
    let parts = [
        "model.extractor.block1",
        "model.extractor.block2",
        "model.classifier1",
        "source",
        "head",
    ];
    let parts = parts.into_iter();
    parts
        .filter(|part| of.keys().any(|name| name.starts_with(&format!("{part}."))))
        .collect()
}

#[test]
fn cogan_discriminators_share_all_but_their_first_blocks() {
    let cogan = Cogan::new(model(1), 1);
    let (d, batch) = (&cogan.discriminators, batch(4));
    let [source, target] = [d.source(&batch.source), d.target(&batch.target)];
    let [by_source, by_target] = [&source, &target].map(|judged| gradients(&judged.logits.mean(), d));
    assert_eq!(
        blocks(&by_source),
        ["head", "model.extractor.block2", "source"].into()
    );
    assert_eq!(
        blocks(&by_target),
        ["head", "model.extractor.block1", "model.extractor.block2"].into()
    );
    // The gradients of both domains add up in a shared weight.
    let both = gradients(&(source.logits.mean() + target.logits.mean()), d);
    let name = "model.extractor.block2.conv.weight";
    let sum = &by_source[name] + &by_target[name];
    let apart = (&both[name] - &sum).abs().sum().item();
    assert!(apart < 1e-4 * sum.abs().sum().item(), "{apart}");
    assert!(
        [&by_source, &by_target]
            .iter()
            .all(|g| g[name].square().sum().item() > 0.0)
    );
    // The class loss uses the source's first block, so the target's first block has no gradient.
    let logits = d.model().classify(&source.features, Mode::Train).swap_remove(0);
    let of_classes = gradients(&cross_entropy(&logits, &batch.labels), d);
    assert_eq!(
        blocks(&of_classes),
        ["model.classifier1", "model.extractor.block2", "source"].into()
    );
    // Both first blocks start with the same weights, so the same images have the same features.
    let twice = d.target(&batch.source);
    assert_eq!(source.features.as_slice(), twice.features.as_slice());
}

/// Changes one parameter of the generators.
fn change(cogan: &mut Cogan, name: &str, to: impl Fn(&Tensor) -> Tensor) {
    let mut state = StateDict::of(&cogan.generators).into_tensors();
    let changed = to(&state[name]);
    state.insert(name.into(), changed);
    StateDict::from_tensors(state)
        .apply(&mut cogan.generators)
        .unwrap();
}

#[test]
fn cogan_generators_share_all_but_their_last_layers() {
    let mut cogan = Cogan::new(model(1), 1);
    let z = noise(5);
    let [source, target] = cogan.generators.pair(&z, Mode::Train);
    assert_eq!(source.shape(), [6, 16, 16, 1]);
    assert_eq!(source.as_slice(), target.as_slice());
    assert!(source.as_slice().iter().all(|v| v.abs() <= 1.0));
    for (own, other, image) in [("source.", "target.", &source), ("target.", "source.", &target)] {
        let found = gradients(&image.square().mean(), &cogan.generators);
        let any = |name: &str| found.keys().any(|n| n.starts_with(name));
        assert!(any("shared.") && any(own) && !any(other));
    }
    // The target's last layer changes the target images only.
    change(&mut cogan, "target.conv.bias", |bias| bias + 0.5);
    let [same, moved] = cogan.generators.pair(&z, Mode::Train);
    assert_eq!(source.as_slice(), same.as_slice());
    assert_ne!(target.as_slice(), moved.as_slice());
}

#[test]
fn cogan_players_minimize_their_own_losses() {
    let mut cogan = Cogan::new(model(1), 1);
    let (batch, z) = (batch(6), noise(6));
    let all = |module: &dyn Module| -> Vec<(String, Vec<f32>)> {
        parameters(module)
            .into_iter()
            .map(|(name, p)| (name, p.tensor().as_slice().to_vec()))
            .collect()
    };
    // The same dropout mask every time.
    let streams = rng_states(&cogan.discriminators);
    let losses = |cogan: &mut Cogan| {
        set_rng_states(&mut cogan.discriminators, &streams).unwrap();
        cogan.losses(&batch, &z)
    };
    let before = losses(&mut cogan);
    let [d, g] = [all(&cogan.discriminators), all(&cogan.generators)];
    for _ in 0..4 {
        let loss = losses(&mut cogan);
        cogan.step_generators(gradients(&loss.generators, &cogan.generators));
    }
    assert_eq!(d, all(&cogan.discriminators));
    let moved = all(&cogan.generators);
    assert!(
        g.iter().zip(&moved).all(|(a, b)| a.1 != b.1),
        "every parameter of the generators changes"
    );
    let between = losses(&mut cogan);
    assert!(between.generators.item() < before.generators.item());
    for _ in 0..4 {
        let loss = losses(&mut cogan);
        cogan.step_discriminators(gradients(&loss.discriminators, &cogan.discriminators));
    }
    assert_eq!(moved, all(&cogan.generators));
    let now = all(&cogan.discriminators);
    assert!(
        d.iter().zip(&now).all(|(a, b)| a.1 != b.1),
        "every parameter of the discriminators changes"
    );
    assert!(losses(&mut cogan).discriminators.item() < between.discriminators.item());
    // Both first blocks differ now.
    let [own, source] = ["model.extractor.block1", "source"].map(|name| under(&cogan.discriminators, name));
    assert_ne!(own, source);
}

#[test]
fn cogan_losses_are_the_weighted_sums_of_their_terms() {
    let mut cogan = Cogan::new(model(1), 2);
    // Pairs of negated images, so that their distance is large enough to be tested.
    change(&mut cogan, "target.conv.weight", |weight| weight * -1.0);
    let (batch, z) = (batch(8), noise(8));
    let streams = rng_states(&cogan.discriminators);
    let found = cogan.losses(&batch, &z);
    set_rng_states(&mut cogan.discriminators, &streams).unwrap();
    let d = &cogan.discriminators;
    let fake = cogan.generators.pair(&z, Mode::Train);
    let real = [d.source(&batch.source), d.target(&batch.target)];
    let fake = [d.source(&fake[0]), d.target(&fake[1])];
    let [adversarial, generators] = coupled_losses(
        [&real[0].logits, &real[1].logits],
        [&fake[0].logits, &fake[1].logits],
    );
    let logits = d.model().classify(&real[0].features, Mode::Train).swap_remove(0);
    let classes = cross_entropy(&logits, &batch.labels).item();
    let distance = pair_distance(&fake[0].features, &fake[1].features).item();
    let expected = adversarial.item() + 10.0 * classes + 0.01 * distance;
    let (apart, rounding) = ((found.discriminators.item() - expected).abs(), 1e-5 * expected);
    assert!(
        apart < rounding && 0.01 * distance > 100.0 * rounding,
        "{apart}, {distance}"
    );
    assert_eq!(found.generators.item(), generators.item());
}

#[test]
fn generating_pairs_does_not_affect_training() {
    let [mut with_pairs, mut without] = [1, 1].map(|seed| Cogan::new(model(1), seed));
    for i in 0..3 {
        let loss = with_pairs.step(&batch(i), 0.0);
        let pairs = with_pairs.pairs().unwrap();
        assert_eq!(pairs[0].shape(), [64, 16, 16, 1]);
        // Equal discriminators change equal images equally, so pairs differ only after the second step.
        assert_eq!(pairs[0].as_slice() == pairs[1].as_slice(), i == 0);
        let again = with_pairs.pairs().unwrap();
        assert!((0..2).all(|i| pairs[i].as_slice() == again[i].as_slice()));
        assert_eq!(loss, without.step(&batch(i), 0.0));
    }
    let [one, other] = [1, 2].map(|seed| Cogan::new(model(1), seed).pairs().unwrap());
    assert!(one[0].as_slice() != other[0].as_slice());
    assert!(algorithm(AdaptationMethod::Mcd, model(2), 1).pairs().is_none());
}

#[test]
fn weight_decay_adds_to_the_gradient() {
    let dense = Dense::<f32>::new(2, 1, &mut Init::glorot(1)).no_bias();
    let weight = StateDict::of(&dense).get("weight").unwrap().clone();
    let zero: Gradients = [("weight".to_string(), Tensor::zeros([2, 1]))].into();
    let found = with_weight_decay(zero, &dense, 0.5);
    assert_eq!(found["weight"].as_slice(), (weight * 0.5).as_slice());
}
