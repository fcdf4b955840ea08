//! Supervised training on labels only: the baselines.

use super::{Algorithm, Batch, cross_entropy, minimize_step};
use crate::adapt::domain_classifier::DomainClassifier;
use engraft_layers::{Adam, Mode, Module, Optimizer};

const RATE: f64 = 1e-3;
const DECAY: f64 = 5e-4;

pub(super) struct Supervised {
    model: DomainClassifier,
    adam: Adam,
}

impl Supervised {
    pub(super) fn new(model: DomainClassifier) -> Self {
        Self {
            model,
            adam: Adam::new(RATE),
        }
    }
}

impl Algorithm for Supervised {
    fn step(&mut self, batch: &Batch, _: f64) -> f64 {
        let loss = cross_entropy(&self.model.forward(&batch.source, Mode::Train), &batch.labels);
        minimize_step(&mut self.adam, &mut self.model, &loss, DECAY);
        f64::from(loss.item())
    }

    fn optimizers(&mut self) -> Vec<&mut dyn Optimizer> {
        vec![&mut self.adam]
    }

    fn classifier(&self) -> &DomainClassifier {
        &self.model
    }
}
