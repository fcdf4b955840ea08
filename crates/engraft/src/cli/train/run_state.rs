//! What a training finds in the directory of its run.

use crate::cli::options::Train;
use engraft_gan::checkpoint::CheckpointReader;
use engraft_gan::{RunLayout, TrainConfig, read_settings};
use std::path::Path;

/// A line about the run that a training with these settings would go on with, for a dry run. `None` if there is none.
pub(super) fn line(options: &Train, config: &TrainConfig, out: &Path) -> Option<String> {
    if options.fresh {
        return None;
    }
    let saved = read_settings(&RunLayout::new(out).settings()).ok()?;
    if saved.fingerprint != config.fingerprint && !options.accept_changed_data {
        let found = match saved.images == config.images {
            true => "other pixels".to_string(),
            false => format!("{} then, {} now", saved.images, config.images),
        };
        return Some(format!(
            "  run            the images have changed since {} began ({found}), and it would be refused; --accept-changed-data continues \
             it, --fresh starts again",
            out.display()
        ));
    }
    let steps = CheckpointReader::new(out).steps().ok()?;
    let last = steps.into_iter().max()?;
    Some(match last >= config.steps {
        true => format!("  run            finished: it has all {last} steps; more --steps continue it"),
        false => format!("  run            resumes at step {last}"),
    })
}
