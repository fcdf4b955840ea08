//! A recipe for a transfer, from the number of images and their distance to the source.

use crate::config::{Phase, SourceRegularizer, Trainable, TransferConfig};
use crate::domain_distance::DomainDistance;
use crate::error::TransferError;
use crate::pretrained_gan::PretrainedGan;
use engraft_data::Dataset;
use engraft_gan::augment::Augmentation;
use engraft_gan::{AugmentConfig, OutputConfig, TrainConfig};

/// Below so many images a generator copies them when all of it trains.
const FEW: usize = 30;
/// From so many on all of both networks trains, of a close source too.
const MANY: usize = 200;
/// Largest batch.
const BATCH: usize = 64;
/// Images after which an image's influence on the averaged generator halves: runs are short.
const HALF_LIFE: u64 = 1000;
/// Share of the images that is held out, where there are enough.
const HELD_OUT: usize = 5;
/// Fewest images of which some are held out: then there are 20.
const ENOUGH: usize = 100;

/// How a transfer is to go, and why.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// Its name: `few`, `some` or `many`, with `close` or `far`.
    pub name: String,
    /// The plan.
    pub plan: TransferConfig,
    /// What the discriminator sees instead of the images.
    pub augment: AugmentConfig,
    /// Factor of the source's learning rates.
    pub learning_rate_factor: f64,
    /// One sentence for each choice.
    pub reasons: Vec<String>,
}

impl Recipe {
    /// Plain fine-tuning: all of both networks trains from the source's weights on.
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

    /// The recipe for so many training images at such a distance, for a run of `steps` steps.
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
        let learned = if few || (close && images < MANY) {
            let frozen: Vec<String> = source.discriminator_layers()?.into_iter().take(1).collect();
            let why = match few {
                true => format!("{images} images do not teach what an edge is"),
                false => "the source's images are made of what these are made of".into(),
            };
            recipe.reasons.push(format!(
                "{why}: the discriminator's first layer ({}) stays the source's (FreezeD)",
                frozen.join(", ")
            ));
            Trainable::Except(frozen)
        } else {
            recipe.reasons.push(match close {
                true => format!("{images} images are enough to train all of both networks: plain fine-tuning"),
                false => format!(
                    "the source draws other things than these, and {images} images are not so few that they would be copied at \
                     once: all of both networks trains (plain fine-tuning)"
                ),
            });
            Trainable::All
        };
        recipe.plan.phases = vec![Phase {
            discriminator: learned,
            ..Phase::default()
        }];
        if few {
            recipe.avoid_copies(steps, source.config.classes > 0);
        }
        Ok(recipe)
    }

    /// Images at other places, at most steps (DiffAugment's translation).
    ///
    /// *Source*: Zhao et al., "Differentiable augmentation for data-efficient GAN training", 2020.
    pub fn translation() -> AugmentConfig {
        AugmentConfig {
            kinds: vec![Augmentation::Translation],
            probability: Some(0.8),
            adaptive: None,
        }
    }

    /// Steps of a run of `steps` in which the discriminator learns alone, where it does.
    pub fn discriminator_warmup(steps: u64) -> u64 {
        (steps / 10).clamp(1, 100)
    }

    /// Whether a run of it would be one of [plain fine-tuning](Self::fine_tune).
    ///
    /// # Errors
    /// If a weight of the source is not finite.
    pub fn is_fine_tuning(&self, source: &PretrainedGan) -> Result<bool, TransferError> {
        let plain = Self::fine_tune(source)?;
        // The usual phase may be left out.
        let phases = |plan: &TransferConfig| match plan.phases.as_slice() {
            [] => vec![Phase::default()],
            phases => phases.to_vec(),
        };
        let same_phases = phases(&self.plan) == phases(&plain.plan);
        let rest = TransferConfig {
            phases: plain.plan.phases.clone(),
            ..self.plan.clone()
        };
        Ok(same_phases
            && rest == plain.plan
            && self.augment == plain.augment
            && self.learning_rate_factor == plain.learning_rate_factor)
    }

    /// What so few images need that a generator would soon copy them: in a run of `steps` steps, the discriminator first learns
    /// alone, never sees an image at one place only, and the source's variety is kept, unless the source is class-conditional.
    fn avoid_copies(&mut self, steps: u64, is_told: bool) {
        let alone = Self::discriminator_warmup(steps);
        let warm_up = Phase {
            generator: Trainable::Nothing,
            steps: alone,
            ..self.plan.phases[0].clone()
        };
        self.plan.phases.insert(0, warm_up);
        self.augment = Self::translation();
        let variety = if is_told {
            "what the source's images have in common is not kept, as with so few images it would be otherwise: no recipe with \
             cross-domain correspondence has been measured for class-conditional sources (plan.regularizer takes it)"
        } else {
            self.plan.regularizer = SourceRegularizer::Cdc(10.0);
            "with so few images, what the source's images have in common is kept (cross-domain correspondence), against copying"
        };
        self.reasons.extend([
            format!(
                "for up to {alone} steps the discriminator learns the target alone, so that it does not judge by the source"
            ),
            "few images are shown at other places (DiffAugment translation), so that the discriminator does not learn them by \
             heart"
                .into(),
            variety.into(),
        ]);
    }

    /// Settings of a run of this recipe on the target's images.
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
        config.augment = self.augment.clone();
        config.plan = self.plan.to_table();
        config
    }
}

/// Settings of a run from scratch with the source's networks, objective and optimizers on the target's images: what a
/// transfer is compared with.
pub fn from_scratch_config(source: &PretrainedGan, target: &Dataset, steps: u64, seed: u64) -> TrainConfig {
    let of_source = &source.config;
    let n = target.len();
    let held_out = if n >= ENOUGH { (n / HELD_OUT).min(1000) } else { 0 };
    let pack = (of_source.objective.packing as usize).max(1);
    let batch = BATCH.min(n - held_out) / pack * pack;
    let mut config = TrainConfig::standard(target);
    config.network = of_source.network.clone();
    config.classes = of_source.classes;
    config.objective = of_source.objective.clone();
    config.order = of_source.order;
    config.generator = of_source.generator;
    config.discriminator = of_source.discriminator;
    config.regularize = of_source.regularize;
    (config.seed, config.steps, config.batch) = (seed, steps, batch);
    config.validation_images = held_out as u32;
    config.ema_half_life = HALF_LIFE;
    config.evaluation.every = if held_out > 0 { (steps / 10).max(1) } else { 0 };
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
    fn number_and_distance_decide() {
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
        for (images, found, name, learned) in [
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
                    .all(|phase| phase.discriminator == *learned),
                "{name}"
            );
            assert_eq!(
                recipe.plan.phases[0].generator == Trainable::Nothing,
                few,
                "{name}"
            );
            assert_eq!(
                recipe.plan.regularizer == SourceRegularizer::Cdc(10.0),
                few,
                "{name}"
            );
            assert_eq!(recipe.augment.probability.is_some(), few, "{name}");
            assert_eq!(recipe.reasons.len(), if few { 4 } else { 1 }, "{name}");
            let plain = recipe.is_fine_tuning(&source).unwrap();
            assert_eq!(plain, !few && *learned == Trainable::All, "{name}");
        }
    }
}
