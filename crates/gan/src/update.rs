//! Gradients and losses of one update, from a batch or from a shard of it. Nothing here changes a weight.

use crate::adversarial_loss::{AdversarialLoss, Loss};
use engraft_layers::{Condition, Gradients, Mode, Module, Sequential, gradients};
use engraft_tensor::{Real, Tensor, no_grad};

/// The two networks of a GAN.
pub(crate) struct Pair<'a, T: Real> {
    pub(crate) generator: &'a Sequential<T>,
    pub(crate) discriminator: &'a Sequential<T>,
}

impl<T: Real> Clone for Pair<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Real> Copy for Pair<'_, T> {}

/// A function that computes an update from two tensors with a row for each image, and the condition of the images.
pub(crate) type Work<T> =
    fn(Pair<'_, T>, &mut AdversarialLoss<T>, [&Tensor<T>; 2], &Condition<T>) -> Update<T>;

/// What an update needs, and what is reported about it.
pub(crate) struct Update<T: Real> {
    /// Gradients of the generator, if it is updated.
    pub(crate) generator: Option<Gradients<T>>,
    /// Gradients of the discriminator, if it is updated.
    pub(crate) discriminator: Option<Gradients<T>>,
    pub(crate) losses: Losses,
    /// Logits of real and of generated images.
    pub(crate) logits: Option<[Tensor<T>; 2]>,
    /// Generated images, for the penalties that follow.
    pub(crate) images: Option<Tensor<T>>,
}

/// Losses of an update; 0 for what it does not have.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Losses {
    pub(crate) generator: f64,
    pub(crate) discriminator: f64,
    pub(crate) penalty: f64,
    pub(crate) augment_probability: f64,
}

impl Losses {
    /// Whether training can go on.
    pub(crate) fn are_finite(&self) -> bool {
        self.generator.is_finite() && self.discriminator.is_finite() && self.penalty.is_finite()
    }
}

impl<T: Real> Update<T> {
    fn nothing() -> Self {
        Self {
            generator: None,
            discriminator: None,
            losses: Losses::default(),
            logits: None,
            images: None,
        }
    }
}

fn value<T: Real>(loss: &Loss<T>) -> f64 {
    loss.objective.item().into_f64()
}

/// Both networks, from one batch of generated images: one pass of the discriminator over it, two gradients.
///
/// The inputs are real images and latent vectors.
pub(crate) fn simultaneous<T: Real>(
    networks: Pair<'_, T>,
    loss: &mut AdversarialLoss<T>,
    [real, z]: [&Tensor<T>; 2],
    condition: &Condition<T>,
) -> Update<T> {
    let Pair {
        generator,
        discriminator,
    } = networks;
    let images = generator.forward_with(z, condition, Mode::Train);
    let real_output = loss.discriminate_real(discriminator, real, condition);
    let fake_output = loss.discriminate(discriminator, &images, condition);
    let g = loss.generator(generator, z, condition, &fake_output, Some(&real_output));
    let d = loss.discriminator(discriminator, z, &real_output, &fake_output, condition);
    Update {
        generator: Some(gradients(&g.total, generator)),
        discriminator: Some(gradients(&d.total, discriminator)),
        losses: Losses {
            generator: value(&g),
            discriminator: value(&d),
            penalty: d.penalty(),
            augment_probability: real_output.augment_probability,
        },
        logits: Some([real_output.logits, fake_output.logits].map(|logits| logits.detach())),
        images: Some(images.detach()),
    }
}

/// The discriminator. The inputs are real images and latent vectors.
pub(crate) fn of_discriminator<T: Real>(
    networks: Pair<'_, T>,
    loss: &mut AdversarialLoss<T>,
    [real, z]: [&Tensor<T>; 2],
    condition: &Condition<T>,
) -> Update<T> {
    let Pair {
        generator,
        discriminator,
    } = networks;
    let images = no_grad(|| generator.forward_with(z, condition, Mode::Train));
    let real_output = loss.discriminate_real(discriminator, real, condition);
    let fake_output = loss.discriminate(discriminator, &images, condition);
    let d = loss.discriminator(discriminator, z, &real_output, &fake_output, condition);
    Update {
        discriminator: Some(gradients(&d.total, discriminator)),
        losses: Losses {
            discriminator: value(&d),
            penalty: d.penalty(),
            augment_probability: real_output.augment_probability,
            ..Losses::default()
        },
        logits: Some([real_output.logits, fake_output.logits].map(|logits| logits.detach())),
        images: Some(images),
        ..Update::nothing()
    }
}

/// The generator. The inputs are real images and latent vectors.
pub(crate) fn of_generator<T: Real>(
    networks: Pair<'_, T>,
    loss: &mut AdversarialLoss<T>,
    [real, z]: [&Tensor<T>; 2],
    condition: &Condition<T>,
) -> Update<T> {
    let Pair {
        generator,
        discriminator,
    } = networks;
    let real_output = loss
        .generator_needs_real()
        .then(|| no_grad(|| loss.discriminate(discriminator, real, condition)));
    let images = generator.forward_with(z, condition, Mode::Train);
    let fake_output = loss.discriminate(discriminator, &images, condition);
    let g = loss.generator(generator, z, condition, &fake_output, real_output.as_ref());
    Update {
        generator: Some(gradients(&g.total, generator)),
        losses: Losses {
            generator: value(&g),
            ..Losses::default()
        },
        ..Update::nothing()
    }
}

/// The discriminator on the lazy gradient penalties. The inputs are real and generated images.
pub(crate) fn of_lazy_penalty<T: Real>(
    networks: Pair<'_, T>,
    loss: &mut AdversarialLoss<T>,
    images: [&Tensor<T>; 2],
    condition: &Condition<T>,
) -> Update<T> {
    let Some(penalty) = loss.lazy_penalty(networks.discriminator, images, condition) else {
        return Update::nothing();
    };
    Update {
        discriminator: Some(gradients(&penalty.total, networks.discriminator)),
        losses: Losses {
            penalty: penalty.penalty(),
            ..Losses::default()
        },
        ..Update::nothing()
    }
}
