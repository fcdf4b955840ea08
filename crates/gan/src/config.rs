//! What a training run is told: the content of `run.toml`.

mod data;
mod limits;
mod network;
mod overrides;
mod presets;
mod short_form;
mod watch;

pub use network::NetworkConfig;
pub use watch::EvaluationConfig;
pub(crate) use watch::MEASURED_TRAINING_IMAGES;

use crate::augment::AugmentConfig;
use crate::dcgan;
use crate::error::GanError;
use crate::networks::{self, LayerRoles, NetworkSpec};
use crate::objective::{Objective, ObjectiveConfig, StepOrder};
use crate::regularization::{RegularizeConfig, SpectralNorm};
use crate::validation::SettingsCheck;
use engraft_base::sha256_hex;
use engraft_data::TrainingData;
use engraft_layers::{Adam, Init, spectral_normalize};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Most images that are packed for a check of the settings; a larger number is a problem of the batch.
const MAX_PACKING: u32 = 16;

/// Settings of a training run, as in its `run.toml`.
///
/// Equal settings on equal data give equal bytes, so the settings are the run's recipe. Everything but
/// [`steps`](Self::steps), [`output`](Self::output) and [`watch`](Self::watch) is fixed once a run has begun.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct TrainConfig {
    /// Name of the data set.
    pub data: String,
    /// Number of its images.
    pub images: usize,
    /// Height, width and channels of an image.
    #[serde(default = "reference_image", skip_serializing_if = "is_reference_image")]
    pub image: [usize; 3],
    /// SHA-256 of the images' size and pixels.
    pub fingerprint: String,
    /// Seed of weights, noise and data order.
    pub seed: u64,
    /// Images, at equal distances in the order of the data, that the run does not train on but is measured with.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub held_out: u32,
    /// Training steps in all, those before a resume included.
    pub steps: u64,
    /// Real images in each step.
    pub batch: usize,
    /// The pair of networks, built for the images of the data.
    #[serde(
        default,
        with = "short_form",
        skip_serializing_if = "NetworkConfig::is_default"
    )]
    pub network: NetworkConfig,
    /// Classes that both networks are told, with the labels of the data; 0 tells them none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub classes: u32,
    /// SHA-256 of the labels, where the networks are told them; empty until a run is [opened](crate::Trainer::open) with
    /// its data.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub labels: String,
    /// The adversarial objective.
    #[serde(with = "short_form")]
    pub objective: ObjectiveConfig,
    /// In which order the two networks move.
    pub order: StepOrder,
    /// Images after which an image's influence on the averaged generator halves; 0 keeps no average.
    pub average_half_life: u64,
    /// Batches of noise over which the averaged generator's running statistics are taken anew before it draws or is
    /// saved, see [`standing_statistics`](crate::standing_statistics); 0 leaves it those of the live generator.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub standing_batches: u32,
    /// Optimiser of the generator.
    pub generator: AdamConfig,
    /// Optimiser of the discriminator; a learning rate of its own gives the two networks two time scales.
    pub discriminator: AdamConfig,
    /// Regularisers of the discriminator.
    #[serde(
        rename = "regularise",
        default,
        skip_serializing_if = "RegularizeConfig::is_default"
    )]
    pub regularize: RegularizeConfig,
    /// What the discriminator sees instead of the images.
    #[serde(default, skip_serializing_if = "AugmentConfig::is_default")]
    pub augment: AugmentConfig,
    /// Settings of the run's [plan](crate::TrainingPlan), for whoever makes it; empty for the usual run.
    #[serde(default, skip_serializing_if = "toml::Table::is_empty")]
    pub plan: toml::Table,
    /// How the run looks after itself.
    #[serde(default, skip_serializing_if = "EvaluationConfig::is_default")]
    pub watch: EvaluationConfig,
    /// What is written, and when.
    pub output: OutputConfig,
}

/// Settings of one Adam optimiser.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // the names say it
pub struct AdamConfig {
    pub learning_rate: f64,
    pub beta1: f64,
    pub beta2: f64,
    pub epsilon: f64,
}

impl AdamConfig {
    /// The optimiser, not yet used.
    pub fn build(&self) -> Adam {
        Adam::new(self.learning_rate)
            .betas(self.beta1, self.beta2)
            .eps(self.epsilon)
    }

    /// The settings for a discriminator whose gradient penalties are a step of their own after every `every` ordinary
    /// ones: with `c = every / (every + 1)`, the learning rate becomes `c · rate` and both decays `β^c`, so that the
    /// steps of both kinds together go as far and forget as fast as the ordinary ones alone did. Unchanged for an
    /// `every` of 1, where the penalties are part of the ordinary step.
    ///
    /// *Source*: Karras et al., "Analyzing and improving the image quality of StyleGAN", 2020, appendix B.
    #[must_use]
    pub fn with_lazy_penalty(self, every: u32) -> Self {
        if every <= 1 {
            return self;
        }
        let share = f64::from(every) / (f64::from(every) + 1.0);
        Self {
            learning_rate: self.learning_rate * share,
            beta1: self.beta1.powf(share),
            beta2: self.beta2.powf(share),
            ..self
        }
    }
}

/// What a run writes, and how often, in steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputConfig {
    /// Steps between two sample grids.
    pub sample_every: u64,
    /// Steps between two checkpoints.
    pub checkpoint_every: u64,
    /// Checkpoints that are kept.
    pub keep_checkpoints: usize,
}

impl TrainConfig {
    /// The default preset: settings that show digits within minutes on two cores.
    ///
    /// Adam at 2e-4 with `β1 = 0.5` (Radford et al., 2016, section 4) in batches of 64, and an averaged
    /// generator.
    pub fn standard(data: &dyn TrainingData) -> Self {
        presets::standard(data)
    }

    /// The preset `tutorial`: TensorFlow's DCGAN tutorial, with Adam at 1e-4, `β = (0.9, 0.999)`, batches of
    /// 256, 50 epochs, and no averaged generator.
    pub fn tutorial(data: &dyn TrainingData) -> Self {
        presets::tutorial(data)
    }

    /// The preset `r3gan`: the residual pair without normalisation, real and generated images in pairs, and R1 and R2 on
    /// every eighth step (Huang et al., "The GAN is dead; long live the GAN! A modern GAN baseline", 2024).
    ///
    /// Against the paper the networks are small, the batch is 64 instead of 512, and learning rate and penalties stay
    /// as they are instead of decaying.
    pub fn r3gan(data: &dyn TrainingData) -> Self {
        presets::r3gan(data)
    }

    /// The preset `light`: pictures of 16 to 256 pixels, few or many, by the [light](crate::networks::light) networks.
    ///
    /// The non-saturating loss, Adam at 2e-4 with `β = (0.5, 0.99)`, batches of 32, and an averaged generator with a half-life
    /// of 10 000 images. R1 on every 16th step has `γ = 1` at 64x64 pixels and grows with the number of pixels. The
    /// discriminator reads augmented images: always up to 1000 training images (with cutout up to 300), with probability 0.5
    /// up to 20 000, never above.
    ///
    /// *Source*: Mescheder, Geiger and Nowozin, "Which training methods for GANs do actually converge?", 2018, for R1; Karras
    /// et al., "Analyzing and improving the image quality of StyleGAN", 2020, for every 16th step; Zhao et al.,
    /// "Differentiable augmentation for data-efficient GAN training", 2020, for the augmentations. The thresholds are this
    /// project's.
    ///
    /// ```
    /// use engraft_data::{Split, drawn_digits};
    /// use engraft_gan::TrainConfig;
    /// let config = TrainConfig::light(&drawn_digits(Split::Train, 20, 1));
    /// assert_eq!((config.network.kind.as_str(), config.batch), ("light", 20));
    /// config.check()?;
    /// # Ok::<(), engraft_gan::GanError>(())
    /// ```
    pub fn light(data: &dyn TrainingData) -> Self {
        presets::light(data)
    }

    /// Checks that these are the images the settings speak of, and the labels where the networks are told them, and that
    /// the networks can make such images.
    ///
    /// # Errors
    /// [`GanError::OtherData`], [`GanError::OtherLabels`], [`GanError::ImageSize`], and [`GanError::Config`] for
    /// augmentations that such images do not take.
    pub fn check_data(&self, data: &dyn TrainingData) -> Result<(), GanError> {
        data::check_data(self, data)
    }

    /// The settings with the labels of the data on record, if the networks are told them.
    pub(crate) fn with_labels_of(self, data: &dyn TrainingData) -> Self {
        let labels = if self.classes > 0 {
            data::sha256_of_labels(data)
        } else {
            String::new()
        };
        Self { labels, ..self }
    }

    /// These settings with one of them changed, given as in a `run.toml` on one line: `objective.packing=2`,
    /// `regularise.r1=0.5`, `objective=hinge`.
    ///
    /// ```
    /// use engraft_data::{Split, drawn_digits};
    /// use engraft_gan::TrainConfig;
    /// let config = TrainConfig::standard(&drawn_digits(Split::Train, 300, 1));
    /// assert_eq!(config.changed("objective.packing=2")?.objective.packing, 2);
    /// # Ok::<(), engraft_gan::GanError>(())
    /// ```
    ///
    /// # Errors
    /// If there is no such setting, or it takes no such value. Whether it makes sense, [`TrainConfig::check`] tells.
    pub fn changed(&self, change: &str) -> Result<Self, GanError> {
        overrides::changed(self, change)
    }

    /// What the networks are built for, and how large.
    pub fn network_spec(&self) -> NetworkSpec {
        NetworkSpec {
            latent_dim: self.network.latent,
            widths: self.network.widths.clone(),
            convolutions: self.network.convolutions,
            ..NetworkSpec::new(self.image)
                .classes(self.classes as usize)
                .packing(self.objective.packing as usize)
        }
    }

    /// Which layers of the networks play which part.
    ///
    /// # Errors
    /// [`GanError::Config`] if there is no network of the name, [`GanError::ImageSize`] if it cannot be built for the images.
    pub fn layer_roles(&self) -> Result<LayerRoles, GanError> {
        let spec = self.network_spec();
        Ok(networks::find_for(&self.network.kind, &spec, &self.data)?.roles(&spec))
    }

    /// Length of the latent vectors that the generator reads.
    ///
    /// # Errors
    /// As for [`TrainConfig::layer_roles`].
    pub fn latent_dim(&self) -> Result<usize, GanError> {
        let spec = self.network_spec();
        Ok(networks::find_for(&self.network.kind, &spec, &self.data)?.latent_dim(&spec))
    }

    /// What keeps the networks from being built. It is all that a saved run is asked before it is read: whether its settings
    /// suit training on its data was found when it began.
    pub(crate) fn problems_of_networks(&self) -> Vec<String> {
        let mut problems = Vec::new();
        self.objective.problems(&mut problems);
        problems.extend(limits::beyond_limits(self));
        problems
    }

    /// Real images that a step takes: a batch for each of its critic steps.
    pub fn images_per_step(&self) -> usize {
        self.batch.saturating_mul(self.objective.critic_steps as usize)
    }

    /// Steps in one pass over the images.
    pub fn steps_per_epoch(&self) -> u64 {
        (self.trained_on() / self.images_per_step().max(1)).max(1) as u64
    }

    /// Images that the run trains on: all but the held-out ones.
    pub fn trained_on(&self) -> usize {
        self.images.saturating_sub(self.held_out as usize)
    }

    /// The settings of a run that has gone back so many times: each halves the learning rates.
    pub(crate) fn after_rollbacks(&self, times: u32) -> Self {
        let slower = |adam: AdamConfig| AdamConfig {
            learning_rate: adam.learning_rate * 0.5_f64.powi(times.min(1000) as i32),
            ..adam
        };
        Self {
            generator: slower(self.generator),
            discriminator: slower(self.discriminator),
            ..self.clone()
        }
    }

    /// Checks what the types do not, the combination of objective, regularisers and augmentation included.
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

    /// What makes no sense with the networks of the run.
    fn problems_with_networks(&self) -> Vec<String> {
        if self.regularize.is_default() && self.objective == Objective::default().into() {
            return Vec::new();
        }
        // That there are no such networks, or none for such images, is told when they are built.
        let spec = self.network_spec();
        if !spec.problems().is_empty() {
            return Vec::new();
        }
        let spec = spec
            .packing(self.objective.packing.clamp(1, MAX_PACKING) as usize)
            .classes(self.classes.min(limits::MOST_CLASSES) as usize);
        let Ok(family) = networks::find_for(&self.network.kind, &spec, &self.data) else {
            return Vec::new();
        };
        let mut discriminator = family.discriminator(&spec, &mut Init::glorot(0));
        if self.regularize.spectral_norm != SpectralNorm::None {
            spectral_normalize(&mut discriminator);
        }
        self.settings_check().problems_with(&discriminator)
    }

    /// What makes no sense whatever the networks are.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = self.settings_check().problems();
        if !is_plain_name(&self.data) {
            problems.push(format!(
                "data must be a name of letters, digits, dots, dashes and underscores that begins with no dot, got {:?}",
                self.data
            ));
        }
        if self.batch < 2 || self.batch > self.trained_on() {
            problems.push(format!(
                "batch must be from 2 (batch norm needs two images) to the {} images there are to train on, got {}",
                self.trained_on(),
                self.batch
            ));
        }
        self.watch.problems(self.held_out, self.images, &mut problems);
        problems.extend(
            self.watch
                .pack_problem(self.objective.packing, self.held_out, self.trained_on()),
        );
        problems.extend(self.settings_check().batch_problem(self.batch));
        if self.classes > 0 {
            problems.extend(self.settings_check().problems_with_classes());
        }
        problems.extend(limits::beyond_limits(self));
        if self.standing_batches > 0 && self.average_half_life == 0 {
            problems.push(
                "standing_batches are for the averaged generator, but average_half_life is 0 and there is none".into(),
            );
        }
        for (name, adam) in [
            ("generator", &self.generator),
            ("discriminator", &self.discriminator),
        ] {
            let AdamConfig {
                learning_rate,
                beta1,
                beta2,
                epsilon,
            } = *adam;
            if !(learning_rate.is_finite() && learning_rate > 0.0) {
                problems.push(format!(
                    "{name}.learning_rate must be above 0, got {learning_rate}"
                ));
            }
            for (beta, value) in [("beta1", beta1), ("beta2", beta2)] {
                if !(0.0..1.0).contains(&value) {
                    problems.push(format!("{name}.{beta} must be from 0 to below 1, got {value}"));
                }
            }
            if !(epsilon.is_finite() && epsilon > 0.0) {
                problems.push(format!("{name}.epsilon must be above 0, got {epsilon}"));
            }
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

    /// The text of `run.toml`.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("numbers, strings and tables always have a TOML form")
    }

    /// Reads the text of a `run.toml`; `what` names it in messages.
    ///
    /// # Errors
    /// [`GanError::ConfigSyntax`] with line and column, also for a name that is no setting.
    pub fn from_toml(text: &str, what: &std::path::Path) -> Result<Self, GanError> {
        toml::from_str(text).map_err(|source| GanError::ConfigSyntax {
            path: what.into(),
            reason: printable(source.to_string().trim_end()),
        })
    }

    /// The settings, fixed once a run has begun, in which `wanted` differs; one line each.
    pub fn fixed_differences(&self, wanted: &Self) -> Vec<String> {
        let [ours, theirs] = [self, wanted].map(|c| c.fixed().into_iter().collect::<BTreeMap<_, _>>());
        let names: BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
        // Settings that came later stand in the text only where they say something new.
        let value = |of: &BTreeMap<_, String>, name| of.get(name).map_or("the default".into(), String::clone);
        names
            .into_iter()
            .map(|name| (name, value(&ours, name), value(&theirs, name)))
            .filter(|(_, ours, theirs)| ours != theirs)
            .map(|(name, ours, theirs)| format!("{name}: the run has {ours}, now asked for {theirs}"))
            .collect()
    }

    /// SHA-256 of the settings that are fixed once a run has begun.
    pub(crate) fn fixed_hash(&self) -> String {
        let text: String = self
            .fixed()
            .into_iter()
            .map(|(name, value)| format!("{name}={value}\n"))
            .collect();
        sha256_hex(text.as_bytes())
    }

    /// Dotted name and value of every setting that is fixed once a run has begun.
    fn fixed(&self) -> Vec<(String, String)> {
        // A value of TOML holds half of all counts only, so they go their own way.
        let counts = [
            ("images", self.images as u64),
            ("seed", self.seed),
            ("batch", self.batch as u64),
            ("average_half_life", self.average_half_life),
        ];
        let small = Self {
            images: 0,
            seed: 0,
            steps: 0,
            batch: 0,
            average_half_life: 0,
            output: OutputConfig {
                sample_every: 0,
                checkpoint_every: 0,
                keep_checkpoints: 0,
            },
            ..self.clone()
        };
        let mut table = toml::Table::try_from(small).expect("as in to_toml");
        table.remove("steps");
        table.remove("output");
        table.remove("watch");
        let mut flat = Vec::new();
        flatten("", &toml::Value::Table(table), &mut flat);
        for (name, value) in &mut flat {
            if let Some((_, count)) = counts.iter().find(|(count, _)| count == name) {
                *value = count.to_string();
            }
        }
        flat
    }
}

/// The size that runs had before there was a setting for it.
fn reference_image() -> [usize; 3] {
    dcgan::IMAGE
}

fn is_reference_image(image: &[usize; 3]) -> bool {
    *image == dcgan::IMAGE
}

#[allow(clippy::trivially_copy_pass_by_ref)] // as serde calls it
fn is_zero(value: &u32) -> bool {
    *value == 0
}

/// Whether a name can stand in a path and on a terminal as it is.
fn is_plain_name(name: &str) -> bool {
    (1..=100).contains(&name.len())
        && !name.starts_with('.')
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
}

/// A message that may quote a file, without what moves a terminal's cursor.
fn printable(message: &str) -> String {
    let mut safe = String::with_capacity(message.len());
    for c in message.chars() {
        if c.is_control() && c != '\n' {
            safe.extend(c.escape_default());
        } else {
            safe.push(c);
        }
    }
    safe
}

fn flatten(name: &str, value: &toml::Value, flat: &mut Vec<(String, String)>) {
    match value {
        toml::Value::Table(table) => {
            for (key, value) in table {
                let name = if name.is_empty() {
                    key.clone()
                } else {
                    format!("{name}.{key}")
                };
                flatten(&name, value, flat);
            }
        }
        value => flat.push((name.into(), value.to_string())),
    }
}

#[cfg(test)]
mod tests;
