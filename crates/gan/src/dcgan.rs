//! The reference networks: the DCGAN of TensorFlow's tutorial for 28x28 grey images.
//!
//! *Source*: TensorFlow's tutorial "Deep convolutional generative adversarial network"; Radford, Metz and
//! Chintala, "Unsupervised representation learning with deep convolutional generative adversarial networks",
//! 2016. The tutorial's dropout in the discriminator is left out, as the batch norm of its second block takes
//! its place.

use engraft_layers::{
    BatchNorm, Conv2d, ConvTranspose2d, Dense, Flatten, Init, LeakyReLU, Module, Reshape, Sequential, Tanh,
    TorchLayout,
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
    packed_discriminator(1, init)
}

/// The discriminator for packs of `packing` images: `[n, 28, 28, packing] -> [n, 1]`; see [`pack`](crate::pack).
pub fn packed_discriminator<T: Real>(packing: usize, init: &mut Init) -> Sequential<T> {
    let to_64 = Conv2d::new(packing * IMAGE[2], 64, 5, init).stride(2).same();
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

/// How the generator's state becomes one of PyTorch and back, under this crate's names.
///
/// The module that takes it has `stem.dense` (`Linear(100, 12544, bias=False)`), `stem.norm`, then after
/// `view(-1, 256, 7, 7)` `block1.conv`, `block1.norm`, `block2.conv`, `block2.norm` and `to_image`
/// (`ConvTranspose2d` with kernel 5 and no bias). TensorFlow's `same` at stride 2 is `padding=1` there, with the
/// last row and column of the result cut off. For a module with other names, add
/// [renames](TorchLayout::rename).
///
/// ```
/// use engraft_gan::dcgan;
/// use engraft_layers::{Init, StateDict};
/// let g = dcgan::generator::<f32>(&mut Init::glorot(1));
/// let torch = dcgan::generator_torch_layout().rename("stem.dense", "fc").to_torch(&StateDict::of(&g))?;
/// assert_eq!(torch.get("fc.weight").unwrap().shape(), [12544, 100]);
/// assert_eq!(torch.get("block1.conv.weight").unwrap().shape(), [256, 128, 5, 5]);
/// # Ok::<(), engraft_layers::LayersError>(())
/// ```
pub fn generator_torch_layout() -> TorchLayout {
    TorchLayout::new().image_output("stem", [7, 7, 256])
}

/// How the discriminator's state becomes one of PyTorch and back, under this crate's names.
///
/// The module that takes it has `block1.conv`, `block2.conv` (`Conv2d` with kernel 5 and stride 2),
/// `block2.norm` and, after `flatten(1)`, `head` (`Linear(6272, 1)`). TensorFlow's `same` is
/// `F.pad(x, (1, 2, 1, 2))` before each convolution there.
pub fn discriminator_torch_layout() -> TorchLayout {
    TorchLayout::new().image_input("head", [7, 7, 128])
}
