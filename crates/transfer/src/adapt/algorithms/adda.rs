//! ADDA: a classifier trains on the source, then a copy trains until its logits on the target look like those on the source.
//!
//! The domain discriminator takes the logits, as in the authors' code, and the whole copy trains. With the 768 features of the
//! second convolution instead, the copy drifted away. From MNIST to USPS its accuracy was 74.14 ± 3.04 % for the selected
//! checkpoint and 53.19 ± 14.75 % for the last one. The latter is less than before the adaptation.

use super::{Algorithm, Batch, cross_entropy, minimize_step, with_weight_decay};
use crate::adapt::domain_classifier::{DomainClassifier, domain_discriminator};
use crate::adapt::losses::domain_loss;
use engraft_layers::{Adam, Mode, Module, Optimizer, Sequential, StateDict, gradients};
use engraft_tensor::{Tensor, no_grad};

/// Fraction of the training that trains on the source.
const SOURCE_FRACTION: f64 = 0.5;
const SOURCE_RATE: f64 = 1e-3;
const RATE: f64 = 2e-4;
const DECAY: f64 = 2.5e-5;
const HIDDEN: [usize; 2] = [500, 500];

pub(super) struct Adda {
    model: DomainClassifier,
    /// The frozen source classifier in the second part of the training.
    pub(super) source: Option<DomainClassifier>,
    untrained_copy: Option<DomainClassifier>,
    domain: Sequential,
    supervised: Adam,
    target_optimizer: Adam,
    domain_optimizer: Adam,
}

impl Adda {
    pub(super) fn new(model: DomainClassifier, seed: u64) -> Self {
        let adam = || Adam::new(RATE).betas(0.5, 0.999);
        Self {
            domain: domain_discriminator(model.classes(), &HIDDEN, seed ^ 0xADDA),
            untrained_copy: Some(model.new_like()),
            model,
            source: None,
            supervised: Adam::new(SOURCE_RATE),
            target_optimizer: adam(),
            domain_optimizer: adam(),
        }
    }
}

impl Adda {
    /// Logits of the frozen source classifier.
    pub(super) fn source_logits(&self, images: &Tensor) -> Tensor {
        let source = self.source.as_ref();
        let source = source.expect("the second part of the training starts with the copy");
        no_grad(|| source.forward(images, Mode::Train).detach())
    }

    /// Adversarial loss of the copy: the domain loss of the target with inverted labels.
    pub(super) fn adversarial_loss(&self, of_target: &Tensor) -> Tensor {
        (-self.domain.forward(of_target, Mode::Train)).softplus().mean()
    }

    pub(super) fn step_target(&mut self, loss: &Tensor) {
        minimize_step(&mut self.target_optimizer, &mut self.model, loss, DECAY);
    }
}

impl Algorithm for Adda {
    fn step(&mut self, batch: &Batch, progress: f64) -> f64 {
        if progress < SOURCE_FRACTION {
            let loss = cross_entropy(&self.model.forward(&batch.source, Mode::Train), &batch.labels);
            minimize_step(&mut self.supervised, &mut self.model, &loss, DECAY);
            return f64::from(loss.item());
        }
        if let Some(mut copy) = self.untrained_copy.take() {
            StateDict::of(&self.model)
                .apply(&mut copy)
                .expect("both classifiers have the same architecture");
            self.source = Some(copy);
        }
        let of_source = self.source_logits(&batch.source);
        // Copy and discriminator share one forward pass on the target.
        let of_target = self.model.forward(&batch.target, Mode::Train);
        let loss = domain_loss(
            &self.domain.forward(&of_source, Mode::Train),
            &self.domain.forward(&of_target.detach(), Mode::Train),
        );
        // Both gradients are computed before either network changes.
        let adversarial_loss = self.adversarial_loss(&of_target);
        let of_domain = with_weight_decay(gradients(&loss, &self.domain), &self.domain, DECAY);
        self.step_target(&adversarial_loss);
        self.domain_optimizer.step(&mut self.domain, &of_domain);
        f64::from(loss.item())
    }

    fn is_source_pretraining(&self, progress: f64) -> bool {
        progress <= SOURCE_FRACTION
    }

    fn optimizers(&mut self) -> Vec<&mut dyn Optimizer> {
        vec![
            &mut self.supervised,
            &mut self.target_optimizer,
            &mut self.domain_optimizer,
        ]
    }

    fn classifier(&self) -> &DomainClassifier {
        &self.model
    }
}
