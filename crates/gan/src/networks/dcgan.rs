//! The reference networks: the DCGAN of TensorFlow's tutorial for 28x28 gray images, and variants for 32x32 and
//! color.
//!
//! *Source*: TensorFlow's tutorial "Deep convolutional generative adversarial network"; Radford, Metz and Chintala,
//! "Unsupervised representation learning with deep convolutional generative adversarial networks", 2016. The
//! discriminator's second block has batch norm in place of the tutorial's dropout.

use super::conditional;
use super::family::{LayerRoles, NetworkFamily, NetworkRoles, NetworkSpec};
use engraft_layers::{
    BatchNorm, Conv2d, ConvTranspose2d, Dense, Flatten, Init, LeakyReLU, Module, Reshape, Sequential, Tanh,
    TorchLayout,
};
use engraft_tensor::Real;

/// Length of the latent vector.
pub const LATENT: usize = 100;

/// Shape of an image, `[height, width, channels]`.
pub const IMAGE: [usize; 3] = [28, 28, 1];

/// Default channels of the generator's maps at a quarter, a quarter and half of the image size. The discriminator
/// uses the last two in reverse order.
const WIDTHS: [usize; 3] = [256, 128, 64];

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
    build_generator(&NetworkSpec::new(IMAGE), init)
}

/// Builds the generator: latent vectors to images `[n, h, w, c]` in `[-1, 1]`. Its first map has a quarter of the
/// image size, so sides must be multiples of 4.
pub fn build_generator<T: Real>(spec: &NetworkSpec, init: &mut Init) -> Sequential<T> {
    let [first, second, third] = spec.widths_or(WIDTHS);
    let [height, width, channels] = spec.image;
    let (h, w) = (height / 4, width / 4);
    let latent = Dcgan.latent_dim(spec);
    conditional::generator(spec, latent, conditional::EMBEDDING_STD, init, |inputs, init| {
        let transposed = |from, to, init: &mut Init| ConvTranspose2d::new(from, to, 5, init).same().no_bias();
        let stem = Dense::new(inputs, h * w * first, init).no_bias();
        let conv1 = transposed(first, second, init);
        let conv2 = transposed(second, third, init).stride(2);
        let to_image = transposed(third, channels, init).stride(2);
        // Sizes are those of 28x28 gray images.
        Sequential::new()
            .add("stem", block("dense", stem, h * w * first))
            .add("grid", Reshape::new([h, w, first]))
            .add("block1", block("conv", conv1, second)) // [n,  7,  7, 128]
            .add("block2", block("conv", conv2, third)) //  [n, 14, 14,  64]
            .add("to_image", to_image) //                   [n, 28, 28,   1]
            .add("tanh", Tanh)
    })
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
    build_discriminator(&NetworkSpec::new(IMAGE), init)
}

/// Builds the discriminator.
pub fn build_discriminator<T: Real>(spec: &NetworkSpec, init: &mut Init) -> Sequential<T> {
    let [_, second, third] = spec.widths_or(WIDTHS);
    let [height, width, channels] = spec.packed_shape();
    let conv1 = Conv2d::new(channels, third, 5, init).stride(2).same();
    let conv2 = Conv2d::new(third, second, 5, init).stride(2).same();
    let trunk = Sequential::new()
        .add(
            "block1", // [n, 14, 14, 64]
            Sequential::new()
                .add("conv", conv1)
                .add("act", LeakyReLU::new(SLOPE)),
        )
        .add("block2", block("conv", conv2, second)) // [n, 7, 7, 128]
        .add("flat", Flatten);
    conditional::discriminator(spec, trunk, height.div_ceil(4) * width.div_ceil(4) * second, init)
}

/// The family `dcgan`. Its widths are the channels of the generator's three maps, default `[256, 128, 64]`; the
/// discriminator uses the last two.
pub struct Dcgan;

impl NetworkFamily for Dcgan {
    fn name(&self) -> &str {
        "dcgan"
    }

    fn check(&self, spec: &NetworkSpec) -> Result<(), String> {
        spec.check_channels_and_widths(WIDTHS.len())?;
        match spec.image {
            [28, 28, _] | [32, 32, _] => Ok(()),
            _ => Err("it supports images of 28x28 or 32x32 pixels with 1 to 4 channels".into()),
        }
    }

    fn latent_dim(&self, spec: &NetworkSpec) -> usize {
        spec.latent_dim.unwrap_or(LATENT)
    }

    fn generator(&self, spec: &NetworkSpec, init: &mut Init) -> Sequential {
        build_generator(spec, init)
    }

    fn discriminator(&self, spec: &NetworkSpec, init: &mut Init) -> Sequential {
        build_discriminator(spec, init)
    }

    fn roles(&self, spec: &NetworkSpec) -> LayerRoles {
        let roles = LayerRoles {
            generator: NetworkRoles {
                stem: Some("stem".into()),
                blocks: vec!["block1".into(), "block2".into()],
                head: "to_image".into(),
                norms: vec!["stem.norm".into(), "block1.norm".into(), "block2.norm".into()],
                ..NetworkRoles::default()
            },
            discriminator: NetworkRoles {
                blocks: vec!["block1".into(), "block2".into()],
                head: "head".into(),
                norms: vec!["block2.norm".into()],
                features: Some("flat".into()),
                feature_map: Some("block2".into()),
                ..NetworkRoles::default()
            },
        };
        conditional::roles(spec, roles)
    }
}

/// Conversion between the generator's weights here and in PyTorch.
///
/// The PyTorch module has `stem.dense` (`Linear(100, 12544, bias=False)`) and `stem.norm`. After `view(-1, 256, 7,
/// 7)` follow `block1.conv`, `block1.norm`, `block2.conv`, `block2.norm` and `to_image` (`ConvTranspose2d` with
/// kernel 5 and no bias). TensorFlow's `same` at stride 2 is `padding=1` there, without the last row and column of
/// the result. For other names, add [renames](TorchLayout::rename).
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

/// Conversion between the discriminator's weights here and in PyTorch.
///
/// The PyTorch module has `block1.conv`, `block2.conv` (`Conv2d` with kernel 5 and stride 2), `block2.norm` and,
/// after `flatten(1)`, `head` (`Linear(6272, 1)`). TensorFlow's `same` is `F.pad(x, (1, 2, 1, 2))` before each
/// convolution there.
pub fn discriminator_torch_layout() -> TorchLayout {
    TorchLayout::new().image_input("head", [7, 7, 128])
}
