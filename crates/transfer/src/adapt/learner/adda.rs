//! Adversarial discriminative adaptation: first the source, then features of the target that pass for the source's.

use super::{Batch, Learner, cross_entropy, descend};
use crate::adapt::losses::domain_loss;
use crate::adapt::model::{Model, domain_discriminator};
use engraft_layers::{Adam, Mode, Module, Optimizer, Sequential, StateDict, gradients};
use engraft_tensor::no_grad;

/// Share of the training in which the source is learned.
const FIRST: f64 = 0.5;
const SOURCE_RATE: f64 = 1e-3;
const RATE: f64 = 2e-4;
const DECAY: f64 = 2.5e-5;
const HIDDEN: [usize; 2] = [500, 500];

pub(super) struct Adda {
    model: Model,
    /// The extractor of the source, from the second part on.
    source: Option<Model>,
    fresh: Option<Model>,
    domain: Sequential,
    supervised: Adam,
    of_features: Adam,
    of_domain: Adam,
}

impl Adda {
    pub(super) fn new(model: Model, seed: u64) -> Self {
        let adam = || Adam::new(RATE).betas(0.5, 0.999).weight_decay(DECAY);
        Self {
            domain: domain_discriminator(model.width(), &HIDDEN, seed ^ 0xADDA),
            fresh: Some(model.like()),
            model,
            source: None,
            supervised: Adam::new(SOURCE_RATE).weight_decay(DECAY),
            of_features: adam(),
            of_domain: adam(),
        }
    }
}

impl Learner for Adda {
    fn step(&mut self, batch: &Batch, progress: f64) -> f64 {
        if progress < FIRST {
            let loss = cross_entropy(&self.model.forward(&batch.source, Mode::Train), &batch.labels);
            descend(&mut self.supervised, &mut self.model, &loss);
            return f64::from(loss.item());
        }
        if let Some(mut copy) = self.fresh.take() {
            StateDict::of(&self.model)
                .apply(&mut copy)
                .expect("two models of one kind");
            self.source = Some(copy);
        }
        let source = self
            .source
            .as_ref()
            .expect("it was made at the first step of the second part");
        let of_source = no_grad(|| source.features(&batch.source, Mode::Train).detach());
        // One pass over the target for both players.
        let of_target = self.model.features(&batch.target, Mode::Train);
        let loss = domain_loss(
            &self.domain.forward(&of_source, Mode::Train),
            &self.domain.forward(&of_target.detach(), Mode::Train),
        );
        // The target's extractor: inverted labels.
        let fooled = (-self.domain.forward(&of_target, Mode::Train)).softplus().mean();
        let of_features = gradients(&fooled, self.model.extractor());
        descend(&mut self.of_domain, &mut self.domain, &loss);
        self.of_features.step(self.model.extractor(), &of_features);
        f64::from(loss.item())
    }

    fn classifier(&self) -> &Model {
        &self.model
    }
}
