//! Settings of a training run (`run.toml`).

mod adam;
mod checks;
mod data;
mod earlier_data;
mod earlier_names;
mod evaluation;
mod fixed;
mod limits;
mod network;
mod overrides;
mod pictures;
mod precision_name;
mod presets;
mod pseudo_labels;
mod short_form;

pub use adam::AdamConfig;
pub use earlier_data::EarlierData;
pub use evaluation::EvaluationConfig;
pub use evaluation::FEW_IMAGES;
pub(crate) use evaluation::MEASURED_TRAINING_IMAGES;
pub use network::NetworkConfig;
pub use pictures::PictureConfig;
pub use pseudo_labels::PseudoLabelConfig;

use crate::augment::AugmentConfig;
use crate::dcgan;
use crate::error::GanError;
use crate::networks::{self, LayerRoles, NetworkSpec};
use crate::objective::{ObjectiveConfig, StepOrder};
use crate::regularization::RegularizeConfig;
use engraft_data::TrainingData;
use engraft_layers::Adam;
use engraft_tensor::Precision;
use serde::{Deserialize, Serialize};

/// Settings of a training run, as in its `run.toml`.
///
/// Equal settings and equal data give equal bytes. Once a run has begun, only [`steps`](Self::steps),
/// [`output`](Self::output) and [`evaluation`](Self::evaluation) may change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct TrainConfig {
    /// Name of the data set.
    pub data: String,
    /// Number of images in the data set.
    pub images: usize,
    /// Height, width and channels of an image.
    #[serde(default = "reference_image", skip_serializing_if = "is_reference_image")]
    pub image: [usize; 3],
    /// SHA-256 of the images' size and pixels.
    pub fingerprint: String,
    /// How picture files are read, and whether training images are mirrored.
    #[serde(default, skip_serializing_if = "PictureConfig::is_default")]
    pub pictures: PictureConfig,
    /// Seed of weights, noise and data order.
    pub seed: u64,
    /// Images that are kept out of training for validation, evenly spaced in the order of the data.
    #[serde(default, alias = "held_out", skip_serializing_if = "is_zero")]
    pub validation_images: u32,
    /// Whether equal images are either all training images or all validation images. A new run whose images have copies sets
    /// it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep_copies_together: bool,
    /// Training steps in total, including those before the run was resumed.
    pub steps: u64,
    /// Real images in each step.
    pub batch: usize,
    /// Equal parts that a batch is cut into, which compute in parallel; 1 computes it as a whole. The bits of the result depend on
    /// their number, but not on the machines that they are divided among: see [`Gan::micro_batches`](crate::Gan::micro_batches).
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub micro_batches: u32,
    /// Generator and discriminator: a name, or a table `[network]`.
    #[serde(
        default,
        with = "short_form",
        skip_serializing_if = "NetworkConfig::is_default"
    )]
    pub network: NetworkConfig,
    /// Number of classes of a class-conditional GAN; 0 trains an unconditional one.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub classes: u32,
    /// SHA-256 of the labels of a class-conditional run; empty until the run is [opened](crate::Trainer::open) with its data.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub labels: String,
    /// Clusters of the training images as classes, without human labels.
    #[serde(default, skip_serializing_if = "PseudoLabelConfig::is_default")]
    pub pseudo_labels: PseudoLabelConfig,
    /// Adversarial objective: a name, or a table `[objective]`.
    #[serde(with = "short_form")]
    pub objective: ObjectiveConfig,
    /// Order in which the two networks are updated.
    pub order: StepOrder,
    /// Operands of convolutions and matrix products in training: `"f32"`, or `"bf16"` (rounded to 8 bits of precision, with
    /// sums, weights and everything else in `f32`). With AMX, or with AVX512-BF16 of an AMD CPU,
    /// it saves time.
    #[serde(
        default,
        with = "precision_name",
        skip_serializing_if = "precision_name::is_default"
    )]
    pub precision: Precision,
    /// Half-life of the generator's exponential moving average (EMA), in training images; 0 keeps no average.
    #[serde(alias = "average_half_life")]
    pub ema_half_life: u64,
    /// Batches of noise from which the batch-norm statistics of the EMA generator are recomputed before it generates or is
    /// saved, see [`standing_statistics`](crate::standing_statistics); 0 copies those of the trained generator.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub standing_batches: u32,
    /// Adam of the generator.
    pub generator: AdamConfig,
    /// Adam of the discriminator. A different learning rate gives the two networks two time scales (TTUR).
    pub discriminator: AdamConfig,
    /// Share of the steps, at the end of the run, in which both learning rates fall linearly to 0; from 0 to 1. A run that is
    /// continued with more steps decays again at its new end. In a sweep, the end is that of the last stage.
    #[serde(default, skip_serializing_if = "is_zero_share")]
    pub learning_rate_decay: f64,
    /// Regularizers of the discriminator.
    #[serde(
        default,
        alias = "regularise",
        skip_serializing_if = "RegularizeConfig::is_default"
    )]
    pub regularize: RegularizeConfig,
    /// Augmentation of the images that the discriminator gets.
    #[serde(default, skip_serializing_if = "AugmentConfig::is_default")]
    pub augment: AugmentConfig,
    /// Settings of the run's [plan](crate::TrainingPlan); empty for a plain training run.
    #[serde(default, skip_serializing_if = "toml::Table::is_empty")]
    pub plan: toml::Table,
    /// Validation during training, early stopping and rollbacks.
    #[serde(
        default,
        alias = "watch",
        skip_serializing_if = "EvaluationConfig::is_default"
    )]
    pub evaluation: EvaluationConfig,
    /// What the run writes, and how often.
    pub output: OutputConfig,
    /// CPU features that the run began with ([`cpu_features`](engraft_tensor::cpu_features)). The run writes it. A run that
    /// resumes on another CPU gets a warning, because the last bits of its results may differ.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cpu: String,
    /// Images that the run was trained on before they changed, oldest first. The run writes it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier_data: Vec<EarlierData>,
}

/// What a run writes, and how often, in steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputConfig {
    /// Steps between two sample grids.
    pub sample_every: u64,
    /// Steps between two checkpoints.
    pub checkpoint_every: u64,
    /// Number of checkpoints to keep, besides the best one.
    pub keep_checkpoints: usize,
}

impl TrainConfig {
    /// Gray training images from which the default preset of the command line is [`many_images`](Self::many_images).
    pub const MANY_IMAGES: usize = 10_000;

    /// The default preset, for fewer than 10 000 images or images in color: settings that show digits within minutes on two cores.
    ///
    /// Adam at 2e-4 with `β1 = 0.5` (Radford et al., 2016, section 4), batches of 64, and an EMA of the generator.
    pub fn standard(data: &dyn TrainingData) -> Self {
        presets::standard(data)
    }

    /// The default preset from [10 000 gray images](Self::MANY_IMAGES) on: [`standard`](Self::standard) with 100 clusters of the images
    /// as [classes](PseudoLabelConfig) and Adam at 5e-4.
    ///
    /// ```
    /// use engraft_data::{Split, drawn_digits};
    /// use engraft_gan::TrainConfig;
    /// let config = TrainConfig::many_images(&drawn_digits(Split::Train, 600, 1));
    /// assert_eq!((config.pseudo_labels.clusters, config.network_classes()), (100, 100));
    /// ```
    pub fn many_images(data: &dyn TrainingData) -> Self {
        presets::many_images(data)
    }

    /// The preset `tutorial`: TensorFlow's DCGAN tutorial, with Adam at 1e-4, `β = (0.9, 0.999)`, batches of
    /// 256, 50 epochs, and no EMA of the generator.
    pub fn tutorial(data: &dyn TrainingData) -> Self {
        presets::tutorial(data)
    }

    /// The preset `r3gan`: residual networks without normalization, the relativistic pairing objective, and R1 and R2 on
    /// every eighth step (Huang et al., "The GAN is dead; long live the GAN! A modern GAN baseline", 2024).
    ///
    /// Unlike the paper, the networks are small, the batch is 64 instead of 512, and learning rate and penalties are constant
    /// instead of decaying.
    pub fn r3gan(data: &dyn TrainingData) -> Self {
        presets::r3gan(data)
    }

    /// The preset `light`: the [light](crate::networks::light) networks, for images of 16 to 256 pixels and any number of
    /// training images.
    ///
    /// The non-saturating loss, Adam at 5e-4 with `β = (0.5, 0.99)`, batches of 32, and an EMA of the generator with a half-life
    /// of 10 000 images. R1 on every 16th step has `γ = 1` at 64x64 pixels and grows with the number of pixels.
    ///
    /// DiffAugment depends on the number of training images. Up to 1000, every image is augmented, and up to 300 also with
    /// cutout. Up to 20 000 the probability is 0.5. Above 20 000 there is no augmentation.
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

    /// Checks that `data` has the images of these settings, and for a class-conditional run their labels. Also checks that the
    /// networks support the image size.
    ///
    /// # Errors
    /// [`GanError::OtherData`], [`GanError::OtherLabels`], [`GanError::ImageSize`], and [`GanError::Config`] for
    /// augmentations that do not work on such images.
    pub fn check_data(&self, data: &dyn TrainingData) -> Result<(), GanError> {
        data::check_data(self, data)
    }

    /// The settings with the SHA-256 of the labels, if the run is class-conditional.
    pub(crate) fn with_labels_of(self, data: &dyn TrainingData) -> Self {
        let labels = if self.classes > 0 {
            data::sha256_of_labels(data)
        } else {
            String::new()
        };
        Self { labels, ..self }
    }

    /// A copy of these settings with one change, written like a line of `run.toml` with a dotted key: `objective.packing=2`,
    /// `regularize.r1_gamma=0.5`, `objective=hinge`. Names of an earlier version are accepted.
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
    /// If there is no such setting, or the value has the wrong type. [`TrainConfig::check`] checks its range.
    pub fn changed(&self, change: &str) -> Result<Self, GanError> {
        overrides::changed(self, change)
    }

    /// Number of classes that the networks are conditioned on: human [classes](Self::classes) or
    /// [clusters](PseudoLabelConfig::clusters); 0 for an unconditional GAN.
    pub fn network_classes(&self) -> u32 {
        match self.pseudo_labels.clusters {
            0 => self.classes,
            clusters => clusters,
        }
    }

    /// Image size, classes, packing and widths that the networks are built for.
    pub fn network_spec(&self) -> NetworkSpec {
        NetworkSpec {
            latent_dim: self.network.latent,
            widths: self.network.widths.clone(),
            convolutions: self.network.convolutions,
            norm: self.network.norm,
            patch_logits: self.network.patch_logits,
            reconstruction: self.objective.reconstruction > 0.0,
            ..NetworkSpec::new(self.image)
                .classes(self.network_classes() as usize)
                .packing(self.objective.packing as usize)
        }
    }

    /// Roles of the layers, such as head and trunk.
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

    /// Problems that keep the networks from being built. Only these are checked when a saved run is read: the others were
    /// checked when it began.
    pub(crate) fn problems_of_networks(&self) -> Vec<String> {
        let mut problems = Vec::new();
        self.objective.problems(&mut problems);
        problems.extend(limits::beyond_limits(self));
        problems
    }

    /// Real images of one step: a batch for each update of the discriminator.
    pub fn images_per_step(&self) -> usize {
        self.batch.saturating_mul(self.objective.n_critic as usize)
    }

    /// Steps in one pass over the images.
    pub fn steps_per_epoch(&self) -> u64 {
        (self.trained_on() / self.images_per_step().max(1)).max(1) as u64
    }

    /// Number of images that the run trains on: all but the validation images.
    pub fn trained_on(&self) -> usize {
        self.images.saturating_sub(self.validation_images as usize)
    }

    /// The settings after a number of rollbacks, each of which halves the learning rates.
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

    /// Checks ranges, and the combination of objective, regularizers and augmentation.
    ///
    /// # Errors
    /// [`GanError::Config`] with every problem at once.
    pub fn check(&self) -> Result<(), GanError> {
        let mut problems = self.problems();
        if let Err(GanError::Config { problems: unknown }) = networks::find(&self.network.kind) {
            problems.extend(unknown);
        }
        problems.extend(checks::with_networks(self));
        if problems.is_empty() {
            Ok(())
        } else {
            Err(GanError::Config { problems })
        }
    }

    /// Settings that are invalid for all networks.
    pub(crate) fn problems(&self) -> Vec<String> {
        checks::problems(self)
    }

    /// Optimizers of the generator and of the discriminator, with the [decay](Self::learning_rate_decay) of their learning rates.
    /// The discriminator's is adjusted for [lazy penalties](AdamConfig::with_lazy_penalty).
    pub fn optimizers(&self) -> [Adam; 2] {
        adam::optimizers(self)
    }

    /// The settings that may not change once a run has begun and in which `wanted` differs; one line each.
    pub fn fixed_differences(&self, wanted: &Self) -> Vec<String> {
        fixed::differences(self, wanted)
    }

    /// SHA-256 of the settings that may not change once a run has begun. Settings have the names of an earlier version in it,
    /// so that checkpoints of that version are recognized.
    pub(crate) fn fixed_hash(&self) -> String {
        fixed::hash(self)
    }

    /// Whether a checkpoint with this hash belongs to these settings, with the present images or with [earlier
    /// ones](Self::earlier_data).
    pub(crate) fn accepts(&self, hash: &str) -> bool {
        let mut earlier = self.earlier_data.iter();
        hash == self.fixed_hash() || earlier.any(|data| data.in_settings(self).fixed_hash() == hash)
    }

    /// The text of `run.toml`.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("numbers, strings and tables always have a TOML form")
    }

    /// Dotted name and value of every setting in `run.toml`, in its order.
    pub fn names_and_values(&self) -> Vec<(String, String)> {
        fixed::flat(&toml::Table::try_from(self).expect("settings always have a TOML form"))
    }

    /// Reads the text of a `run.toml`; `what` names it in messages. Names of an earlier version are accepted.
    ///
    /// # Errors
    /// [`GanError::ConfigSyntax`] with line and column, also for an unknown setting.
    pub fn from_toml(text: &str, what: &std::path::Path) -> Result<Self, GanError> {
        toml::from_str(text).map_err(|source| GanError::ConfigSyntax {
            path: what.into(),
            reason: printable(source.to_string().trim_end()),
        })
    }
}

/// The image size of runs that were written before it was a setting.
fn reference_image() -> [usize; 3] {
    dcgan::IMAGE
}

fn is_reference_image(image: &[usize; 3]) -> bool {
    *image == dcgan::IMAGE
}

fn one() -> u32 {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref)] // as serde calls it
fn is_one(value: &u32) -> bool {
    *value == 1
}

#[allow(clippy::trivially_copy_pass_by_ref)] // as serde calls it
fn is_zero(value: &u32) -> bool {
    *value == 0
}

fn is_zero_share(value: &f64) -> bool {
    *value == 0.0
}

/// A message that may quote a file, with control characters escaped.
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

#[cfg(test)]
mod tests;
