//! VADA: aligned features, and decision boundaries that avoid the target's examples.

use super::{Algorithm, Batch, cross_entropy, minimize_step};
use crate::adapt::domain_classifier::{DomainClassifier, domain_discriminator};
use crate::adapt::losses::{Perturbation, conditional_entropy, domain_loss, virtual_adversarial};
use engraft_gan::Ema;
use engraft_layers::{Adam, Mode, Module, Optimizer, Sequential, Slot, StateDict, rng_states, visit};
use engraft_tensor::Tensor;
use rand::SeedableRng;
use rand_pcg::Pcg64;

const RATE: f64 = 1e-3;
const HIDDEN: [usize; 1] = [100];
/// Weight of the domain loss.
const DOMAIN: f64 = 1e-2;
/// Weight of the virtual adversarial loss on the source.
const SOURCE: f64 = 1.0;
/// Weight of the entropy and the virtual adversarial loss on the target.
const TARGET: f64 = 1e-1;
/// EMA decay of the weights per step.
const EMA_DECAY: f64 = 0.998;

pub(super) struct Vada {
    model: DomainClassifier,
    ema: DomainClassifier,
    domain: Sequential,
    adam: Adam,
    domain_optimizer: Adam,
    rng: Pcg64,
    images_seen: u64,
}

impl Vada {
    pub(super) fn new(model: DomainClassifier, seed: u64) -> Self {
        let adam = || Adam::new(RATE).betas(0.5, 0.999);
        let mut ema = model.new_like();
        StateDict::of(&model)
            .apply(&mut ema)
            .expect("both classifiers have the same architecture");
        Self {
            domain: domain_discriminator(model.feature_dim(), &HIDDEN, seed ^ 0xADA),
            ema,
            model,
            adam: adam(),
            domain_optimizer: adam(),
            rng: Pcg64::seed_from_u64(seed ^ 0xADA),
            images_seen: 0,
        }
    }

    fn virtual_adversarial(&mut self, x: &Tensor) -> Tensor {
        let directions = Tensor::randn(x.shape(), &mut self.rng);
        let model = &self.model;
        let streams = rng_states(model);
        // The same dropout mask in every forward pass.
        let logits = |x: &Tensor| {
            visit(model, |path, slot| {
                if let (Slot::Rng(rng), Some(state)) = (slot, streams.get(path)) {
                    rng.set(state.clone());
                }
            });
            model.forward(x, Mode::Train)
        };
        virtual_adversarial(&logits, x, &directions, Perturbation::default())
    }
}

impl Algorithm for Vada {
    fn step(&mut self, batch: &Batch, _: f64) -> f64 {
        // The discriminator steps first, on detached features.
        let [source, target] = [&batch.source, &batch.target].map(|x| self.model.features(x, Mode::Train));
        let domain_logits = [&source, &target].map(|f| self.domain.forward(&f.detach(), Mode::Train));
        let domain = domain_loss(&domain_logits[0], &domain_logits[1]);
        minimize_step(&mut self.domain_optimizer, &mut self.domain, &domain, 0.0);

        // Then the classifier steps, with inverted domain labels.
        let [of_source, of_target] = [&source, &target].map(|f| self.domain.forward(f, Mode::Train));
        let inverted = domain_loss(&of_target, &of_source);
        let logits = [&source, &target].map(|f| self.model.classify(f, Mode::Train).swap_remove(0));
        let source_vat = self.virtual_adversarial(&batch.source);
        let target_vat = self.virtual_adversarial(&batch.target);
        let entropy = conditional_entropy(&logits[1]);
        let loss = cross_entropy(&logits[0], &batch.labels)
            + inverted * DOMAIN as f32
            + source_vat * SOURCE as f32
            + (entropy + target_vat) * TARGET as f32;
        minimize_step(&mut self.adam, &mut self.model, &loss, 0.0);

        let images = batch.source.shape()[0];
        let half_life = images as f64 * 0.5_f64.ln() / EMA_DECAY.ln();
        Ema::new(half_life as u64).update(&mut self.ema, &self.model, images, self.images_seen);
        self.images_seen += images as u64;
        f64::from(loss.item())
    }

    fn optimizers(&mut self) -> Vec<&mut dyn Optimizer> {
        vec![&mut self.adam, &mut self.domain_optimizer]
    }

    fn classifier(&self) -> &DomainClassifier {
        &self.ema
    }
}
