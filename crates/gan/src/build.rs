//! Builds the networks of a run and its GAN.

use crate::config::TrainConfig;
use crate::error::GanError;
use crate::gan::Gan;
use crate::networks::{self, Networks};
use crate::rng::{self, Purpose};
use crate::training_plan::TrainingPlan;
use engraft_layers::Init;

/// The default plan: untrained networks, one phase, all layers train.
pub(crate) struct DefaultPlan;

impl TrainingPlan for DefaultPlan {
    fn networks(&self, config: &TrainConfig) -> Result<Networks, GanError> {
        untrained_networks(config)
    }
}

/// The untrained networks of a run, initialized from its seed.
///
/// # Errors
/// [`GanError::Config`] if the family is unknown or the number of classes, the packing or a layer is too
/// large; [`GanError::ImageSize`] if the family cannot build networks for these images.
pub fn untrained_networks(config: &TrainConfig) -> Result<Networks, GanError> {
    let problems = config.problems_of_networks();
    if !problems.is_empty() {
        return Err(GanError::Config { problems });
    }
    let spec = config.network_spec();
    let family = networks::find_for(&config.network.kind, &spec, &config.data)?;
    let init = |purpose| Init::glorot(rng::seed(config.seed, purpose));
    Ok(Networks {
        generator: family.generator(&spec, &mut init(Purpose::Generator)),
        discriminator: family.discriminator(&spec, &mut init(Purpose::Discriminator)),
        latent_dim: family.latent_dim(&spec),
    })
}

/// The networks that a run starts with, spectral normalization included. A checkpoint is loaded into these.
pub(crate) fn planned_networks(config: &TrainConfig, plan: &dyn TrainingPlan) -> Result<Networks, GanError> {
    let mut networks = plan.networks(config)?;
    let Networks {
        generator,
        discriminator,
        ..
    } = &mut networks;
    config.regularize.spectral_norm.apply(generator, discriminator);
    Ok(networks)
}

/// Checks that settings, a training plan and its networks fit together, as far as that is possible without the images.
///
/// # Errors
/// [`GanError::Config`] with the problems, and those of the plan's networks.
pub fn check_planned(config: &TrainConfig, plan: &dyn TrainingPlan) -> Result<(), GanError> {
    gan_of_phase(config, plan, 0).map(drop)
}

/// The GAN of a run at the start of a phase.
///
/// # Errors
/// Those of [`check_planned`].
pub(crate) fn gan_of_phase(
    config: &TrainConfig,
    plan: &dyn TrainingPlan,
    phase: u32,
) -> Result<Gan, GanError> {
    let problems = config.problems();
    if !problems.is_empty() {
        return Err(GanError::Config { problems });
    }
    let mut gan = planned_gan(config, plan)?;
    plan.begin_phase(phase, &mut gan);
    gan.check()?;
    Ok(gan)
}

/// The GAN of a run before its first step.
pub(crate) fn planned_gan(config: &TrainConfig, plan: &dyn TrainingPlan) -> Result<Gan, GanError> {
    let [of_generator, of_discriminator] = config.optimizers();
    let Networks {
        generator,
        discriminator,
        latent_dim,
    } = planned_networks(config, plan)?;
    let gan = Gan::new(generator, discriminator, latent_dim)
        .classes(config.network_classes() as usize)
        .objective(config.objective.clone())
        .regularize(config.regularize)
        .augment(config.augment.clone())
        .seed(config.seed)
        .order(config.order)
        .precision(config.precision)
        .micro_batches(config.micro_batches.max(1) as usize)
        .optimizers(of_generator, of_discriminator);
    Ok(plan.prepare(config, gan))
}
