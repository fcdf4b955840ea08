//! The networks of a run, and the game they play.

use crate::config::TrainConfig;
use crate::dcgan;
use crate::gan::Gan;
use crate::rng::{self, Purpose};
use engraft_layers::{Init, Sequential};

/// A generator, a discriminator, and the length of the latent vector.
pub(super) type Pair = (Sequential, Sequential, usize);

/// The reference networks of a run, with their first weights.
pub(super) fn reference_pair(config: &TrainConfig) -> Pair {
    let init = |purpose| Init::glorot(rng::seed(config.seed, purpose));
    (
        dcgan::generator(&mut init(Purpose::Generator)),
        dcgan::packed_discriminator(
            config.objective.packing as usize,
            &mut init(Purpose::Discriminator),
        ),
        dcgan::LATENT,
    )
}

/// A pair with the objective, the regularisers and the optimisers of a run.
pub(super) fn new_gan(config: &TrainConfig, (generator, discriminator, latent): Pair) -> Gan {
    let lazy = config.discriminator.with_lazy_penalty(config.regularise.every);
    Gan::new(generator, discriminator, latent)
        .objective(config.objective.clone())
        .regularise(config.regularise)
        .augment(config.augment.clone())
        .seed(config.seed)
        .order(config.order)
        .optimizers(config.generator.build(), lazy.build())
}
