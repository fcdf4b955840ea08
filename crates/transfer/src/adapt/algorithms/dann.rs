//! DANN and CDAN: all networks train in one step with a reversed gradient.

use super::{Algorithm, Batch, cross_entropy, minimize_step};
use crate::adapt::domain_classifier::{DomainClassifier, domain_discriminator};
use crate::adapt::losses::{certainty_weights, domain_loss, multilinear_map, randomized_multilinear_map};
use engraft_layers::{Adam, Mode, Module, Optimizer, Sequential};
use engraft_tensor::Tensor;
use rand::SeedableRng;
use rand_pcg::Pcg64;

const RATE: f64 = 1e-3;
const DECAY: f64 = 5e-4;
/// Hidden layers of DANN's domain discriminator.
const DANN: [usize; 1] = [100];
/// Hidden layers of CDAN's.
const CDAN: [usize; 2] = [500, 500];
/// Maximum width of the exact outer product.
const WIDEST: usize = 4096;
/// Width of the random projection of a wider outer product.
const PROJECTED: usize = 1024;

/// The map of features and predictions to the input of CDAN's discriminator.
pub(super) enum MultilinearMap {
    Exact { width: usize },
    Projected { features: Tensor, predictions: Tensor },
}

impl MultilinearMap {
    /// The exact outer product, or a random projection if it is wide.
    pub(super) fn new(model: &DomainClassifier, seed: u64) -> Self {
        let (d, k) = (model.feature_dim(), model.classes());
        if d * k <= WIDEST {
            return Self::Exact { width: d * k };
        }
        let rng = &mut Pcg64::seed_from_u64(seed ^ 0xCDA);
        Self::Projected {
            features: Tensor::randn([d, PROJECTED], rng),
            predictions: Tensor::randn([k, PROJECTED], rng),
        }
    }

    fn width(&self) -> usize {
        match self {
            Self::Exact { width } => *width,
            Self::Projected { .. } => PROJECTED,
        }
    }

    fn apply(&self, features: &Tensor, p: &Tensor) -> Tensor {
        match self {
            Self::Exact { .. } => multilinear_map(features, p),
            Self::Projected {
                features: r,
                predictions,
            } => randomized_multilinear_map([features, p], [r, predictions]),
        }
    }
}

pub(super) struct Dann {
    model: DomainClassifier,
    domain: Sequential,
    map: Option<MultilinearMap>,
    adam: Adam,
    domain_optimizer: Adam,
}

impl Dann {
    /// CDAN with a map, DANN without.
    pub(super) fn new(model: DomainClassifier, map: Option<MultilinearMap>, seed: u64) -> Self {
        let domain = match &map {
            Some(map) => domain_discriminator(map.width(), &CDAN, seed ^ 0xD0),
            None => domain_discriminator(model.feature_dim(), &DANN, seed ^ 0xD0),
        };
        let adam = || Adam::new(RATE);
        Self {
            model,
            domain,
            map,
            adam: adam(),
            domain_optimizer: adam(),
        }
    }

    /// Input of the domain discriminator: features with a reversed gradient, for CDAN combined with predictions.
    fn discriminator_input(&self, features: &Tensor, logits: &Tensor, strength: f64) -> Tensor {
        let reversed = features.reverse_gradient(strength);
        match &self.map {
            // The discriminator is conditioned on the predictions but does not train them.
            Some(map) => map.apply(&reversed, &logits.detach().softmax(1)),
            None => reversed,
        }
    }
}

/// Strength of the reversed gradient at a progress between 0 and 1: `2 / (1 + e^{-10 p}) - 1`.
///
/// *Source*: Ganin et al., 2016, section 5.2.2.
fn strength(progress: f64) -> f64 {
    2.0 / (1.0 + (-10.0 * progress).exp()) - 1.0
}

impl Algorithm for Dann {
    fn step(&mut self, batch: &Batch, progress: f64) -> f64 {
        let strength = strength(progress);
        let [source, target] = [&batch.source, &batch.target].map(|x| self.model.features(x, Mode::Train));
        let logits = [&source, &target].map(|f| self.model.classify(f, Mode::Train).swap_remove(0));
        let inputs = [
            self.discriminator_input(&source, &logits[0], strength),
            self.discriminator_input(&target, &logits[1], strength),
        ];
        let [of_source, of_target] = inputs.map(|x| self.domain.forward(&x, Mode::Train));
        let domain = if self.map.is_some() {
            let weigh = |losses: Tensor, logits: &Tensor| (losses * certainty_weights(logits)).mean();
            (weigh((-&of_source).softplus(), &logits[0]) + weigh(of_target.softplus(), &logits[1])) * 0.5
        } else {
            domain_loss(&of_source, &of_target)
        };
        let loss = cross_entropy(&logits[0], &batch.labels) + domain;
        minimize_step(&mut self.domain_optimizer, &mut self.domain, &loss, DECAY);
        minimize_step(&mut self.adam, &mut self.model, &loss, DECAY);
        f64::from(loss.item())
    }

    fn optimizers(&mut self) -> Vec<&mut dyn Optimizer> {
        vec![&mut self.adam, &mut self.domain_optimizer]
    }

    fn classifier(&self) -> &DomainClassifier {
        &self.model
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_strength_rises_from_0_to_1() {
        assert_eq!(strength(0.0), 0.0);
        assert!((strength(0.1) - (2.0 / (1.0 + (-1.0_f64).exp()) - 1.0)).abs() < 1e-15);
        assert!(strength(1.0) > 0.9999);
    }
}
