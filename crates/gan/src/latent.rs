//! What goes into a generator, and what its output becomes.

use engraft_layers::one_hot;
use engraft_tensor::{Real, Tensor, concat};
use rand::Rng;

/// Independent standard normal vectors; with classes, each in turn.
pub(crate) fn latent_vectors<T: Real>(
    n: usize,
    latent: usize,
    classes: usize,
    rng: &mut impl Rng,
) -> Tensor<T> {
    if classes == 0 {
        return Tensor::randn([n, latent], rng);
    }
    let labels: Vec<usize> = (0..n).map(|i| i % classes).collect();
    labelled_vectors(&labels, latent, classes, rng)
}

/// Independent standard normal vectors with the one-hot rows of their labels behind them.
#[track_caller]
pub(crate) fn labelled_vectors<T: Real>(
    labels: &[usize],
    latent: usize,
    classes: usize,
    rng: &mut impl Rng,
) -> Tensor<T> {
    assert!(classes > 0, "labelled noise: the networks are not told the class");
    let z = Tensor::randn([labels.len(), latent], rng);
    concat(&[&z, &one_hot(labels, classes)], 1)
}

/// Each image's numbers with a row behind them, `[n, h · w · c + k]`.
pub(crate) fn with_rows<T: Real>(images: &Tensor<T>, rows: &Tensor<T>) -> Tensor<T> {
    let n = images.shape()[0];
    let numbers = images.shape()[1..].iter().product();
    concat(&[&images.reshape([n, numbers]), rows], 1)
}

/// What is outside of `[-1, 1]`, as a generator without a `tanh` draws it, cut off there: a file of pixels has no more.
pub(crate) fn as_image<T: Real>(drawn: &Tensor<T>) -> Tensor<T> {
    -((-drawn.clamp_min(-1.0)).clamp_min(-1.0))
}
