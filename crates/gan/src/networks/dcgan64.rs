//! DCGAN for images of 64x64 pixels, with the layers of PyTorch's tutorial: a reference for comparisons.
//!
//! For one RGB image the generator needs 105 million multiply-adds and the discriminator 104 million. They have 3.58 M and
//! 2.77 M parameters, as in the tutorial, but the head has a bias here. Initial weights have a standard deviation of 0.02,
//! and batch norm scales start at 1 (in the tutorial: normal around 1). The discriminator has batch norm, so gradient
//! penalties are invalid settings with this family.
//!
//! *Source*: PyTorch's tutorial "DCGAN tutorial"; Radford, Metz and Chintala, "Unsupervised representation learning with
//! deep convolutional generative adversarial networks", 2016.

use super::conditional;
use super::family::{LayerRoles, NetworkFamily, NetworkRoles, NetworkSpec};
use engraft_layers::{
    BatchNorm, Conv2d, ConvTranspose2d, Dense, Flatten, Init, LeakyReLU, Module, ReLU, Reshape, Sequential,
    Tanh,
};
use engraft_tensor::Real;

/// Length of the latent vector.
pub const LATENT: usize = 100;

/// Side of the images.
const SIDE: usize = 64;

/// Side of the smallest map.
const START: usize = 4;

/// Side of every kernel.
const KERNEL: usize = 4;

/// Channels of the generator's maps of 4, 8, 16 and 32 pixels; the discriminator has the same in reverse order.
const WIDTHS: [usize; 4] = [512, 256, 128, 64];

/// Slope of every leaky ReLU.
const SLOPE: f64 = 0.2;

/// Initial standard deviation of the weights.
const SPREAD: f64 = 0.02;

/// Factor from Glorot's standard deviation to [`SPREAD`].
fn factor(fan_in: usize, fan_out: usize) -> f64 {
    SPREAD / (2.0 / (fan_in + fan_out) as f64).sqrt()
}

/// A transposed convolution that doubles the size.
fn up<T: Real>(from: usize, to: usize, init: &mut Init) -> ConvTranspose2d<T> {
    let taps = KERNEL * KERNEL;
    let layer = ConvTranspose2d::new(from, to, KERNEL, init).stride(2).same();
    layer.no_bias().scaled(factor(taps * from, taps * to))
}

/// A convolution that halves the size.
fn down<T: Real>(from: usize, to: usize, init: &mut Init) -> Conv2d<T> {
    let taps = KERNEL * KERNEL;
    let layer = Conv2d::new(from, to, KERNEL, init).stride(2).same();
    layer.no_bias().scaled(factor(taps * from, taps * to))
}

/// A convolution, batch norm, and an activation.
fn block<T: Real>(
    conv: impl Module<T> + 'static,
    channels: usize,
    act: impl Module<T> + 'static,
) -> Sequential<T> {
    Sequential::new()
        .add("conv", conv)
        .add("norm", BatchNorm::new(channels))
        .add("act", act)
}

/// The generator of a specification: latent vectors to images with values in `[-1, 1]`.
pub fn build_generator<T: Real>(spec: &NetworkSpec, init: &mut Init) -> Sequential<T> {
    let widths = spec.widths_or(WIDTHS);
    let [.., channels] = spec.image;
    let (latent, spread) = (Dcgan64.latent_dim(spec), conditional::EMBEDDING_STD);
    conditional::generator(spec, latent, spread, init, |inputs, init| {
        // A transposed convolution of one pixel to 4x4 is a dense layer.
        let outputs = START * START * widths[0];
        let dense = Dense::new(inputs, outputs, init).no_bias();
        let stem = Sequential::new()
            .add("dense", dense.scaled(factor(inputs, outputs)))
            .add("grid", Reshape::new([START, START, widths[0]]))
            .add("norm", BatchNorm::new(widths[0]))
            .add("act", ReLU);
        let mut g = Sequential::new().add("stem", stem); // [n, 4, 4, 512]
        for i in 1..widths.len() {
            let conv = up(widths[i - 1], widths[i], init);
            g = g.add(&format!("block{i}"), block(conv, widths[i], ReLU)); // up to [n, 32, 32, 64]
        }
        g.add("to_image", up(widths[3], channels, init)).add("tanh", Tanh)
    })
}

/// The discriminator of a specification: [packed images](NetworkSpec::packed_shape) to logits `[n / packing, 1]`.
pub fn build_discriminator<T: Real>(spec: &NetworkSpec, init: &mut Init) -> Sequential<T> {
    let widths = spec.widths_or(WIDTHS);
    let [.., channels] = spec.packed_shape();
    let first = Sequential::new()
        .add("conv", down(channels, widths[3], init))
        .add("act", LeakyReLU::new(SLOPE));
    let mut trunk = Sequential::new().add("block1", first); // [n, 32, 32, 64]
    for i in 2..=widths.len() {
        let (from, to) = (widths[5 - i], widths[4 - i]);
        let layers = block(down(from, to, init), to, LeakyReLU::new(SLOPE));
        trunk = trunk.add(&format!("block{i}"), layers); // down to [n, 4, 4, 512]
    }
    let features = START * START * widths[0];
    conditional::discriminator(spec, trunk.add("flat", Flatten), features, init)
}

/// The family `dcgan64`. Its widths are the channels of the generator's four maps, `[512, 256, 128, 64]` by default; the
/// discriminator has the same in reverse order.
///
/// ```
/// use engraft_gan::networks::{NetworkFamily, NetworkSpec, dcgan64::Dcgan64};
/// use engraft_layers::{Init, parameter_count};
/// let spec = NetworkSpec::new([64, 64, 3]);
/// let g = Dcgan64.generator(&spec, &mut Init::glorot(1));
/// assert_eq!(parameter_count(&g), 3_576_704); // as PyTorch's tutorial
/// ```
pub struct Dcgan64;

impl NetworkFamily for Dcgan64 {
    fn name(&self) -> &str {
        "dcgan64"
    }

    fn check(&self, spec: &NetworkSpec) -> Result<(), String> {
        spec.check_channels_and_widths(WIDTHS.len())?;
        match spec.image {
            [SIDE, SIDE, _] => Ok(()),
            _ => Err("it supports images of 64x64 pixels with 1 to 4 channels".into()),
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
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        let roles = LayerRoles {
            generator: NetworkRoles {
                stem: Some("stem".into()),
                blocks: names(&["block1", "block2", "block3"]),
                head: "to_image".into(),
                norms: names(&["stem.norm", "block1.norm", "block2.norm", "block3.norm"]),
                ..NetworkRoles::default()
            },
            discriminator: NetworkRoles {
                blocks: names(&["block1", "block2", "block3", "block4"]),
                head: "head".into(),
                norms: names(&["block2.norm", "block3.norm", "block4.norm"]),
                features: Some("flat".into()),
                feature_map: Some("block4".into()),
                ..NetworkRoles::default()
            },
        };
        conditional::roles(spec, roles)
    }
}
