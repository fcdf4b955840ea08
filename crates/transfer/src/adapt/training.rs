//! The training of an adapted classifier, and the choice among its checkpoints.

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

/// The images of an adaptation.
#[derive(Clone, Copy)]
pub struct Domains<'d> {
    /// Training images of the source, with their labels.
    pub source: &'d Dataset,
    /// Training images of the target; their labels are read by [`AdaptationMethod::TargetSupervised`] only.
    pub target: &'d Dataset,
    /// Images of the source that are not trained on, for [`Validator::Source`].
    pub source_test: &'d Dataset,
    /// Images of the target to report on, if they have labels.
    pub target_test: Option<&'d Dataset>,
}

/// Settings of [`adapt`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AdaptationConfig {
    /// The method.
    pub method: AdaptationMethod,
    /// Training steps.
    pub steps: u64,
    /// Images of each domain in a step.
    pub batch: usize,
    /// Steps between two looks of the validators; the last step is always looked at.
    pub eval_every: u64,
    /// By what the checkpoint is chosen. Controls always take the last.
    pub validator: Validator,
    /// Seed of weights, order and noise.
    pub seed: u64,
}

impl AdaptationConfig {
    /// A method with the settings of its command: 2000 steps of 64 images, ten looks, information.
    pub fn new(method: AdaptationMethod) -> Self {
        Self {
            method,
            steps: 2000,
            batch: 64,
            eval_every: 200,
            validator: Validator::default(),
            seed: 1,
        }
    }

    fn problems(&self, domains: &Domains<'_>) -> Vec<String> {
        let mut problems = Vec::new();
        if self.steps == 0 || self.eval_every == 0 {
            problems.push("steps and eval_every must be at least 1".to_string());
        }
        if self.batch < 2 {
            problems.push(format!(
                "batch must be at least 2 for batch norm, got {}",
                self.batch
            ));
        }
        let mut all = vec![domains.source, domains.target, domains.source_test];
        all.extend(domains.target_test);
        for data in all {
            if data.image_size() != domains.source.image_size() {
                problems.push(format!(
                    "images of {} are {:?}, those of the source {} {:?}",
                    data.name(),
                    data.image_size(),
                    domains.source.name(),
                    domains.source.image_size()
                ));
            }
            if data.len() < 2 {
                problems.push(format!("{} has {} images: at least 2", data.name(), data.len()));
            }
        }
        problems
    }
}

/// A look at a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdaptationEvaluation {
    /// Steps before it.
    pub step: u64,
    /// Loss of the last step, as the method defines it.
    pub loss: f64,
    /// What the validators say.
    pub validators: ValidatorScores,
    /// Share of the target's test images that is read rightly; for reporting alone.
    pub accuracy: Option<f64>,
}

/// An adapted classifier.
pub struct AdaptationResult {
    /// The classifier of the chosen checkpoint; its batch norms have the target's statistics, of [`AdaptationMethod::SourceOnly`] the
    /// source's.
    pub classifier: DomainClassifier,
    /// Every look, in order.
    pub evaluations: Vec<AdaptationEvaluation>,
    /// Index of the chosen one.
    pub selected: usize,
    /// Of [`AdaptationMethod::Cogan`] 64 generated images of the source and, in the same order, their partners of the target, both
    /// `[64, h, w, c]` with values from -1 to 1, as its generators drew them at the chosen checkpoint; of other methods
    /// nothing. The noise follows from the seed and is the same at each checkpoint.
    pub pairs: Option<[Tensor; 2]>,
}

impl AdaptationResult {
    /// Accuracy on the target's test images of the chosen checkpoint.
    pub fn accuracy(&self) -> Option<f64> {
        self.evaluations[self.selected].accuracy
    }

    /// Share of these images that the model of the chosen checkpoint reads rightly, by their labels.
    ///
    /// # Panics
    /// If there are no images, or they have another size than those that were learned from.
    pub fn accuracy_on(&self, data: &Dataset) -> f64 {
        accuracy(&self.classifier, data, data.len())
    }

    /// Accuracy of the last checkpoint.
    pub fn last_accuracy(&self) -> Option<f64> {
        self.evaluations.last().and_then(|m| m.accuracy)
    }

    /// The highest accuracy of all looks: what a choice by the test labels would have given. No result, but a bound
    /// on what a better validator could gain.
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

/// Trains a classifier for the target; tells every look at it.
///
/// Everything follows from the seed, on any number of threads. Before each look the statistics of batch norm are taken
/// from images of the domain it is meant for: the target's, but for [`AdaptationMethod::SourceOnly`] the source's.
///
/// # Errors
/// [`TransferError::Config`] with every setting or data set that does not fit; [`TransferError::Diverged`] when a loss is
/// no number any more.
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
    // Learning from the target's labels is learning "the source" on the target.
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
    // Of the source, or for the control of the target: what other labels of the target there are changes nothing.
    let classes = labeled.class_counts().len().max(2);
    let fresh = |seed| DomainClassifier::new(domains.source.image_size(), classes, method.heads(), seed);
    let mut algorithm = algorithm(method, fresh(config.seed)?, config.seed);
    // The evaluated classifier: the weights of training with batch norm statistics of one domain.
    let mut classifier = fresh(0)?;
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

/// Indices of at most `count` images, spread over the data.
///
/// Other ones than those of [`engraft_base::equidistant`]: the figures of docs/adaptation-benchmark.md were taken with them.
fn spread(data: &Dataset, count: usize) -> Vec<usize> {
    let step = data.len().div_ceil(count.max(1));
    (0..data.len()).step_by(step).collect()
}

fn set_batch_norm_statistics(model: &mut DomainClassifier, data: &Dataset) {
    let indices = spread(data, EVALUATION_IMAGES);
    let mut all: Vec<&[usize]> = indices.chunks(BATCH).collect();
    // A last batch of a few would count as much as a full one.
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
    let images = dataset_tensor(data, &spread(data, count));
    forward_batched(model, &images, &Condition::None, BATCH)
}

/// Share of at most `count` images that the model reads rightly.
fn accuracy(model: &DomainClassifier, data: &Dataset, count: usize) -> f64 {
    let logits = logits(model, data, count);
    let rows = logits.as_slice().chunks_exact(logits.shape()[1]);
    let right = rows
        .zip(spread(data, count))
        .filter(|(row, i)| argmax(row) == usize::from(data.label(*i)));
    right.count() as f64 / logits.shape()[0] as f64
}
