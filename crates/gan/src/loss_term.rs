//! Additional terms of the two losses.

use engraft_layers::{Condition, Sequential};
use engraft_tensor::{Real, Tensor};

/// An additional term of the generator's or the discriminator's loss, for example a regularizer that keeps
/// weights close to a pretrained network.
///
/// A term computes a scalar tensor with its graph; its weight is its own. `None` adds nothing.
/// [`Gan::term`](crate::Gan::term) adds a term to a GAN; in a run a [`TrainingPlan`](crate::TrainingPlan)
/// does so.
///
/// With [micro-batches](crate::Gan::micro_batches) the term is computed for each of them, at the same time, and averaged. A term
/// that is a mean over images, or depends on weights only, is then that of the batch. A term that compares the images of a batch
/// compares those of a micro-batch.
///
/// ```
/// use engraft_gan::LossTerm;
/// use engraft_layers::{Condition, Sequential};
/// use engraft_tensor::Tensor;
///
/// /// Penalizes generated images that are brighter than -0.5 on average.
/// struct Dark;
///
/// impl LossTerm for Dark {
///     fn for_generator(
///         &self,
///         _generator: &Sequential,
///         _z: &Tensor,
///         _condition: &Condition<f32>,
///         images: &Tensor,
///     ) -> Option<Tensor> {
///         Some((images.mean() + 0.5).relu())
///     }
/// }
/// ```
pub trait LossTerm<T: Real = f32>: Send + Sync {
    /// Term of the generator's loss.
    ///
    /// - `z`: latent vectors `[n, latent]` of this step.
    /// - `condition`: their labels, or [`Condition::None`].
    /// - `images`: the generator's output for them, `[n, h, w, c]`, not augmented.
    fn for_generator(
        &self,
        _generator: &Sequential<T>,
        _z: &Tensor<T>,
        _condition: &Condition<T>,
        _images: &Tensor<T>,
    ) -> Option<Tensor<T>> {
        None
    }

    /// Term of the discriminator's loss for generated images.
    ///
    /// - `z`: latent vectors `[n, latent]` of this step.
    /// - `condition`: their labels, or [`Condition::None`].
    /// - `images`: the generator's output for them, `[n, h, w, c]`, not augmented and not packed, without a graph.
    fn for_discriminator_of_generated(
        &self,
        _discriminator: &Sequential<T>,
        _z: &Tensor<T>,
        _condition: &Condition<T>,
        _images: &Tensor<T>,
    ) -> Option<Tensor<T>> {
        None
    }

    /// Term of the discriminator's loss for real images.
    ///
    /// - `real`: the discriminator's input for the real images of this step, augmented and
    ///   [packed](crate::pack): `[n / packing, h, w, c · packing]`.
    /// - `condition`: the labels of the `n` images, or [`Condition::None`].
    fn for_discriminator(
        &self,
        _discriminator: &Sequential<T>,
        _real: &Tensor<T>,
        _condition: &Condition<T>,
    ) -> Option<Tensor<T>> {
        None
    }
}
