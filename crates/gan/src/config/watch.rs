//! The section `[watch]` of a run: how it looks after itself.

use serde::{Deserialize, Serialize};

/// How a run measures itself on images kept out of training ([`TrainConfig::held_out`](super::TrainConfig::held_out)),
/// when it stops early, and what it does when it diverges. All of it is off at first, and none of it changes what a
/// healthy run learns.
///
/// ```toml
/// held_out = 1000
/// [watch]
/// every = 500
/// patience = 8
/// rollbacks = 2
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EvaluationConfig {
    /// Steps between two measurements; 0 takes none.
    pub every: u64,
    /// Images that are generated for one; 1000 at first.
    pub images: u32,
    /// Measurements without a new best one ([`Measurement::score`](crate::Measurement::score)) after which the run stops;
    /// 0 never stops it.
    pub patience: u32,
    /// How many times a run that diverges goes back to its last checkpoint, each time with half the learning rates and
    /// other noise, before it gives up.
    pub rollbacks: u32,
    /// Name of the [feature extractor](engraft_metrics::features) that the measurements are taken with; without it, that
    /// of Fashion-MNIST for this data set and that of MNIST for all others. Measurements of different extractors do not
    /// compare, so a run that has been measured keeps its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub features: Option<String>,
}

impl Default for EvaluationConfig {
    fn default() -> Self {
        Self {
            every: 0,
            images: 1000,
            patience: 0,
            rollbacks: 0,
            features: None,
        }
    }
}

/// Training images that the measures look at, at most.
pub(crate) const MEASURED_TRAINING_IMAGES: usize = 1000;
/// Fewest images on a side that the measures take.
pub(crate) const FEWEST: u32 = 20;
/// Most images that are generated for one measurement.
const MOST: u32 = 50_000;

impl EvaluationConfig {
    /// Whether nothing is set.
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// What makes no sense, one line for each problem.
    pub(super) fn problems(&self, held_out: u32, images: usize, problems: &mut Vec<String>) {
        if held_out > 0 && held_out < FEWEST {
            problems.push(format!(
                "held_out must be 0 or at least {FEWEST}, for the measures need so many, got {held_out}"
            ));
        }
        if held_out as usize >= images {
            problems.push(format!(
                "held_out must leave some of the {images} images to train on, got {held_out}"
            ));
        }
        if self.every == 0 {
            if self.patience > 0 {
                problems.push(format!(
                    "watch.patience is {}, but watch.every is 0 and nothing is measured",
                    self.patience
                ));
            }
            return;
        }
        if held_out == 0 {
            problems.push(
                "watch.every needs held_out images to compare with: measured on its own training images, a \
                 generator that copies them would be the best"
                    .into(),
            );
        }
        if !(FEWEST..=MOST).contains(&self.images) {
            problems.push(format!(
                "watch.images must be from {FEWEST} to {MOST}, got {}",
                self.images
            ));
        }
    }

    /// What makes no sense for a discriminator that judges packs: a measurement shows it whole packs of each kind of images.
    pub(super) fn pack_problem(&self, packing: u32, held_out: u32, trained_on: usize) -> Option<String> {
        let fewest = held_out.min(self.images) as usize;
        let fewest = fewest.min(trained_on).min(MEASURED_TRAINING_IMAGES);
        (self.every > 0 && fewest > 0 && packing as usize > fewest).then(|| {
            format!(
                "objective.packing must be at most {fewest} in a run that is measured, the least of held_out, watch.images \
                 and the up to {MEASURED_TRAINING_IMAGES} training images that a measurement looks at, got {packing}"
            )
        })
    }
}
