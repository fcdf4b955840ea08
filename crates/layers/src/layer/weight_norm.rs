//! A dense layer with weight normalization: a direction and a length per output.

use crate::condition::Condition;
use crate::init::Init;
use crate::mode::Mode;
use crate::module::{Fusion, Module};
use crate::parameter::Parameter;
use crate::slots;
use engraft_tensor::{Real, Tensor, affine_leaky_relu, no_grad};

/// Added to squared lengths, so that a zero weight gives zeros instead of a division by zero.
const TINY: f64 = 1e-12;
/// Added to variances, so that an output that is constant on the data keeps a finite scale.
const STEADY: f64 = 1e-6;

/// `y_j = scale_j · (x · w_j) / ‖w_j‖ + bias_j`, where `w_j` is the weight column of output `j`. Only the direction of
/// a column matters. Its length is the learned `scale_j`.
///
/// *Shapes*: `[n, inputs] -> [n, outputs]`; `weight [inputs, outputs]`, `scale [outputs]`, `bias [outputs]`.
///
/// It supports neither [adapters](crate::Adapter) nor spectral normalization, because both would change the normalization.
///
/// *Source*: Salimans and Kingma, "Weight normalization: a simple reparameterization to accelerate training of deep neural
/// networks", 2016, equation 2.
///
/// ```
/// use engraft_layers::{Init, Mode, Module, WeightNormDense, parameters};
/// use engraft_tensor::Tensor;
///
/// let mut layer = WeightNormDense::<f64>::new(2, 1, &mut Init::glorot(1));
/// let names: Vec<_> = parameters(&layer).into_iter().map(|(name, _)| name).collect();
/// assert_eq!(names, ["weight", "scale", "bias"]);
/// let identity = Tensor::from_vec([2, 2], vec![1.0, 0.0, 0.0, 1.0]);
/// let length = layer.forward(&identity, Mode::Eval).square().sum().item();
/// assert!((length - 1.0).abs() < 1e-9, "the column that is used has length 1");
/// ```
#[derive(Clone, Debug)]
pub struct WeightNormDense<T: Real = f32> {
    weight: Parameter<T>,
    scale: Parameter<T>,
    bias: Parameter<T>,
}

impl<T: Real> WeightNormDense<T> {
    /// A layer with initialized directions, scales of 1 and a zero bias.
    pub fn new(inputs: usize, outputs: usize, init: &mut Init) -> Self {
        Self {
            weight: Parameter::new(init.weight(&[inputs, outputs], inputs, outputs)),
            scale: Parameter::new(Tensor::ones([outputs])),
            bias: Parameter::new(Tensor::zeros([outputs])),
        }
    }

    /// Freezes the scales, so that the layer cannot grow to suppress noise that is added to its outputs.
    #[must_use]
    pub fn fixed_scale(mut self) -> Self {
        self.scale.freeze();
        self
    }

    /// Sets scales and bias so that each output has mean 0 and variance 1 over the rows of `x`, `[n, inputs]`. Frozen
    /// scales are set too.
    ///
    /// *Source*: Salimans and Kingma, 2016, equations 5 and 6.
    ///
    /// # Panics
    /// If `x` has fewer than two rows or another number of inputs.
    #[track_caller]
    pub fn fit(&mut self, x: &Tensor<T>) {
        assert!(
            x.rank() == 2 && x.shape()[0] > 1,
            "weight norm: fit needs at least two rows [n, inputs], got {:?}",
            x.shape()
        );
        no_grad(|| {
            let y = x.matmul(self.weight.tensor()) * self.inverse_length();
            let mean = y.mean_axes(&[0]);
            let variance = (y - &mean).square().mean_axes(&[0]);
            let scale = (variance + T::from_f64(STEADY)).powf(-0.5);
            self.bias.set(&-(mean * &scale));
            self.scale.set(&scale);
        });
    }

    /// `1 / ‖w_j‖`, `[outputs]`.
    fn inverse_length(&self) -> Tensor<T> {
        let squares = self.weight.tensor().square().sum_axes(&[0]);
        (squares + T::from_f64(TINY)).powf(-0.5)
    }
}

impl<T: Real> Module<T> for WeightNormDense<T> {
    fn forward(&self, x: &Tensor<T>, mode: Mode) -> Tensor<T> {
        self.forward_leaky_relu(x, &Condition::None, mode, 1.0)
    }

    slots!(T; Parameter weight, Parameter scale, Parameter bias);

    fn fusion(&self) -> Option<&dyn Fusion<T>> {
        Some(self)
    }

    fn fusion_mut(&mut self) -> Option<&mut dyn Fusion<T>> {
        Some(self)
    }

    fn describe(&self) -> String {
        let shape = self.weight.tensor().shape();
        let fixed = if self.scale.is_trainable() {
            ""
        } else {
            ", fixed scale"
        };
        format!("WeightNormDense {} -> {}{fixed}", shape[0], shape[1])
    }
}

impl<T: Real> Fusion<T> for WeightNormDense<T> {
    /// Scales the product instead of the weight, because it has fewer rows.
    fn forward_leaky_relu(&self, x: &Tensor<T>, _: &Condition<T>, _: Mode, slope: f64) -> Tensor<T> {
        let scale = self.scale.tensor() * self.inverse_length();
        let product = x.matmul(self.weight.tensor());
        affine_leaky_relu(&product, &scale, self.bias.tensor(), slope)
    }

    fn fold_affine(&mut self, scale: &Tensor<T>, shift: &Tensor<T>) -> bool {
        self.scale.set(&(self.scale.tensor() * scale));
        self.bias.set(&(self.bias.tensor() * scale + shift));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BatchNorm, Sequential, gradients};
    use rand::SeedableRng;
    use rand_pcg::Pcg64;

    #[test]
    fn by_hand_and_only_the_direction_counts() {
        let mut layer = WeightNormDense::<f64>::new(2, 2, &mut Init::glorot(1));
        // Columns (3, 4) of length 5 and (0, 2) of length 2.
        layer
            .weight
            .set(&Tensor::from_vec([2, 2], vec![3.0, 0.0, 4.0, 2.0]));
        layer.scale.set(&Tensor::from_vec([2], vec![10.0, 1.0]));
        layer.bias.set(&Tensor::from_vec([2], vec![0.5, -1.0]));
        let x = Tensor::from_vec([1, 2], vec![1.0, 2.0]);
        let near = |found: &Tensor<f64>| {
            let expected = [22.5, 1.0];
            found
                .as_slice()
                .iter()
                .zip(expected)
                .all(|(a, b)| (a - b).abs() < 1e-9)
        };
        assert!(near(&layer.forward(&x, Mode::Train)));
        layer.weight.set(&(layer.weight.tensor() * 7.0));
        assert!(near(&layer.forward(&x, Mode::Train)));
        // So no gradient changes the length.
        let found = gradients(&layer.forward(&x, Mode::Train).square().sum(), &layer);
        let along = (&found["weight"] * layer.weight.tensor()).sum_axes(&[0]);
        assert!(along.as_slice().iter().all(|a| a.abs() < 1e-9), "{along:?}");
    }

    #[test]
    fn fitted_outputs_have_mean_zero_and_variance_one() {
        let mut layer = WeightNormDense::<f64>::new(3, 4, &mut Init::glorot(2)).fixed_scale();
        let x = Tensor::randn([50, 3], &mut Pcg64::seed_from_u64(3)) * 4.0 + 9.0;
        layer.fit(&x);
        let y = layer.forward(&x, Mode::Eval);
        let (mean, square) = (y.mean_axes(&[0]), y.square().mean_axes(&[0]));
        assert!(mean.as_slice().iter().all(|m| m.abs() < 1e-9));
        assert!(square.as_slice().iter().all(|s| (s - 1.0).abs() < 1e-5));
        let learned = gradients(&y.square().sum(), &layer);
        assert_eq!(learned.keys().collect::<Vec<_>>(), ["bias", "weight"]);
        assert_eq!(Module::describe(&layer), "WeightNormDense 3 -> 4, fixed scale");
    }

    #[test]
    fn a_weight_of_zeros_is_finite() {
        let mut layer = WeightNormDense::<f32>::new(2, 1, &mut Init::glorot(1));
        layer.weight.set(&Tensor::zeros([2, 1]));
        let y = layer.forward(&Tensor::ones([2, 2]), Mode::Train);
        assert_eq!(y.as_slice(), [0.0, 0.0]);
        let found = gradients(&y.sum(), &layer);
        assert!(found.values().all(Tensor::is_finite));
        layer.fit(&Tensor::ones([2, 2]));
        assert!(layer.scale.tensor().is_finite() && layer.bias.tensor().is_finite());
    }

    #[test]
    fn a_batch_norm_behind_it_folds_into_it() {
        let norm = BatchNorm::new(2);
        norm.forward(&Tensor::from_vec([2, 2], vec![1.0, 2.0, 5.0, 9.0]), Mode::Train);
        let net = Sequential::<f64>::new()
            .add("dense", WeightNormDense::new(3, 2, &mut Init::glorot(4)))
            .add("norm", norm);
        let x = Tensor::randn([5, 3], &mut Pcg64::seed_from_u64(5));
        let expected = net.forward(&x, Mode::Eval);
        let apart = (net.folded().forward(&x, Mode::Eval) - expected)
            .abs()
            .sum()
            .item();
        assert!(apart < 1e-12, "{apart}");
    }
}
