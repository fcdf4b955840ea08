//! The discriminator's self-supervision: it reconstructs the real images of a step.

use super::*;
use crate::Objective;
use crate::networks::{NetworkFamily, NetworkSpec, light, reconstruction};
use engraft_layers::{Dense, Flatten, Init, Sgd, forward_through, parameters};
use engraft_tensor::Tensor;
use rand::SeedableRng;
use rand_pcg::Pcg64;

const IMAGE: [usize; 3] = [16, 16, 3];

fn gan(weight: f64, classes: usize, order: StepOrder) -> Gan<f64> {
    let mut spec = NetworkSpec::new(IMAGE)
        .widths([6, 5, 4])
        .latent_dim(3)
        .classes(classes);
    spec.reconstruction = weight > 0.0;
    assert_eq!(light::Light.check(&spec), Ok(()));
    let g = light::build_generator(&spec, &mut Init::glorot(1));
    let d = light::build_discriminator(&spec, &mut Init::glorot(2));
    Gan::new(g, d, 3)
        .classes(classes)
        .order(order)
        .objective(ObjectiveConfig {
            reconstruction: weight,
            ..Objective::Hinge.into()
        })
        .optimizers(Sgd::new(0.1), Sgd::new(0.1))
}

fn decoder(gan: &Gan<f64>) -> Vec<Vec<f64>> {
    parameters(&gan.discriminator)
        .into_iter()
        .filter(|(name, _)| name.contains("reconstruction.decoder."))
        .map(|(_, weight)| weight.tensor().as_slice().to_vec())
        .collect()
}

#[test]
fn the_penalty_is_the_weighted_error_and_trains_the_decoder() {
    let rng = &mut Pcg64::seed_from_u64(3);
    let real = Tensor::<f64>::uniform([4, 16, 16, 3], -1.0, 1.0, rng);
    for (classes, order) in [(0, StepOrder::Simultaneous), (2, StepOrder::Alternating)] {
        let labels: Condition<f64> = match classes {
            0 => Condition::None,
            _ => [0, 1, 1, 0].into(),
        };
        let of = |weight: f64| {
            let mut gan = gan(weight, classes, order);
            gan.check().unwrap();
            let (before, d) = (decoder(&gan), &gan.discriminator);
            let error = reconstruction::part_of(d).map(|part| {
                let outputs = forward_through(d, &real, &labels, Mode::Eval, &[&part]);
                assert_eq!(outputs.parts[0].shape(), [4, 8, 8, 3]);
                reconstruction::error(&real, &outputs.parts[0]).item()
            });
            let report = gan.step(&real, labels.clone(), &mut Pcg64::seed_from_u64(4));
            (before, decoder(&gan), error, report)
        };
        let (before, after, error, report) = of(0.5);
        assert!((report.penalty - 0.5 * error.unwrap()).abs() < 1e-12);
        assert_eq!(before.len(), 2);
        assert!(before.iter().zip(&after).all(|(before, after)| before != after));
        let (before, _, error, report) = of(0.0);
        assert_eq!((before.len(), error, report.penalty), (0, None, 0.0));
    }
}

#[test]
fn micro_batches_give_the_step_of_the_whole_batch() {
    let real = Tensor::<f64>::uniform([4, 16, 16, 3], -1.0, 1.0, &mut Pcg64::seed_from_u64(3));
    let of = |count: usize| {
        let mut gan = gan(0.5, 0, StepOrder::Alternating).micro_batches(count);
        let report = gan.step(&real, Condition::None, &mut Pcg64::seed_from_u64(4));
        (report.penalty, decoder(&gan).concat())
    };
    let (whole, parts) = (of(1), of(2));
    assert!((whole.0 - parts.0).abs() < 1e-12);
    let differences = whole.1.iter().zip(&parts.1).map(|(a, b)| (a - b).abs());
    assert!(differences.fold(0.0, f64::max) < 1e-12);
}

/// Reconstructions have half of the sides of an image and at most 32 to 56 pixels, for packs and rectangles too. The weights of the
/// other layers are those of a discriminator without the head.
#[test]
fn every_size_has_a_head() {
    for (image, packing, sides) in [
        ([16, 16, 3], 1, [8, 8]),
        ([28, 28, 1], 1, [14, 14]),
        ([32, 32, 3], 1, [16, 16]),
        ([64, 96, 3], 1, [32, 48]),
        ([128, 128, 1], 2, [32, 32]),
        ([256, 256, 3], 1, [32, 32]),
    ] {
        let mut spec = NetworkSpec::new(image).packing(packing);
        let fits = |maps: &usize| light::Light.check(&spec.clone().widths(vec![4; *maps])).is_ok();
        let maps = (1..8).find(fits).unwrap();
        spec = spec.widths(vec![4; maps]);
        let without = light::build_discriminator::<f64>(&spec, &mut Init::glorot(2));
        spec.reconstruction = true;
        let d = light::build_discriminator::<f64>(&spec, &mut Init::glorot(2));
        let part = reconstruction::part_of(&d).unwrap();
        let [h, w, c] = spec.packed_shape();
        let x = Tensor::uniform([2, h, w, c], -1.0, 1.0, &mut Pcg64::seed_from_u64(1));
        let outputs = forward_through(&d, &x, &Condition::None, Mode::Train, &[&part]);
        assert_eq!(outputs.parts[0].shape(), [2, sides[0], sides[1], c], "{image:?}");
        let error = reconstruction::error(&x, &outputs.parts[0]).item();
        assert!(error > 0.0 && error < 1.0, "{image:?}: {error}");
        let logits = without.forward(&x, Mode::Train);
        assert_eq!(outputs.main.as_slice(), logits.as_slice(), "{image:?}");
    }
}

#[test]
fn a_discriminator_without_a_head_is_refused() {
    let mut without = gan(0.0, 0, StepOrder::Simultaneous);
    without.loss.objective.reconstruction = 1.0;
    let error = without.check().unwrap_err().to_string();
    assert!(error.contains("objective.reconstruction"), "{error}");
    let mut spec = NetworkSpec::new([28, 28, 1]);
    spec.reconstruction = true;
    let error = crate::networks::dcgan::Dcgan.check(&spec).unwrap_err();
    assert!(error.contains("light"), "{error}");
    let d = Sequential::<f64>::new()
        .add("flat", Flatten)
        .add("head", Dense::new(4, 1, &mut Init::glorot(1)));
    assert_eq!(reconstruction::part_of(&d), None);
}
