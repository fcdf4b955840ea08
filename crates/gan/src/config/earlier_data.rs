//! Images that a run was trained on before they changed.

use super::TrainConfig;
use serde::{Deserialize, Serialize};

/// Images that a run was trained on until they changed, see
/// [`accept_changed_data`](crate::TrainerBuilder::accept_changed_data).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct EarlierData {
    /// Last step with these images.
    pub until_step: u64,
    /// Name of the data set.
    pub data: String,
    /// Number of images.
    pub images: usize,
    /// SHA-256 of the images' size and pixels.
    pub fingerprint: String,
    /// SHA-256 of the labels of a class-conditional run.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub labels: String,
}

impl EarlierData {
    /// The images of these settings.
    pub(crate) fn of(config: &TrainConfig, until_step: u64) -> Self {
        Self {
            until_step,
            data: config.data.clone(),
            images: config.images,
            fingerprint: config.fingerprint.clone(),
            labels: config.labels.clone(),
        }
    }

    /// The settings with these images.
    pub(crate) fn in_settings(&self, config: &TrainConfig) -> TrainConfig {
        TrainConfig {
            data: self.data.clone(),
            images: self.images,
            fingerprint: self.fingerprint.clone(),
            labels: self.labels.clone(),
            ..config.clone()
        }
    }
}
