//! Virtual adversarial domain adaptation: alike features, and decisions that keep away from the target's examples.

use super::{Algorithm, Batch, cross_entropy, minimize_step};
use crate::adapt::domain_classifier::{DomainClassifier, domain_discriminator};
use crate::adapt::losses::{Perturbation, conditional_entropy, domain_loss, virtual_adversarial};
use engraft_gan::Ema;
use engraft_layers::{Adam, Mode, Module, Sequential, Slot, StateDict, rng_states, visit};
use engraft_tensor::Tensor;
use rand::SeedableRng;
use rand_pcg::Pcg64;

const RATE: f64 = 1e-3;
const HIDDEN: [usize; 1] = [100];
/// Weight of the domain loss.
const DOMAIN: f64 = 1e-2;
/// Weight of the virtual adversarial loss on the source.
const SOURCE: f64 = 1.0;
/// Weight of entropy and virtual adversarial loss on the target.
const TARGET: f64 = 1e-1;
/// Share of the averaged weights that stays after a step.
const KEEP: f64 = 0.998;

pub(super) struct Vada {
    model: DomainClassifier,
    average: DomainClassifier,
    domain: Sequential,
    adam: Adam,
    domain_optimizer: Adam,
    rng: Pcg64,
    seen: u64,
}

impl Vada {
    pub(super) fn new(model: DomainClassifier, seed: u64) -> Self {
        let adam = || Adam::new(RATE).betas(0.5, 0.999);
        let mut average = model.new_like();
        StateDict::of(&model)
            .apply(&mut average)
            .expect("both classifiers have the same architecture");
        Self {
            domain: domain_discriminator(model.feature_dim(), &HIDDEN, seed ^ 0xADA),
            average,
            model,
            adam: adam(),
            domain_optimizer: adam(),
            rng: Pcg64::seed_from_u64(seed ^ 0xADA),
            seen: 0,
        }
    }

    fn virtual_adversarial(&mut self, x: &Tensor) -> Tensor {
        let directions = Tensor::randn(x.shape(), &mut self.rng);
        let model = &self.model;
        let streams = rng_states(model);
        // One function for all passes: the same units are dropped in each.
        let logits = |x: &Tensor| {
            visit(model, |path, slot| {
                if let (Slot::Rng(generator), Some(state)) = (slot, streams.get(path)) {
                    generator.set(state.clone());
                }
            });
            model.forward(x, Mode::Train)
        };
        virtual_adversarial(&logits, x, &directions, Perturbation::default())
    }
}

impl Algorithm for Vada {
    fn step(&mut self, batch: &Batch, _: f64) -> f64 {
        // The discriminator first, on features as they are.
        let [source, target] = [&batch.source, &batch.target].map(|x| self.model.features(x, Mode::Train));
        let judged = [&source, &target].map(|f| self.domain.forward(&f.detach(), Mode::Train));
        let domain = domain_loss(&judged[0], &judged[1]);
        minimize_step(&mut self.domain_optimizer, &mut self.domain, &domain, 0.0);

        // Then the classifier, with inverted labels of the domains.
        let [of_source, of_target] = [&source, &target].map(|f| self.domain.forward(f, Mode::Train));
        let inverted = domain_loss(&of_target, &of_source);
        let logits = [&source, &target].map(|f| self.model.classify(f, Mode::Train).swap_remove(0));
        let near_source = self.virtual_adversarial(&batch.source);
        let near_target = self.virtual_adversarial(&batch.target);
        let sure = conditional_entropy(&logits[1]);
        let loss = cross_entropy(&logits[0], &batch.labels)
            + inverted * DOMAIN as f32
            + near_source * SOURCE as f32
            + (sure + near_target) * TARGET as f32;
        minimize_step(&mut self.adam, &mut self.model, &loss, 0.0);

        let images = batch.source.shape()[0];
        let half_life = images as f64 * 0.5_f64.ln() / KEEP.ln();
        Ema::new(half_life as u64).update(&mut self.average, &self.model, images, self.seen);
        self.seen += images as u64;
        f64::from(loss.item())
    }

    fn classifier(&self) -> &DomainClassifier {
        &self.average
    }
}
