//! What a method adds to the losses of a GAN.

use engraft_layers::{Condition, Sequential};
use engraft_tensor::{Real, Tensor};

/// What is added to the losses of a GAN, such as what keeps networks close to their source.
pub trait LossTerm<T: Real = f32>: Send + Sync {
    /// Added to the generator's loss; `images` are what it made of the latent vectors `z` under the condition in this step.
    fn for_generator(
        &self,
        _generator: &Sequential<T>,
        _z: &Tensor<T>,
        _condition: &Condition<T>,
        _images: &Tensor<T>,
    ) -> Option<Tensor<T>> {
        None
    }

    /// Added to the discriminator's loss; `real` is what it was shown of the real images of this step, augmented and
    /// packed, under their condition.
    fn for_discriminator(
        &self,
        _discriminator: &Sequential<T>,
        _real: &Tensor<T>,
        _condition: &Condition<T>,
    ) -> Option<Tensor<T>> {
        None
    }
}
