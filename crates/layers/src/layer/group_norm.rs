//! Normalizations of single examples: layer norm, group norm, instance norm.

use crate::mode::Mode;
use crate::module::Module;
use crate::parameter::Parameter;
use crate::slots;
use engraft_tensor::{Real, Tensor};

/// Added to the variance, as in PyTorch.
const EPSILON: f64 = 1e-5;

/// Normalizes the numbers along the last axis to mean 0 and variance 1, then scales and shifts each. The result for an example
/// does not depend on other examples.
///
/// `y = (x - mean) / sqrt(variance + 1e-5) · weight + bias`, PyTorch's `LayerNorm` over the last axis.
///
/// *Shapes*: `[.., c]`, unchanged; `weight [c]`, initially 1, `bias [c]`, initially 0.
///
/// *Source*: Ba, Kiros and Hinton, "Layer normalization", 2016, equation 4.
///
/// # Panics
/// The forward pass panics if the last axis has another size.
#[derive(Clone, Debug)]
pub struct LayerNorm<T: Real = f32> {
    weight: Parameter<T>,
    bias: Parameter<T>,
}

impl<T: Real> LayerNorm<T> {
    /// A layer for `channels` numbers.
    pub fn new(channels: usize) -> Self {
        Self {
            weight: Parameter::new(Tensor::ones([channels])),
            bias: Parameter::new(Tensor::zeros([channels])),
        }
    }
}

impl<T: Real> Module<T> for LayerNorm<T> {
    fn forward(&self, x: &Tensor<T>, _: Mode) -> Tensor<T> {
        check("LayerNorm", x, self.weight.tensor().len());
        normalized(x, &[x.rank() - 1]) * self.weight.tensor() + self.bias.tensor()
    }

    slots!(T; Parameter weight, Parameter bias);

    fn describe(&self) -> String {
        "LayerNorm".into()
    }
}

/// Normalizes each group of channels of an example over all its pixels, then scales and shifts each channel. The result for an
/// example does not depend on other examples.
///
/// With one group per channel it is an instance norm ([`GroupNorm::instance`]).
///
/// *Shapes*: `[n, .., c]`, unchanged; `weight [c]`, initially 1, `bias [c]`, initially 0.
///
/// *Source*: Wu and He, "Group normalization", 2018, equations 2 and 7; instance norm: Ulyanov, Vedaldi and Lempitsky, "Instance
/// normalization: the missing ingredient for fast stylization", 2016.
///
/// ```
/// use engraft_layers::{GroupNorm, Mode, Module};
/// use engraft_tensor::Tensor;
/// let y = GroupNorm::new(4, 2).forward(&Tensor::<f32>::ones([3, 8, 8, 4]), Mode::Train);
/// assert_eq!(y.shape(), [3, 8, 8, 4]);
/// ```
///
/// # Panics
/// The forward pass panics if the last axis has another size.
#[derive(Clone, Debug)]
pub struct GroupNorm<T: Real = f32> {
    weight: Parameter<T>,
    bias: Parameter<T>,
    groups: usize,
}

impl<T: Real> GroupNorm<T> {
    /// A layer for `channels` channels in `groups` groups of neighbors.
    ///
    /// # Panics
    /// If the channels are not a whole number of groups.
    #[track_caller]
    pub fn new(channels: usize, groups: usize) -> Self {
        assert!(
            groups > 0 && channels.is_multiple_of(groups),
            "GroupNorm: {channels} channels are not a whole number of {groups} groups"
        );
        Self {
            weight: Parameter::new(Tensor::ones([channels])),
            bias: Parameter::new(Tensor::zeros([channels])),
            groups,
        }
    }

    /// One group per channel: an instance norm.
    pub fn instance(channels: usize) -> Self {
        Self::new(channels, channels)
    }
}

impl<T: Real> Module<T> for GroupNorm<T> {
    fn forward(&self, x: &Tensor<T>, _: Mode) -> Tensor<T> {
        let channels = self.weight.tensor().len();
        check("GroupNorm", x, channels);
        let n = x.shape()[0];
        let pixels: usize = x.shape()[1..x.rank() - 1].iter().product();
        let groups = x.reshape([n, pixels, self.groups, channels / self.groups]);
        normalized(&groups, &[1, 3]).reshape(x.shape()) * self.weight.tensor() + self.bias.tensor()
    }

    slots!(T; Parameter weight, Parameter bias);

    fn describe(&self) -> String {
        format!("GroupNorm {}", self.groups)
    }
}

/// Mean 0 and variance 1 over the given axes.
fn normalized<T: Real>(x: &Tensor<T>, axes: &[usize]) -> Tensor<T> {
    let centered = x - x.mean_keep(axes);
    let variance = centered.square().mean_keep(axes);
    centered * (variance + T::from_f64(EPSILON)).powf(-0.5)
}

#[track_caller]
fn check<T: Real>(name: &str, x: &Tensor<T>, channels: usize) {
    assert!(
        x.rank() >= 2 && x.shape().last() == Some(&channels),
        "{name}: expected [n, .., {channels}], got {:?}",
        x.shape()
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_tensor::{gradcheck, gradgradcheck};
    use rand::SeedableRng;
    use rand_pcg::Pcg64;
    use std::slice::from_ref;

    #[test]
    fn groups_by_hand() {
        // One pixel with the groups (1, 3) and (5, 5).
        let x = Tensor::from_vec([1, 1, 1, 4], vec![1.0_f64, 3.0, 5.0, 5.0]);
        let mut layer = GroupNorm::new(4, 2);
        layer.bias.set(&Tensor::full([4], 2.0));
        let y = layer.forward(&x, Mode::Train);
        let close = |y: &Tensor<f64>, expected: &[f64]| {
            let pairs = y.as_slice().iter().zip(expected);
            pairs.fold(0.0, |most: f64, (a, b)| most.max((a - b).abs())) < 1e-5
        };
        assert!(close(&y, &[1.0, 3.0, 2.0, 2.0]), "{y:?}");
        let y = LayerNorm::new(2).forward(&Tensor::from_vec([1, 2], vec![-3.0_f64, 1.0]), Mode::Eval);
        assert!(close(&y, &[-1.0, 1.0]), "{y:?}");
    }

    #[test]
    fn an_example_does_not_depend_on_others() {
        let x = Tensor::<f64>::randn([3, 2, 2, 4], &mut Pcg64::seed_from_u64(1));
        let layer = GroupNorm::instance(4);
        let alone = layer.forward(&x.narrow(0, 1, 1), Mode::Train);
        let together = layer.forward(&x, Mode::Train).narrow(0, 1, 1);
        assert_eq!(alone.as_slice(), together.as_slice());
    }

    #[test]
    fn gradients_of_both_orders() {
        let x = Tensor::randn([2, 3, 1, 4], &mut Pcg64::seed_from_u64(2));
        for layer in [
            &GroupNorm::new(4, 2) as &dyn Module<f64>,
            &GroupNorm::instance(4),
            &LayerNorm::new(4),
        ] {
            let run = |x: &[Tensor<f64>]| layer.forward(&x[0], Mode::Train);
            gradcheck(run, from_ref(&x)).unwrap();
            gradgradcheck(run, from_ref(&x)).unwrap();
        }
    }
}
