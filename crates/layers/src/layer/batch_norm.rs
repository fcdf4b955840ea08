//! Batch normalisation.

use crate::condition::Condition;
use crate::mode::Mode;
use crate::module::{Fusion, Module};
use crate::parameter::{Buffer, Parameter};
use crate::slots;
use engraft_tensor::{BatchMoments, Real, Tensor, affine_leaky_relu, batch_norm, batch_norm_leaky_relu};

/// Batch normalisation over all axes but the last: `y = weight · (x - mean) / sqrt(variance + eps) + bias`.
///
/// In training the moments are the batch's, and the running ones move to them; in evaluation, or when the
/// running statistics are frozen, the moments are the running ones. The running variance is fed with the
/// unbiased variance of the batch, as in PyTorch and in TensorFlow's fused kernel.
///
/// *Shapes*: `[.., channels] -> [.., channels]`; every parameter and buffer `[channels]`.
///
/// *Source*: Ioffe and Szegedy, "Batch Normalization", 2015.
#[derive(Clone, Debug)]
pub struct BatchNorm<T: Real = f32> {
    weight: Parameter<T>,
    bias: Parameter<T>,
    running_mean: Buffer<T>,
    running_var: Buffer<T>,
    momentum: f64,
    eps: f64,
}

impl<T: Real> BatchNorm<T> {
    /// Weight 1, bias 0, running mean 0 and variance 1, momentum 0.99 and eps 1e-3 (the defaults of Keras).
    pub fn new(channels: usize) -> Self {
        Self {
            weight: Parameter::new(Tensor::ones([channels])),
            bias: Parameter::new(Tensor::zeros([channels])),
            running_mean: Buffer::new(Tensor::zeros([channels])),
            running_var: Buffer::new(Tensor::ones([channels])),
            momentum: 0.99,
            eps: 1e-3,
        }
    }

    /// Share of the running statistics that stays in each step, as in Keras; PyTorch's `momentum` is
    /// 1 minus this.
    #[must_use]
    pub fn momentum(mut self, momentum: f64) -> Self {
        self.momentum = momentum;
        self
    }

    /// What is added to the variance.
    #[must_use]
    pub fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }

    /// Whether the moments are the running ones.
    fn is_affine(&self, mode: Mode) -> bool {
        mode == Mode::Eval || self.running_mean.is_frozen() || self.running_var.is_frozen()
    }

    /// Scale and shift of each channel under the running moments.
    fn affine(&self) -> [Tensor<T>; 2] {
        let inv_std = (self.running_var.tensor() + T::from_f64(self.eps)).powf(-0.5);
        let scale = self.weight.tensor() * inv_std;
        let shift = self.bias.tensor() - self.running_mean.tensor() * &scale;
        [scale, shift]
    }

    fn move_running(&self, moments: &BatchMoments<T>) {
        let count = moments.count as f64;
        let unbiased = count / (count - 1.0).max(1.0);
        self.move_towards(&self.running_mean, &moments.mean, 1.0);
        self.move_towards(&self.running_var, &moments.variance, unbiased);
    }

    fn move_towards(&self, running: &Buffer<T>, batch: &Tensor<T>, factor: f64) {
        if running.is_frozen() {
            return;
        }
        let momentum = running.kept_share(self.momentum);
        let keep = T::from_f64(momentum);
        let share = T::from_f64((1.0 - momentum) * factor);
        running.set(&(running.tensor() * keep + batch * share));
    }
}

impl<T: Real> Module<T> for BatchNorm<T> {
    fn forward(&self, x: &Tensor<T>, mode: Mode) -> Tensor<T> {
        if self.is_affine(mode) {
            return self.forward_leaky_relu(x, &Condition::None, mode, 1.0);
        }
        let (y, moments) = batch_norm(x, self.weight.tensor(), self.bias.tensor(), self.eps);
        self.move_running(&moments);
        y
    }

    slots!(T; Parameter weight, Parameter bias, Buffer running_mean, Buffer running_var);

    fn fusion(&self) -> Option<&dyn Fusion<T>> {
        Some(self)
    }

    fn fusion_mut(&mut self) -> Option<&mut dyn Fusion<T>> {
        Some(self)
    }

    fn describe(&self) -> String {
        format!("BatchNorm {}", self.weight.tensor().len())
    }
}

impl<T: Real> Fusion<T> for BatchNorm<T> {
    fn forward_leaky_relu(&self, x: &Tensor<T>, _: &Condition<T>, mode: Mode, slope: f64) -> Tensor<T> {
        if self.is_affine(mode) {
            let [scale, shift] = self.affine();
            return affine_leaky_relu(x, &scale, &shift, slope);
        }
        let (weight, bias) = (self.weight.tensor(), self.bias.tensor());
        let (y, moments) = batch_norm_leaky_relu(x, weight, bias, self.eps, slope);
        self.move_running(&moments);
        y
    }

    fn eval_affine(&self) -> Option<[Tensor<T>; 2]> {
        Some(self.affine())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SlotMut, visit_mut};

    #[test]
    fn running_statistics_by_hand() {
        let norm = BatchNorm::<f64>::new(1).momentum(0.9).eps(0.0);
        let y = norm.forward(&Tensor::from_vec([2, 1], vec![1.0, 5.0]), Mode::Train);
        assert_eq!(y.as_slice(), [-1.0, 1.0]);
        assert!((norm.running_mean.tensor().item() - 0.3).abs() < 1e-15);
        assert!((norm.running_var.tensor().item() - 1.7).abs() < 1e-15); // 0.9 · 1 + 0.1 · 8
        let y = norm.forward(&Tensor::from_vec([1, 1], vec![0.3]), Mode::Eval);
        assert!(y.item().abs() < 1e-15);
    }

    #[test]
    fn a_mean_of_passes_by_hand() {
        let mut norm = BatchNorm::<f64>::new(1).momentum(0.9);
        let each = |norm: &mut BatchNorm<f64>, change: fn(&mut Buffer<f64>)| {
            visit_mut(norm, |_, slot| {
                if let SlotMut::Buffer(buffer) = slot {
                    change(buffer);
                }
            });
        };
        let pass = |norm: &BatchNorm<f64>, values: [f64; 2]| {
            norm.forward(&Tensor::from_vec([2, 1], values.to_vec()), Mode::Train);
            [
                norm.running_mean.tensor().item(),
                norm.running_var.tensor().item(),
            ]
        };
        pass(&norm, [70.0, 90.0]);
        each(&mut norm, Buffer::begin_mean);
        assert_eq!(pass(&norm, [1.0, 5.0]), [3.0, 8.0]);
        assert_eq!(pass(&norm, [7.0, 7.0]), [5.0, 4.0]);
        let [mean, var] = pass(&norm, [1.0, 3.0]);
        assert!((mean - 4.0).abs() < 1e-12 && (var - 10.0 / 3.0).abs() < 1e-12);
        each(&mut norm, Buffer::end_mean);
        assert!((pass(&norm, [0.0, 0.0])[0] - 3.6).abs() < 1e-12);
    }

    #[test]
    fn frozen_statistics_do_not_move_and_are_used_in_training() {
        let mut norm = BatchNorm::<f32>::new(2);
        visit_mut(&mut norm, |_, slot| {
            if let SlotMut::Buffer(buffer) = slot {
                buffer.freeze();
            }
        });
        let x = Tensor::from_vec([2, 2], vec![1.0, 2.0, 3.0, 4.0]);
        let train = norm.forward(&x, Mode::Train);
        assert_eq!(train.as_slice(), norm.forward(&x, Mode::Eval).as_slice());
        assert_eq!(norm.running_mean.tensor().as_slice(), [0.0, 0.0]);
    }
}
