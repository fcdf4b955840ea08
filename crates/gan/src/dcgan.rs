//! The reference networks: the DCGAN of TensorFlow's tutorial for 28x28 grey images.
//!
//! *Source*: TensorFlow's tutorial "Deep convolutional generative adversarial network"; Radford, Metz and
//! Chintala, "Unsupervised representation learning with deep convolutional generative adversarial networks",
//! 2016. The tutorial's dropout in the discriminator is left out, as the batch norm of its second block takes
//! its place.

use engraft_layers::{
    BatchNorm, Conv2d, ConvTranspose2d, Dense, Flatten, Init, LeakyReLU, Module, Reshape, Sequential, Tanh,
};
use engraft_tensor::Real;

/// Length of the latent vector.
pub const LATENT: usize = 100;

/// Shape of an image, `[height, width, channels]`.
pub const IMAGE: [usize; 3] = [28, 28, 1];

/// Slope of every leaky ReLU, the default of Keras 2.
const SLOPE: f64 = 0.3;

/// A layer, batch norm over its `channels` outputs, and a leaky ReLU.
fn block<T: Real>(name: &str, layer: impl Module<T> + 'static, channels: usize) -> Sequential<T> {
    Sequential::new()
        .add(name, layer)
        .add("norm", BatchNorm::new(channels))
        .add("act", LeakyReLU::new(SLOPE))
}

/// Generator: `[n, 100] -> [n, 28, 28, 1]` with values in `[-1, 1]`; 2 305 472 parameters.
///
/// ```
/// use engraft_gan::dcgan;
/// use engraft_layers::{Init, Mode, Module, parameter_count};
/// use engraft_tensor::Tensor;
///
/// let g = dcgan::generator::<f32>(&mut Init::glorot(1));
/// assert_eq!(parameter_count(&g), 2_305_472);
/// assert_eq!(g.forward(&Tensor::zeros([2, 100]), Mode::Eval).shape(), [2, 28, 28, 1]);
/// ```
pub fn generator<T: Real>(init: &mut Init) -> Sequential<T> {
    let stem = Dense::new(LATENT, 7 * 7 * 256, init).no_bias();
    let to_128 = ConvTranspose2d::new(256, 128, 5, init).same().no_bias();
    let to_64 = ConvTranspose2d::new(128, 64, 5, init).stride(2).same().no_bias();
    let to_image = ConvTranspose2d::new(64, 1, 5, init).stride(2).same().no_bias();
    Sequential::new()
        .add("stem", block("dense", stem, 7 * 7 * 256))
        .add("grid", Reshape::new([7, 7, 256]))
        .add("block1", block("conv", to_128, 128)) // [n,  7,  7, 128]
        .add("block2", block("conv", to_64, 64)) //   [n, 14, 14,  64]
        .add("to_image", to_image) //                 [n, 28, 28,   1]
        .add("tanh", Tanh)
}

/// Discriminator: `[n, 28, 28, 1] -> [n, 1]`, a logit; 213 121 parameters.
///
/// ```
/// use engraft_gan::dcgan;
/// use engraft_layers::{Init, Mode, Module, parameter_count};
/// use engraft_tensor::Tensor;
///
/// let d = dcgan::discriminator::<f32>(&mut Init::glorot(1));
/// assert_eq!(d.forward(&Tensor::zeros([2, 28, 28, 1]), Mode::Eval).shape(), [2, 1]);
/// ```
pub fn discriminator<T: Real>(init: &mut Init) -> Sequential<T> {
    let to_64 = Conv2d::new(1, 64, 5, init).stride(2).same();
    let to_128 = Conv2d::new(64, 128, 5, init).stride(2).same();
    Sequential::new()
        .add(
            "block1", // [n, 14, 14, 64]
            Sequential::new()
                .add("conv", to_64)
                .add("act", LeakyReLU::new(SLOPE)),
        )
        .add("block2", block("conv", to_128, 128)) // [n, 7, 7, 128]
        .add("flat", Flatten)
        .add("head", Dense::new(7 * 7 * 128, 1, init))
}
