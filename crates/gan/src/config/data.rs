//! The data that settings are for: its images and its labels, known by their SHA-256.

use super::TrainConfig;
use crate::error::GanError;
use engraft_data::Dataset;
use sha2::{Digest, Sha256};

impl TrainConfig {
    /// Checks that these are the images the settings speak of, and the labels where the networks are told them, and that
    /// the networks can make such images.
    ///
    /// # Errors
    /// [`GanError::OtherData`], [`GanError::OtherLabels`], [`GanError::ImageSize`], and [`GanError::Config`] for
    /// augmentations that such images do not take.
    pub fn check_data(&self, data: &Dataset) -> Result<(), GanError> {
        self.network.check(data.name(), data.image_size())?;
        let problems = self.augment.problems_with_images(data.image_size());
        if !problems.is_empty() {
            return Err(GanError::Config { problems });
        }
        let labels = data.class_counts().len();
        if self.classes > 0 && labels > self.classes as usize {
            return Err(GanError::Config {
                problems: vec![format!(
                    "classes must be the {labels} of the labels of {} at least, got {}",
                    data.name(),
                    self.classes
                )],
            });
        }
        let found = fingerprint(data);
        if self.fingerprint != found || self.images != data.len() {
            return Err(GanError::OtherData {
                name: self.data.clone(),
                expected: self.fingerprint.clone(),
                found,
                source_of_data: data.provenance().to_string(),
            });
        }
        let found = sha256_of_labels(data);
        if self.classes > 0 && !self.labels.is_empty() && self.labels != found {
            return Err(GanError::OtherLabels {
                name: self.data.clone(),
                expected: self.labels.clone(),
                found,
                source_of_data: data.provenance().to_string(),
            });
        }
        Ok(())
    }

    /// The settings with the labels of the data on record, if the networks are told them.
    pub(crate) fn with_labels_of(self, data: &Dataset) -> Self {
        let labels = if self.classes > 0 {
            sha256_of_labels(data)
        } else {
            String::new()
        };
        Self { labels, ..self }
    }

    /// The settings of a run that was begun before labels were on record.
    pub(crate) fn without_labels(&self) -> Self {
        Self {
            labels: String::new(),
            ..self.clone()
        }
    }
}

/// SHA-256 of the images' size and pixels: what training sees of a data set.
pub(super) fn fingerprint(data: &Dataset) -> String {
    let mut hash = Sha256::new();
    for size in data.image_size() {
        hash.update((size as u64).to_le_bytes());
    }
    hash.update(data.images());
    hex(&hash.finalize())
}

/// What training sees of it beside the images, if the networks are told the class. A hash of its own: whether two data
/// sets have the same images is asked elsewhere too.
fn sha256_of_labels(data: &Dataset) -> String {
    hex(&Sha256::digest(data.labels()))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
