//! Batch normalization with batch statistics.

use crate::grad_mode::is_recording;
use crate::kernels::batch_norm::moments;
use crate::kernels::channels::{self, Coefficients, Leaky};
use crate::op::{Op, only};
use crate::ops::activation::{checked_slope, leaky_mask};
use crate::real::Real;
use crate::shards::{merged_moments, shard_mean, summed};
use crate::tensor::Tensor;

/// Mean and variance that a batch was normalized with, one number per channel.
#[derive(Clone, Debug)]
pub struct BatchMoments<T: Real> {
    /// Mean over all axes but the last. Shape `[c]`.
    pub mean: Tensor<T>,
    /// Biased variance (divided by the count) over all axes but the last. Shape `[c]`.
    pub variance: Tensor<T>,
    /// Number of values that each mean averages, in all [shards](crate::shards) of the batch.
    pub count: usize,
}

/// `gamma · (x - mean) / sqrt(variance + eps) + beta`, followed by a leaky ReLU if there is a slope.
///
/// The first-order rule is fused too. When the gradient itself is recorded, the rule runs as tensor
/// operations on the inputs, with mean and variance as functions of `x`. Treating them as constants would be
/// correct at first order and wrong at second.
struct BatchNorm<T: Real> {
    mean: Vec<T>,
    inv_std: Vec<T>,
    eps: T,
    slope: Option<T>,
    /// Rows that the moments average: those of all shards of the batch.
    rows: usize,
}

impl<T: Real> BatchNorm<T> {
    /// The three gradients as tensor operations, differentiable to any order.
    fn composed(&self, inputs: &[Tensor<T>], output: &Tensor<T>, dy: &Tensor<T>) -> [Tensor<T>; 3] {
        let (x, gamma) = (&inputs[0], &inputs[1]);
        let dy = &match self.slope {
            Some(slope) => leaky_mask(dy, &output.detach(), slope),
            None => dy.clone(),
        };
        let axes: Vec<usize> = (0..x.rank() - 1).collect();
        let mean = |x: &Tensor<T>| shard_mean(&x.mean_keep(&axes));
        let centered = x - mean(x);
        let inv_std = (mean(&(&centered * &centered)) + self.eps).powf(-0.5);
        let normalized = centered * &inv_std;
        let d_normalized = dy * gamma;
        let along = mean(&(&d_normalized * &normalized));
        let dx = (&d_normalized - mean(&d_normalized) - &normalized * along) * inv_std;
        [dx, (dy * &normalized).sum_axes(&axes), dy.sum_axes(&axes)]
    }

    /// The same values in two passes: sums over the rows, then the gradient of the input. The sums for the input are those of
    /// all shards; the gradients of scale and shift are this shard's.
    fn fused(
        &self,
        wanted: &[bool],
        inputs: &[Tensor<T>],
        output: &Tensor<T>,
        dy: &Tensor<T>,
    ) -> Vec<Option<Tensor<T>>> {
        let (x, gamma) = (&inputs[0], inputs[1].as_slice());
        let (dy, columns) = (dy.as_slice(), self.mean.len());
        let leaky = Leaky::new(self.slope.unwrap_or_else(T::one));
        // With slope 1 the sign does not matter, so no other array is read.
        let y = self.slope.map_or(dy, |_| output.as_slice());
        let [d_beta, mut d_gamma] = channels::backward_sums(dy, y, x.as_slice(), &self.mean, leaky);
        d_gamma.iter_mut().zip(&self.inv_std).for_each(|(d, &s)| *d *= s);
        let dx = wanted[0].then(|| {
            // gamma · inv_std · (g - mean(g) - x̂ · mean(g · x̂)), with x̂ = (x - mean) · inv_std
            let per_row = T::from_f64(1.0 / self.rows as f64);
            let of = |f: &dyn Fn(usize) -> T| -> Vec<T> { (0..columns).map(f).collect() };
            let of_batch = summed([&d_beta, &d_gamma]);
            let [d_beta, d_gamma] = of_batch.as_ref().map_or([&d_beta, &d_gamma], |[b, g]| [b, g]);
            let a = of(&|j| gamma[j] * self.inv_std[j]);
            let b = of(&|j| -a[j] * self.inv_std[j] * d_gamma[j] * per_row);
            let c = of(&|j| -a[j] * d_beta[j] * per_row);
            let mean = &self.mean;
            let rows = Coefficients { mean, a, b, c };
            let dx = channels::backward_input(dy, y, x.as_slice(), &rows, leaky);
            Tensor::from_array(x.with_shape(dx))
        });
        vec![
            dx,
            wanted[1].then(|| Tensor::from_vec([columns], d_gamma)),
            wanted[2].then(|| Tensor::from_vec([columns], d_beta)),
        ]
    }
}

impl<T: Real> Op<T> for BatchNorm<T> {
    fn name(&self) -> &'static str {
        match self.slope {
            Some(_) => "batch_norm_leaky_relu",
            None => "batch_norm",
        }
    }
    fn vjp(&self, i: usize, inputs: &[Tensor<T>], output: &Tensor<T>, dy: &Tensor<T>) -> Tensor<T> {
        only(i, |wanted| self.vjps(wanted, inputs, output, dy))
    }
    fn vjps(
        &self,
        wanted: &[bool],
        inputs: &[Tensor<T>],
        output: &Tensor<T>,
        dy: &Tensor<T>,
    ) -> Vec<Option<Tensor<T>>> {
        if is_recording() {
            let found = self.composed(inputs, output, dy).into_iter();
            found.zip(wanted).map(|(d, &w)| w.then_some(d)).collect()
        } else {
            self.fused(wanted, inputs, output, dy)
        }
    }
}

#[track_caller]
fn normalize<T: Real>(
    name: &str,
    x: &Tensor<T>,
    gamma: &Tensor<T>,
    beta: &Tensor<T>,
    eps: f64,
    slope: Option<T>,
) -> (Tensor<T>, BatchMoments<T>) {
    let c = *x.shape().last().unwrap_or(&0);
    assert!(
        !x.is_empty() && gamma.shape() == [c] && beta.shape() == [c],
        "{name}: x {:?} needs at least one row, and scale {:?} and shift {:?} must be [{c}]",
        x.shape(),
        gamma.shape(),
        beta.shape()
    );
    let eps = T::from_f64(eps);
    let ([mean, variance], rows) = merged_moments(moments(x.as_slice(), c), x.len() / c);
    let inv_std: Vec<T> = variance.iter().map(|&v| T::one() / (v + eps).sqrt()).collect();
    let scale = inv_std.iter().zip(gamma.as_slice()).map(|(&s, &g)| s * g);
    let scale: Vec<T> = scale.collect();
    let leaky = Leaky::new(slope.unwrap_or_else(T::one));
    let y = channels::affine(x.as_slice(), &mean, &scale, beta.as_slice(), leaky);
    let moments = BatchMoments {
        mean: Tensor::from_vec([c], mean.clone()),
        variance: Tensor::from_vec([c], variance),
        count: rows,
    };
    let op = BatchNorm {
        mean,
        inv_std,
        eps,
        slope,
        rows,
    };
    (Tensor::from_op(x.with_shape(y), op, &[x, gamma, beta]), moments)
}

/// Batch normalization over all axes but the last, with the statistics of this batch:
/// `y = gamma · (x - mean) / sqrt(variance + eps) + beta`, with the biased variance.
///
/// *Shapes*: `x [.., c]`, `gamma [c]`, `beta [c]` -> `y` as `x`, and the moments.
///
/// *Source*: Ioffe and Szegedy, "Batch Normalization", 2015, algorithm 1.
///
/// # Panics
/// If `x` has no axis or no row, or the scale or shift is not `[c]`.
#[track_caller]
pub fn batch_norm<T: Real>(
    x: &Tensor<T>,
    gamma: &Tensor<T>,
    beta: &Tensor<T>,
    eps: f64,
) -> (Tensor<T>, BatchMoments<T>) {
    normalize("batch_norm", x, gamma, beta, eps, None)
}

/// [`batch_norm`] followed by [`Tensor::leaky_relu`], fused. Same values and derivatives with fewer passes over
/// memory. The moments are those of `x`.
///
/// *Shapes*: `x [.., c]`, `gamma [c]`, `beta [c]` -> `y` as `x`, and the moments.
///
/// *Source*: Ioffe and Szegedy, "Batch Normalization", 2015, algorithm 1.
///
/// ```
/// use engraft_tensor::{Tensor, batch_norm_leaky_relu};
/// let x = Tensor::from_vec([2, 1], vec![1.0, 5.0]);
/// let (y, moments) = batch_norm_leaky_relu(&x, &Tensor::ones([1]), &Tensor::zeros([1]), 0.0, 0.5);
/// assert_eq!((y.as_slice(), moments.mean.item()), ([-0.5, 1.0].as_slice(), 3.0));
/// ```
///
/// # Panics
/// If `x` has no axis or no row, the scale or shift is not `[c]`, or the slope is negative or not finite.
#[track_caller]
pub fn batch_norm_leaky_relu<T: Real>(
    x: &Tensor<T>,
    gamma: &Tensor<T>,
    beta: &Tensor<T>,
    eps: f64,
    slope: f64,
) -> (Tensor<T>, BatchMoments<T>) {
    let name = "batch_norm_leaky_relu";
    normalize(name, x, gamma, beta, eps, Some(checked_slope(name, slope)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{grad, grad_with_graph};
    use rand::SeedableRng;
    use rand_pcg::Pcg64;

    #[test]
    fn two_rows_by_hand() {
        let x = Tensor::from_vec([2, 1], vec![1.0_f64, 5.0]);
        let (y, moments) = batch_norm(&x, &Tensor::full([1], 2.0), &Tensor::full([1], 1.0), 0.0);
        assert_eq!(y.as_slice(), [-1.0, 3.0]);
        assert_eq!(
            (moments.mean.item(), moments.variance.item(), moments.count),
            (3.0, 4.0, 2)
        );
    }

    #[test]
    fn two_rows_and_a_leaky_relu_by_hand() {
        let x = Tensor::from_vec([2, 1], vec![1.0_f64, 5.0]).as_leaf();
        let (gamma, beta) = (Tensor::full([1], 2.0).as_leaf(), Tensor::ones([1]).as_leaf());
        let (y, _) = batch_norm_leaky_relu(&x, &gamma, &beta, 0.0, 0.5);
        assert_eq!(y.as_slice(), [-0.5, 3.0]);
        // g = [0.5, 1] and x̂ = [-1, 1]; dx = 2 / 2 · (g - 0.75 - x̂ · 0.25)
        let [dx, d_gamma, d_beta] = grad(&y.sum(), [&x, &gamma, &beta]);
        assert_eq!(dx.as_slice(), [0.0, 0.0]);
        assert_eq!((d_gamma.item(), d_beta.item()), (0.5, 1.5));
    }

    /// The fused rule equals the composed one, with and without leaky ReLU, for a tall and a wide matrix.
    #[test]
    fn the_fused_rule_equals_the_composed_one() {
        let rng = &mut Pcg64::seed_from_u64(3);
        for (shape, c) in [([4, 3, 5, 7], 7), ([3, 2, 2, 1100], 1100)] {
            let x = (Tensor::<f64>::randn(shape, rng) * 3.0 + 2.0).as_leaf();
            let gamma = Tensor::randn([c], rng).as_leaf();
            let beta = Tensor::randn([c], rng).as_leaf();
            let dy = Tensor::randn(shape, rng);
            let plain = batch_norm(&x, &gamma, &beta, 1e-3).0;
            let leaky = batch_norm_leaky_relu(&x, &gamma, &beta, 1e-3, 0.3).0;
            assert_eq!(plain.leaky_relu(0.3).as_slice(), leaky.as_slice());
            for y in [plain, leaky] {
                let loss = (y * &dy).sum();
                let fused = grad(&loss, [&x, &gamma, &beta]);
                let composed = grad_with_graph(&loss, [&x, &gamma, &beta]);
                for (f, c) in fused.iter().zip(&composed) {
                    let difference = (f - c).abs().sum().item() / c.abs().sum().item();
                    assert!(difference < 1e-13, "{difference}");
                }
            }
        }
    }
}
