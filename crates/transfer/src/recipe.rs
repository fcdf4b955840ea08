//! A recipe for a transfer, from the number of images and their distance to the source.

use crate::config::{Phase, Preserve, Trained, TransferConfig};
use crate::error::TransferError;
use crate::plan::learned_layers;
use crate::proximity::Proximity;
use crate::source::Source;
use engraft_data::Dataset;
use engraft_gan::augment::Augmentation;
use engraft_gan::{AugmentConfig, OutputConfig, TrainConfig};

/// Below so many images a generator copies them when all of it trains.
const FEW: usize = 30;
/// From so many on all of both networks trains.
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
    pub rate: f64,
    /// One sentence for each choice.
    pub reasons: Vec<String>,
}

impl Recipe {
    /// Plain fine-tuning: all of both networks trains from the source's weights on.
    ///
    /// # Errors
    /// If a weight of the source is not finite.
    pub fn fine_tune(source: &Source) -> Result<Self, TransferError> {
        Ok(Self {
            name: "fine-tune".into(),
            plan: TransferConfig {
                source_sha256: source.sha256()?,
                ..TransferConfig::default()
            },
            augment: AugmentConfig::default(),
            rate: 1.0,
            reasons: Vec::new(),
        })
    }

    /// The recipe for so many training images at such a distance, for a run of `steps` steps.
    ///
    /// # Errors
    /// If a weight of the source is not finite.
    pub fn choose(
        source: &Source,
        images: usize,
        found: &Proximity,
        steps: u64,
    ) -> Result<Self, TransferError> {
        let (_, discriminator, _) = source.networks()?;
        let close = found.is_close();
        let mut recipe = Self::fine_tune(source)?;
        let size = match images {
            0..FEW => "few",
            FEW..MANY => "some",
            _ => "many",
        };
        recipe.name = format!("{size}-{}", if close { "close" } else { "far" });
        let frozen: Vec<String> = learned_layers(&discriminator).into_iter().take(1).collect();
        let learned = if images < MANY {
            recipe.reasons.push(format!(
                "{images} images do not teach what an edge is: the discriminator's first layer ({}) stays the source's \
                 (FreezeD)",
                frozen.join(", ")
            ));
            Trained::Except(frozen)
        } else {
            Trained::All
        };
        let warm_up = (steps / 10).clamp(1, 100);
        recipe.reasons.push(format!(
            "for up to {warm_up} steps the discriminator learns the target alone, so that it does not judge by the source"
        ));
        recipe.plan.phases = vec![
            Phase {
                generator: Trained::Nothing,
                discriminator: learned.clone(),
                steps: warm_up,
                until_balance: false,
            },
            Phase {
                discriminator: learned,
                ..Phase::default()
            },
        ];
        if images < FEW {
            recipe.augment = AugmentConfig {
                kinds: vec![Augmentation::Translation],
                probability: Some(0.8),
                adaptive: None,
            };
            recipe.reasons.push(
                "few images are shown at other places (DiffAugment translation), so that the discriminator does not \
                 learn them by heart"
                    .into(),
            );
        }
        if images < FEW {
            recipe.plan.preserve = Preserve::Cdc(10.0);
            recipe.reasons.push(
                "with so few images, what the source's images have in common is kept (cross-domain correspondence), \
                 against copying"
                    .into(),
            );
        }
        Ok(recipe)
    }

    /// Settings of a run of this recipe on the target's images.
    pub fn settings(&self, source: &Source, target: &Dataset, steps: u64, seed: u64) -> TrainConfig {
        let mut config = from_scratch(source, target, steps, seed);
        config.generator.learning_rate *= self.rate;
        config.discriminator.learning_rate *= self.rate;
        config.augment = self.augment.clone();
        config.plan = self.plan.to_table();
        config
    }
}

/// Settings of a run from scratch with the source's networks, objective and optimisers on the target's images: what a
/// transfer is compared with.
pub fn from_scratch(source: &Source, target: &Dataset, steps: u64, seed: u64) -> TrainConfig {
    let of_source = &source.config;
    let n = target.len();
    let held_out = if n >= ENOUGH { (n / HELD_OUT).min(1000) } else { 0 };
    let pack = (of_source.objective.packing as usize).max(1);
    let batch = BATCH.min(n - held_out) / pack * pack;
    let mut config = TrainConfig::standard(target);
    config.network = of_source.network;
    config.classes = of_source.classes;
    config.objective = of_source.objective.clone();
    config.order = of_source.order;
    config.generator = of_source.generator;
    config.discriminator = of_source.discriminator;
    config.regularise = of_source.regularise;
    (config.seed, config.steps, config.batch) = (seed, steps, batch);
    config.held_out = held_out as u32;
    config.average_half_life = HALF_LIFE;
    config.watch.every = if held_out > 0 { (steps / 10).max(1) } else { 0 };
    config.output = OutputConfig {
        sample_every: (steps / 10).max(1),
        checkpoint_every: (steps / 4).max(1),
        keep_checkpoints: 2,
    };
    config
}
