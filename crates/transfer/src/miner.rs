//! The miner of MineGAN: a small network that maps latent vectors to the region of the target.

use engraft_layers::{Condition, Dense, Fusion, Init, Mode, Module, Sequential, Slot, SlotMut};
use engraft_tensor::{Real, Tensor};

/// Name of the layer in a generator.
pub(crate) const LAYER: &str = "miner";
/// Maximum width of the hidden layer in settings and files.
pub(crate) const MAX_HIDDEN: usize = 4096;
/// Names of its parameters.
const NAMES: [&str; 4] = ["hidden.weight", "hidden.bias", "out.weight", "out.bias"];
/// Seed of the hidden layer's weight. It is constant, because the weight has no effect before training.
const SEED: u64 = 2;

/// A miner `M(z) = z + relu(z W + b) V + c` in front of a generator `G`, which then generates `G(M(z))`.
///
/// `V` and `c` start at zero, so `G(M(z)) = G(z)` before training. Trained alone, the miner moves latent vectors to the region
/// whose images are closest to the target. The frozen generator cannot produce anything new.
///
/// *Shapes*: `[n, latent] -> [n, latent]`. `hidden.weight [latent, hidden]`, `hidden.bias [hidden]`,
/// `out.weight [hidden, latent]`, `out.bias [latent]`.
///
/// *Source*: Wang et al., "MineGAN: effective knowledge transfer from GANs to target domains with few images", 2020,
/// section 3.1. The residual form, which starts exactly at the source, is this project's own.
///
/// ```
/// use engraft_layers::{Mode, Module, parameter_count};
/// use engraft_tensor::Tensor;
/// use engraft_transfer::Miner;
///
/// let miner = Miner::<f32>::new(4, 8);
/// let z = Tensor::from_vec([1, 4], vec![0.5, -1.0, 2.0, 0.25]);
/// assert_eq!(miner.forward(&z, Mode::Train).as_slice(), z.as_slice());
/// assert_eq!(parameter_count(&miner), 4 * 8 + 8 + 8 * 4 + 4);
/// ```
pub struct Miner<T: Real = f32> {
    latent: usize,
    hidden: Dense<T>,
    out: Dense<T>,
}

impl<T: Real> Miner<T> {
    /// A miner that is the identity, for latent vectors of length `latent` and a hidden layer of width `hidden`.
    ///
    /// # Panics
    /// If a size is 0.
    #[track_caller]
    pub fn new(latent: usize, hidden: usize) -> Self {
        assert!(
            latent > 0 && hidden > 0,
            "Miner: expected sizes above 0, got latent length {latent} and hidden width {hidden}"
        );
        let init = &mut Init::glorot(SEED);
        Self {
            latent,
            hidden: Dense::new(latent, hidden, init),
            out: Dense::new(hidden, latent, init).scaled(0.0),
        }
    }
}

/// Adds a miner in front of a generator.
pub(crate) fn with_miner(generator: Sequential, latent: usize, hidden: usize) -> Sequential {
    generator.add_first(LAYER, Miner::new(latent, hidden))
}

// The parameters are the miner's own slots and its layers are not children. So spectral normalization and adapters, which are
// for the generator's weights, skip it. Spectral normalization would divide by the singular values of a zero matrix.
impl<T: Real> Module<T> for Miner<T> {
    fn forward(&self, x: &Tensor<T>, mode: Mode) -> Tensor<T> {
        assert!(
            x.rank() == 2 && x.shape()[1] == self.latent,
            "Miner: the input must be [n, {}], got {:?}",
            self.latent,
            x.shape()
        );
        let hidden = self.hidden.forward_leaky_relu(x, &Condition::None, mode, 0.0);
        x + self.out.forward(&hidden, mode)
    }

    fn slots(&self) -> Vec<(&str, Slot<'_, T>)> {
        let slots = self.hidden.slots().into_iter().chain(self.out.slots());
        NAMES.into_iter().zip(slots.map(|(_, slot)| slot)).collect()
    }

    fn slots_mut(&mut self) -> Vec<(&str, SlotMut<'_, T>)> {
        let slots = self.hidden.slots_mut().into_iter().chain(self.out.slots_mut());
        NAMES.into_iter().zip(slots.map(|(_, slot)| slot)).collect()
    }

    fn describe(&self) -> String {
        format!(
            "Miner with latent length {}: {}",
            self.latent,
            self.hidden.describe()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_layers::{StateDict, gradients};
    use engraft_tensor::gradcheck;
    use std::slice::from_ref;

    /// Latent length 2 and two hidden units, with weights that are easy to compute with.
    fn miner() -> Miner<f64> {
        let mut miner = Miner::new(2, 2);
        let tensor = |shape: &[usize], values: &[f64]| Tensor::from_vec(shape, values.to_vec());
        let state = StateDict::from_tensors(
            [
                ("hidden.weight".into(), tensor(&[2, 2], &[1.0, 0.0, 2.0, -1.0])),
                ("hidden.bias".into(), tensor(&[2], &[0.5, 0.0])),
                ("out.weight".into(), tensor(&[2, 2], &[1.0, -2.0, 3.0, 5.0])),
                ("out.bias".into(), tensor(&[2], &[0.0, 10.0])),
            ]
            .into(),
        );
        state.apply(&mut miner).unwrap();
        miner
    }

    #[test]
    fn by_hand() {
        // Hidden: (1 + 2·3 + 0.5, -3) = (7.5, 0 after the relu); added: (7.5, -15 + 10).
        let x = Tensor::from_vec([1, 2], vec![1.0, 3.0]);
        let found = miner().forward(&x, Mode::Eval);
        assert_eq!(found.as_slice(), [8.5, -2.0]);
    }

    #[test]
    fn gradients_reach_the_latent_vector_and_all_parameters() {
        let miner = miner();
        let x = Tensor::from_vec([2, 2], vec![1.0, 3.0, -2.0, 0.3]);
        gradcheck(|x| miner.forward(&x[0], Mode::Train), from_ref(&x)).unwrap();
        let learned = gradients(&miner.forward(&x, Mode::Train).square().sum(), &miner);
        assert_eq!(learned.len(), 4);
        // Before training only the output layer has a gradient, which is enough to leave the identity.
        let fresh = Miner::<f64>::new(2, 3);
        let learned = gradients(&fresh.forward(&x, Mode::Train).square().sum(), &fresh);
        let size = |name: &str| learned[name].abs().sum().item();
        assert!(size("out.weight") > 0.0 && size("hidden.weight") == 0.0);
    }

    #[test]
    #[should_panic(expected = "Miner: the input must be [n, 2], got [3, 1]")]
    fn a_latent_vector_of_wrong_length_panics() {
        let _ = miner().forward(&Tensor::zeros([3, 1]), Mode::Eval);
    }
}
