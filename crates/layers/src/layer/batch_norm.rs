//! Batch normalization, unconditional and class-conditional.

use crate::condition::Condition;
use crate::layer::embedding::rows;
use crate::mode::Mode;
use crate::module::{Fusion, Module};
use crate::parameter::{Buffer, Parameter, Slot, SlotMut};
use engraft_tensor::shards::once_for_all_shards;
use engraft_tensor::{BatchMoments, Real, Tensor, affine_leaky_relu, batch_norm, batch_norm_leaky_relu};

/// Running mean and variance of each channel, and their update.
#[derive(Clone, Debug)]
struct Running<T: Real> {
    mean: Buffer<T>,
    var: Buffer<T>,
    momentum: f64,
    eps: f64,
}

impl<T: Real> Running<T> {
    fn new(channels: usize) -> Self {
        Self {
            mean: Buffer::new(Tensor::zeros([channels])),
            var: Buffer::new(Tensor::ones([channels])),
            momentum: 0.99,
            eps: 1e-3,
        }
    }

    /// Whether the moments are the running statistics.
    fn is_used(&self, mode: Mode) -> bool {
        mode == Mode::Eval || self.mean.is_frozen() || self.var.is_frozen()
    }

    /// `1 / sqrt(variance + eps)`.
    fn inv_std(&self) -> Tensor<T> {
        (self.var.tensor() + T::from_f64(self.eps)).powf(-0.5)
    }

    /// One update for each batch: the moments are those of all its shards.
    fn follow(&self, moments: &BatchMoments<T>) {
        let count = moments.count as f64;
        let unbiased = count / (count - 1.0).max(1.0);
        once_for_all_shards(|| {
            self.move_towards(&self.mean, &moments.mean, 1.0);
            self.move_towards(&self.var, &moments.variance, unbiased);
        });
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

    fn slots(&self) -> [(&'static str, Slot<'_, T>); 2] {
        let [mean, var] = [&self.mean, &self.var].map(Slot::Buffer);
        [("running_mean", mean), ("running_var", var)]
    }

    fn slots_mut(&mut self) -> [(&'static str, SlotMut<'_, T>); 2] {
        let [mean, var] = [&mut self.mean, &mut self.var].map(SlotMut::Buffer);
        [("running_mean", mean), ("running_var", var)]
    }
}

/// Batch normalization over all axes but the last: `y = weight · (x - mean) / sqrt(variance + eps) + bias`.
///
/// In training mode, the moments are those of the batch (of all its [shards](engraft_tensor::shards)), and the running statistics are updated. In evaluation mode, or
/// if the running statistics are frozen, the moments are the running statistics. The running variance uses the
/// unbiased variance of the batch, as in PyTorch and in TensorFlow's fused kernel.
///
/// *Shapes*: `[.., channels] -> [.., channels]`; all parameters and buffers are `[channels]`.
///
/// *Source*: Ioffe and Szegedy, "Batch Normalization", 2015.
#[derive(Clone, Debug)]
pub struct BatchNorm<T: Real = f32> {
    weight: Parameter<T>,
    bias: Parameter<T>,
    running: Running<T>,
}

impl<T: Real> BatchNorm<T> {
    /// Weight 1, bias 0, running mean 0 and variance 1, momentum 0.99 and eps 1e-3 (the defaults of Keras).
    pub fn new(channels: usize) -> Self {
        Self {
            weight: Parameter::new(Tensor::ones([channels])),
            bias: Parameter::new(Tensor::zeros([channels])),
            running: Running::new(channels),
        }
    }

    /// The share that the running statistics keep in each step, as in Keras. PyTorch's `momentum` is 1 minus this.
    #[must_use]
    pub fn momentum(mut self, momentum: f64) -> Self {
        self.running.momentum = momentum;
        self
    }

    /// The number added to the variance.
    #[must_use]
    pub fn eps(mut self, eps: f64) -> Self {
        self.running.eps = eps;
        self
    }

    /// Scale and shift of each channel with the running statistics.
    fn affine(&self) -> [Tensor<T>; 2] {
        let scale = self.weight.tensor() * self.running.inv_std();
        let shift = self.bias.tensor() - self.running.mean.tensor() * &scale;
        [scale, shift]
    }
}

impl<T: Real> Module<T> for BatchNorm<T> {
    fn forward(&self, x: &Tensor<T>, mode: Mode) -> Tensor<T> {
        if self.running.is_used(mode) {
            return self.forward_leaky_relu(x, &Condition::None, mode, 1.0);
        }
        let (weight, bias) = (self.weight.tensor(), self.bias.tensor());
        let (y, moments) = batch_norm(x, weight, bias, self.running.eps);
        self.running.follow(&moments);
        y
    }

    fn slots(&self) -> Vec<(&str, Slot<'_, T>)> {
        let own = [
            ("weight", Slot::Parameter(&self.weight)),
            ("bias", Slot::Parameter(&self.bias)),
        ];
        own.into_iter().chain(self.running.slots()).collect()
    }

    fn slots_mut(&mut self) -> Vec<(&str, SlotMut<'_, T>)> {
        let own = [
            ("weight", SlotMut::Parameter(&mut self.weight)),
            ("bias", SlotMut::Parameter(&mut self.bias)),
        ];
        own.into_iter().chain(self.running.slots_mut()).collect()
    }

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
        if self.running.is_used(mode) {
            let [scale, shift] = self.affine();
            return affine_leaky_relu(x, &scale, &shift, slope);
        }
        let (weight, bias) = (self.weight.tensor(), self.bias.tensor());
        let (y, moments) = batch_norm_leaky_relu(x, weight, bias, self.running.eps, slope);
        self.running.follow(&moments);
        y
    }

    fn eval_affine(&self) -> Option<[Tensor<T>; 2]> {
        Some(self.affine())
    }
}

/// Class-conditional batch normalization:
/// `y = (1 + scale_k) · (x - mean) / sqrt(variance + eps) + shift_k` for an example of class `k`. All classes share the
/// moments, which are those of [`BatchNorm`].
///
/// Scales and shifts are initially 0, so the layer starts as a plain batch norm. It accepts labels or vectors
/// `c [n, inputs]`. Vectors use `1 + c · scale` and `c · shift`: a mixture of classes, or an embedding of any size.
///
/// *Shapes*: `[n, .., channels] -> [n, .., channels]` under a condition for `n` examples; `scale [inputs, channels]`,
/// `shift [inputs, channels]`, `running_mean [channels]`, `running_var [channels]`.
///
/// *Source*: de Vries et al., "Modulating early visual processing by language", 2017, section 3.1; Dumoulin et al., "A learned
/// representation for artistic style", 2017, equation 5.
///
/// # Panics
/// The forward pass panics without a condition, with a condition for another number of examples, or with an unknown label.
///
/// ```
/// use engraft_layers::{Condition, ConditionalBatchNorm, Conv2d, Init, Mode, Module, ReLU, Sequential};
/// use engraft_tensor::Tensor;
/// let net = Sequential::<f32>::new()
///     .add("conv", Conv2d::new(3, 8, 3, &mut Init::glorot(1)).no_bias())
///     .add("norm", ConditionalBatchNorm::new(10, 8))
///     .add("act", ReLU);
/// let y = net.forward_with(&Tensor::ones([2, 4, 4, 3]), &Condition::from([7, 0]), Mode::Train);
/// assert_eq!(y.shape(), [2, 2, 2, 8]);
/// ```
#[derive(Clone, Debug)]
pub struct ConditionalBatchNorm<T: Real = f32> {
    scale: Parameter<T>,
    shift: Parameter<T>,
    running: Running<T>,
}

impl<T: Real> ConditionalBatchNorm<T> {
    /// Scales and shifts of 0 for `inputs` classes, or for vectors of `inputs` numbers. The rest is as in [`BatchNorm::new`].
    pub fn new(inputs: usize, channels: usize) -> Self {
        Self {
            scale: Parameter::new(Tensor::zeros([inputs, channels])),
            shift: Parameter::new(Tensor::zeros([inputs, channels])),
            running: Running::new(channels),
        }
    }

    /// See [`BatchNorm::momentum`].
    #[must_use]
    pub fn momentum(mut self, momentum: f64) -> Self {
        self.running.momentum = momentum;
        self
    }

    /// See [`BatchNorm::eps`].
    #[must_use]
    pub fn eps(mut self, eps: f64) -> Self {
        self.running.eps = eps;
        self
    }

    fn normalized(&self, x: &Tensor<T>, mode: Mode) -> Tensor<T> {
        if self.running.is_used(mode) {
            let inv_std = self.running.inv_std();
            let shift = -(self.running.mean.tensor() * &inv_std);
            return affine_leaky_relu(x, &inv_std, &shift, 1.0);
        }
        let channels = self.scale.tensor().shape()[1];
        let (ones, zeros) = (Tensor::ones([channels]), Tensor::zeros([channels]));
        let (y, moments) = batch_norm(x, &ones, &zeros, self.running.eps);
        self.running.follow(&moments);
        y
    }
}

impl<T: Real> Module<T> for ConditionalBatchNorm<T> {
    fn forward(&self, x: &Tensor<T>, mode: Mode) -> Tensor<T> {
        self.forward_with(x, &Condition::None, mode)
    }

    fn forward_with(&self, x: &Tensor<T>, condition: &Condition<T>, mode: Mode) -> Tensor<T> {
        let [inputs, channels] = *self.scale.tensor().shape() else {
            unreachable!("the weight is a matrix")
        };
        let rows = rows("ConditionalBatchNorm", condition, inputs);
        let examples = x.shape().first().copied().unwrap_or(0);
        assert!(
            x.rank() > 1 && rows.shape()[0] == examples,
            "ConditionalBatchNorm: an input {:?} under a condition for {} examples",
            x.shape(),
            rows.shape()[0]
        );
        let mut shape = vec![1; x.rank()];
        (shape[0], shape[x.rank() - 1]) = (examples, channels);
        let scale = rows.matmul(self.scale.tensor()) + T::one();
        let shift = rows.matmul(self.shift.tensor());
        self.normalized(x, mode) * scale.reshape(&shape) + shift.reshape(&shape)
    }

    fn slots(&self) -> Vec<(&str, Slot<'_, T>)> {
        let own = [
            ("scale", Slot::Parameter(&self.scale)),
            ("shift", Slot::Parameter(&self.shift)),
        ];
        own.into_iter().chain(self.running.slots()).collect()
    }

    fn slots_mut(&mut self) -> Vec<(&str, SlotMut<'_, T>)> {
        let own = [
            ("scale", SlotMut::Parameter(&mut self.scale)),
            ("shift", SlotMut::Parameter(&mut self.shift)),
        ];
        own.into_iter().chain(self.running.slots_mut()).collect()
    }

    fn describe(&self) -> String {
        let shape = self.scale.tensor().shape();
        format!("ConditionalBatchNorm {}, {} classes", shape[1], shape[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::visit_mut;

    #[test]
    fn running_statistics_by_hand() {
        let norm = BatchNorm::<f64>::new(1).momentum(0.9).eps(0.0);
        let y = norm.forward(&Tensor::from_vec([2, 1], vec![1.0, 5.0]), Mode::Train);
        assert_eq!(y.as_slice(), [-1.0, 1.0]);
        assert!((norm.running.mean.tensor().item() - 0.3).abs() < 1e-15);
        assert!((norm.running.var.tensor().item() - 1.7).abs() < 1e-15); // 0.9 · 1 + 0.1 · 8
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
                norm.running.mean.tensor().item(),
                norm.running.var.tensor().item(),
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
        assert_eq!(norm.running.mean.tensor().as_slice(), [0.0, 0.0]);
    }

    fn conditional() -> ConditionalBatchNorm<f64> {
        let mut norm = ConditionalBatchNorm::new(3, 2).eps(0.1);
        norm.scale
            .set(&Tensor::from_vec([3, 2], vec![0.5, -0.2, 0.1, 1.5, -1.0, 0.3]));
        norm.shift
            .set(&Tensor::from_vec([3, 2], vec![0.0, 0.7, -0.4, 0.2, 1.0, -2.0]));
        norm.running.mean.set(&Tensor::from_vec([2], vec![0.3, -0.1]));
        norm.running.var.set(&Tensor::from_vec([2], vec![0.6, 1.4]));
        norm
    }

    #[test]
    fn each_class_has_a_scale_and_a_shift_and_all_share_the_moments() {
        let norm = conditional();
        let x = Tensor::from_vec([3, 1, 2], vec![1.0, 5.0, -2.0, 0.5, 4.0, 3.0]);
        for mode in [Mode::Eval, Mode::Train] {
            let plain = BatchNorm::<f64>::new(2).eps(0.1);
            plain.running.mean.set(&norm.running.mean.tensor());
            plain.running.var.set(&norm.running.var.tensor());
            let normalized = plain.forward(&x, mode);
            let y = norm.forward_with(&x, &Condition::from([2, 0, 2]), mode);
            let expected = [
                (0, 0.0, 1.0),
                (1, 1.3, -2.0),
                (2, 1.5, 0.0),
                (3, 0.8, 0.7),
                (4, 0.0, 1.0),
                (5, 1.3, -2.0),
            ];
            for (at, scale, shift) in expected {
                let expected = scale * normalized.as_slice()[at] + shift;
                assert!((y.as_slice()[at] - expected).abs() < 1e-12, "{mode:?} {at}");
            }
            assert_eq!(
                norm.running.mean.tensor().as_slice(),
                plain.running.mean.tensor().as_slice()
            );
        }
        // Half of one class and half of another.
        let vectors = Tensor::from_vec([1, 3], vec![0.5, 0.0, 0.5]);
        let x = x.narrow(0, 0, 1);
        let mixed = norm.forward_with(&x, &Condition::Embedding(vectors), Mode::Eval);
        let of = |label: usize| norm.forward_with(&x, &Condition::from([label]), Mode::Eval);
        let mean = (of(0) + of(2)) * 0.5;
        assert!((mixed - mean).abs().as_slice().iter().all(|v| *v < 1e-12));
    }

    #[test]
    #[should_panic(expected = "block.norm: ConditionalBatchNorm: expected a condition (3 classes), got none")]
    fn a_missing_condition_panics_with_the_name_of_the_layer() {
        let block = crate::Sequential::new().add("norm", conditional());
        let net = crate::Sequential::new().add("block", block);
        let _ = net.forward(&Tensor::zeros([1, 2]), Mode::Eval);
    }
}
