//! Small residual networks without normalization, for objectives with a gradient penalty such as R3GAN's.
//!
//! With batch norm the logit of an image depends on the whole batch, so R1 and R2 would not penalize the gradient
//! of one image. These networks have no normalization. Their blocks are initialized as the identity (Fixup), with
//! learned scales and shifts in place of normalization.
//!
//! R3GAN's blocks are bottlenecks with a grouped 3x3 convolution. The blocks here are plain: two 3x3 convolutions,
//! one block at each size, nearest-neighbor upsampling. Groups save multiplications only with many channels, and 24
//! to 96 are too few.
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

/// Default channels of the maps at a quarter, half and the full image size. Each block then has the same cost.
const WIDTHS: [usize; 3] = [96, 48, 24];

/// Slope of every leaky ReLU.
const SLOPE: f64 = 0.2;

/// Blocks of each network.
const BLOCKS: f64 = 3.0;

/// Factor for Glorot's initialization that preserves the variance of the input.
fn preserving(fan_in: usize, fan_out: usize) -> f64 {
    ((fan_in + fan_out) as f64 / (2 * fan_in) as f64).sqrt()
}

/// `x + gain · conv(act(conv(act(x)))) + bias`, initialized as the identity.
///
/// Fixup's rule for a branch of `m = 2` convolutions: the last starts at zero, the other with He's initialization
/// times `BLOCKS^(-1 / (2 m - 2))`.
fn block<T: Real>(channels: usize, init: &mut Init) -> Residual<T> {
    // Glorot's variance is 1 / fan_in here; He's has a factor of 2 and the slope.
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

/// A 1x1 convolution to another number of channels.
fn pointwise<T: Real>(from: usize, to: usize, init: &mut Init) -> Conv2d<T> {
    Conv2d::new(from, to, 1, init).scaled(preserving(from, to))
}

/// Upsampling. The channels are reduced first, at the smaller size.
fn up<T: Real>(from: usize, to: usize, init: &mut Init) -> Sequential<T> {
    Sequential::new()
        .add("conv", pointwise(from, to, init))
        .add("up", Upsample2x)
}

/// Downsampling, the reverse of [`up`].
fn down<T: Real>(from: usize, to: usize, init: &mut Init) -> Sequential<T> {
    Sequential::new()
        .add("down", AvgPool2x)
        .add("conv", pointwise(from, to, init))
}

/// Builds the generator: latent vectors to images `[n, h, w, c]` whose sides are multiples of 4.
///
/// It has no final `tanh`. Without normalization, mostly black images saturate a `tanh` within a hundred steps, and
/// its gradient vanishes. The discriminator keeps pixels near `[-1, 1]`; generated images are clipped to this
/// range.
pub fn build_generator<T: Real>(spec: &NetworkSpec, init: &mut Init) -> Sequential<T> {
    let [quarter, half, whole] = spec.widths_or(WIDTHS);
    let [height, width, channels] = spec.image;
    let (h, w) = (height / 4, width / 4);
    let start = h * w * quarter;
    let latent = ResidualFamily.latent_dim(spec);
    // Without batch norm, the class does not suppress the noise.
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

/// Builds the discriminator.
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

/// The family `residual`. Its widths are the channels of the maps at a quarter, half and the full image size,
/// default `[96, 48, 24]`.
pub struct ResidualFamily;

impl NetworkFamily for ResidualFamily {
    fn name(&self) -> &str {
        "residual"
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
