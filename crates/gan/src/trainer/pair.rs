//! The networks of a run, and the game they play.

use crate::config::TrainConfig;
use crate::error::GanError;
use crate::gan::Gan;
use crate::rng::{self, Purpose};
use engraft_layers::{Init, Sequential};

/// A generator, a discriminator, and the length of the latent vector.
pub(crate) type Pair = (Sequential, Sequential, usize);

/// The networks of a run, with their first weights.
pub(crate) fn networks_of(config: &TrainConfig) -> Result<Pair, GanError> {
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

/// A pair with the objective, the regularisers and the optimisers of a run.
pub(crate) fn new_gan(config: &TrainConfig, (generator, discriminator, latent): Pair) -> Gan {
    let lazy = config.discriminator.with_lazy_penalty(config.regularise.every);
    Gan::new(generator, discriminator, latent)
        .classes(config.classes as usize)
        .objective(config.objective.clone())
        .regularise(config.regularise)
        .augment(config.augment.clone())
        .seed(config.seed)
        .order(config.order)
        .optimizers(config.generator.build(), lazy.build())
}
