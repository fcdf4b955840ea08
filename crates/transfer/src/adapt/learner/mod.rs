//! What a method does with each batch.

mod adda;
mod mcd;
mod reversal;
mod supervised;
mod vada;

use super::method::Method;
use super::model::Model;
use engraft_layers::{Adam, Module, Optimizer, Reduction, gradients, softmax_cross_entropy};
use engraft_tensor::Tensor;

/// A batch of each domain.
pub(crate) struct Batch {
    /// Images of the source.
    pub(crate) source: Tensor,
    /// Their classes.
    pub(crate) labels: Vec<usize>,
    /// Images of the target.
    pub(crate) target: Tensor,
}

/// A method at work: its networks and optimisers.
pub(crate) trait Learner {
    /// One training step; returns a loss of it. `progress` runs from 0 to 1 over the training.
    fn step(&mut self, batch: &Batch, progress: f64) -> f64;

    /// The classifier as it stands.
    fn classifier(&self) -> &Model;
}

/// The method with fresh optimisers on a model with fresh weights.
pub(crate) fn learner(method: Method, model: Model, seed: u64) -> Box<dyn Learner> {
    match method {
        Method::SourceOnly | Method::TargetStatistics | Method::TargetSupervised => {
            Box::new(supervised::Supervised::new(model))
        }
        Method::Dann => Box::new(reversal::Reversal::new(model, None, seed)),
        Method::Cdan => {
            let map = reversal::Map::new(&model, seed);
            Box::new(reversal::Reversal::new(model, Some(map), seed))
        }
        Method::Adda => Box::new(adda::Adda::new(model, seed)),
        Method::Mcd => Box::new(mcd::Mcd::new(model)),
        Method::Vada => Box::new(vada::Vada::new(model, seed)),
    }
}

/// Mean cross entropy of logits against classes.
fn cross_entropy(logits: &Tensor, labels: &[usize]) -> Tensor {
    softmax_cross_entropy(logits, labels, Reduction::Mean)
}

/// One step of an optimiser down a loss.
fn descend(adam: &mut Adam, module: &mut dyn Module, loss: &Tensor) {
    let found = gradients(loss, module);
    adam.step(module, &found);
}
