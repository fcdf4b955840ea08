//! Checks that data are those of the settings: images and labels are compared by their SHA-256.

use super::TrainConfig;
use crate::error::GanError;
use crate::networks::{self, NetworkSpec};
use engraft_base::sha256_hex;
use engraft_data::TrainingData;

/// See [`TrainConfig::check_data`].
pub(super) fn check_data(config: &TrainConfig, data: &dyn TrainingData) -> Result<(), GanError> {
    let spec = NetworkSpec {
        image: data.shape(),
        ..config.network_spec()
    };
    networks::find_for(&config.network.kind, &spec, data.name())?;
    let [expected, found] = [config.image, data.shape()].map(|[h, w, c]| format!("{h}x{w}x{c}"));
    if expected != found {
        return Err(GanError::Config {
            problems: vec![format!(
                "image must be {found}, the size of the images of {}, got {expected}",
                data.name()
            )],
        });
    }
    let problems = config.augment.problems_with_images(data.shape());
    if !problems.is_empty() {
        return Err(GanError::Config { problems });
    }
    let labels = data.classes();
    if config.classes > 0 && labels > config.classes as usize {
        return Err(GanError::Config {
            problems: vec![format!(
                "classes must be at least the {labels} classes of {}, got {}",
                data.name(),
                config.classes
            )],
        });
    }
    let found = data.fingerprint();
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

/// SHA-256 of the labels of a data set; without labels, all are 0. It is separate from that of the images, which is also
/// compared alone.
pub(super) fn sha256_of_labels(data: &dyn TrainingData) -> String {
    match data.classes() {
        0 => sha256_hex(&vec![0; data.len()]),
        _ => data.labels_fingerprint(),
    }
}
