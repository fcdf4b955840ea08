//! The training plan of a transfer.

use crate::config::{Trainable, TransferConfig};
use crate::equilibrium::equilibrium;
use crate::error::TransferError;
use crate::miner::{self, with_miner};
use crate::patch_discriminator::replace_head_by_patches;
use crate::pretrained_gan::{FOLDER, PretrainedGan, SETTINGS};
use crate::regularizers::{
    CrossDomainCorrespondence, DualContrastive, ElasticWeightConsolidation, FeatureDistillation,
    ImportanceSamples, L2Sp,
};
use crate::source_regularizers::SourceRegularizer;
use engraft_gan::networks::{LayerRoles, NetworkRoles};
use engraft_gan::{Gan, GanError, Networks, PhaseProgress, PseudoLabels, TrainConfig, TrainingPlan};
use engraft_layers::{
    Adam, Init, Optimizer, ParamFilter, Sequential, adapt, check_names, parameters, train_only,
};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Number of generated images for the importances of [`ElasticWeightConsolidation`].
const IMPORTANCE_IMAGES: usize = 200;
/// Seed of the random part of an adapter.
const ADAPTER_SEED: u64 = 1;

/// The training plan of a transfer: starts from the source's networks and trains parts of them in phases.
///
/// [`Experiment`](crate::Experiment) builds one from a [`Recipe`](crate::Recipe). A [`Trainer`](engraft_gan::Trainer) takes it as
/// its plan.
pub struct Transfer {
    source: PretrainedGan,
    roles: LayerRoles,
    config: TransferConfig,
    /// Seed and importances of the source's weights, once they are computed.
    elastic_weights: Mutex<Option<(u64, ElasticWeightConsolidation)>>,
}

impl Transfer {
    /// The plan for this source and these settings.
    ///
    /// # Errors
    /// [`TransferError::Config`] with all problems. [`LayersError::NoSuchName`](engraft_layers::LayersError::NoSuchName) for
    /// layers that the networks do not have. [`TransferError::OtherSource`] if the settings belong to another source.
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

    /// The plan of an existing run. Settings that the networks do not support are accepted, because they had no effect when the
    /// run was trained.
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
        let trains_miner = phases.iter().any(|phase| phase.generator == Trainable::Miner);
        if trains_miner && !has_miner(&generator) {
            return Err(TransferError::Config {
                problems: vec![
                    "plan.phases: a phase trains the generator's miner, but there is none; set plan.miner"
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
                            "plan.phases: a phase trains batch norms, but the network {} names none in its {network}",
                            transfer.source.config.network
                        )],
                    });
                }
                check_names(module, &trained.param_filter(adapter, roles))?;
            }
        }
        Ok(transfer)
    }

    /// The settings that these networks do not support.
    fn unsupported(&self, generator: &Sequential, discriminator: &Sequential) -> Vec<String> {
        let (config, source_config) = (&self.config, &self.source.config);
        let mut problems = Vec::new();
        let unnamed = |what: &str, part: &str| {
            format!(
                "{what}, but NetworkFamily::roles of the network {} does not name {part}",
                source_config.network
            )
        };
        let has_miner = self.source.miner().is_some();
        let is_added = |trained: &Trainable| match trained {
            Trainable::Adapter => true,
            Trainable::Miner => !has_miner,
            _ => false,
        };
        let trained: Vec<Trainable> = config.phases().into_iter().map(|phase| phase.generator).collect();
        let is_from_source = |trained: &Trainable| *trained != Trainable::Nothing && !is_added(trained);
        let trains_source = trained.iter().any(is_from_source);
        for regularizer in config.regularizer.as_slice() {
            let name = regularizer.name();
            match regularizer {
                SourceRegularizer::Ewc(_) | SourceRegularizer::Dcl(_)
                    if source_config.objective.packing > 1 =>
                {
                    problems.push(format!(
                        "plan.regularizer: {name} evaluates single images, but the source's discriminator takes packs of {}; expected \
                         nothing, l2-sp or cdc",
                        source_config.objective.packing
                    ));
                }
                SourceRegularizer::Cdc(_) | SourceRegularizer::Dcl(_)
                    if feature_layers(&self.roles.generator).is_empty() =>
                {
                    problems.push(unnamed(
                        &format!("plan.regularizer: {name} compares features of the generator"),
                        "a stem or blocks",
                    ));
                }
                SourceRegularizer::Dcl(_) if self.roles.discriminator.features.is_none() => {
                    problems.push(unnamed(
                        "plan.regularizer: dcl compares features of the discriminator",
                        "the features of the discriminator",
                    ));
                }
                _ => {}
            }
            if matches!(
                regularizer,
                SourceRegularizer::L2Sp(_) | SourceRegularizer::Ewc(_)
            ) && !trains_source
            {
                problems.push(format!(
                    "plan.regularizer: {name} regularizes the source's weights, but none of them trains; expected nothing, cdc or dcl"
                ));
            }
        }
        if config.distillation > 0.0 && self.roles.discriminator.features.is_none() {
            problems.push(unnamed(
                "plan.distillation: it compares features of the discriminator",
                "the features of the discriminator",
            ));
        }
        for name in config.learning_rates.iter().flat_map(|rate| &rate.under) {
            let known = |network| has(network, name);
            if !known(generator) && !known(discriminator) {
                problems.push(format!(
                    "plan.learning_rates: no layer {name:?} in either network; the generator has {}, the discriminator {}",
                    layer_names(generator).join(", "),
                    layer_names(discriminator).join(", ")
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

    /// Opens the plan of a transfer from its directory, which contains the source.
    ///
    /// # Errors
    /// If the directory is not that of a transfer, its source is missing or was replaced, or its settings are invalid.
    pub fn open(directory: &Path) -> Result<Self, TransferError> {
        let source = PretrainedGan::read(&directory.join(FOLDER))?;
        let config = engraft_gan::read_settings(&directory.join(SETTINGS))?;
        Self::of_existing_run(source, TransferConfig::from_table(&config.plan)?)
    }

    /// The networks at the start of the transfer: those of the source with adapter, miner and patch head added.
    ///
    /// A miner of the source is kept. If the plan also has a miner, its training continues from the source's.
    ///
    /// # Errors
    /// Those of [`PretrainedGan::networks`]. [`TransferError::Config`] if the source has a miner of another width than the plan.
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
            // The seed is constant, because the random part of a new adapter has no effect.
            adapt(&mut generator, adapter, &mut Init::glorot(ADAPTER_SEED));
        }
        match (self.config.miner, self.source.miner_width(latent)) {
            (Some(hidden), None) => generator = with_miner(generator, latent, hidden),
            (Some(hidden), Some(existing)) if hidden != existing => {
                return Err(TransferError::Config {
                    problems: vec![format!(
                        "plan.miner: the source already has a miner of hidden width {existing}; expected that width or none, \
                         got {hidden}"
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

    /// The networks of the source.
    fn source_networks(&self) -> Networks {
        let Ok(networks) = self.source.networks() else {
            unreachable!("the networks of this run came from the same source")
        };
        networks
    }

    /// Adds the term of one regularizer.
    fn with_regularizer(&self, config: &TrainConfig, gan: Gan, regularizer: SourceRegularizer) -> Gan {
        let Networks {
            generator,
            discriminator,
            latent_dim,
        } = self.source_networks();
        match regularizer {
            SourceRegularizer::Nothing => gan,
            SourceRegularizer::L2Sp(weight) => gan.term(L2Sp::new(&generator, weight)),
            SourceRegularizer::Ewc(weight) => {
                let new = || {
                    let samples = ImportanceSamples {
                        images: IMPORTANCE_IMAGES,
                        latent_dim,
                        classes: match self.source.pseudo_labels() {
                            Some(clusters) => clusters.prior().classes(),
                            None => self.source.config.classes as usize,
                        },
                        seed: config.seed,
                    };
                    ElasticWeightConsolidation::new(&generator, &discriminator, weight, samples)
                };
                // A run that rolls back is prepared again, and the importances need hundreds of passes.
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
            SourceRegularizer::Dcl(weight) => {
                let layers = feature_layers(&self.roles.generator);
                match &self.roles.discriminator.features {
                    Some(features) => gan.term(DualContrastive::new(generator, layers, features, weight)),
                    None => gan,
                }
            }
        }
    }

    /// Adam with the learning rates of [`TransferConfig::learning_rates`].
    fn with_rates(&self, adam: Adam, network: &Sequential) -> Adam {
        let usual = adam.lr();
        self.config.learning_rates.iter().fold(adam, |adam, rate| {
            let layers: Vec<String> = rate
                .under
                .iter()
                .filter(|name| has(network, name))
                .cloned()
                .collect();
            if layers.is_empty() {
                adam
            } else {
                adam.group(ParamFilter::under(layers), usual * rate.factor)
            }
        })
    }
}

/// Whether a network has a layer of this name.
fn has(network: &Sequential, name: &str) -> bool {
    check_names(network, &ParamFilter::under([name])).is_ok()
}

fn has_miner(generator: &Sequential) -> bool {
    generator.layers().iter().any(|(name, _)| name == miner::LAYER)
}

/// Names of the layers with parameters, including nested ones.
fn layer_names(network: &Sequential) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for (name, _) in parameters(network) {
        let layer = name.rsplit_once('.').map_or(name.as_str(), |(layer, _)| layer);
        if found.last().map(String::as_str) != Some(layer) {
            found.push(layer.into());
        }
    }
    found
}

/// The layers of a generator whose features are compared: all layers with parameters except the last, which makes the image.
fn feature_layers(roles: &NetworkRoles) -> Vec<String> {
    roles.stem.iter().chain(&roles.blocks).cloned().collect()
}

impl TrainingPlan for Transfer {
    fn networks(&self, config: &TrainConfig) -> Result<Networks, GanError> {
        let head = |config: &TrainConfig| config.objective.reconstruction > 0.0;
        if head(config) != head(&self.source.config) {
            return Err(GanError::Config {
                problems: vec![format!(
                    "objective.reconstruction is {}, but that of the source is {}; a transfer has the discriminator of its source, with \
                     its reconstruction head or without one",
                    config.objective.reconstruction, self.source.config.objective.reconstruction
                )],
            });
        }
        self.initial_networks().map_err(|error| match error {
            TransferError::Gan(error) => error,
            other => GanError::Config {
                problems: vec![other.to_string()],
            },
        })
    }

    fn prepare(&self, config: &TrainConfig, gan: Gan) -> Gan {
        let [of_generator, of_discriminator] = config.optimizers();
        let of_generator = self.with_rates(of_generator, &gan.generator);
        let of_discriminator = self.with_rates(of_discriminator, &gan.discriminator);
        let gan = gan.optimizers(of_generator, of_discriminator);
        // `Transfer::new` rejects such settings. A run of an earlier version may have them, and its regularizer would panic.
        if !self.unsupported(&gan.generator, &gan.discriminator).is_empty() {
            return gan;
        }
        let regularizers = self.config.regularizer.as_slice();
        let gan = regularizers.iter().fold(gan, |gan, regularizer| {
            self.with_regularizer(config, gan, *regularizer)
        });
        match &self.roles.discriminator.features {
            Some(layer) if self.config.distillation > 0.0 => gan.term(FeatureDistillation::new(
                self.source_networks().discriminator,
                layer,
                self.config.distillation,
            )),
            _ => gan,
        }
    }

    fn pseudo_labels(&self) -> Option<&PseudoLabels> {
        self.source.pseudo_labels()
    }

    fn phases(&self) -> u32 {
        self.config.phases().len() as u32
    }

    fn begin_phase(&self, phase: u32, gan: &mut Gan) {
        if let Some(phase) = self.config.phases().get(phase as usize) {
            let adapter = self.config.adapter;
            let roles = &self.roles;
            train_only_these(
                &mut gan.generator,
                &phase.generator.param_filter(adapter, &roles.generator),
            );
            train_only_these(
                &mut gan.discriminator,
                &phase.discriminator.param_filter(adapter, &roles.discriminator),
            );
        }
    }

    fn phase_end(&self, progress: &PhaseProgress<'_>) -> Option<String> {
        let phase = self.config.phases().get(progress.phase as usize)?.clone();
        if phase.until_equilibrium
            && let Some(found) = equilibrium(progress).filter(|found| found.is_reached())
        {
            return Some(format!("equilibrium: {found}"));
        }
        (phase.steps > 0 && progress.steps >= phase.steps)
            .then(|| format!("the phase has done its {} steps", phase.steps))
    }
}

fn train_only_these(network: &mut Sequential, trained: &ParamFilter) {
    train_only(network, trained).expect("the names were checked when the plan was made");
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

    /// Settings that are an error now had no effect in earlier runs, which stay readable.
    #[test]
    fn settings_that_training_rejects_are_accepted_in_existing_runs() {
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
        let adapter_phase = Phase {
            generator: Trainable::Adapter,
            ..Phase::default()
        };
        for (source, regularizer, distillation, phases) in [
            (source(10, 2), SourceRegularizer::Ewc(1.0), 0.0, vec![]),
            (source(0, 2), SourceRegularizer::Ewc(1.0), 0.0, vec![]),
            (
                source(0, 1),
                SourceRegularizer::L2Sp(1.0),
                0.0,
                vec![adapter_phase],
            ),
        ] {
            let plan = TransferConfig {
                source_sha256: source.sha256().unwrap(),
                adapter: Some(Adapter::LowRank { rank: 1 }),
                regularizer: regularizer.into(),
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

    #[test]
    fn the_reconstruction_head_is_that_of_the_source() {
        let source = |weight| {
            let mut config = TrainConfig::standard(&drawn_digits(Split::Train, 40, 1));
            (config.network, config.objective.reconstruction) = ("light".into(), weight);
            let networks = untrained_networks(&config).unwrap();
            PretrainedGan::new(config, &networks.generator, &networks.discriminator)
        };
        for (of_source, of_run, is_accepted) in [
            (0.0, 0.0, true),
            (1.0, 0.5, true),
            (0.0, 1.0, false),
            (1.0, 0.0, false),
        ] {
            let source = source(of_source);
            let mut config = source.config.clone();
            config.objective.reconstruction = of_run;
            let plan = TransferConfig {
                source_sha256: source.sha256().unwrap(),
                ..TransferConfig::default()
            };
            let found = Transfer::new(source, plan).unwrap().networks(&config);
            assert_eq!(found.is_ok(), is_accepted, "{of_source} {of_run}");
            let named = found
                .err()
                .is_none_or(|e| e.to_string().contains("objective.reconstruction"));
            assert!(named);
        }
    }

    /// Importances need hundreds of passes: a run computes them once, and reading a run computes none.
    #[test]
    fn importances_are_computed_once_per_run() {
        let data = drawn_digits(Split::Train, 40, 1);
        let mut config = TrainConfig::standard(&data);
        (config.network, config.batch, config.steps) = ("mlp".into(), 4, 1);
        let networks = untrained_networks(&config).unwrap();
        let source = PretrainedGan::new(config.clone(), &networks.generator, &networks.discriminator);
        let plan = TransferConfig {
            source_sha256: source.sha256().unwrap(),
            regularizer: SourceRegularizer::Ewc(1.0).into(),
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
        assert_eq!(
            since(before),
            1,
            "preparing a run twice, as after a rollback, computes them once"
        );
    }
}
