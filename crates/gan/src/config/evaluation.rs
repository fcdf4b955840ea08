//! The section `[evaluation]` of a run: validation, early stopping and rollbacks.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Validation during training, early stopping, and rollbacks after divergence.
///
/// Validation uses images that are kept out of training
/// ([`TrainConfig::validation_images`](super::TrainConfig::validation_images)). With fewer than 200 images there may be none:
/// the training images themselves then take their place, and near-copies are counted by the distances between training
/// images ([`copied_share`](engraft_metrics::copied_share)). Everything is off by default, and does not
/// change what a run learns unless it diverges.
///
/// ```toml
/// validation_images = 1000
/// [evaluation]
/// every = 500
/// patience = 8
/// rollbacks = 2
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EvaluationConfig {
    /// Steps between two evaluations; 0 means none.
    pub every: u64,
    /// Images that are generated for one evaluation.
    pub images: u32,
    /// Evaluations without a better [score](crate::Measurement::score) after which training stops early; 0 never stops.
    pub patience: u32,
    /// How often a diverged run may return to its last checkpoint. Each rollback halves the learning rates and changes the
    /// noise.
    pub rollbacks: u32,
    /// Name of the [feature extractor](engraft_metrics::features). Without it, `fashion-mnist` for that data set and `mnist`
    /// for all others. Numbers of different extractors are not comparable, so a run keeps its extractor after the first
    /// evaluation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub features: Option<String>,
    /// Weights file (safetensors) of the feature extractors `mobilenet-v2` and `inception`, which have no built-in weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<PathBuf>,
}

impl Default for EvaluationConfig {
    fn default() -> Self {
        Self {
            every: 0,
            images: 1000,
            patience: 0,
            rollbacks: 0,
            features: None,
            weights: None,
        }
    }
}

/// Most training images that are used in one evaluation.
pub(crate) const MEASURED_TRAINING_IMAGES: usize = 1000;
/// Fewest images, real or generated, that the metrics need.
pub(crate) const FEWEST: u32 = 20;
/// With fewer images, none need to be kept out of training. The evaluation then uses the training images themselves.
pub const FEW_IMAGES: usize = 200;
/// Most images that are generated for one evaluation.
const MOST: u32 = 50_000;

impl EvaluationConfig {
    /// Whether everything is at its default.
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Adds a line for each invalid setting.
    pub(super) fn problems(&self, held_out: u32, images: usize, problems: &mut Vec<String>) {
        if held_out > 0 && held_out < FEWEST {
            problems.push(format!(
                "validation_images must be 0 or at least {FEWEST}, which the metrics need, got {held_out}"
            ));
        }
        if held_out as usize >= images {
            problems.push(format!(
                "validation_images must be below the {images} images of the data, got {held_out}"
            ));
        }
        if let (None, Some(weights)) = (&self.features, &self.weights) {
            problems.push(format!(
                "evaluation.weights is {}, but evaluation.features names no extractor that reads it",
                weights.display()
            ));
        }
        if self.every == 0 {
            if self.patience > 0 {
                problems.push(format!(
                    "evaluation.patience is {}, but evaluation.every is 0: set evaluation.every, or patience to 0",
                    self.patience
                ));
            }
            return;
        }
        if held_out == 0 && images < FEWEST as usize {
            problems.push(format!(
                "evaluation.every must be 0 for fewer than {FEWEST} images, about which no metric says anything, got {images} \
                 images"
            ));
        } else if held_out == 0 && images >= FEW_IMAGES {
            problems.push(
                "evaluation.every needs validation images: set validation_images. Against its training images, a generator \
                 that copies them would score best"
                    .into(),
            );
        }
        if !(FEWEST..=MOST).contains(&self.images) {
            problems.push(format!(
                "evaluation.images must be from {FEWEST} to {MOST}, got {}",
                self.images
            ));
        }
    }

    /// The problem of a packing that is larger than the sets of images that the discriminator is evaluated on.
    pub(super) fn pack_problem(&self, packing: u32, held_out: u32, trained_on: usize) -> Option<String> {
        let real = if held_out == 0 {
            trained_on
        } else {
            held_out as usize
        };
        let fewest = real.min(self.images as usize);
        let fewest = fewest.min(trained_on).min(MEASURED_TRAINING_IMAGES);
        (self.every > 0 && fewest > 0 && packing as usize > fewest).then(|| {
            format!(
                "objective.packing must be at most {fewest} in a run with evaluation, the smallest of validation_images, \
                 evaluation.images and the up to {MEASURED_TRAINING_IMAGES} training images of an evaluation, got {packing}"
            )
        })
    }
}
