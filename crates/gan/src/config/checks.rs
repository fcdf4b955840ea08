//! Checks of settings before a run begins.

use super::{OutputConfig, TrainConfig, limits, network};
use crate::error::GanError;
use crate::networks;
use crate::objective::Objective;
use crate::regularization::SpectralNorm;
use crate::validation::SettingsCheck;
use engraft_layers::{Init, spectral_normalize};

/// Largest packing with which networks are built to check the settings. A larger one is reported as too large for the batch.
const MAX_PACKING: u32 = 16;

impl TrainConfig {
    /// Checks ranges, and the combination of objective, regularizers and augmentation.
    ///
    /// # Errors
    /// [`GanError::Config`] with every problem at once.
    pub fn check(&self) -> Result<(), GanError> {
        let mut problems = self.problems();
        if let Err(GanError::Config { problems: unknown }) = networks::find(&self.network.kind) {
            problems.extend(unknown);
        }
        problems.extend(self.problems_with_networks());
        if problems.is_empty() {
            Ok(())
        } else {
            Err(GanError::Config { problems })
        }
    }

    fn settings_check(&self) -> SettingsCheck<'_> {
        SettingsCheck {
            objective: &self.objective,
            regularize: &self.regularize,
            augment: &self.augment,
        }
    }

    /// Settings that do not work with the networks of the run.
    fn problems_with_networks(&self) -> Vec<String> {
        if self.regularize.is_default() && self.objective == Objective::default().into() {
            return Vec::new();
        }
        // Unknown networks, and image sizes that they cannot generate, are reported when they are built.
        let spec = self.network_spec();
        if !spec.problems().is_empty() {
            return Vec::new();
        }
        let spec = spec
            .packing(self.objective.packing.clamp(1, MAX_PACKING) as usize)
            .classes(self.network_classes().min(limits::MOST_CLASSES) as usize);
        let Ok(family) = networks::find_for(&self.network.kind, &spec, &self.data) else {
            return Vec::new();
        };
        let mut discriminator = family.discriminator(&spec, &mut Init::glorot(0));
        if self.regularize.spectral_norm != SpectralNorm::None {
            spectral_normalize(&mut discriminator);
        }
        self.settings_check().problems_with(&discriminator)
    }

    /// Settings that are invalid for all networks.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = self.settings_check().problems();
        if !is_plain_name(&self.data) {
            problems.push(format!(
                "data must be a name of letters, digits, dots, dashes and underscores that does not begin with a dot, got {:?}",
                self.data
            ));
        }
        if self.trained_on() < 2 {
            problems.push(format!(
                "training needs at least 2 training images, because batch norm compares them, got {}",
                self.trained_on()
            ));
        } else if self.batch < 2 || self.batch > self.trained_on() {
            problems.push(format!(
                "batch must be from 2 (for batch norm) to the number of training images, {}, got {}",
                self.trained_on(),
                self.batch
            ));
        }
        problems.extend(network::reconstruction_problem(self));
        let held_out = self.validation_images;
        self.evaluation.problems(held_out, self.images, &mut problems);
        let packing = self.objective.packing;
        problems.extend(self.evaluation.pack_problem(packing, held_out, self.trained_on()));
        problems.extend(self.settings_check().batch_problem(self.batch));
        problems.extend(limits::micro_batches(self));
        self.pseudo_labels.problems(self, &mut problems);
        if self.network_classes() > 0 {
            problems.extend(self.settings_check().problems_with_classes());
        }
        problems.extend(limits::beyond_limits(self));
        problems.extend(limits::without_end(self));
        problems.extend(limits::beyond_toml(self, |name| {
            // Counts have the whole range: their hash is that of their text.
            let is_count = self.counts().iter().any(|(count, ..)| *count == name);
            is_count || name == "steps" || name.starts_with("output.")
        }));
        if self.standing_batches > 0 && self.ema_half_life == 0 {
            problems.push(
                "standing_batches needs an EMA of the generator: set ema_half_life above 0, or standing_batches to 0".into(),
            );
        }
        if !(0.0..=1.0).contains(&self.learning_rate_decay) {
            problems.push(format!(
                "learning_rate_decay must be from 0 to 1, a share of the steps, got {}",
                self.learning_rate_decay
            ));
        }
        for (name, adam) in [
            ("generator", &self.generator),
            ("discriminator", &self.discriminator),
        ] {
            adam.problems(name, &mut problems);
        }
        let OutputConfig {
            sample_every,
            checkpoint_every,
            keep_checkpoints,
        } = self.output;
        for (name, value) in [
            ("steps", self.steps),
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
}

/// Whether a name is safe in a path and on a terminal.
fn is_plain_name(name: &str) -> bool {
    (1..=100).contains(&name.len())
        && !name.starts_with('.')
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
}
