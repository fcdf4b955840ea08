//! The data that settings are for: its images and its labels, known by their SHA-256.

use super::TrainConfig;
use crate::error::GanError;
use crate::networks::{self, NetworkSpec};
use engraft_data::Dataset;
use sha2::{Digest, Sha256};

/// See [`TrainConfig::check_data`].
pub(super) fn check_data(config: &TrainConfig, data: &Dataset) -> Result<(), GanError> {
    let spec = NetworkSpec {
        image: data.image_size(),
        ..config.network_spec()
    };
    networks::find_for(&config.network.kind, &spec, data.name())?;
    let problems = config.augment.problems_with_images(data.image_size());
    if !problems.is_empty() {
        return Err(GanError::Config { problems });
    }
    let labels = data.class_counts().len();
    if config.classes > 0 && labels > config.classes as usize {
        return Err(GanError::Config {
            problems: vec![format!(
                "classes must be the {labels} of the labels of {} at least, got {}",
                data.name(),
                config.classes
            )],
        });
    }
    let found = fingerprint(data);
    if config.fingerprint != found || config.images != data.len() {
        return Err(GanError::OtherData {
            name: config.data.clone(),
            expected: config.fingerprint.clone(),
            found,
            source_of_data: data.provenance().to_string(),
        });
    }
    let found = sha256_of_labels(data);
    if config.classes > 0 && !config.labels.is_empty() && config.labels != found {
        return Err(GanError::OtherLabels {
            name: config.data.clone(),
            expected: config.labels.clone(),
            found,
            source_of_data: data.provenance().to_string(),
        });
    }
    Ok(())
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
pub(super) fn sha256_of_labels(data: &Dataset) -> String {
    hex(&Sha256::digest(data.labels()))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
