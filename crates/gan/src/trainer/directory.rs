//! Whether a directory is free for a run, or holds another one.

use super::METRICS;
use crate::config::TrainConfig;
use crate::error::GanError;
use crate::saved::{CONFIG, read_config};
use std::path::Path;

/// Fails if a new run would replace the settings or the record of another one, or of another program.
pub(super) fn check_unoccupied(directory: &Path) -> Result<(), GanError> {
    let found = if directory.join(CONFIG).symlink_metadata().is_ok() {
        Some(CONFIG)
    } else {
        let metrics = directory.join(METRICS).metadata();
        // A run that was killed before its first checkpoint leaves an empty one.
        metrics.is_ok_and(|m| m.len() > 0).then_some(METRICS)
    };
    match found {
        None => Ok(()),
        Some(found) => Err(GanError::Occupied {
            path: directory.into(),
            found,
        }),
    }
}

/// The error for a run that was begun with other settings, with the differences if its `run.toml` tells them.
pub(super) fn other_settings(config: &TrainConfig, directory: &Path) -> GanError {
    let saved = read_config(directory);
    let differences = match saved {
        // That it has no record of its labels is no difference.
        Ok(saved) if saved.labels.is_empty() => saved.fixed_differences(&config.without_labels()),
        Ok(saved) => saved.fixed_differences(config),
        Err(e) => vec![e.to_string()],
    };
    GanError::OtherSettings {
        path: directory.into(),
        differences,
    }
}
