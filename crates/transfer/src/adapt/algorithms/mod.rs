//! Training steps of the adaptation methods.

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
    /// Labels of the source images.
    pub(crate) labels: Vec<usize>,
    /// Images of the target.
    pub(crate) target: Tensor,
}

/// An adaptation method in training, with its networks and optimizers.
pub(crate) trait Algorithm {
    /// Runs one training step and returns one of its losses. `progress` grows from 0 to 1 over the training.
    fn step(&mut self, batch: &Batch, progress: f64) -> f64;

    /// Whether the method still trains on the source only at this progress. Such checkpoints are not selected.
    fn is_source_pretraining(&self, progress: f64) -> bool {
        let _ = progress;
        false
    }

    /// All its optimizers.
    fn optimizers(&mut self) -> Vec<&mut dyn Optimizer>;

    /// The current classifier.
    fn classifier(&self) -> &DomainClassifier;

    /// Pairs of generated source and target images, two tensors `[n, h, w, c]`; `None` if the method generates none.
    ///
    /// Every call uses the same latent vectors and does not affect the training.
    fn pairs(&mut self) -> Option<[Tensor; 2]> {
        None
    }
}

/// The method at the start of its training.
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

/// One optimizer step on a loss plus `½ decay |w|²`, for every parameter that the loss depends on.
fn minimize_step(adam: &mut Adam, module: &mut dyn Module, loss: &Tensor, decay: f64) {
    let found = with_weight_decay(gradients(loss, module), module, decay);
    adam.step(module, &found);
}

/// Adds the gradients of `½ decay |w|²`. This is L2 regularization as in the authors' code, which Adam scales.
/// [`Adam::weight_decay`] is decoupled from the gradient instead.
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
