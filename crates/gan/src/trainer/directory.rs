//! Whether a directory is free for a run, or holds another one.

use super::{CONFIG, METRICS};
use crate::checkpoint::open_regular;
use crate::config::TrainConfig;
use crate::error::GanError;
use std::fs::OpenOptions;
use std::io::Read;
use std::path::Path;

/// Size above which a `run.toml` is not read.
const MAX_CONFIG_BYTES: u64 = 1 << 20;

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
    let path = directory.join(CONFIG);
    let mut text = String::new();
    let saved = open_regular(&path, OpenOptions::new().read(true))
        .and_then(|(file, _)| {
            file.take(MAX_CONFIG_BYTES)
                .read_to_string(&mut text)
                .map_err(|e| GanError::io(&path, "reading", e))
        })
        .and_then(|_| TrainConfig::from_toml(&text, &path));
    let differences = match saved {
        Ok(saved) => saved.fixed_differences(config),
        Err(e) => vec![e.to_string()],
    };
    GanError::OtherSettings {
        path: directory.into(),
        differences,
    }
}
