//! The plan of a transferred run.

use crate::balance::balance;
use crate::config::{Preserve, Trained, TransferConfig};
use crate::error::TransferError;
use crate::freeze::{check, train_only};
use crate::preserve::{CrossDomain, ElasticWeights, FeatureDistillation, L2Sp};
use crate::source::Source;
use engraft_gan::{AdamConfig, Gan, GanError, Pair, PhaseSeen, Plan, TrainConfig};
use engraft_layers::{Adam, Module, Names, Sequential, parameter_count};

/// Images of the source from which [`ElasticWeights`] take the importance of weights.
const IMPORTANCE_IMAGES: usize = 200;

/// A source carried to a target: begins with the source's networks, and lets parts of them train, phase by phase.
pub struct Transfer {
    source: Source,
    config: TransferConfig,
}

impl Transfer {
    /// The plan of these settings.
    ///
    /// # Errors
    /// [`TransferError::Config`] with every problem; [`TransferError::NoSuchName`] for layers that the networks do not
    /// have; [`TransferError::OtherSource`] if the settings were made for another source.
    pub fn new(source: Source, config: TransferConfig) -> Result<Self, TransferError> {
        let problems = config.problems();
        if !problems.is_empty() {
            return Err(TransferError::Config { problems });
        }
        let found = source.sha256()?;
        if found != config.source_sha256 {
            return Err(TransferError::OtherSource {
                expected: config.source_sha256,
                found,
            });
        }
        let (generator, discriminator, _) = source.networks()?;
        for phase in config.phases() {
            check(&generator, &phase.generator.names())?;
            check(&discriminator, &phase.discriminator.names())?;
        }
        Ok(Self { source, config })
    }

    /// The settings.
    pub fn config(&self) -> &TransferConfig {
        &self.config
    }

    /// The source.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Adam with the learning rates of parts.
    fn adam(&self, config: &AdamConfig, network: &Sequential) -> Adam {
        self.config.rates.iter().fold(config.build(), |adam, rate| {
            // Of the two networks only one has such layers.
            let names = Names::under(rate.under.clone());
            match check(network, &names) {
                Ok(()) => adam.group(names, config.learning_rate * rate.factor),
                Err(_) => adam,
            }
        })
    }
}

/// Names of a network's layers that have parameters, in their order.
pub(crate) fn learned_layers(network: &Sequential) -> Vec<String> {
    let layers = network.layers().iter();
    let learned = layers.filter(|(_, layer)| parameter_count(layer.as_ref()) > 0);
    learned.map(|(name, _)| name.clone()).collect()
}

/// The layers of a generator whose features say what an image shows: all learned ones but the last, which makes the
/// image.
fn feature_layers(generator: &Sequential) -> Vec<String> {
    let mut layers = learned_layers(generator);
    layers.pop();
    layers
}

/// The layer of a discriminator whose output its last one judges.
fn feature_layer(discriminator: &Sequential) -> String {
    let names = discriminator.layers().iter().rev().map(|(name, _)| name);
    names.take(2).last().cloned().unwrap_or_default()
}

impl Plan for Transfer {
    fn networks(&self, _: &TrainConfig) -> Result<Pair, GanError> {
        self.source.networks().map_err(|error| match error {
            TransferError::Gan(error) => error,
            other => GanError::Config {
                problems: vec![other.to_string()],
            },
        })
    }

    fn prepare(&self, config: &TrainConfig, gan: Gan) -> Gan {
        let Ok((generator, discriminator, latent)) = self.source.networks() else {
            unreachable!("the networks of this game came from the same source")
        };
        let lazy = config.discriminator.with_lazy_penalty(config.regularise.every);
        let optimizers = (
            self.adam(&config.generator, &generator),
            self.adam(&lazy, &discriminator),
        );
        let gan = gan.optimizers(optimizers.0, optimizers.1);
        let gan = match self.config.preserve {
            Preserve::Nothing => gan,
            Preserve::L2Sp(weight) => gan.term(L2Sp::new(&generator, weight)),
            Preserve::Ewc(weight) => {
                let sizes = [IMPORTANCE_IMAGES, latent];
                gan.term(ElasticWeights::new(
                    &generator,
                    &discriminator,
                    weight,
                    sizes,
                    config.seed,
                ))
            }
            Preserve::Cdc(weight) => {
                let layers = feature_layers(&generator);
                gan.term(CrossDomain::new(generator, layers, weight))
            }
        };
        if self.config.distil > 0.0 {
            let layer = feature_layer(&discriminator);
            gan.term(FeatureDistillation::new(discriminator, layer, self.config.distil))
        } else {
            gan
        }
    }

    fn phases(&self) -> u32 {
        self.config.phases().len() as u32
    }

    fn enter(&self, phase: u32, gan: &mut Gan) {
        if let Some(phase) = self.config.phases().get(phase as usize) {
            set(&mut gan.generator, &phase.generator);
            set(&mut gan.discriminator, &phase.discriminator);
        }
    }

    fn over(&self, seen: &PhaseSeen<'_>) -> Option<String> {
        let phase = self.config.phases().get(seen.phase as usize)?.clone();
        if phase.until_balance
            && let Some(found) = balance(seen).filter(|found| found.is_reached())
        {
            return Some(format!("balance: {found}"));
        }
        (phase.steps > 0 && seen.steps >= phase.steps).then(|| format!("its {} steps are done", phase.steps))
    }
}

fn set(network: &mut Sequential, trained: &Trained) {
    train_only(network, &trained.names()).expect("the names were found when the plan was made");
}
