//! What a method does with each batch.

mod adda;
mod cogan;
mod dann;
mod mcd;
mod supervised;
mod vada;

use super::domain_classifier::DomainClassifier;
use super::method::AdaptationMethod;
use engraft_layers::{
    Adam, Gradients, Module, Optimizer, Reduction, gradients, parameters, softmax_cross_entropy,
};
use engraft_tensor::{Tensor, no_grad};

/// A batch of each domain.
pub(crate) struct Batch {
    /// Images of the source.
    pub(crate) source: Tensor,
    /// Their classes.
    pub(crate) labels: Vec<usize>,
    /// Images of the target.
    pub(crate) target: Tensor,
}

/// A method at work: its networks and optimizers.
pub(crate) trait Algorithm {
    /// One training step; returns a loss of it. `progress` runs from 0 to 1 over the training.
    fn step(&mut self, batch: &Batch, progress: f64) -> f64;

    /// Whether the method has not begun to adapt at this progress: such checkpoints are not chosen.
    fn is_source_pretraining(&self, progress: f64) -> bool {
        let _ = progress;
        false
    }

    /// The classifier as it stands.
    fn classifier(&self) -> &DomainClassifier;

    /// Images of the source and their partners of the target as the method draws them now, if it draws any: two of
    /// `[n, h, w, c]`, from the same noise at each call. The training goes on as if there had been no call.
    fn pairs(&mut self) -> Option<[Tensor; 2]> {
        None
    }
}

/// The method with fresh optimizers on a model with fresh weights.
pub(crate) fn algorithm(method: AdaptationMethod, model: DomainClassifier, seed: u64) -> Box<dyn Algorithm> {
    match method {
        AdaptationMethod::SourceOnly
        | AdaptationMethod::TargetStatistics
        | AdaptationMethod::TargetSupervised => Box::new(supervised::Supervised::new(model)),
        AdaptationMethod::Dann => Box::new(dann::Dann::new(model, None, seed)),
        AdaptationMethod::Cdan => {
            let map = dann::MultilinearMap::new(&model, seed);
            Box::new(dann::Dann::new(model, Some(map), seed))
        }
        AdaptationMethod::Adda => Box::new(adda::Adda::new(model, seed)),
        AdaptationMethod::Mcd => Box::new(mcd::Mcd::new(model)),
        AdaptationMethod::Vada => Box::new(vada::Vada::new(model, seed)),
        AdaptationMethod::Cogan => Box::new(cogan::Cogan::new(model, seed)),
    }
}

/// Mean cross entropy of logits against classes.
fn cross_entropy(logits: &Tensor, labels: &[usize]) -> Tensor {
    softmax_cross_entropy(logits, labels, Reduction::Mean)
}

/// One step of an optimizer down a loss with `½ decay |w|²` added, for every weight that the loss depends on.
fn minimize_step(adam: &mut Adam, module: &mut dyn Module, loss: &Tensor, decay: f64) {
    let found = with_weight_decay(gradients(loss, module), module, decay);
    adam.step(module, &found);
}

/// Gradients with those of `½ decay |w|²`. It is the decay of the methods' authors: part of the loss, so that Adam scales it,
/// where [`Adam::weight_decay`] is apart from the gradient.
fn with_weight_decay(mut found: Gradients, module: &dyn Module, decay: f64) -> Gradients {
    if decay != 0.0 {
        for (name, parameter) in parameters(module) {
            if let Some(gradient) = found.get_mut(&name) {
                *gradient = no_grad(|| &*gradient + parameter.tensor().detach() * decay as f32);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests;
