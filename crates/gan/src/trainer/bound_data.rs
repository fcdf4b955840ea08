//! The bond of a run to the pixels of its images: a renamed folder resumes, changed images are refused or accepted.

use crate::config::{EarlierData, PseudoLabelConfig, TrainConfig};
use crate::error::GanError;
use crate::run_data;
use crate::run_layout::RunLayout;
use engraft_data::TrainingData;
use std::collections::HashSet;

/// How a run resumes with its data.
pub(super) struct BoundSettings {
    pub(super) config: TrainConfig,
    /// Whether the images are others than before, which the caller accepted.
    pub(super) has_changed: bool,
    pub(super) warnings: Vec<String>,
}

/// The settings `wanted` for the run with the settings `saved`, whose newest checkpoint is of `step`.
///
/// With equal images, the run keeps the name of its data: the folder may have another name now. With other images, `accept`
/// decides. The run then keeps the settings that a preset derives from the number of images: batch, validation images and
/// augmentation. If other settings differ as well, `wanted` is returned, which the caller refuses.
///
/// # Errors
/// [`GanError::ChangedData`]; [`GanError::Config`] if the settings do not allow the number of images.
pub(super) fn bind(
    wanted: TrainConfig,
    saved: &TrainConfig,
    data: &dyn TrainingData,
    layout: &RunLayout,
    step: u64,
    accept: bool,
) -> Result<BoundSettings, GanError> {
    let mut config = continued(wanted, saved);
    let unchanged = |config| BoundSettings {
        config,
        has_changed: false,
        warnings: Vec::new(),
    };
    let same_images = is_of_same_images(&config, saved);
    if same_images {
        config.data.clone_from(&saved.data);
    }
    if same_images && (saved.labels == config.labels || !accept) {
        return Ok(unchanged(config));
    }
    let earlier = EarlierData::of(saved, step);
    let kept = with_numbers_of(&config, saved);
    if earlier.in_settings(&kept).fixed_hash() != saved.fixed_hash() {
        return Ok(unchanged(config));
    }
    if !accept {
        return Err(GanError::ChangedData {
            path: layout.directory().into(),
            expected: saved.images,
            found: config.images,
            changes: run_data::changes(layout, data)?,
            source_of_data: data.provenance().to_string(),
        });
    }
    let mut warnings = Vec::new();
    if (kept.batch, kept.validation_images) != (config.batch, config.validation_images) {
        warnings.push(format!(
            "the run keeps its batch of {} and its {} validation images",
            kept.batch, kept.validation_images
        ));
    }
    let mut config = kept;
    if config.validation_images == 0 {
        (config.evaluation.every, config.evaluation.patience) = (0, 0);
    }
    config.earlier_data.push(earlier);
    let problems = config.problems();
    if !problems.is_empty() {
        return Err(GanError::Config { problems });
    }
    warnings.push(format!(
        "the run continues with {} images instead of {}; measurements up to step {step} are of the earlier images",
        config.images, saved.images
    ));
    Ok(BoundSettings {
        config,
        has_changed: true,
        warnings,
    })
}

/// Whether a run with the settings `saved` is one of `wanted`: it resumes, or its images alone have changed, which the user decides
/// about.
pub(super) fn is_of_run(wanted: TrainConfig, saved: &TrainConfig) -> bool {
    let mut config = continued(wanted, saved);
    if is_of_same_images(&config, saved) {
        config.data.clone_from(&saved.data);
        config.labels.clone_from(&saved.labels);
        return config.fixed_hash() == saved.fixed_hash();
    }
    let kept = with_numbers_of(&config, saved);
    EarlierData::of(saved, 0).in_settings(&kept).fixed_hash() == saved.fixed_hash()
}

/// The settings `wanted` with what a run remembers of its images. A run whose images changed before keeps its
/// [numbers](with_numbers_of): those of a preset would be those of the present images.
fn continued(wanted: TrainConfig, saved: &TrainConfig) -> TrainConfig {
    let wanted = match saved.earlier_data.is_empty() {
        true => wanted,
        false => with_numbers_of(&wanted, saved),
    };
    TrainConfig {
        keep_copies_together: saved.keep_copies_together,
        earlier_data: saved.earlier_data.clone(),
        ..wanted
    }
}

fn is_of_same_images(config: &TrainConfig, saved: &TrainConfig) -> bool {
    (saved.images, &saved.fingerprint) == (config.images, &config.fingerprint)
}

/// Settings with those of a run that follow from the number of images.
fn with_numbers_of(config: &TrainConfig, saved: &TrainConfig) -> TrainConfig {
    let mut kept = TrainConfig {
        validation_images: saved.validation_images,
        batch: saved.batch,
        augment: saved.augment.clone(),
        ..config.clone()
    };
    // The default preset changes with the number of images.
    let of_many = PseudoLabelConfig::of_many_images();
    let is_other_preset = saved.pseudo_labels != config.pseudo_labels
        && [&saved.pseudo_labels, &config.pseudo_labels].contains(&&of_many);
    if is_other_preset {
        kept.pseudo_labels = saved.pseudo_labels.clone();
        (kept.generator, kept.discriminator) = (saved.generator, saved.discriminator);
    }
    kept
}

/// Whether some images are equal.
pub(super) fn has_copies(data: &dyn TrainingData) -> bool {
    let mut found = HashSet::new();
    data.image_hashes().into_iter().any(|hash| !found.insert(hash))
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_data::{Split, drawn_digits};

    /// The default preset changes with the number of images; a run does not.
    #[test]
    fn a_run_keeps_the_clusters_and_learning_rates_of_its_preset() {
        let few = TrainConfig::standard(&drawn_digits(Split::Train, 300, 1));
        let many = TrainConfig::many_images(&drawn_digits(Split::Train, 310, 1));
        let essence = |config: &TrainConfig| {
            (
                config.pseudo_labels.clone(),
                config.generator,
                config.discriminator,
            )
        };
        assert_eq!(essence(&with_numbers_of(&many, &few)), essence(&few));
        assert_eq!(essence(&with_numbers_of(&few, &many)), essence(&many));
        // A learning rate that the user changed is none of the preset.
        let changed = few.changed("generator.learning_rate=0.001").unwrap();
        assert_eq!(essence(&with_numbers_of(&changed, &few)), essence(&changed));
    }
}
