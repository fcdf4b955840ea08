//! Batch normalisation with the statistics of the batch.

use crate::kernels::batch_norm as kernel;
use crate::op::Op;
use crate::real::Real;
use crate::recording::is_recording;
use crate::tensor::Tensor;

/// Mean and variance that a batch was normalised with, one number for each channel.
#[derive(Clone, Debug)]
pub struct BatchMoments<T: Real> {
    /// Mean over all axes but the last. Shape `[c]`.
    pub mean: Tensor<T>,
    /// Biased variance (divided by the count) over all axes but the last. Shape `[c]`.
    pub variance: Tensor<T>,
    /// Number of values behind each mean.
    pub count: usize,
}

/// `gamma · (x - mean) / sqrt(variance + eps) + beta`, in one pass.
///
/// The first-order rule is fused too. When the gradient itself is recorded, the rule is evaluated with
/// tensor operations on the inputs instead, where mean and variance are functions of `x`: treating either
/// as a constant would be right at first order and wrong at second.
struct BatchNorm<T: Real> {
    mean: Vec<T>,
    inv_std: Vec<T>,
    eps: T,
}

impl<T: Real> BatchNorm<T> {
    /// The three gradients with tensor operations, differentiable to any order.
    fn composed(&self, inputs: &[Tensor<T>], dy: &Tensor<T>) -> [Tensor<T>; 3] {
        let (x, gamma) = (&inputs[0], &inputs[1]);
        let axes: Vec<usize> = (0..x.rank() - 1).collect();
        let centred = x - x.mean_keep(&axes);
        let inv_std = ((&centred * &centred).mean_keep(&axes) + self.eps).powf(-0.5);
        let normalised = centred * &inv_std;
        let d_normalised = dy * gamma;
        let along = (&d_normalised * &normalised).mean_keep(&axes);
        let dx = (&d_normalised - d_normalised.mean_keep(&axes) - &normalised * along) * inv_std;
        [dx, (dy * &normalised).sum_axes(&axes), dy.sum_axes(&axes)]
    }

    fn fused(&self, wanted: &[bool], inputs: &[Tensor<T>], dy: &Tensor<T>) -> Vec<Option<Tensor<T>>> {
        let (x, gamma) = (&inputs[0], &inputs[1]);
        let columns = self.mean.len();
        let (d_beta, d_gamma) = kernel::backward_sums(dy.as_slice(), x.as_slice(), &self.mean, &self.inv_std);
        let dx = wanted[0].then(|| {
            Tensor::from_array(x.with_shape(kernel::backward_input(
                dy.as_slice(),
                x.as_slice(),
                &self.mean,
                &self.inv_std,
                gamma.as_slice(),
                (&d_beta, &d_gamma),
            )))
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
        "batch_norm"
    }
    fn vjp(&self, i: usize, inputs: &[Tensor<T>], output: &Tensor<T>, dy: &Tensor<T>) -> Tensor<T> {
        let mut wanted = [false; 3];
        wanted[i] = true;
        self.vjps(&wanted, inputs, output, dy)
            .swap_remove(i)
            .expect("the gradient that was wanted")
    }
    fn vjps(
        &self,
        wanted: &[bool],
        inputs: &[Tensor<T>],
        _: &Tensor<T>,
        dy: &Tensor<T>,
    ) -> Vec<Option<Tensor<T>>> {
        if is_recording() {
            self.composed(inputs, dy)
                .into_iter()
                .zip(wanted)
                .map(|(d, &w)| w.then_some(d))
                .collect()
        } else {
            self.fused(wanted, inputs, dy)
        }
    }
}

/// Batch normalisation over all axes but the last, with the statistics of this batch:
/// `y = gamma · (x - mean) / sqrt(variance + eps) + beta`, the variance biased.
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
    let c = *x.shape().last().unwrap_or(&0);
    assert!(
        !x.is_empty() && gamma.shape() == [c] && beta.shape() == [c],
        "batch_norm: x {:?} needs at least one row, and scale {:?} and shift {:?} must be [{c}]",
        x.shape(),
        gamma.shape(),
        beta.shape()
    );
    let eps = T::from_f64(eps);
    let (mean, variance) = kernel::moments(x.as_slice(), c);
    let inv_std: Vec<T> = variance.iter().map(|&v| T::one() / (v + eps).sqrt()).collect();
    let scale: Vec<T> = inv_std
        .iter()
        .zip(gamma.as_slice())
        .map(|(&s, &g)| s * g)
        .collect();
    let y = kernel::normalise(x.as_slice(), &mean, &scale, beta.as_slice());
    let moments = BatchMoments {
        mean: Tensor::from_vec([c], mean.clone()),
        variance: Tensor::from_vec([c], variance),
        count: x.len() / c,
    };
    let op = BatchNorm { mean, inv_std, eps };
    (Tensor::from_op(x.with_shape(y), op, &[x, gamma, beta]), moments)
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

    /// The fused rule and the one composed from tensor operations must agree.
    #[test]
    fn the_fused_rule_equals_the_composed_one() {
        let rng = &mut Pcg64::seed_from_u64(3);
        let x = (Tensor::<f64>::randn([4, 3, 5, 7], rng) * 3.0 + 2.0).requires_grad();
        let gamma = Tensor::randn([7], rng).requires_grad();
        let beta = Tensor::randn([7], rng).requires_grad();
        let dy = Tensor::randn([4, 3, 5, 7], rng);
        let loss = (batch_norm(&x, &gamma, &beta, 1e-3).0 * dy).sum();
        let fused = grad(&loss, [&x, &gamma, &beta]);
        let composed = grad_with_graph(&loss, [&x, &gamma, &beta]);
        for (f, c) in fused.iter().zip(&composed) {
            let difference = (f - c).abs().sum().item() / c.abs().sum().item();
            assert!(difference < 1e-13, "{difference}");
        }
    }
}
