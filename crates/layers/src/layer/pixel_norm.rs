//! Normalization of each pixel over its channels.

use crate::mode::Mode;
use crate::module::Module;
use engraft_tensor::{Real, Tensor};

/// Added to the mean of squares.
const EPSILON: f64 = 1e-8;

/// Pixel norm: divides the numbers along the last axis by the root of their mean square. It has no parameters. The result
/// for an example does not depend on other examples.
///
/// `y = x / sqrt(mean(x²) + 1e-8)`, the mean over the channels of a pixel, or over the numbers of a vector.
///
/// *Shapes*: any, unchanged.
///
/// *Source*: Karras et al., "Progressive growing of GANs for improved quality, stability, and variation", 2018,
/// section 4.2.
///
/// ```
/// use engraft_layers::{Mode, Module, PixelNorm};
/// use engraft_tensor::Tensor;
/// let y = PixelNorm.forward(&Tensor::from_vec([1, 2], vec![3.0_f64, 4.0]), Mode::Eval);
/// assert!((y.square().mean().item() - 1.0).abs() < 1e-9);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PixelNorm;

impl<T: Real> Module<T> for PixelNorm {
    fn forward(&self, x: &Tensor<T>, _: Mode) -> Tensor<T> {
        let last = x.rank() - 1;
        x * (x.square().mean_keep(&[last]) + T::from_f64(EPSILON)).powf(-0.5)
    }

    fn describe(&self) -> String {
        "PixelNorm".into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_tensor::{gradcheck, gradgradcheck};
    use rand::SeedableRng;
    use rand_pcg::Pcg64;
    use std::slice::from_ref;

    #[test]
    fn a_pixel_by_hand_and_gradients_at_both_orders() {
        let x = Tensor::from_vec([1, 1, 2, 2], vec![1.0_f64, -1.0, 0.0, 2.0]);
        let y = PixelNorm.forward(&x, Mode::Eval);
        let expected = [1.0, -1.0, 0.0, 2.0 / 2.0_f64.sqrt()];
        assert!(
            y.as_slice()
                .iter()
                .zip(expected)
                .all(|(a, b)| (a - b).abs() < 1e-7)
        );
        let zero = PixelNorm.forward(&Tensor::<f64>::zeros([1, 3]), Mode::Eval);
        assert!(zero.as_slice().iter().all(|v| *v == 0.0));
        let x = Tensor::<f64>::randn([2, 2, 1, 3], &mut Pcg64::seed_from_u64(1));
        let run = |t: &[Tensor<f64>]| PixelNorm.forward(&t[0], Mode::Train);
        gradcheck(run, from_ref(&x)).unwrap();
        gradgradcheck(run, &[x]).unwrap();
    }
}
