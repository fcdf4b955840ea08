//! What a run is made of: its networks, and the GAN that trains them.

use crate::config::TrainConfig;
use crate::error::GanError;
use crate::gan::Gan;
use crate::networks::Networks;
use crate::plan::Plan;
use crate::rng::{self, Purpose};
use engraft_layers::{Init, Sequential};

/// A run that begins with random networks, and in which all of both trains from the first step to the last.
pub(crate) struct DefaultPlan;

impl Plan for DefaultPlan {
    fn networks(&self, config: &TrainConfig) -> Result<Networks, GanError> {
        untrained_networks(config)
    }
}

/// The networks of a run, with the random weights that its seed gives.
///
/// # Errors
/// If the network that the settings name cannot make their images, or is asked for more classes or larger packs than
/// there can be.
pub fn untrained_networks(config: &TrainConfig) -> Result<Networks, GanError> {
    let problems = config.problems_of_networks();
    if !problems.is_empty() {
        return Err(GanError::Config { problems });
    }
    let init = |purpose| Init::glorot(rng::seed(config.seed, purpose));
    let (network, image) = (config.network, config.image);
    let packing = config.objective.packing as usize;
    if config.classes > 0 {
        let classes = config.classes as usize;
        let generator = network.conditional_generator(image, classes, &mut init(Purpose::Generator))?;
        let discriminator =
            network.projection_discriminator(image, classes, &mut init(Purpose::Discriminator))?;
        return Ok(Networks {
            generator: Sequential::new().add("conditional", generator),
            discriminator: Sequential::new().add("projection", discriminator),
            latent_dim: network.latent(),
        });
    }
    Ok(Networks {
        generator: network.generator(image, &mut init(Purpose::Generator))?,
        discriminator: network.packed_discriminator(image, packing, &mut init(Purpose::Discriminator))?,
        latent_dim: network.latent(),
    })
}

/// The networks that a run begins with, as they are without training: what a checkpoint is read into.
pub(crate) fn planned_networks(config: &TrainConfig, plan: &dyn Plan) -> Result<Networks, GanError> {
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
pub(crate) fn planned_gan(config: &TrainConfig, plan: &dyn Plan) -> Result<Gan, GanError> {
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
