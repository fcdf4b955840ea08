//! Steps by hand: a critic `D(x) = w · x` and a generator `G(z) = a z` of one pixel.

use super::*;
use crate::augment::{AdaptiveConfig, Augmentation};
use crate::objective::FeatureMatching;
use crate::{AdamConfig, Objective};
use engraft_layers::{BatchNorm, Dense, Flatten, Init, Reshape, Sgd, parameters};
use rand::SeedableRng;
use rand_pcg::Pcg64;

/// Learning rates of the two networks.
pub(super) const RATES: [f64; 2] = [0.5, 0.1];

pub(super) fn pair(packing: usize) -> Gan<f64> {
    let init = &mut Init::normal(4, 0.7);
    let generator = Sequential::new()
        .add("dense", Dense::new(1, 1, init).no_bias())
        .add("pixel", Reshape::new([1, 1, 1]));
    let discriminator = Sequential::new()
        .add("flat", Flatten)
        .add("dense", Dense::new(packing, 1, init).no_bias());
    Gan::new(generator, discriminator, 1)
        .optimizers(Sgd::new(RATES[0]), Sgd::new(RATES[1]))
        .order(StepOrder::Alternating)
}

pub(super) fn weights(module: &Sequential<f64>) -> Vec<f64> {
    parameters(module)[0].1.tensor().as_slice().to_vec()
}

fn pixels(values: &[f64]) -> Tensor<f64> {
    Tensor::from_vec([values.len(), 1, 1, 1], values.to_vec())
}

fn latent(values: &[f64]) -> Tensor<f64> {
    Tensor::from_vec([values.len(), 1], values.to_vec())
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn near(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-9, "{found} and {expected}");
}

const REAL: [f64; 4] = [0.9, -0.2, 0.4, 0.6];
const Z: [f64; 4] = [0.3, -1.1, 0.8, 0.1];
const Z_OF_GENERATOR: [f64; 4] = [-0.4, 1.3, 0.2, 0.7];

fn step(gan: &mut Gan<f64>) -> StepReport {
    gan.assert_valid();
    let report = gan.discriminator_step(&pixels(&REAL), &Condition::None, &latent(&Z));
    let generator_loss = gan.generator_step(&pixels(&REAL), &Condition::None, &latent(&Z_OF_GENERATOR));
    StepReport {
        generator_loss,
        ..report
    }
}

#[test]
fn a_wasserstein_step_with_gradient_penalty() {
    let mut gan = pair(1)
        .objective(Objective::Wasserstein)
        .regularize(RegularizeConfig {
            gradient_penalty: 10.0,
            ..RegularizeConfig::default()
        });
    let (a, w) = (weights(&gan.generator)[0], weights(&gan.discriminator)[0]);
    let report = step(&mut gan);
    let slope = a * mean(&Z) - mean(&REAL);
    near(report.discriminator_loss, w * slope);
    near(report.penalty, 10.0 * (w.abs() - 1.0).powi(2));
    let moved = w - RATES[1] * (slope + 20.0 * (w.abs() - 1.0) * w.signum());
    near(weights(&gan.discriminator)[0], moved);
    near(report.generator_loss, -moved * a * mean(&Z_OF_GENERATOR));
    near(
        weights(&gan.generator)[0],
        a + RATES[0] * moved * mean(&Z_OF_GENERATOR),
    );
}

#[test]
fn a_relativistic_step_with_r1_and_r2_in_either_order() {
    let sigma = |v: f64| 1.0 / (1.0 + (-v).exp());
    for order in [StepOrder::Simultaneous, StepOrder::Alternating] {
        let mut gan = pair(1)
            .objective(Objective::Relativistic)
            .order(order)
            .regularize(RegularizeConfig {
                r1_gamma: 0.3,
                r2_gamma: 0.5,
                ..RegularizeConfig::default()
            });
        let (a, w) = (weights(&gan.generator)[0], weights(&gan.discriminator)[0]);
        let (report, old, noise) = match order {
            StepOrder::Simultaneous => (
                gan.simultaneous_step(&pixels(&REAL), &Condition::None, &latent(&Z)),
                w,
                Z,
            ),
            StepOrder::Alternating => {
                let report = step(&mut gan);
                (report, weights(&gan.discriminator)[0], Z_OF_GENERATOR)
            }
        };
        let pairs = |z: [f64; 4]| [0, 1, 2, 3].map(|i| a * z[i] - REAL[i]);
        near(
            report.discriminator_loss,
            mean(&pairs(Z).map(|d| (1.0 + (w * d).exp()).ln())),
        );
        near(report.penalty, 0.4 * w * w);
        let slope = mean(&pairs(Z).map(|d| sigma(w * d) * d)) + 0.8 * w;
        near(weights(&gan.discriminator)[0], w - RATES[1] * slope);
        // The generator meets the old critic in a simultaneous step, the new one in an alternating step.
        let differences = pairs(noise);
        near(
            report.generator_loss,
            mean(&differences.map(|d| (1.0 + (-old * d).exp()).ln())),
        );
        let slopes = [0, 1, 2, 3].map(|i| -sigma(-old * differences[i]) * old * noise[i]);
        near(weights(&gan.generator)[0], a - RATES[0] * mean(&slopes));
    }
}

#[test]
fn lazy_penalties_are_a_separate_step_with_the_weight_of_the_interval() {
    for order in [StepOrder::Simultaneous, StepOrder::Alternating] {
        let lazy = |every| {
            let mut gan = pair(1).order(order).regularize(RegularizeConfig {
                r1_gamma: 0.3,
                interval: every,
                ..RegularizeConfig::default()
            });
            let rng = &mut Pcg64::seed_from_u64(7);
            (0..5)
                .map(|_| gan.step(&pixels(&REAL), Condition::None, rng).penalty > 0.0)
                .collect::<Vec<_>>()
        };
        assert_eq!(lazy(1), [true; 5]);
        assert_eq!(lazy(3), [true, false, false, true, false]);
        let mut plain = pair(1).order(order);
        let mut gan = pair(1).order(order).regularize(RegularizeConfig {
            r1_gamma: 0.3,
            interval: 3,
            ..RegularizeConfig::default()
        });
        let rng = &mut Pcg64::seed_from_u64(7);
        gan.discriminator_step(&pixels(&REAL), &Condition::None, &latent(&Z));
        plain.discriminator_step(&pixels(&REAL), &Condition::None, &latent(&Z));
        let w = weights(&plain.discriminator)[0];
        near(weights(&gan.discriminator)[0], w - RATES[1] * 3.0 * 0.3 * w);
        let before = weights(&gan.discriminator)[0];
        gan.step(&pixels(&REAL), Condition::None, rng);
        assert_ne!(before, weights(&gan.discriminator)[0]);
    }
}

#[test]
fn settings_for_lazy_penalties_are_powers_of_the_decays() {
    let adam = AdamConfig {
        learning_rate: 0.1,
        beta1: 0.5,
        beta2: 0.99,
        epsilon: 1e-8,
    };
    assert_eq!(adam.with_lazy_penalty(1), adam);
    let lazy = adam.with_lazy_penalty(16);
    near(lazy.learning_rate, 0.1 * 16.0 / 17.0);
    near(lazy.beta1.powi(17), 0.5_f64.powi(16));
    near(lazy.beta2.powi(17), 0.99_f64.powi(16));
    assert_eq!(adam.with_lazy_penalty(4).epsilon, 1e-8);
}

#[test]
fn each_discriminator_step_has_its_own_images_and_noise() {
    let objective = ObjectiveConfig {
        n_critic: 3,
        ..Objective::NonSaturating.into()
    };
    let mut gan = pair(1).objective(objective);
    let mut by_hand = pair(1);
    let images = pixels(&[0.1, 0.2, 0.3, 0.4, 0.5, 0.6]);
    let rngs = &mut [5, 5].map(Pcg64::seed_from_u64);
    let report = gan.step(&images, Condition::None, &mut rngs[0]);
    for i in 0..2 {
        let z = by_hand.noise(2, &mut rngs[1]);
        by_hand.discriminator_step(&images.narrow(0, 2 * i, 2), &Condition::None, &z);
    }
    let expected = by_hand.step(&images.narrow(0, 4, 2), Condition::None, &mut rngs[1]);
    assert_eq!(report, expected);
    assert_eq!(weights(&gan.discriminator), weights(&by_hand.discriminator));
    assert_eq!(weights(&gan.generator), weights(&by_hand.generator));
    assert_eq!(rngs[0], rngs[1]);
}

/// The report of the last step would hide it, and without batch norm nothing else shows it.
#[test]
fn a_loss_that_is_not_finite_in_an_earlier_critic_step_is_reported_and_changes_nothing() {
    let mut gan = pair(1).objective(ObjectiveConfig {
        n_critic: 2,
        ..Objective::NonSaturating.into()
    });
    let before = [weights(&gan.discriminator), weights(&gan.generator)];
    let report = gan.step(
        &pixels(&[f64::NAN, 0.2, 0.3, 0.4]),
        Condition::None,
        &mut Pcg64::seed_from_u64(5),
    );
    assert!(!report.is_finite());
    assert_eq!([weights(&gan.discriminator), weights(&gan.generator)], before);
}

#[test]
fn packs_are_evaluated_together() {
    let mut gan = pair(2)
        .objective(ObjectiveConfig {
            packing: 2,
            ..Objective::Hinge.into()
        })
        .regularize(RegularizeConfig {
            r1_gamma: 2.0,
            ..RegularizeConfig::default()
        });
    let w = weights(&gan.discriminator);
    let report = step(&mut gan);
    near(report.penalty, w[0] * w[0] + w[1] * w[1]);
    let a = weights(&pair(2).generator)[0];
    let logit = |x: &[f64]| w[0] * x[0] + w[1] * x[1];
    let real = mean(&[1.0 - logit(&REAL[..2]), 1.0 - logit(&REAL[2..])].map(|v| v.max(0.0)));
    let fake = mean(&[1.0 + a * logit(&Z[..2]), 1.0 + a * logit(&Z[2..])].map(|v| v.max(0.0)));
    near(report.discriminator_loss, real + fake);
}

#[test]
fn feature_matching_adds_the_distance_of_mean_features() {
    let matching = |weight| ObjectiveConfig {
        feature_matching: Some(FeatureMatching {
            layer: "flat".into(),
            weight,
        }),
        ..ObjectiveConfig::default()
    };
    for order in [StepOrder::Simultaneous, StepOrder::Alternating] {
        let reports = [1.0, 3.0].map(|weight| {
            let mut gan = pair(1).order(order).objective(matching(weight));
            match order {
                StepOrder::Simultaneous => {
                    gan.simultaneous_step(&pixels(&REAL), &Condition::None, &latent(&Z))
                }
                StepOrder::Alternating => step(&mut gan),
            }
        });
        let (a, z) = match order {
            StepOrder::Simultaneous => (weights(&pair(1).generator)[0], Z),
            StepOrder::Alternating => (weights(&pair(1).generator)[0], Z_OF_GENERATOR),
        };
        let distance = (a * mean(&z) - mean(&REAL)).powi(2);
        near(
            reports[1].generator_loss - reports[0].generator_loss,
            2.0 * distance,
        );
    }
}

#[test]
fn lecam_is_added_after_its_start() {
    let mut gan = pair(1).regularize(RegularizeConfig {
        lecam: 0.5,
        lecam_start: 2,
        ..RegularizeConfig::default()
    });
    let penalties = [0, 1, 2].map(|_| step(&mut gan).penalty);
    assert_eq!(penalties[..2], [0.0, 0.0]);
    assert!(penalties[2] > 0.0);
    assert!(gan.loss.state.lecam.averages().iter().all(|v| *v != 0.0));
}

#[test]
fn adaptive_augmentation_starts_at_0_and_moves() {
    let mut gan = pair(1).augment(AugmentConfig {
        kinds: vec![Augmentation::Brightness],
        probability: None,
        adaptive: Some(AdaptiveConfig {
            target: 0.4,
            images: 40,
            every: 1,
        }),
    });
    // A critic that finds all real images real, whatever it learns in a few steps.
    let real = pixels(&[9.0, 8.0, 7.0, 6.0].map(|v: f64| v * weights(&gan.discriminator)[0].signum()));
    let found = [0, 1, 2].map(|_| {
        gan.discriminator_step(&real, &Condition::None, &latent(&Z))
            .augment_probability
    });
    assert_eq!(found[0], 0.0);
    near(found[1], 0.1);
    near(found[2], 0.2);
}

/// Least squares is undecided at one half: logits of 0.3 on real images are no overfitting.
#[test]
fn an_adaptive_probability_uses_the_threshold_of_the_objective() {
    let after_two_steps = |objective, logit: f64| {
        let mut gan = pair(1).objective(objective).augment(AugmentConfig {
            kinds: vec![Augmentation::Brightness],
            probability: None,
            adaptive: Some(AdaptiveConfig {
                target: 0.4,
                images: 40,
                every: 1,
            }),
        });
        let real = pixels(&[logit / weights(&gan.discriminator)[0]; 4]);
        [0, 1].map(|_| {
            gan.discriminator_step(&real, &Condition::None, &latent(&Z))
                .augment_probability
        })[1]
    };
    assert_eq!(after_two_steps(Objective::LeastSquares, 0.3), 0.0);
    near(after_two_steps(Objective::LeastSquares, 0.7), 0.1);
    near(after_two_steps(Objective::NonSaturating, 0.3), 0.1);
}

#[test]
fn augmentations_use_their_own_random_stream() {
    let run = |seed, probability| {
        let mut gan = pair(1).seed(seed).augment(AugmentConfig {
            kinds: vec![Augmentation::Brightness],
            probability,
            adaptive: None,
        });
        let rng = &mut Pcg64::seed_from_u64(1);
        let reports = [0, 1].map(|_| gan.step(&pixels(&REAL), Condition::None, rng));
        (reports, rng.clone())
    };
    assert!(run(1, None) == run(1, None) && run(1, None) == run(1, Some(1.0)));
    assert!(run(1, None).0 != run(2, None).0);
    assert!(run(1, None).1 == run(2, Some(0.5)).1);
}

#[test]
#[should_panic(expected = "batch norm (norm)")]
fn a_step_with_invalid_settings_panics() {
    let mut gan = pair(1);
    gan.discriminator = Sequential::new()
        .add("flat", Flatten)
        .add("norm", BatchNorm::new(1))
        .add("dense", Dense::new(1, 1, &mut Init::glorot(1)));
    let mut gan = gan.regularize(RegularizeConfig {
        r1_gamma: 1.0,
        ..RegularizeConfig::default()
    });
    step(&mut gan);
}

#[test]
#[should_panic(expected = "[4, 1, 1, 1]")]
fn a_batch_that_does_not_split_is_refused() {
    let objective = ObjectiveConfig {
        n_critic: 3,
        ..ObjectiveConfig::default()
    };
    pair(1)
        .objective(objective)
        .step(&pixels(&REAL), Condition::None, &mut Pcg64::seed_from_u64(1));
}

/// The check runs the networks once on zeros and reports what does not fit, without a panic.
#[test]
fn a_discriminator_of_another_image_size_is_found() {
    let init = &mut Init::glorot(1);
    let gan = || {
        let image = [5, 4, 2];
        let generator = Sequential::<f64>::new()
            .add(
                "dense",
                Dense::new(3, image.iter().product(), &mut Init::glorot(1)),
            )
            .add("grid", Reshape::new(image));
        move |inputs: usize| {
            let discriminator = Sequential::new()
                .add("flat", Flatten)
                .add("head", Dense::new(inputs, 1, &mut Init::glorot(2)));
            Gan::new(generator, discriminator, 3)
        }
    };
    assert!(gan()(5 * 4 * 2).check().is_ok());
    let packed = |inputs| {
        gan()(inputs).objective(ObjectiveConfig {
            packing: 3,
            ..ObjectiveConfig::default()
        })
    };
    assert!(packed(5 * 4 * 6).check().is_ok());
    for (gan, said) in [(gan()(39), "[5, 4, 2]"), (packed(5 * 4 * 2), "[5, 4, 2]")] {
        let error = gan.check().unwrap_err().to_string();
        assert!(
            error.contains(said) && error.contains("40") | error.contains("120"),
            "{error}"
        );
    }
    let generator = || Sequential::<f64>::new().add("dense", Dense::new(3, 2, &mut Init::glorot(1)));
    let discriminator = Sequential::new().add("head", Dense::new(2, 1, init));
    let error = Gan::new(generator(), discriminator, 4)
        .check()
        .unwrap_err()
        .to_string();
    assert!(error.contains("length 4"), "{error}");
}

/// In 16 bits a step differs a little from one in 32 bits. Penalties do not differ: they are computed in 32 bits.
#[test]
fn rounded_operands_change_a_step_a_little_and_penalties_not_at_all() {
    use engraft_tensor::Precision;
    let step = |precision, interval| {
        let init = &mut Init::normal(4, 0.3);
        let generator = Sequential::new()
            .add("dense", Dense::new(3, 4 * 4 * 2, init))
            .add("image", Reshape::new([4, 4, 2]));
        let discriminator = Sequential::new()
            .add("flat", Flatten)
            .add("hidden", Dense::new(4 * 4 * 2, 8, init))
            .add("act", engraft_layers::Tanh)
            .add("head", Dense::new(8, 1, init));
        let mut gan = Gan::<f32>::new(generator, discriminator, 3)
            .regularize(RegularizeConfig {
                r1_gamma: 1.0,
                interval,
                ..RegularizeConfig::default()
            })
            .precision(precision);
        let real = Tensor::uniform([4, 4, 4, 2], -1.0, 1.0, &mut Pcg64::seed_from_u64(2));
        gan.step(&real, Condition::None, &mut Pcg64::seed_from_u64(3))
    };
    let [full, rounded] = [Precision::F32, Precision::Bf16].map(|precision| step(precision, 1));
    let difference = (full.discriminator_loss - rounded.discriminator_loss).abs();
    assert!(difference > 0.0 && difference < 0.02, "{difference}");
    // With the loss, the penalty is that of the same weights.
    assert_eq!(full.penalty, rounded.penalty);
    assert!(step(Precision::Bf16, 2).penalty > 0.0);
}
