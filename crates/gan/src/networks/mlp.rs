//! A pair of fully connected networks, for images of any size.
//!
//! The pair of the semi-supervised literature has a generator 100-500-500-pixels with batch norm and a
//! discriminator pixels-1000-500-250-250-250. The generator here is that one, with leaky ReLUs; the discriminator
//! is its middle, pixels-500-250-1, without normalisation, so that gradient penalties apply to it. A step costs a
//! fortieth of the reference DCGAN's multiplications at 28x28x1.
//!
//! *Source*: Salimans et al., "Improved techniques for training GANs", 2016, section 5.1, for the sizes.

use engraft_layers::{BatchNorm, Dense, Flatten, Init, LeakyReLU, Reshape, Sequential, Tanh};
use engraft_tensor::Real;

/// Length of the latent vector.
pub(super) const LATENT: usize = 100;

/// Slope of every leaky ReLU.
const SLOPE: f64 = 0.2;

/// Width of both hidden layers of the generator.
const HIDDEN: usize = 500;

/// Widths of the hidden layers of the discriminator.
const NARROWING: [usize; 2] = [500, 250];

/// A dense layer, batch norm and a leaky ReLU.
fn normalised<T: Real>(from: usize, to: usize, init: &mut Init) -> Sequential<T> {
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

/// Generator from `inputs` numbers to images of any size `[h, w, c]`, in `[-1, 1]`.
pub(super) fn generator_of<T: Real>(inputs: usize, image: [usize; 3], init: &mut Init) -> Sequential<T> {
    Sequential::new()
        .add("hidden1", normalised(inputs, HIDDEN, init))
        .add("hidden2", normalised(HIDDEN, HIDDEN, init))
        .add("to_image", Dense::new(HIDDEN, image.iter().product(), init))
        .add("grid", Reshape::new(image))
        .add("tanh", Tanh)
}

/// Length of the vector that [`features_of`] ends in.
pub(super) fn feature_count(_: [usize; 3]) -> usize {
    NARROWING[1]
}

/// The discriminator without its last layer: images `[h, w, c]` to vectors.
pub(super) fn features_of<T: Real>(image: [usize; 3], init: &mut Init) -> Sequential<T> {
    let [first, second] = NARROWING;
    Sequential::new()
        .add("flat", Flatten)
        .add("hidden1", plain(image.iter().product(), first, init))
        .add("hidden2", plain(first, second, init))
}
