//! The networks of a run, and the game they play.

use crate::config::TrainConfig;
use crate::error::GanError;
use crate::gan::Gan;
use crate::plan::{Pair, Plan};
use crate::rng::{self, Purpose};
use engraft_layers::{Init, Sequential};

/// The usual run.
pub(crate) struct Usual;

impl Plan for Usual {
    fn networks(&self, config: &TrainConfig) -> Result<Pair, GanError> {
        networks_of(config)
    }
}

/// The networks of a run, with the random weights that its seed gives.
///
/// # Errors
/// If the network that the settings name cannot make their images, or is asked for more classes or larger packs than
/// there can be.
pub fn networks_of(config: &TrainConfig) -> Result<Pair, GanError> {
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
        return Ok((
            Sequential::new().add("conditional", generator),
            Sequential::new().add("projection", discriminator),
            network.latent(),
        ));
    }
    let generator = network.generator(image, &mut init(Purpose::Generator))?;
    let discriminator = network.packed_discriminator(image, packing, &mut init(Purpose::Discriminator))?;
    Ok((generator, discriminator, network.latent()))
}

/// The game of a run at its beginning.
pub(crate) fn planned_gan(config: &TrainConfig, plan: &dyn Plan) -> Result<Gan, GanError> {
    Ok(plan.prepare(config, new_gan(config, plan.networks(config)?)))
}

/// A pair with the objective, the regularisers and the optimisers of a run.
pub(crate) fn new_gan(config: &TrainConfig, (generator, discriminator, latent): Pair) -> Gan {
    let lazy = config.discriminator.with_lazy_penalty(config.regularize.every);
    Gan::new(generator, discriminator, latent)
        .classes(config.classes as usize)
        .objective(config.objective.clone())
        .regularize(config.regularize)
        .augment(config.augment.clone())
        .seed(config.seed)
        .order(config.order)
        .optimizers(config.generator.build(), lazy.build())
}
