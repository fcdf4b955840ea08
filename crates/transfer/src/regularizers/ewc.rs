//! Elastic weight consolidation (EWC): a penalty on changes, larger for weights that are important for the source.

use super::L2Sp;
use engraft_gan::LossTerm;
use engraft_layers::{Condition, Mode, Module, Sequential, gradients, parameters};
use engraft_tensor::{Real, Tensor};
use rand::SeedableRng;
use rand_pcg::Pcg64;
use std::collections::BTreeMap;

/// Elastic weight consolidation `weight · Σ F (θ - θ_S)²` over the generator's trainable parameters.
///
/// The importance `F` of a parameter is the mean of `(∂ ln σ(D_S(G_S(z))) / ∂θ)²` over generated images of the source. The
/// gradient is squared per image and then averaged. Importances are scaled to mean 1 over the network, so that the same weight
/// fits different sources.
///
/// *Source*: Li et al., "Few-shot image generation with elastic weight consolidation", 2020, equations 2 and 3. The scale is
/// this project's own.
#[derive(Clone, Debug)]
pub struct ElasticWeightConsolidation<T: Real = f32> {
    distance: L2Sp<T>,
    importance: BTreeMap<String, Tensor<T>>,
}

/// The generated images of a source over which [`ElasticWeightConsolidation`] averages the importances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImportanceSamples {
    /// Number of images.
    pub images: usize,
    /// Length of the generator's latent vectors.
    pub latent_dim: usize,
    /// Number of classes, which the images cycle through; 0 for unconditional networks.
    pub classes: usize,
    /// Seed of the latent vectors.
    pub seed: u64,
}

#[cfg(test)]
thread_local! {
    /// Number of times that this thread has computed importances.
    pub(crate) static COMPUTED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

impl<T: Real> ElasticWeightConsolidation<T> {
    /// Computes the importances from generated images of the source, one at a time. All parameters of the generator must be
    /// trainable, as in a new network.
    pub fn new(
        generator: &Sequential<T>,
        discriminator: &Sequential<T>,
        weight: f64,
        samples: ImportanceSamples,
    ) -> Self {
        #[cfg(test)]
        COMPUTED.with(|count| count.set(count.get() + 1));
        let mut rng = Pcg64::seed_from_u64(samples.seed);
        let mut squares: BTreeMap<String, Tensor<T>> = BTreeMap::new();
        for i in 0..samples.images {
            let z = Tensor::randn([1, samples.latent_dim], &mut rng);
            let condition = match samples.classes {
                0 => Condition::None,
                classes => Condition::from(vec![i % classes]),
            };
            // In evaluation mode, because batch norm cannot normalize a batch of one image.
            let image = generator.forward_with(&z, &condition, Mode::Eval);
            let logit = discriminator.forward_with(&image, &condition, Mode::Eval);
            let log_likelihood = -((-logit).softplus().sum());
            for (name, gradient) in gradients(&log_likelihood, generator) {
                let square = gradient.square();
                let sum = squares.remove(&name).map_or(square.clone(), |sum| sum + &square);
                squares.insert(name, sum);
            }
        }
        let sum: f64 = squares.values().map(|s| s.sum().item().into_f64()).sum();
        let count: usize = squares.values().map(Tensor::len).sum();
        let mean = (sum / count.max(1) as f64).max(f64::MIN_POSITIVE);
        let importance = squares
            .into_iter()
            .map(|(name, s)| (name, s / T::from_f64(mean)))
            .collect();
        Self {
            distance: L2Sp::new(generator, weight),
            importance,
        }
    }

    /// The importance of each parameter by name, with the parameter's shape and a mean of 1 over all values.
    pub fn importance(&self) -> &BTreeMap<String, Tensor<T>> {
        &self.importance
    }
}

impl<T: Real> LossTerm<T> for ElasticWeightConsolidation<T> {
    fn for_generator(
        &self,
        generator: &Sequential<T>,
        _: &Tensor<T>,
        _: &Condition<T>,
        _: &Tensor<T>,
    ) -> Option<Tensor<T>> {
        debug_assert!(!parameters(generator).is_empty());
        self.distance
            .loss(generator, |name| self.importance.get(name).cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_layers::{Dense, Init, SlotMut, visit_mut};

    fn weight(net: &Sequential<f64>) -> f64 {
        parameters(net)[0].1.tensor().item()
    }

    #[test]
    fn importances_by_hand() {
        let init = &mut Init::normal(5, 0.8);
        // Two generator weights in sequence: x = b a z, D = w x.
        let mut generator = Sequential::<f64>::new()
            .add("a", Dense::new(1, 1, init).no_bias())
            .add("b", Dense::new(1, 1, init).no_bias());
        let discriminator = Sequential::<f64>::new().add("w", Dense::new(1, 1, init).no_bias());
        let samples = ImportanceSamples {
            images: 40,
            latent_dim: 1,
            classes: 0,
            seed: 7,
        };
        let ewc = ElasticWeightConsolidation::new(&generator, &discriminator, 2.0, samples);
        let [a, b] = [0, 1].map(|i| parameters(&generator)[i].1.tensor().item());
        let w = weight(&discriminator);
        // ∂ ln σ(w b a z) / ∂a = σ(-w b a z) w b z, and the same with a for b.
        let mut rng = Pcg64::seed_from_u64(7);
        let mut expected = [0.0; 2];
        for _ in 0..40 {
            let z = Tensor::<f64>::randn([1, 1], &mut rng).item();
            let slope = 1.0 / (1.0 + (w * b * a * z).exp());
            expected[0] += (slope * w * b * z).powi(2);
            expected[1] += (slope * w * a * z).powi(2);
        }
        let mean = (expected[0] + expected[1]) / 2.0;
        for (name, square) in ["a.weight", "b.weight"].into_iter().zip(expected) {
            let found = ewc.importance()[name].item();
            assert!((found - square / mean).abs() < 1e-9, "{name}: {found}");
        }
        visit_mut(&mut generator, |_, slot| {
            if let SlotMut::Parameter(p) = slot {
                p.set(&(p.tensor() + 1.0));
            }
        });
        let none = Tensor::zeros([1, 1]);
        let loss = ewc
            .for_generator(&generator, &none, &Condition::None, &none)
            .unwrap()
            .item();
        assert!(
            (loss - 2.0 * 2.0).abs() < 1e-9,
            "weight 2 times importances with sum 2: {loss}"
        );
    }
}
