//! Fully connected networks for images of any size.
//!
//! In the semi-supervised literature the generator is 100-500-500-pixels with batch norm, and the discriminator
//! pixels-1000-500-250-250-250. The generator here has the same sizes, with leaky ReLUs. The discriminator is the
//! middle part, pixels-500-250-1. It has no normalization, so gradient penalties are possible. A step costs a
//! fortieth of the DCGAN's multiplications at 28x28x1.
//!
//! *Source*: Salimans et al., "Improved techniques for training GANs", 2016, section 5.1, for the sizes.

use super::conditional;
use super::family::{LayerRoles, NetworkFamily, NetworkRoles, NetworkSpec};
use engraft_layers::{BatchNorm, Dense, Flatten, Init, LeakyReLU, Reshape, Sequential, Tanh};
use engraft_tensor::Real;

/// Length of the latent vector.
pub const LATENT: usize = 100;

/// Slope of every leaky ReLU.
const SLOPE: f64 = 0.2;

/// Default widths: both hidden layers of the generator and the first of the discriminator; its second.
const WIDTHS: [usize; 2] = [500, 250];

/// Maximum number of values in an image, which bounds the number of weights.
const MAX_VALUES: usize = 1 << 14;

/// A dense layer, batch norm and a leaky ReLU.
fn normalized<T: Real>(from: usize, to: usize, init: &mut Init) -> Sequential<T> {
    Sequential::new()
        .add("dense", Dense::new(from, to, init).no_bias())
        .add("norm", BatchNorm::new(to))
        .add("act", LeakyReLU::new(SLOPE))
}

/// A dense layer and a leaky ReLU.
fn plain<T: Real>(from: usize, to: usize, init: &mut Init) -> Sequential<T> {
    Sequential::new()
        .add("dense", Dense::new(from, to, init))
        .add("act", LeakyReLU::new(SLOPE))
}

/// Builds the generator: latent vectors to images `[n, h, w, c]` in `[-1, 1]`.
pub fn build_generator<T: Real>(spec: &NetworkSpec, init: &mut Init) -> Sequential<T> {
    let ([wide, _], image) = (spec.widths_or(WIDTHS), spec.image);
    let latent = Mlp.latent_dim(spec);
    conditional::generator(spec, latent, conditional::EMBEDDING_STD, init, |inputs, init| {
        Sequential::new()
            .add("hidden1", normalized(inputs, wide, init))
            .add("hidden2", normalized(wide, wide, init))
            .add("to_image", Dense::new(wide, image.iter().product(), init))
            .add("grid", Reshape::new(image))
            .add("tanh", Tanh)
    })
}

/// Builds the discriminator.
pub fn build_discriminator<T: Real>(spec: &NetworkSpec, init: &mut Init) -> Sequential<T> {
    let [wide, narrow] = spec.widths_or(WIDTHS);
    let trunk = Sequential::new()
        .add("flat", Flatten)
        .add("hidden1", plain(spec.packed_shape().iter().product(), wide, init))
        .add("hidden2", plain(wide, narrow, init));
    conditional::discriminator(spec, trunk, narrow, init)
}

/// The family `mlp`. Its widths are those of the wide and the narrow hidden layers, default `[500, 250]`.
pub struct Mlp;

impl NetworkFamily for Mlp {
    fn name(&self) -> &str {
        "mlp"
    }

    fn check(&self, spec: &NetworkSpec) -> Result<(), String> {
        spec.check_channels_and_widths(WIDTHS.len())?;
        let [height, width, channels] = spec.image;
        let numbers = height.checked_mul(width).and_then(|p| p.checked_mul(channels));
        match numbers {
            Some(1..=MAX_VALUES) => Ok(()),
            _ => Err(format!(
                "it supports images of up to {MAX_VALUES} values (height x width x channels)"
            )),
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
                blocks: vec!["hidden1".into(), "hidden2".into()],
                head: "to_image".into(),
                norms: vec!["hidden1.norm".into(), "hidden2.norm".into()],
                ..NetworkRoles::default()
            },
            discriminator: NetworkRoles {
                blocks: vec!["hidden1".into(), "hidden2".into()],
                head: "head".into(),
                features: Some("hidden2".into()),
                ..NetworkRoles::default()
            },
        };
        conditional::roles(spec, roles)
    }
}
