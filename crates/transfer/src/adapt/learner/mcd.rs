//! Maximum classifier discrepancy: heads that seek examples of the target on which they differ, features that leave none.

use super::{Batch, Learner, cross_entropy, descend};
use crate::adapt::losses::discrepancy;
use crate::adapt::model::Model;
use engraft_layers::{Adam, Mode, Optimizer, gradients};
use engraft_tensor::{Tensor, no_grad};

const RATE: f64 = 2e-4;
const DECAY: f64 = 5e-4;
/// Steps of the features for each one of the heads.
const FEATURE_STEPS: usize = 4;

pub(super) struct Mcd {
    model: Model,
    of_features: Adam,
    of_heads: Adam,
}

impl Mcd {
    pub(super) fn new(model: Model) -> Self {
        let adam = || Adam::new(RATE).weight_decay(DECAY);
        Self {
            model,
            of_features: adam(),
            of_heads: adam(),
        }
    }

    /// Cross entropy of both heads on features of the source.
    fn supervised(&self, features: &Tensor, labels: &[usize]) -> Tensor {
        let logits = self.model.classify(features, Mode::Train);
        cross_entropy(&logits[0], labels) + cross_entropy(&logits[1], labels)
    }

    fn difference(&self, features: &Tensor) -> Tensor {
        let p = self.model.classify(features, Mode::Train);
        discrepancy(&p[0].softmax(1), &p[1].softmax(1))
    }
}

impl Learner for Mcd {
    fn step(&mut self, batch: &Batch, _: f64) -> f64 {
        // A: all learn the source.
        let supervised = self.supervised(&self.model.features(&batch.source, Mode::Train), &batch.labels);
        let of_features = gradients(&supervised, self.model.extractor());
        let of_heads = gradients(&supervised, &self.model.heads());
        self.of_features.step(self.model.extractor(), &of_features);
        self.of_heads.step(&mut self.model.heads(), &of_heads);

        // B: the heads stay right on the source and part on the target.
        let [source, target] =
            no_grad(|| [&batch.source, &batch.target].map(|x| self.model.features(x, Mode::Train).detach()));
        let loss = self.supervised(&source, &batch.labels) - self.difference(&target);
        descend(&mut self.of_heads, &mut self.model.heads(), &loss);

        // C: the features bring them together again.
        for _ in 0..FEATURE_STEPS {
            let loss = self.difference(&self.model.features(&batch.target, Mode::Train));
            descend(&mut self.of_features, self.model.extractor(), &loss);
        }
        f64::from(supervised.item())
    }

    fn classifier(&self) -> &Model {
        &self.model
    }
}
