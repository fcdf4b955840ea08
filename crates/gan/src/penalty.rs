//! Gradient penalties of the discriminator.
//!
//! Each penalty differentiates the logits with respect to the images and keeps the graph, so that it has gradients
//! in the discriminator's weights.
//!
//! The sum of all logits is differentiated. This gives each image the gradient of its own logit only if no logit
//! depends on other images. Batch norm in the discriminator violates this, and [`Gan::check`](crate::Gan::check)
//! refuses it.

use crate::batch::for_each_image;
use engraft_tensor::{Real, Tensor, grad_with_graph};
use rand::{Rng, RngExt};

/// Added to a squared norm before the square root, whose derivative at 0 is infinite.
const EPSILON: f64 = 1e-12;

/// `E ‖∇D(x)‖²`: the mean squared norm of the gradient with respect to an image.
///
/// `γ/2` times this is R1 at real images and R2 at generated images.
///
/// *Shapes*: `logits [rows, k]`, computed from `images [n, ..]`, which must [require a
/// gradient](Tensor::requires_grad); the result is a scalar. `n` must be a multiple of `rows`: with packing,
/// several consecutive images share a row. With `k > 1`, as for patch discriminators, the mean of a row counts.
///
/// *Source*: Mescheder, Geiger and Nowozin, "Which training methods for GANs do actually converge?", 2018,
/// equation 9; R2 its equation 10.
///
/// ```
/// use engraft_gan::penalty;
/// use engraft_tensor::Tensor;
/// // D(x) = 3 x has slope 3 everywhere.
/// let x = Tensor::from_vec([2, 1], vec![0.5, -1.0]).as_leaf();
/// assert_eq!(penalty::zero_centered(&(&x * 3.0), &x).item(), 9.0);
/// ```
///
/// # Panics
/// If `images` does not require a gradient, or its length is not a multiple of the number of rows.
#[must_use]
#[track_caller]
pub fn zero_centered<T: Real>(logits: &Tensor<T>, images: &Tensor<T>) -> Tensor<T> {
    squared_gradient_norms(logits, images).mean()
}

/// `E (‖∇D(x)‖ - 1)²`: the mean squared difference between the norm of the gradient and 1.
///
/// Ten times this, at [interpolated](interpolate) images, is the gradient penalty of WGAN-GP. Shapes as for
/// [`zero_centered`].
///
/// *Source*: Gulrajani et al., "Improved training of Wasserstein GANs", 2017, equation 3.
///
/// # Panics
/// As for [`zero_centered`].
#[must_use]
#[track_caller]
pub fn one_centered<T: Real>(logits: &Tensor<T>, images: &Tensor<T>) -> Tensor<T> {
    let norms = (squared_gradient_norms(logits, images) + T::from_f64(EPSILON)).sqrt();
    (norms - T::one()).square().mean()
}

/// Random points between real and generated images, `ε x + (1 - ε) G(z)`, with an independent `ε` uniform on `[0,
/// 1)` for each pair. The result has no graph.
///
/// *Shapes*: both images and the result `[n, ..]`.
///
/// # Panics
/// If the shapes differ.
#[must_use]
#[track_caller]
pub fn interpolate<T: Real>(real: &Tensor<T>, fake: &Tensor<T>, rng: &mut impl Rng) -> Tensor<T> {
    assert!(
        real.shape() == fake.shape() && real.rank() > 0,
        "interpolate: real images {:?} and generated images {:?} must have the same shape",
        real.shape(),
        fake.shape()
    );
    let count = real.shape()[0];
    let each = (real.len() / count.max(1)).max(1);
    let mut points = Vec::with_capacity(real.len());
    let pairs = real.as_slice().chunks_exact(each);
    let pairs = pairs.zip(fake.as_slice().chunks_exact(each));
    let shares = for_each_image(count, || T::from_f64(rng.random::<f64>()));
    for ((x, g), share) in pairs.zip(shares) {
        points.extend(x.iter().zip(g).map(|(&x, &g)| share * x + (T::one() - share) * g));
    }
    Tensor::from_vec(real.shape(), points)
}

#[doc(hidden)] // spelling of earlier versions
pub use {one_centered as one_centred, zero_centered as zero_centred};

/// `‖∇D‖²` for each row of logits, `[rows]`, with its graph. `D` is the mean of a row.
#[track_caller]
fn squared_gradient_norms<T: Real>(logits: &Tensor<T>, images: &Tensor<T>) -> Tensor<T> {
    let first = |t: &Tensor<T>| t.shape().first().copied().unwrap_or(0);
    let (count, n) = (first(logits), first(images));
    assert!(
        images.requires_grad() && !logits.is_empty() && n > 0 && n.is_multiple_of(count),
        "penalty: the number of images must be a multiple of the rows of logits, and the images must require a gradient; \
         got logits {:?} and images {:?}",
        logits.shape(),
        images.shape()
    );
    let sum = match logits.len() / count {
        1 => logits.sum(),
        of_one => logits.sum() / T::from_f64(of_one as f64),
    };
    let [slopes] = grad_with_graph(&sum, [images]);
    slopes
        .reshape([count, images.len() / count])
        .square()
        .sum_axes(&[1])
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_layers::{
        Conv2d, Dense, Flatten, Init, LeakyReLU, Mode, Module, Sequential, Tanh, visit_mut,
    };
    use engraft_layers::{SlotMut, gradients, parameters};
    use rand::SeedableRng;
    use rand_pcg::Pcg64;

    /// Several logits of an image count as their mean, at both orders.
    #[test]
    fn patches_count_as_their_mean() {
        let net = Sequential::<f64>::new()
            .add("hidden", Dense::new(5, 7, &mut Init::normal(3, 0.6)))
            .add("act", Tanh)
            .add("head", Dense::new(7, 4, &mut Init::normal(5, 0.6)));
        let x = Tensor::randn([3, 5], &mut Pcg64::seed_from_u64(1)).as_leaf();
        let of = |penalty: fn(&Tensor<f64>, &Tensor<f64>) -> Tensor<f64>| {
            let patches = net.forward(&x, Mode::Train);
            let means = patches.sum_keep(&[1]) / 4.0;
            [patches, means].map(|logits| {
                let found = penalty(&logits, &x);
                (found.item(), gradients(&found, &net)["hidden.weight"].clone())
            })
        };
        for penalty in [zero_centered, one_centered] {
            let [(a, of_a), (b, of_b)] = of(penalty);
            assert!(a > 0.0 && (a - b).abs() < 1e-12 * a, "{a} {b}");
            let apart = (of_a - &of_b).abs().sum().item();
            assert!(apart < 1e-12 * of_b.abs().sum().item(), "{apart}");
        }
    }

    fn mlp() -> Sequential<f64> {
        let init = &mut Init::normal(3, 0.6);
        Sequential::new()
            .add("hidden", Dense::new(5, 7, init))
            .add("act", Tanh)
            .add("head", Dense::new(7, 1, init))
    }

    fn conv_net() -> Sequential<f64> {
        let init = &mut Init::normal(4, 0.5);
        Sequential::new()
            .add("conv", Conv2d::new(2, 3, 3, init).stride(2).same())
            .add("act", LeakyReLU::new(0.2))
            .add("second", Conv2d::new(3, 4, 3, init).same())
            .add("bent", Tanh)
            .add("flat", Flatten)
            .add("head", Dense::new(2 * 3 * 4, 1, init))
    }

    /// A kind of penalty at images `x`.
    type Penalty = fn(&Sequential<f64>, &Tensor<f64>) -> Tensor<f64>;

    fn zero(net: &Sequential<f64>, x: &Tensor<f64>) -> Tensor<f64> {
        let x = x.as_leaf();
        zero_centered(&net.forward(&x, Mode::Train), &x)
    }

    fn one(net: &Sequential<f64>, x: &Tensor<f64>) -> Tensor<f64> {
        let x = x.as_leaf();
        one_centered(&net.forward(&x, Mode::Train), &x)
    }

    /// The gradient in every weight along random directions, against central differences.
    fn check(mut net: Sequential<f64>, shape: &[usize], penalty: Penalty) {
        let rng = &mut Pcg64::seed_from_u64(8);
        let x = Tensor::randn(shape, rng);
        let found = gradients(&penalty(&net, &x), &net);
        let weights: Vec<(String, Tensor<f64>)> = parameters(&net)
            .into_iter()
            .map(|(name, p)| (name, p.tensor().detach()))
            .collect();
        for (name, at) in weights {
            let direction = Tensor::randn(at.shape(), rng);
            let mut at_step = |step: f64| {
                visit_mut(&mut net, |path, slot| {
                    if let SlotMut::Parameter(p) = slot
                        && path == name
                    {
                        p.set(&(&at + &direction * step));
                    }
                });
                penalty(&net, &x).item()
            };
            let difference = (at_step(1e-6) - at_step(-1e-6)) / 2e-6;
            at_step(0.0);
            // The bias of the head does not affect gradients of D, so its own gradient is 0.
            let rule = found.get(&name).map_or(0.0, |g| (g * &direction).sum().item());
            let allowed = 1e-6 * rule.abs().max(difference.abs()) + 1e-8;
            assert!(
                (rule - difference).abs() <= allowed,
                "{name}: {rule} and {difference}"
            );
            assert!(name == "head.bias" || rule != 0.0, "{name}");
        }
    }

    #[test]
    fn gradients_in_the_weights_match_differences() {
        for penalty in [zero as Penalty, one] {
            check(mlp(), &[4, 5], penalty);
            check(conv_net(), &[3, 4, 5, 2], penalty);
        }
    }

    /// `D(x) = w · x`: every gradient is `w`.
    #[test]
    fn a_linear_discriminator_by_hand() {
        let w = Tensor::<f64>::from_vec([2, 1], vec![3.0, 4.0]);
        let x = Tensor::from_vec([3, 2], vec![0.0, 1.0, 2.0, -1.0, 5.0, 0.5]).as_leaf();
        let logits = x.matmul(&w);
        assert_eq!(zero_centered(&logits, &x).item(), 25.0);
        assert!((one_centered(&logits, &x).item() - 16.0).abs() < 1e-9);
    }

    /// Two images that share a logit count as one longer image.
    #[test]
    fn images_of_one_pack_share_a_norm() {
        let x = Tensor::<f64>::zeros([4, 1]).as_leaf();
        let logits = x
            .reshape([2, 2])
            .matmul(&Tensor::from_vec([2, 1], vec![3.0, 4.0]));
        assert_eq!(zero_centered(&logits, &x).item(), 25.0);
        assert!((one_centered(&logits, &x).item() - 16.0).abs() < 1e-9);
    }

    #[test]
    fn a_flat_discriminator_has_a_penalty_and_finite_gradients() {
        let w = Tensor::<f64>::zeros([2, 1]).as_leaf();
        let x = Tensor::ones([3, 2]).as_leaf();
        let penalty = one_centered(&x.matmul(&w), &x);
        assert!((penalty.item() - 1.0).abs() < 1e-5);
        let [dw] = engraft_tensor::grad(&penalty, [&w]);
        assert!(dw.is_finite());
    }

    #[test]
    fn points_lie_between_their_own_pair() {
        let rng = &mut Pcg64::seed_from_u64(1);
        let (real, fake) = (Tensor::<f64>::ones([50, 2, 2, 1]), Tensor::zeros([50, 2, 2, 1]));
        let between = interpolate(&real, &fake, rng);
        let shares: Vec<f64> = between.as_slice().chunks(4).map(|image| image[0]).collect();
        for (image, share) in between.as_slice().chunks(4).zip(&shares) {
            assert!(image.iter().all(|v| v == share) && (0.0..1.0).contains(share));
        }
        assert!(shares.windows(2).all(|pair| pair[0] != pair[1]));
        let mean = shares.iter().sum::<f64>() / 50.0;
        assert!((mean - 0.5).abs() < 0.15, "{mean}");
    }

    #[test]
    #[should_panic(expected = "must require a gradient")]
    fn images_without_a_gradient_are_refused() {
        let x = Tensor::<f32>::zeros([3, 2]);
        let _ = zero_centered(&x.sum_axes(&[1]), &x);
    }
}
