//! Training of an adapted classifier and selection of its checkpoint.

use super::algorithms::{Batch, algorithm};
use super::domain_classifier::DomainClassifier;
use super::method::AdaptationMethod;
use super::validators::{Validator, ValidatorScores};
use crate::error::TransferError;
use engraft_base::{argmax, seeds};
use engraft_data::{Batches, Dataset};
use engraft_gan::{dataset_tensor, standing_statistics};
use engraft_layers::{Condition, StateDict, forward_batched};
use engraft_tensor::Tensor;
use serde::{Deserialize, Serialize};

/// Maximum number of images for the validators and for batch norm statistics.
const EVALUATION_IMAGES: usize = 2000;
/// Images per batch in evaluation.
const BATCH: usize = 200;

/// Data sets of an adaptation. All have the same image size.
#[derive(Clone, Copy)]
pub struct Domains<'d> {
    /// Labeled training images of the source.
    pub source: &'d Dataset,
    /// Training images of the target. Only [`AdaptationMethod::TargetSupervised`] uses their labels.
    pub target: &'d Dataset,
    /// Test images of the source, for [`Validator::Source`].
    pub source_test: &'d Dataset,
    /// Labeled test images of the target, only for reported accuracies; `None` without labels.
    pub target_test: Option<&'d Dataset>,
}

/// Settings of [`adapt`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AdaptationConfig {
    /// The method.
    pub method: AdaptationMethod,
    /// Number of training steps.
    pub steps: u64,
    /// Batch size of each domain.
    pub batch: usize,
    /// Number of steps between two evaluations. The last step is always evaluated.
    pub eval_every: u64,
    /// Criterion that selects the checkpoint. Baselines always use the last one.
    pub validator: Validator,
    /// Seed of weights, batch order and noise.
    pub seed: u64,
    /// All learning rates of the method are multiplied by this. 1 is the default.
    pub learning_rate_factor: f64,
}

impl AdaptationConfig {
    /// Default settings: 2000 steps with batches of 64, ten evaluations, validator information, seed 1, the learning
    /// rates of the method.
    pub fn new(method: AdaptationMethod) -> Self {
        Self {
            method,
            steps: 2000,
            batch: 64,
            eval_every: 200,
            validator: Validator::default(),
            seed: 1,
            learning_rate_factor: 1.0,
        }
    }

    fn problems(&self, domains: &Domains<'_>) -> Vec<String> {
        let mut problems = Vec::new();
        if self.steps == 0 || self.eval_every == 0 {
            problems.push(format!(
                "steps and eval_every must be at least 1, got {} and {}",
                self.steps, self.eval_every
            ));
        }
        if self.batch < 2 {
            problems.push(format!(
                "batch must be at least 2 (for batch norm), got {}",
                self.batch
            ));
        }
        if !(self.learning_rate_factor.is_finite() && self.learning_rate_factor > 0.0) {
            problems.push(format!(
                "learning_rate_factor must be a finite number above 0, got {}",
                self.learning_rate_factor
            ));
        }
        let mut all = vec![domains.source, domains.target, domains.source_test];
        all.extend(domains.target_test);
        for data in all {
            if data.image_size() != domains.source.image_size() {
                problems.push(format!(
                    "images of {} have size {:?}, but those of the source {} have {:?}",
                    data.name(),
                    data.image_size(),
                    domains.source.name(),
                    domains.source.image_size()
                ));
            }
            if data.len() < 2 {
                problems.push(format!(
                    "{} has {} image(s); expected at least 2",
                    data.name(),
                    data.len()
                ));
            }
        }
        problems
    }
}

/// Evaluation of a checkpoint during training.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdaptationEvaluation {
    /// Training step of the checkpoint.
    pub step: u64,
    /// A loss of the last step; which one depends on the method.
    pub loss: f64,
    /// Scores of all validators.
    pub validators: ValidatorScores,
    /// Test accuracy on the target, from 0 to 1, only for reporting; `None` without labeled test images.
    pub accuracy: Option<f64>,
}

/// Result of [`adapt`]: the selected classifier and all evaluations.
pub struct AdaptationResult {
    /// The classifier of the selected checkpoint. Its batch norm statistics are those of the target, for
    /// [`AdaptationMethod::SourceOnly`] those of the source.
    pub classifier: DomainClassifier,
    /// Every evaluation in order.
    pub evaluations: Vec<AdaptationEvaluation>,
    /// Index of the evaluation of the selected checkpoint.
    pub selected: usize,
    /// For [`AdaptationMethod::Cogan`] 64 pairs of generated images of the selected checkpoint; `None` for other methods.
    ///
    /// The first tensor has the source images, the second the target images, both `[64, h, w, c]` with values from -1 to 1. The
    /// latent vectors depend only on the seed.
    pub pairs: Option<[Tensor; 2]>,
}

impl AdaptationResult {
    /// Test accuracy of the selected checkpoint on the target, from 0 to 1; `None` without labeled test images.
    pub fn accuracy(&self) -> Option<f64> {
        self.evaluations[self.selected].accuracy
    }

    /// Accuracy of the selected checkpoint on other labeled images, from 0 to 1.
    ///
    /// # Panics
    /// If there are no images, or their size is not that of the training images.
    pub fn accuracy_on(&self, data: &Dataset) -> f64 {
        accuracy(&self.classifier, data, data.len())
    }

    /// Test accuracy of the last checkpoint on the target, from 0 to 1.
    pub fn last_accuracy(&self) -> Option<f64> {
        self.evaluations.last().and_then(|m| m.accuracy)
    }

    /// Best test accuracy of all evaluations, from 0 to 1.
    ///
    /// It uses test labels, so it is not a result. It is the upper bound for any validator.
    pub fn oracle_accuracy(&self) -> Option<f64> {
        let all = self.evaluations.iter().filter_map(|m| m.accuracy);
        all.reduce(f64::max)
    }
}

/// The best checkpoint so far.
struct Checkpoint {
    /// Index of its evaluation.
    evaluation: usize,
    /// Weights and statistics of the evaluated classifier.
    state: StateDict,
    pairs: Option<[Tensor; 2]>,
}

/// Trains a classifier for the target. `on_evaluation` receives every evaluation.
///
/// The same seed gives the same bits with any number of threads. Before each evaluation the batch norm statistics are computed
/// from images of the target, for [`AdaptationMethod::SourceOnly`] of the source.
///
/// # Errors
/// [`TransferError::Config`] with all invalid settings and data sets. [`TransferError::Diverged`] if a loss is not finite.
pub fn adapt(
    domains: &Domains<'_>,
    config: &AdaptationConfig,
    on_evaluation: &mut dyn FnMut(&AdaptationEvaluation),
) -> Result<AdaptationResult, TransferError> {
    let problems = config.problems(domains);
    if !problems.is_empty() {
        return Err(TransferError::Config { problems });
    }
    let method = config.method;
    // The supervised baseline uses the target as its labeled domain.
    let labeled = if method == AdaptationMethod::TargetSupervised {
        domains.target
    } else {
        domains.source
    };
    let statistics = if method == AdaptationMethod::SourceOnly {
        domains.source
    } else {
        domains.target
    };
    // Classes of the labeled training images. Labels of the target count only for the supervised baseline.
    let classes = labeled.class_counts().len().max(2);
    let new_classifier =
        |seed| DomainClassifier::new(domains.source.image_size(), classes, method.heads(), seed);
    let mut algorithm = algorithm(method, new_classifier(config.seed)?, config.seed);
    for optimizer in algorithm.optimizers() {
        optimizer.set_lr(optimizer.lr() * config.learning_rate_factor);
    }
    // The evaluated classifier: the weights of training with batch norm statistics of one domain.
    let mut classifier = new_classifier(0)?;
    let mut best: Option<Checkpoint> = None;
    let mut orders = Vec::new();
    for (data, stream) in [(labeled, 1), (domains.target, 2)] {
        let order = Batches::new(
            data.len(),
            config.batch.min(data.len()),
            seeds::numbered(config.seed, 4, stream),
        );
        orders.push(order.map_err(|error| TransferError::Config {
            problems: vec![error.to_string()],
        })?);
    }
    let mut evaluations: Vec<AdaptationEvaluation> = Vec::new();
    for step in 1..=config.steps {
        let indices = orders[0].next_batch();
        let batch = Batch {
            source: dataset_tensor(labeled, &indices),
            labels: indices.iter().map(|&i| usize::from(labeled.label(i))).collect(),
            target: dataset_tensor(domains.target, &orders[1].next_batch()),
        };
        let loss = algorithm.step(&batch, (step - 1) as f64 / config.steps as f64);
        if !loss.is_finite() {
            return Err(TransferError::Diverged { step });
        }
        if step % config.eval_every != 0 && step != config.steps {
            continue;
        }
        StateDict::of(algorithm.classifier()).apply(&mut classifier)?;
        set_batch_norm_statistics(&mut classifier, domains.source);
        let source = accuracy(&classifier, domains.source_test, EVALUATION_IMAGES);
        if !std::ptr::eq(statistics, domains.source) {
            set_batch_norm_statistics(&mut classifier, statistics);
        }
        let evaluation = AdaptationEvaluation {
            step,
            loss,
            validators: ValidatorScores::from_logits(
                &logits(&classifier, domains.target, EVALUATION_IMAGES),
                source,
            ),
            accuracy: domains
                .target_test
                .map(|test| accuracy(&classifier, test, test.len())),
        };
        on_evaluation(&evaluation);
        evaluations.push(evaluation);
        if algorithm.is_source_pretraining(step as f64 / config.steps as f64) && step != config.steps {
            continue;
        }
        let score = |i: usize| evaluations[i].validators.score(config.validator);
        let now = evaluations.len() - 1;
        // Among equal scores the later checkpoint wins, because it has trained longer.
        if best
            .as_ref()
            .is_none_or(|best| method.is_baseline() || score(now) >= score(best.evaluation))
        {
            best = Some(Checkpoint {
                evaluation: now,
                state: StateDict::of(&classifier),
                pairs: algorithm.pairs(),
            });
        }
    }
    let best = best.expect("the last step is always evaluated");
    best.state.apply(&mut classifier)?;
    Ok(AdaptationResult {
        classifier,
        evaluations,
        selected: best.evaluation,
        pairs: best.pairs,
    })
}

/// Indices of at most `count` evenly spaced images.
///
/// [`engraft_base::equidistant`] selects other images and would change the figures of docs/adaptation-benchmark.md.
fn evenly_spaced(data: &Dataset, count: usize) -> Vec<usize> {
    let step = data.len().div_ceil(count.max(1));
    (0..data.len()).step_by(step).collect()
}

fn set_batch_norm_statistics(model: &mut DomainClassifier, data: &Dataset) {
    let indices = evenly_spaced(data, EVALUATION_IMAGES);
    let mut all: Vec<&[usize]> = indices.chunks(BATCH).collect();
    // A small last batch would have the same weight as a full one.
    if all.len() > 1 && all.last().is_some_and(|last| last.len() < BATCH) {
        all.pop();
    }
    standing_statistics(
        model,
        &Condition::None,
        all.iter().map(|indices| dataset_tensor(data, indices)),
    );
}

/// Logits of at most `count` images.
fn logits(model: &DomainClassifier, data: &Dataset, count: usize) -> Tensor {
    let images = dataset_tensor(data, &evenly_spaced(data, count));
    forward_batched(model, &images, &Condition::None, BATCH)
}

/// Accuracy on at most `count` images, from 0 to 1.
fn accuracy(model: &DomainClassifier, data: &Dataset, count: usize) -> f64 {
    let logits = logits(model, data, count);
    let rows = logits.as_slice().chunks_exact(logits.shape()[1]);
    let correct = rows
        .zip(evenly_spaced(data, count))
        .filter(|(row, i)| argmax(row) == usize::from(data.label(*i)));
    correct.count() as f64 / logits.shape()[0] as f64
}
