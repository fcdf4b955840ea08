//! What a run is made of: its networks, and the GAN that trains them.

use crate::config::TrainConfig;
use crate::error::GanError;
use crate::gan::Gan;
use crate::networks::{self, Networks};
use crate::rng::{self, Purpose};
use crate::training_plan::TrainingPlan;
use engraft_layers::Init;

/// A run that begins with random networks, and in which all of both trains from the first step to the last.
pub(crate) struct DefaultPlan;

impl TrainingPlan for DefaultPlan {
    fn networks(&self, config: &TrainConfig) -> Result<Networks, GanError> {
        untrained_networks(config)
    }
}

/// The networks of a run, with the random weights that its seed gives.
///
/// # Errors
/// If there is no network of the name in the settings, it cannot make their images, or is asked for more classes, larger
/// packs or larger layers than there can be.
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

/// The networks that a run begins with, as they are without training: what a checkpoint is read into.
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

/// The GAN of a run at its beginning, prepared for training.
pub(crate) fn planned_gan(config: &TrainConfig, plan: &dyn TrainingPlan) -> Result<Gan, GanError> {
    let lazy = config.discriminator.with_lazy_penalty(config.regularize.every);
    let Networks {
        generator,
        discriminator,
        latent_dim,
    } = planned_networks(config, plan)?;
    let gan = Gan::new(generator, discriminator, latent_dim)
        .classes(config.classes as usize)
        .objective(config.objective.clone())
        .regularize(config.regularize)
        .augment(config.augment.clone())
        .seed(config.seed)
        .order(config.order)
        .optimizers(config.generator.build(), lazy.build());
    Ok(plan.prepare(config, gan))
}
