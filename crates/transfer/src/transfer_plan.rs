//! The plan of a transferred run.

use crate::config::{SourceRegularizer, Trainable, TransferConfig};
use crate::equilibrium::equilibrium;
use crate::error::TransferError;
use crate::miner::{self, mined};
use crate::patch_discriminator::replace_head_by_patches;
use crate::pretrained_gan::{FOLDER, PretrainedGan, SETTINGS};
use crate::regularizers::{
    CrossDomainCorrespondence, ElasticWeightConsolidation, FeatureDistillation, ImportanceSamples, L2Sp,
};
use engraft_gan::networks::{LayerRoles, NetworkRoles};
use engraft_gan::{AdamConfig, Gan, GanError, Networks, PhaseProgress, TrainConfig, TrainingPlan};
use engraft_layers::{Adam, Init, ParamFilter, Sequential, adapt, check_names, parameters, train_only};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Images of the source from which [`ElasticWeightConsolidation`] take the importance of weights.
const IMPORTANCE_IMAGES: usize = 200;
/// Seed of what is random in an adapter.
const ADAPTER_SEED: u64 = 1;

/// A source carried to a target: begins with the source's networks, and lets parts of them train, phase by phase.
pub struct Transfer {
    source: PretrainedGan,
    roles: LayerRoles,
    config: TransferConfig,
    /// The importances of the source's weights for a seed, once they are known.
    elastic_weights: Mutex<Option<(u64, ElasticWeightConsolidation)>>,
}

impl Transfer {
    /// The plan of these settings.
    ///
    /// # Errors
    /// [`TransferError::Config`] with every problem; [`LayersError::NoSuchName`](engraft_layers::LayersError::NoSuchName) for layers that the networks do not
    /// have; [`TransferError::OtherSource`] if the settings were made for another source.
    pub fn new(source: PretrainedGan, config: TransferConfig) -> Result<Self, TransferError> {
        let transfer = Self::of_existing_run(source, config)?;
        let Networks {
            generator,
            discriminator,
            ..
        } = transfer.initial_networks()?;
        let problems = transfer.unsupported(&generator, &discriminator);
        if problems.is_empty() {
            Ok(transfer)
        } else {
            Err(TransferError::Config { problems })
        }
    }

    /// The plan of a run that there is: what asks for nothing that the networks can give did nothing in it.
    fn of_existing_run(source: PretrainedGan, config: TransferConfig) -> Result<Self, TransferError> {
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
        let transfer = Self {
            roles: source.roles()?,
            source,
            config,
            elastic_weights: Mutex::new(None),
        };
        let Networks {
            generator,
            discriminator,
            ..
        } = transfer.initial_networks()?;
        let adapter = transfer.config.adapter;
        let phases = transfer.config.phases();
        let mines = phases.iter().any(|phase| phase.generator == Trainable::Miner);
        if mines && !has_miner(&generator) {
            return Err(TransferError::Config {
                problems: vec![
                    "plan.phases: a generator whose miner trains, but there is no miner: set plan.miner"
                        .into(),
                ],
            });
        }
        let roles = &transfer.roles;
        for phase in phases {
            for (network, module, trained, roles) in [
                ("generator", &generator, &phase.generator, &roles.generator),
                (
                    "discriminator",
                    &discriminator,
                    &phase.discriminator,
                    &roles.discriminator,
                ),
            ] {
                if *trained == Trainable::BatchNorm && roles.norms.is_empty() {
                    return Err(TransferError::Config {
                        problems: vec![format!(
                            "plan.phases: batch norms that train, and the network {} names none in its {network}",
                            transfer.source.config.network
                        )],
                    });
                }
                check_names(module, &trained.param_filter(adapter, roles))?;
            }
        }
        Ok(transfer)
    }

    /// What the settings ask for that these networks cannot give.
    fn unsupported(&self, generator: &Sequential, discriminator: &Sequential) -> Vec<String> {
        let (config, of_source) = (&self.config, &self.source.config);
        let mut problems = Vec::new();
        let unnamed = |what: &str, part: &str| {
            format!(
                "{what}, and the family of the network {} does not name {part} in NetworkFamily::roles",
                of_source.network
            )
        };
        match config.regularizer {
            SourceRegularizer::Ewc(_) if of_source.objective.packing > 1 => problems.push(format!(
                "plan.regularizer: ewc judges images one by one, and the source's discriminator packs of {}; expected nothing, \
                 l2-sp or cdc",
                of_source.objective.packing
            )),
            SourceRegularizer::Cdc(_) if feature_layers(&self.roles.generator).is_empty() => problems.push(unnamed(
                "plan.regularizer: cdc compares what the generator's layers put out",
                "a stem or blocks",
            )),
            _ => {}
        }
        if config.distillation > 0.0 && self.roles.discriminator.features.is_none() {
            problems.push(unnamed(
                "plan.distillation: distillation compares what the discriminator's head reads",
                "the features of the discriminator",
            ));
        }
        let has_miner = self.source.miner().is_some();
        let new = |trained: &Trainable| match trained {
            Trainable::Adapter => true,
            Trainable::Miner => !has_miner,
            _ => false,
        };
        let trained: Vec<Trainable> = config.phases().into_iter().map(|phase| phase.generator).collect();
        let old = |trained: &Trainable| *trained != Trainable::Nothing && !new(trained);
        if matches!(
            config.regularizer,
            SourceRegularizer::L2Sp(_) | SourceRegularizer::Ewc(_)
        ) && !trained.iter().any(old)
        {
            problems.push(
                "plan.regularizer: l2-sp and ewc draw the source's weights back to where they began, and none of them trains; \
                 expected nothing or cdc"
                    .into(),
            );
        }
        for name in config.learning_rates.iter().flat_map(|rate| &rate.under) {
            let known = |network| has(network, name);
            if !known(generator) && !known(discriminator) {
                problems.push(format!(
                    "plan.rates: {name:?} names no part of either network; the generator has {}, the discriminator {}",
                    parts(generator).join(", "),
                    parts(discriminator).join(", ")
                ));
            }
        }
        problems
    }

    /// The settings.
    pub fn config(&self) -> &TransferConfig {
        &self.config
    }

    /// The source.
    pub fn source(&self) -> &PretrainedGan {
        &self.source
    }

    /// The plan of a transferred run, with the source that lies beside it.
    ///
    /// # Errors
    /// If the directory is no such run, its source is missing or another one, or its settings make no sense.
    pub fn open(directory: &Path) -> Result<Self, TransferError> {
        let source = PretrainedGan::read(&directory.join(FOLDER))?;
        let config = engraft_gan::read_settings(&directory.join(SETTINGS))?;
        Self::of_existing_run(source, TransferConfig::from_table(&config.plan)?)
    }

    /// The networks that it begins with: the source's, with the adapter on its generator, the miner before it, and
    /// the head for patches on its discriminator.
    ///
    /// A miner that the source has already stays, and learns on where the plan asks for one.
    ///
    /// # Errors
    /// As [`PretrainedGan::networks`], and if the source has a miner of another width than the plan asks for.
    pub fn initial_networks(&self) -> Result<Networks, TransferError> {
        let Networks {
            mut generator,
            mut discriminator,
            latent_dim: latent,
        } = self.source.networks()?;
        if self.config.patch_discriminator && !self.source.has_patch_head(&discriminator) {
            discriminator = replace_head_by_patches(discriminator, &self.source.config)?;
        }
        if let Some(adapter) = self.config.adapter {
            // Always the same: what is random in an adapter at first has no effect yet.
            adapt(&mut generator, adapter, &mut Init::glorot(ADAPTER_SEED));
        }
        match (self.config.miner, self.source.miner_width(latent)) {
            (Some(hidden), None) => generator = mined(generator, latent, hidden),
            (Some(hidden), Some(there)) if hidden != there => {
                return Err(TransferError::Config {
                    problems: vec![format!(
                        "plan.miner: the source has a miner with a hidden layer of {there} already, which would learn \
                         on; expected that width or none, got {hidden}"
                    )],
                });
            }
            _ => {}
        }
        Ok(Networks {
            generator,
            discriminator,
            latent_dim: latent,
        })
    }

    /// Adam with the learning rates of parts.
    fn adam(&self, config: &AdamConfig, network: &Sequential) -> Adam {
        self.config
            .learning_rates
            .iter()
            .fold(config.build(), |adam, rate| {
                let here: Vec<String> = rate
                    .under
                    .iter()
                    .filter(|name| has(network, name))
                    .cloned()
                    .collect();
                if here.is_empty() {
                    adam
                } else {
                    adam.group(ParamFilter::under(here), config.learning_rate * rate.factor)
                }
            })
    }
}

/// Whether a network has a part of this name.
fn has(network: &Sequential, name: &str) -> bool {
    check_names(network, &ParamFilter::under([name])).is_ok()
}

fn has_miner(generator: &Sequential) -> bool {
    generator.layers().iter().any(|(name, _)| name == miner::LAYER)
}

/// Names of the parts of a network that have parameters: the layers of the chain, and of a layer that is one again.
fn parts(network: &Sequential) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for (name, _) in parameters(network) {
        let part = name.rsplit_once('.').map_or(name.as_str(), |(part, _)| part);
        if found.last().map(String::as_str) != Some(part) {
            found.push(part.into());
        }
    }
    found
}

/// The layers of a generator whose features say what an image shows: all learned ones but the last, which makes the
/// image.
fn feature_layers(roles: &NetworkRoles) -> Vec<String> {
    roles.stem.iter().chain(&roles.blocks).cloned().collect()
}

impl TrainingPlan for Transfer {
    fn networks(&self, _: &TrainConfig) -> Result<Networks, GanError> {
        self.initial_networks().map_err(|error| match error {
            TransferError::Gan(error) => error,
            other => GanError::Config {
                problems: vec![other.to_string()],
            },
        })
    }

    fn prepare(&self, config: &TrainConfig, gan: Gan) -> Gan {
        let Ok(Networks {
            generator,
            discriminator,
            latent_dim,
        }) = self.source.networks()
        else {
            unreachable!("the networks of this game came from the same source")
        };
        let lazy = config.discriminator.with_lazy_penalty(config.regularize.interval);
        let optimizers = (
            self.adam(&config.generator, &gan.generator),
            self.adam(&lazy, &gan.discriminator),
        );
        let gan = gan.optimizers(optimizers.0, optimizers.1);
        // Training is refused then, and a file may ask for terms that would panic.
        if !self.unsupported(&gan.generator, &gan.discriminator).is_empty() {
            return gan;
        }
        let gan = match self.config.regularizer {
            SourceRegularizer::Nothing => gan,
            SourceRegularizer::L2Sp(weight) => gan.term(L2Sp::new(&generator, weight)),
            SourceRegularizer::Ewc(weight) => {
                let new = || {
                    let samples = ImportanceSamples {
                        images: IMPORTANCE_IMAGES,
                        latent_dim,
                        classes: self.source.config.classes as usize,
                        seed: config.seed,
                    };
                    ElasticWeightConsolidation::new(&generator, &discriminator, weight, samples)
                };
                // A run that goes back is prepared again, and the importances take hundreds of passes.
                let mut known = self
                    .elastic_weights
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                let known = known.get_or_insert_with(|| (config.seed, new()));
                if known.0 != config.seed {
                    *known = (config.seed, new());
                }
                gan.term(known.1.clone())
            }
            SourceRegularizer::Cdc(weight) => {
                let layers = feature_layers(&self.roles.generator);
                gan.term(CrossDomainCorrespondence::new(generator, layers, weight))
            }
        };
        match &self.roles.discriminator.features {
            Some(layer) if self.config.distillation > 0.0 => gan.term(FeatureDistillation::new(
                discriminator,
                layer,
                self.config.distillation,
            )),
            _ => gan,
        }
    }

    fn phases(&self) -> u32 {
        self.config.phases().len() as u32
    }

    fn begin_phase(&self, phase: u32, gan: &mut Gan) {
        if let Some(phase) = self.config.phases().get(phase as usize) {
            let adapter = self.config.adapter;
            let roles = &self.roles;
            set(
                &mut gan.generator,
                &phase.generator.param_filter(adapter, &roles.generator),
            );
            set(
                &mut gan.discriminator,
                &phase.discriminator.param_filter(adapter, &roles.discriminator),
            );
        }
    }

    fn phase_end(&self, seen: &PhaseProgress<'_>) -> Option<String> {
        let phase = self.config.phases().get(seen.phase as usize)?.clone();
        if phase.until_equilibrium
            && let Some(found) = equilibrium(seen).filter(|found| found.is_reached())
        {
            return Some(format!("equilibrium: {found}"));
        }
        (phase.steps > 0 && seen.steps >= phase.steps).then(|| format!("its {} steps are done", phase.steps))
    }
}

fn set(network: &mut Sequential, trained: &ParamFilter) {
    train_only(network, trained).expect("the names were found when the plan was made");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Phase;
    use crate::regularizers::COMPUTED;
    use engraft_data::{Split, drawn_digits};
    use engraft_gan::{CheckpointChoice, SavedRun, Trainer, untrained_networks};
    use engraft_layers::Adapter;
    use std::ops::ControlFlow;
    use std::sync::Arc;

    /// What is refused now did nothing in the runs that were trained with it, or is in a file that no training wrote.
    #[test]
    fn what_is_refused_in_training_is_not_refused_in_reading() {
        let source = |classes, packing| {
            let mut config = TrainConfig::standard(&drawn_digits(Split::Train, 40, 1));
            (config.network, config.classes) = ("mlp".into(), classes);
            config.objective.packing = packing;
            let Networks {
                generator,
                discriminator,
                ..
            } = untrained_networks(&config).unwrap();
            PretrainedGan::new(config, &generator, &discriminator)
        };
        let small = Phase {
            generator: Trainable::Adapter,
            ..Phase::default()
        };
        for (source, regularizer, distillation, phases) in [
            (source(10, 2), SourceRegularizer::Ewc(1.0), 0.0, vec![]),
            (source(0, 2), SourceRegularizer::Ewc(1.0), 0.0, vec![]),
            (source(0, 1), SourceRegularizer::L2Sp(1.0), 0.0, vec![small]),
        ] {
            let plan = TransferConfig {
                source_sha256: source.sha256().unwrap(),
                adapter: Some(Adapter::LowRank { rank: 1 }),
                regularizer,
                distillation,
                phases,
                ..TransferConfig::default()
            };
            let config = source.config.clone();
            assert!(Transfer::new(source.clone(), plan.clone()).is_err());
            let transfer = Transfer::of_existing_run(source, plan).unwrap();
            let Networks {
                generator,
                discriminator,
                latent_dim: latent,
            } = transfer.networks(&config).unwrap();
            let gan = Gan::new(generator, discriminator, latent).classes(config.classes as usize);
            transfer.prepare(&config, gan);
        }
    }

    /// Importances take hundreds of passes: a run computes them once, and who reads it computes none.
    #[test]
    fn importances_are_computed_once_a_run() {
        let data = drawn_digits(Split::Train, 40, 1);
        let mut config = TrainConfig::standard(&data);
        (config.network, config.batch, config.steps) = ("mlp".into(), 4, 1);
        let networks = untrained_networks(&config).unwrap();
        let source = PretrainedGan::new(config.clone(), &networks.generator, &networks.discriminator);
        let plan = TransferConfig {
            source_sha256: source.sha256().unwrap(),
            regularizer: SourceRegularizer::Ewc(1.0),
            ..TransferConfig::default()
        };
        config.plan = plan.to_table();
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        let since = |before: usize| COMPUTED.with(std::cell::Cell::get) - before;
        for steps in 1..3 {
            let before = since(0);
            let transfer = Transfer::new(source.clone(), plan.clone()).unwrap();
            config.steps = steps;
            let mut trainer = Trainer::builder(config.clone(), data.clone())
                .plan(Arc::new(transfer))
                .open(&run)
                .unwrap();
            trainer.train(&mut |_| ControlFlow::Continue(())).unwrap();
            assert_eq!((trainer.step(), since(before)), (steps, 1));
        }
        let before = since(0);
        let transfer = Transfer::new(source, plan).unwrap();
        SavedRun::open_planned(&run, &transfer, CheckpointChoice::Last).unwrap();
        SavedRun::planned_networks(&run, &transfer, CheckpointChoice::Last).unwrap();
        assert_eq!(since(before), 0);
        for _ in 0..2 {
            let networks = transfer.networks(&config).unwrap();
            let gan = Gan::new(networks.generator, networks.discriminator, networks.latent_dim);
            transfer.prepare(&config, gan);
        }
        assert_eq!(since(before), 1, "a run that goes back is prepared again");
    }
}
