//! Recipes for a transfer, chosen by the number of training images and the distance to the source.

use crate::config::{Phase, Trainable, TransferConfig};
use crate::domain_distance::DomainDistance;
use crate::error::TransferError;
use crate::pretrained_gan::PretrainedGan;
use crate::source_regularizers::SourceRegularizer;
use engraft_data::Dataset;
use engraft_gan::augment::Augmentation;
use engraft_gan::{AugmentConfig, OutputConfig, PseudoLabelConfig, TrainConfig};
use engraft_layers::Adapter;

/// Below this number of images, a generator that trains completely copies them.
const FEW: usize = 30;
/// Rank of the adapter for few images.
const RANK: usize = 4;
/// Why a source with augmentation is transferred with augmentation.
const AUGMENTED: &str = "DiffAugment, as the source had it and by the number of images: without it the discriminator of color images knows \
                         the training images by heart within 50 steps";
/// From this number of images on, both networks train completely, also for a close source.
const MANY: usize = 200;
/// Maximum batch size.
const BATCH: usize = 64;
/// Generated images of an evaluation during training for images above this side. More would take longer than the steps between
/// two evaluations, and the validation images are fewer anyway.
const OF_LARGE: u32 = 300;
const SMALL: usize = 32;
/// Half-life of the generator's EMA, in images. It is small because transfers are short.
const HALF_LIFE: u64 = 1000;
/// Images per cluster from which the baseline from scratch has the clusters of its source.
const PER_CLUSTER: usize = 100;
/// One of this number of images is a validation image.
const HELD_OUT: usize = 5;
/// Minimum number of images for a validation set, which then has 20.
const ENOUGH: usize = 100;
/// Minimum number of images for evaluations. Without a validation set, the training images themselves are the reference.
const MEASURABLE: usize = 20;

/// Settings of a transfer, with the reason for each choice.
///
/// ```
/// use engraft_data::{Split, drawn_digits};
/// use engraft_gan::{TrainConfig, untrained_networks};
/// use engraft_transfer::{DomainDistance, PretrainedGan, Recipe};
///
/// let config = TrainConfig::standard(&drawn_digits(Split::Train, 20, 1));
/// let networks = untrained_networks(&config)?;
/// let source = PretrainedGan::new(config, &networks.generator, &networks.discriminator);
/// let distance = DomainDistance { images: 50, kid: None, recall: Some(0.8), coverage: None, a_distance: 1.0 };
/// let recipe = Recipe::recommended(&source, 50, &distance, 500)?;
/// assert_eq!(recipe.name, "some-close");
/// println!("{}", recipe.reasons.join("; "));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Recipe {
    /// Name: `few`, `some` or `many` with `close` or `far`, or `fine-tune`.
    pub name: String,
    /// Phases, regularizers and adapters.
    pub plan: TransferConfig,
    /// Augmentation of the discriminator's images. Nothing of it is used for a source that was trained with augmentation: the
    /// transfer then has that of [`AugmentConfig::for_images`].
    pub augment: AugmentConfig,
    /// Factor that multiplies the source's learning rates, which are at most those of [`TrainConfig::standard`] if it has clusters.
    pub learning_rate_factor: f64,
    /// One reason for each choice, ready to print.
    pub reasons: Vec<String>,
}

impl Recipe {
    /// Plain fine-tuning: both networks train completely, from the source's weights.
    ///
    /// # Errors
    /// If a weight of the source is not finite.
    pub fn fine_tune(source: &PretrainedGan) -> Result<Self, TransferError> {
        Ok(Self {
            name: "fine-tune".into(),
            plan: TransferConfig {
                source_sha256: source.sha256()?,
                ..TransferConfig::default()
            },
            augment: AugmentConfig::default(),
            learning_rate_factor: 1.0,
            reasons: Vec::new(),
        })
    }

    /// The recommended recipe for this number of training images, this distance and a run of `steps` steps.
    /// [`DomainDistance::is_close`] decides whether the target is close.
    ///
    /// Below 30 images: FreezeD, discriminator warm-up, translation (DiffAugment) and cross-domain correspondence. If the source was
    /// trained with augmentation and the proxy A-distance is below 1.9, a low-rank adapter of the generator instead. Below 200 images
    /// of a close target: FreezeD. Otherwise: plain fine-tuning.
    ///
    /// # Errors
    /// If a weight of the source is not finite.
    pub fn recommended(
        source: &PretrainedGan,
        images: usize,
        found: &DomainDistance,
        steps: u64,
    ) -> Result<Self, TransferError> {
        let close = found.is_close();
        let mut recipe = Self::fine_tune(source)?;
        let size = match images {
            0..FEW => "few",
            FEW..MANY => "some",
            _ => "many",
        };
        recipe.name = format!("{size}-{}", if close { "close" } else { "far" });
        let few = images < FEW;
        if few && found.overlaps() && !source.config.augment.is_default() {
            recipe.adapt_little(images);
            return Ok(recipe);
        }
        let trainable = if few || (close && images < MANY) {
            let frozen: Vec<String> = source.discriminator_layers()?.into_iter().take(1).collect();
            let why = match few {
                true => format!("{images} images are too few to learn edges and textures from"),
                false => "source and target share low-level features".into(),
            };
            recipe.reasons.push(format!(
                "{why}: the discriminator's first layer ({}) is frozen (FreezeD)",
                frozen.join(", ")
            ));
            Trainable::Except(frozen)
        } else {
            recipe.reasons.push(match close {
                true => format!("{images} images are enough to train both networks completely: plain fine-tuning"),
                false => format!(
                    "the target is far from the source, and {images} images are enough to avoid immediate copying: both \
                     networks train completely (plain fine-tuning)"
                ),
            });
            Trainable::All
        };
        recipe.plan.phases = vec![Phase {
            discriminator: trainable,
            ..Phase::default()
        }];
        if few {
            recipe.prevent_copying(steps, source.config.network_classes() > 0);
        }
        recipe.reasons.push(match source.config.augment.is_default() {
            false => AUGMENTED.into(),
            true if few => {
                "DiffAugment translation keeps the discriminator from memorizing the few images".into()
            }
            true => return Ok(recipe),
        });
        Ok(recipe)
    }

    /// Trains a low-rank adapter of the generator only, and the whole discriminator.
    fn adapt_little(&mut self, images: usize) {
        self.plan.adapter = Some(Adapter::LowRank { rank: RANK });
        self.plan.phases = vec![Phase {
            generator: Trainable::Adapter,
            ..Phase::default()
        }];
        self.reasons = vec![
            format!(
                "{images} images are too few to train the whole generator: a low-rank adapter of it trains (LoRA, rank {RANK}), which \
                 keeps the shapes of the source"
            ),
            AUGMENTED.into(),
        ];
    }

    /// DiffAugment's random translation, with a probability of 0.8.
    ///
    /// *Source*: Zhao et al., "Differentiable augmentation for data-efficient GAN training", 2020.
    pub fn translation() -> AugmentConfig {
        AugmentConfig {
            kinds: vec![Augmentation::Translation],
            probability: Some(0.8),
            adaptive: None,
        }
    }

    /// Number of steps in which only the discriminator trains, in a run of `steps` steps: 10 %, from 1 to 100.
    pub fn discriminator_warmup(steps: u64) -> u64 {
        (steps / 10).clamp(1, 100)
    }

    /// Whether the recipe is equivalent to [plain fine-tuning](Self::fine_tune).
    ///
    /// # Errors
    /// If a weight of the source is not finite.
    pub fn is_fine_tuning(&self, source: &PretrainedGan) -> Result<bool, TransferError> {
        let plain = Self::fine_tune(source)?;
        // An empty list means the default phase.
        let phases = |plan: &TransferConfig| match plan.phases.as_slice() {
            [] => vec![Phase::default()],
            phases => phases.to_vec(),
        };
        let same_phases = phases(&self.plan) == phases(&plain.plan);
        let with_plain_phases = TransferConfig {
            phases: plain.plan.phases.clone(),
            ..self.plan.clone()
        };
        Ok(same_phases
            && with_plain_phases == plain.plan
            && self.augment == plain.augment
            && self.learning_rate_factor == plain.learning_rate_factor)
    }

    /// Adds measures against copying few training images: discriminator warm-up, translation, and cross-domain correspondence
    /// unless the source is class-conditional.
    fn prevent_copying(&mut self, steps: u64, is_conditional: bool) {
        let warmup_steps = Self::discriminator_warmup(steps);
        let warmup = Phase {
            generator: Trainable::Nothing,
            steps: warmup_steps,
            ..self.plan.phases[0].clone()
        };
        self.plan.phases.insert(0, warmup);
        self.augment = Self::translation();
        let diversity = if is_conditional {
            "cross-domain correspondence is off: it has not been evaluated for class-conditional sources (set \
             plan.regularizer to use it)"
        } else {
            self.plan.regularizer = SourceRegularizer::Cdc(10.0).into();
            "cross-domain correspondence keeps the differences between images as in the source, so that the generator does \
             not copy training images"
        };
        self.reasons.extend([
            format!(
                "only the discriminator trains in the first {warmup_steps} steps, so that it adapts to the target first"
            ),
            diversity.into(),
        ]);
    }

    /// Settings of a run with this recipe on the target's images.
    pub fn train_config(
        &self,
        source: &PretrainedGan,
        target: &Dataset,
        steps: u64,
        seed: u64,
    ) -> TrainConfig {
        let mut config = from_scratch_config(source, target, steps, seed);
        config.generator.learning_rate *= self.learning_rate_factor;
        config.discriminator.learning_rate *= self.learning_rate_factor;
        if source.config.augment.is_default() {
            config.augment = self.augment.clone();
        }
        config.pseudo_labels = source.config.pseudo_labels.clone();
        config.plan = self.plan.to_table();
        config
    }
}

/// Settings of the baseline from scratch: the source's networks, objective and optimizers on the target's images. From a source with
/// pseudo-labels, learning rates are at most those of [`TrainConfig::standard`]: the higher ones of many images make a generator copy a few.
///
/// From 100 images on, every fifth image (at most 1000) is a validation image. The run is evaluated at every tenth of its steps, from 20
/// images on: with fewer than 100, the training images themselves are the reference.
pub fn from_scratch_config(source: &PretrainedGan, target: &Dataset, steps: u64, seed: u64) -> TrainConfig {
    let reference = &source.config;
    let n = target.len();
    let held_out = if n >= ENOUGH { (n / HELD_OUT).min(1000) } else { 0 };
    let pack = (reference.objective.packing as usize).max(1);
    let batch = BATCH.min(reference.batch).min(n - held_out) / pack * pack;
    let mut config = TrainConfig::standard(target);
    config.network = reference.network.clone();
    config.classes = reference.classes;
    let enough =
        PseudoLabelConfig::FEWEST_IMAGES.max(PER_CLUSTER * reference.pseudo_labels.clusters as usize);
    if n - held_out >= enough {
        config.pseudo_labels = reference.pseudo_labels.clone();
    }
    config.objective = reference.objective.clone();
    config.order = reference.order;
    let usual = [config.generator, config.discriminator];
    (config.generator, config.discriminator) = (reference.generator, reference.discriminator);
    if reference.pseudo_labels.is_on() {
        for (adam, usual) in [&mut config.generator, &mut config.discriminator]
            .into_iter()
            .zip(usual)
        {
            adam.learning_rate = adam.learning_rate.min(usual.learning_rate);
        }
    }
    config.regularize = reference.regularize;
    (config.seed, config.steps, config.batch) = (seed, steps, batch);
    config.validation_images = held_out as u32;
    config.ema_half_life = HALF_LIFE;
    config.evaluation.every = if n >= MEASURABLE { (steps / 10).max(1) } else { 0 };
    let [height, width, channels] = target.image_size();
    if height.max(width) > SMALL {
        config.evaluation.images = OF_LARGE;
    }
    if !reference.augment.is_default() {
        config.augment = AugmentConfig::for_images(n - held_out, channels);
    }
    config.output = OutputConfig {
        sample_every: (steps / 10).max(1),
        checkpoint_every: (steps / 4).max(1),
        keep_checkpoints: 2,
    };
    config
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_data::{Split, drawn_digits};
    use engraft_gan::{Networks, untrained_networks};

    #[test]
    fn the_recommended_recipe_depends_on_image_count_and_distance() {
        let config = TrainConfig::standard(&drawn_digits(Split::Test, 20, 1));
        let Networks {
            generator,
            discriminator,
            ..
        } = untrained_networks(&config).unwrap();
        let source = PretrainedGan::new(config, &generator, &discriminator);
        let near = DomainDistance {
            images: 100,
            kid: Some(0.1),
            recall: Some(0.8),
            coverage: Some(0.9),
            a_distance: 1.0,
        };
        let far = DomainDistance {
            recall: Some(0.0),
            a_distance: 2.0,
            ..near
        };
        let first = source.discriminator_layers().unwrap()[0].clone();
        let freeze_d = Trainable::Except(vec![first]);
        for (images, found, name, trainable) in [
            (10, near, "few-close", &freeze_d),
            (29, far, "few-far", &freeze_d),
            (30, near, "some-close", &freeze_d),
            (199, near, "some-close", &freeze_d),
            (30, far, "some-far", &Trainable::All),
            (200, near, "many-close", &Trainable::All),
            (200, far, "many-far", &Trainable::All),
        ] {
            let recipe = Recipe::recommended(&source, images, &found, 300).unwrap();
            let few = images < 30;
            assert_eq!(recipe.name, name);
            assert_eq!(recipe.plan.phases.len(), 1 + usize::from(few), "{name}");
            assert!(
                recipe
                    .plan
                    .phases
                    .iter()
                    .all(|phase| phase.discriminator == *trainable),
                "{name}"
            );
            assert_eq!(
                recipe.plan.phases[0].generator == Trainable::Nothing,
                few,
                "{name}"
            );
            assert_eq!(
                recipe.plan.regularizer == SourceRegularizer::Cdc(10.0).into(),
                few,
                "{name}"
            );
            assert_eq!(recipe.augment.probability.is_some(), few, "{name}");
            assert_eq!(recipe.reasons.len(), if few { 4 } else { 1 }, "{name}");
            let plain = recipe.is_fine_tuning(&source).unwrap();
            assert_eq!(plain, !few && *trainable == Trainable::All, "{name}");
        }
    }

    /// Without augmentation, the discriminator of a light source knew 80 pictures by heart after 50 steps.
    #[test]
    fn a_source_with_augmentation_is_transferred_with_augmentation() {
        let digits = drawn_digits(Split::Test, 400, 1);
        let of = |config: TrainConfig| {
            let networks = untrained_networks(&config).unwrap();
            PretrainedGan::new(config, &networks.generator, &networks.discriminator)
        };
        let small = |config: TrainConfig| {
            let mut config = config;
            (config.network, config.batch) = ("mlp".into(), 16);
            of(config)
        };
        let plain = small(TrainConfig::standard(&digits));
        let augmented = small(TrainConfig::light(&digits));
        assert!(!augmented.config.augment.is_default());
        let expected = AugmentConfig::for_images(320, 1);
        for (source, fine_tuning, translated) in [
            (&plain, AugmentConfig::default(), Recipe::translation()),
            (&augmented, expected.clone(), expected),
        ] {
            let scratch = from_scratch_config(source, &digits, 100, 1);
            assert_eq!((&scratch.augment, scratch.batch), (&fine_tuning, 16));
            let mut recipe = Recipe::fine_tune(source).unwrap();
            let config = |recipe: &Recipe| recipe.train_config(source, &digits, 100, 1).augment;
            assert_eq!(config(&recipe), fine_tuning);
            recipe.augment = Recipe::translation();
            assert_eq!(config(&recipe), translated);

            let at = |a_distance: f64| DomainDistance {
                images: 25,
                kid: None,
                recall: Some(0.0),
                coverage: None,
                a_distance,
            };
            let recipe =
                |images, a_distance| Recipe::recommended(source, images, &at(a_distance), 100).unwrap();
            let is_augmented = source.config.augment != AugmentConfig::default();
            for (images, a_distance, has_adapter) in
                [(25, 1.8, is_augmented), (25, 2.0, false), (30, 1.8, false)]
            {
                let found = recipe(images, a_distance).plan;
                assert_eq!(found.adapter.is_some(), has_adapter);
                let last = &found.phases[found.phases.len() - 1];
                assert_eq!(last.generator == Trainable::Adapter, has_adapter);
                assert_ne!(last.discriminator, Trainable::Nothing);
            }
        }
    }
}
