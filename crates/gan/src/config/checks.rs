//! Checks of settings before a run begins.

use super::{OutputConfig, TrainConfig, fixed, limits, network};
use crate::networks;
use crate::objective::Objective;
use crate::regularization::SpectralNorm;
use crate::validation::SettingsCheck;
use engraft_layers::{Init, spectral_normalize};

/// Largest packing with which networks are built to check the settings. A larger one is reported as too large for the batch.
const MAX_PACKING: u32 = 16;

/// What the checks of losses, regularizers and augmentation look at.
fn of_losses(config: &TrainConfig) -> SettingsCheck<'_> {
    SettingsCheck {
        objective: &config.objective,
        regularize: &config.regularize,
        augment: &config.augment,
    }
}

/// Settings that do not work with the networks of the run.
pub(super) fn with_networks(config: &TrainConfig) -> Vec<String> {
    if config.regularize.is_default() && config.objective == Objective::default().into() {
        return Vec::new();
    }
    // Unknown networks, and image sizes that they cannot generate, are reported when they are built.
    let spec = config.network_spec();
    if !spec.problems().is_empty() {
        return Vec::new();
    }
    let spec = spec
        .packing(config.objective.packing.clamp(1, MAX_PACKING) as usize)
        .classes(config.network_classes().min(limits::MOST_CLASSES) as usize);
    let Ok(family) = networks::find_for(&config.network.kind, &spec, &config.data) else {
        return Vec::new();
    };
    let mut discriminator = family.discriminator(&spec, &mut Init::glorot(0));
    if config.regularize.spectral_norm != SpectralNorm::None {
        spectral_normalize(&mut discriminator);
    }
    of_losses(config).problems_with(&discriminator)
}

/// Settings that are invalid for all networks.
pub(super) fn problems(config: &TrainConfig) -> Vec<String> {
    let mut problems = of_losses(config).problems();
    if !is_plain_name(&config.data) {
        problems.push(format!(
            "data must be a name of letters, digits, dots, dashes and underscores that does not begin with a dot, got {:?}",
            config.data
        ));
    }
    if config.trained_on() < 2 {
        problems.push(format!(
            "training needs at least 2 training images, because batch norm compares them, got {}",
            config.trained_on()
        ));
    } else if config.batch < 2 || config.batch > config.trained_on() {
        problems.push(format!(
            "batch must be from 2 (for batch norm) to the number of training images, {}, got {}",
            config.trained_on(),
            config.batch
        ));
    }
    problems.extend(network::reconstruction_problem(config));
    let held_out = config.validation_images;
    config.evaluation.problems(held_out, config.images, &mut problems);
    let packing = config.objective.packing;
    problems.extend(
        config
            .evaluation
            .pack_problem(packing, held_out, config.trained_on()),
    );
    problems.extend(of_losses(config).batch_problem(config.batch));
    problems.extend(limits::micro_batches(config));
    config.pseudo_labels.problems(config, &mut problems);
    if config.network_classes() > 0 {
        problems.extend(of_losses(config).problems_with_classes());
    }
    problems.extend(limits::beyond_limits(config));
    problems.extend(limits::without_end(config));
    problems.extend(limits::beyond_toml(config, |name| {
        // Counts have the whole range: their hash is that of their text.
        let is_count = fixed::counts(config).iter().any(|(count, ..)| *count == name);
        is_count || name == "steps" || name.starts_with("output.")
    }));
    if config.standing_batches > 0 && config.ema_half_life == 0 {
        problems.push(
            "standing_batches needs an EMA of the generator: set ema_half_life above 0, or standing_batches to 0".into(),
        );
    }
    if !(0.0..=1.0).contains(&config.learning_rate_decay) {
        problems.push(format!(
            "learning_rate_decay must be from 0 to 1, a share of the steps, got {}",
            config.learning_rate_decay
        ));
    }
    for (name, adam) in [
        ("generator", &config.generator),
        ("discriminator", &config.discriminator),
    ] {
        adam.problems(name, &mut problems);
    }
    let OutputConfig {
        sample_every,
        checkpoint_every,
        keep_checkpoints,
    } = config.output;
    for (name, value) in [
        ("steps", config.steps),
        ("output.sample_every", sample_every),
        ("output.checkpoint_every", checkpoint_every),
        ("output.keep_checkpoints", keep_checkpoints as u64),
    ] {
        if value == 0 {
            problems.push(format!("{name} must be at least 1, got 0"));
        }
    }
    problems
}

/// Whether a name is safe in a path and on a terminal.
fn is_plain_name(name: &str) -> bool {
    (1..=100).contains(&name.len())
        && !name.starts_with('.')
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
}
