//! A small residual pair without normalization, for objectives with a gradient penalty such as R3GAN's.
//!
//! Batch norm makes the score of one image depend on the others of its batch, so that the gradient that R1 and R2
//! punish is not that of one image any more. These networks have none: their blocks begin as the identity
//! (Fix-up), and learned numbers take the place of normalization.
//!
//! Against the networks of R3GAN, whose blocks are bottlenecks with a grouped 3x3 convolution in the middle, these
//! are plain: two 3x3 convolutions in each block, one block at each size, nearest-neighbour upsampling. Groups
//! save multiplications only where channels are many, and with 24 to 96 they are not.
//!
//! *Source*: Huang et al., "The GAN is dead; long live the GAN! A modern GAN baseline", 2024, section 4; Zhang,
//! Dauphin and Ma, "Fixup initialization: residual learning without normalization", 2019; He et al., "Identity
//! mappings in deep residual networks", 2016, for the order inside a block.

use super::conditional;
use super::family::{LayerRoles, NetworkFamily, NetworkRoles, NetworkSpec};
use engraft_layers::{
    AvgPool2x, Conv2d, Dense, Flatten, Init, LeakyReLU, Reshape, Residual, ScaleShift, Sequential, Upsample2x,
};
use engraft_tensor::Real;

/// Length of the latent vector.
pub const LATENT: usize = 100;

/// Channels of the maps of a quarter, half and the whole of the size: each block costs as much as the others.
const WIDTHS: [usize; 3] = [96, 48, 24];

/// Slope of every leaky ReLU.
const SLOPE: f64 = 0.2;

/// Blocks of each network.
const BLOCKS: f64 = 3.0;

/// What a weight of Glorot's spread is multiplied by so that a layer keeps the variance of its inputs.
fn preserving(fan_in: usize, fan_out: usize) -> f64 {
    ((fan_in + fan_out) as f64 / (2 * fan_in) as f64).sqrt()
}

/// `x + gain · conv(act(conv(act(x)))) + bias`, the identity at first.
///
/// Fix-up's rules for a branch of `m = 2` convolutions: the last begins at zero, the other with He's spread times
/// `BLOCKS^(-1 / (2 m - 2))`.
fn block<T: Real>(channels: usize, init: &mut Init) -> Residual<T> {
    // Glorot's spread is 1 / fan_in here; He's has 2 and the slope.
    let he = (2.0 / (1.0 + SLOPE * SLOPE)).sqrt();
    let conv = |init: &mut Init| Conv2d::new(channels, channels, 3, init).same();
    Residual::new(
        Sequential::new()
            .add("act1", LeakyReLU::new(SLOPE))
            .add("conv1", conv(init).scaled(he * BLOCKS.powf(-0.5)))
            .add("act2", LeakyReLU::new(SLOPE))
            .add("conv2", conv(init).no_bias().scaled(0.0))
            .add("scale", ScaleShift::new()),
    )
}

/// A convolution of single pixels to another number of channels.
fn pointwise<T: Real>(from: usize, to: usize, init: &mut Init) -> Conv2d<T> {
    Conv2d::new(from, to, 1, init).scaled(preserving(from, to))
}

/// From one size to the next: channels are fewer already when the map grows.
fn up<T: Real>(from: usize, to: usize, init: &mut Init) -> Sequential<T> {
    Sequential::new()
        .add("conv", pointwise(from, to, init))
        .add("up", Upsample2x)
}

/// The way back of [`up`].
fn down<T: Real>(from: usize, to: usize, init: &mut Init) -> Sequential<T> {
    Sequential::new()
        .add("down", AvgPool2x)
        .add("conv", pointwise(from, to, init))
}

/// The generator of a specification, to images with sides of a multiple of four, `[h, w, c]`.
///
/// No `tanh` ends it: without normalization before it, images that are black nearly everywhere push it so far that its
/// slope vanishes within a hundred steps, and the generator is stuck with black. The discriminator keeps pixels near
/// `[-1, 1]`; a generated image is cut off there.
pub fn build_generator<T: Real>(spec: &NetworkSpec, init: &mut Init) -> Sequential<T> {
    let [quarter, half, whole] = spec.widths_or(WIDTHS);
    let [height, width, channels] = spec.image;
    let (h, w) = (height / 4, width / 4);
    let start = h * w * quarter;
    let latent = ResidualFamily.latent_dim(spec);
    // Without a batch norm noise and class stay apart.
    conditional::generator(spec, latent, 1.0, init, |inputs, init| {
        let stem = Dense::new(inputs, start, init).scaled(preserving(inputs, start));
        // Sizes are those of 28x28 images.
        Sequential::new()
            .add("stem", stem)
            .add("grid", Reshape::new([h, w, quarter]))
            .add("block1", block(quarter, init)) // [n,  7,  7, 96]
            .add("up1", up(quarter, half, init))
            .add("block2", block(half, init)) //    [n, 14, 14, 48]
            .add("up2", up(half, whole, init))
            .add("block3", block(whole, init)) //   [n, 28, 28, 24]
            .add("act", LeakyReLU::new(SLOPE))
            .add("to_image", Conv2d::new(whole, channels, 3, init).same())
    })
}

/// The discriminator of a specification.
pub fn build_discriminator<T: Real>(spec: &NetworkSpec, init: &mut Init) -> Sequential<T> {
    let [quarter, half, whole] = spec.widths_or(WIDTHS);
    let [height, width, channels] = spec.packed_shape();
    let from_image = Conv2d::new(channels, whole, 3, init).same();
    let trunk = Sequential::new()
        .add(
            "from_image",
            from_image.scaled(preserving(9 * channels, 9 * whole)),
        )
        .add("block1", block(whole, init)) //   [n, 28, 28, 24]
        .add("down1", down(whole, half, init))
        .add("block2", block(half, init)) //    [n, 14, 14, 48]
        .add("down2", down(half, quarter, init))
        .add("block3", block(quarter, init)) // [n,  7,  7, 96]
        .add("act", LeakyReLU::new(SLOPE))
        .add("flat", Flatten);
    conditional::discriminator(spec, trunk, (height / 4) * (width / 4) * quarter, init)
}

/// The family `residual`. Its widths are the channels of the maps of a quarter, half and the whole of the size,
/// `[96, 48, 24]` at first.
pub struct ResidualFamily;

impl NetworkFamily for ResidualFamily {
    fn name(&self) -> &str {
        "residual"
    }

    fn check(&self, spec: &NetworkSpec) -> Result<(), String> {
        spec.check_channels_and_widths(WIDTHS.len())?;
        match spec.image {
            [28, 28, _] | [32, 32, _] => Ok(()),
            _ => Err("it makes images of 28x28 or 32x32 pixels with 1 to 4 channels".into()),
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
                blocks: names(&["block1", "up1", "block2", "up2", "block3"]),
                head: "to_image".into(),
                ..NetworkRoles::default()
            },
            discriminator: NetworkRoles {
                stem: Some("from_image".into()),
                blocks: names(&["block1", "down1", "block2", "down2", "block3"]),
                head: "head".into(),
                features: Some("flat".into()),
                feature_map: Some("act".into()),
                ..NetworkRoles::default()
            },
        };
        conditional::roles(spec, roles)
    }
}
