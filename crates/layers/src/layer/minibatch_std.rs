//! The standard deviation of a batch as a further channel.

use crate::mode::Mode;
use crate::module::Module;
use engraft_tensor::{Real, Tensor, concat};

/// Added to the variance.
const EPSILON: f64 = 1e-8;

/// Minibatch standard deviation: appends a channel with the mean, over pixels and channels, of the standard deviation within a
/// group of examples. It shows a discriminator how much the images of a batch differ, which works against mode collapse.
///
/// Example `i` is in group `i % (n / group)`, so that a batch of halves has both in each group. A last batch that is no whole
/// number of groups is one group. If a batch is computed in micro-batches, groups are formed within each of them.
///
/// *Shapes*: `[n, h, w, c] -> [n, h, w, c + 1]`.
///
/// *Source*: Karras et al., "Progressive growing of GANs for improved quality, stability, and variation", 2018, section 3; groups
/// as in Karras et al., "Analyzing and improving the image quality of StyleGAN", 2020.
///
/// ```
/// use engraft_layers::{MinibatchStd, Mode, Module};
/// use engraft_tensor::Tensor;
/// let y = MinibatchStd::new(4).forward(&Tensor::<f32>::ones([8, 4, 4, 16]), Mode::Train);
/// assert_eq!(y.shape(), [8, 4, 4, 17]);
/// ```
///
/// # Panics
/// The forward pass panics if the input does not have four axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MinibatchStd {
    group: usize,
}

impl MinibatchStd {
    /// Groups of `group` examples, 4 in the source.
    ///
    /// # Panics
    /// If `group` is 0.
    #[track_caller]
    pub fn new(group: usize) -> Self {
        assert!(group > 0, "MinibatchStd: a group has at least one example");
        Self { group }
    }
}

impl<T: Real> Module<T> for MinibatchStd {
    fn forward(&self, x: &Tensor<T>, _: Mode) -> Tensor<T> {
        let &[n, h, w, c] = x.shape() else {
            panic!(
                "MinibatchStd: the input must be [n, h, w, c], got {:?}",
                x.shape()
            )
        };
        let group = if n.is_multiple_of(self.group) {
            self.group
        } else {
            n
        };
        let groups = x.reshape([group, n / group.max(1), h * w * c]);
        let deviation = (groups.var_keep(&[0], 0) + T::from_f64(EPSILON)).sqrt();
        // [1, n / group, 1] to all examples and pixels.
        let mean = deviation
            .mean_keep(&[2])
            .broadcast_to(&[group, n / group.max(1), h * w]);
        concat(&[x, &mean.reshape([n, h, w, 1])], 3)
    }

    fn describe(&self) -> String {
        format!("MinibatchStd {}", self.group)
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
    fn deviations_by_hand() {
        // Groups (0, 2) and (1, 3): deviations 2 and 0.
        let x = Tensor::from_vec([4, 1, 1, 1], vec![1.0_f64, 7.0, 5.0, 7.0]);
        let y = MinibatchStd::new(2).forward(&x, Mode::Train);
        let added: Vec<f64> = y.narrow(3, 1, 1).as_slice().to_vec();
        let expected = [2.0, 1e-4, 2.0, 1e-4];
        assert!(
            added.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-8),
            "{added:?}"
        );
        assert_eq!(y.narrow(3, 0, 1).as_slice(), x.as_slice());
        let odd = MinibatchStd::new(2).forward(&x.narrow(0, 0, 3), Mode::Train);
        assert_eq!(odd.shape(), [3, 1, 1, 2]);
    }

    #[test]
    fn gradients_of_both_orders() {
        let x = Tensor::randn([4, 2, 1, 3], &mut Pcg64::seed_from_u64(1));
        let run = |x: &[Tensor<f64>]| MinibatchStd::new(2).forward(&x[0], Mode::Train);
        gradcheck(run, from_ref(&x)).unwrap();
        gradgradcheck(run, from_ref(&x)).unwrap();
    }
}
