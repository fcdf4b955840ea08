//! Several terms of the losses by hand: they add up.

use super::tests::{RATES, pair, weights};
use super::*;
use crate::Objective;
use engraft_layers::parameters;

const REAL: [f64; 4] = [0.9, -0.2, 0.4, 0.6];
const Z: [f64; 4] = [0.3, -1.1, 0.8, 0.1];

/// The pair of the other tests with the Wasserstein loss, which is linear.
fn critic_and_generator() -> Gan<f64> {
    pair(1).objective(Objective::Wasserstein)
}

fn weight(module: &Sequential<f64>) -> f64 {
    weights(module)[0]
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The mean of the images in the generator's loss, and of the logits of all images in the discriminator's.
struct Bright(f64);

impl LossTerm<f64> for Bright {
    fn for_generator(
        &self,
        _: &Sequential<f64>,
        _: &Tensor<f64>,
        _: &Condition<f64>,
        images: &Tensor<f64>,
    ) -> Option<Tensor<f64>> {
        Some(images.mean() * self.0)
    }

    fn for_discriminator_of_generated(
        &self,
        discriminator: &Sequential<f64>,
        _: &Tensor<f64>,
        condition: &Condition<f64>,
        images: &Tensor<f64>,
    ) -> Option<Tensor<f64>> {
        Some(discriminator.forward_with(images, condition, Mode::Train).mean() * self.0)
    }

    fn for_discriminator(
        &self,
        discriminator: &Sequential<f64>,
        real: &Tensor<f64>,
        condition: &Condition<f64>,
    ) -> Option<Tensor<f64>> {
        Some(discriminator.forward_with(real, condition, Mode::Train).mean() * self.0)
    }
}

/// The square of a network's weight in its loss.
struct Small(f64);

impl LossTerm<f64> for Small {
    fn for_generator(
        &self,
        generator: &Sequential<f64>,
        _: &Tensor<f64>,
        _: &Condition<f64>,
        _: &Tensor<f64>,
    ) -> Option<Tensor<f64>> {
        Some(parameters(generator)[0].1.tensor().square().sum() * self.0)
    }

    fn for_discriminator(
        &self,
        discriminator: &Sequential<f64>,
        _: &Tensor<f64>,
        _: &Condition<f64>,
    ) -> Option<Tensor<f64>> {
        Some(parameters(discriminator)[0].1.tensor().square().sum() * self.0)
    }
}

#[test]
fn the_total_of_two_terms_is_their_sum() {
    let pixels = Tensor::from_vec([4, 1, 1, 1], REAL.to_vec());
    let latent = Tensor::from_vec([4, 1], Z.to_vec());
    for (bright, small) in [(0.0, 0.0), (0.3, 0.0), (0.0, 0.7), (0.3, 0.7)] {
        let gan = || {
            let gan = match bright > 0.0 {
                true => critic_and_generator().term(Bright(bright)),
                false => critic_and_generator(),
            };
            match small > 0.0 {
                true => gan.term(Small(small)),
                false => gan,
            }
        };
        let near = |found: f64, expected: f64| {
            assert!(
                (found - expected).abs() < 1e-9,
                "{bright} {small}: {found} and {expected}"
            );
        };
        let mut trained = gan();
        let (a, w) = (weight(&trained.generator), weight(&trained.discriminator));
        let loss = trained.generator_step(&pixels, &Condition::None, &latent);
        near(loss, -w * a * mean(&Z));
        let slope = -w * mean(&Z) + bright * mean(&Z) + small * 2.0 * a;
        near(weight(&trained.generator), a - RATES[0] * slope);

        let mut trained = gan();
        let report = trained.discriminator_step(&pixels, &Condition::None, &latent);
        near(report.discriminator_loss, w * (a * mean(&Z) - mean(&REAL)));
        let slope = a * mean(&Z) - mean(&REAL) + bright * (mean(&REAL) + a * mean(&Z)) + small * 2.0 * w;
        near(weight(&trained.discriminator), w - RATES[1] * slope);
    }
}
