//! Gaussian noise.

use crate::init::Init;
use crate::mode::Mode;
use crate::module::Module;
use crate::parameter::RngState;
use crate::slots;
use engraft_tensor::shards::draw_for_batch;
use engraft_tensor::{Real, Tensor};

/// Adds independent normal noise with a fixed standard deviation in training mode. The identity in evaluation mode.
///
/// *Source*: Bishop, "Training with noise is equivalent to Tikhonov regularization", 1995.
#[derive(Clone, Debug)]
pub struct GaussianNoise {
    std: f64,
    generator: RngState,
}

impl GaussianNoise {
    /// Noise with its own random stream, seeded from `init`.
    ///
    /// # Panics
    /// If the standard deviation is negative or not finite.
    #[track_caller]
    pub fn new(std: f64, init: &mut Init) -> Self {
        assert!(
            std >= 0.0 && std.is_finite(),
            "noise: the standard deviation must be finite and not negative, got {std}"
        );
        Self {
            std,
            generator: RngState::new(init.generator()),
        }
    }
}

impl<T: Real> Module<T> for GaussianNoise {
    fn forward(&self, x: &Tensor<T>, mode: Mode) -> Tensor<T> {
        if mode == Mode::Eval || self.std == 0.0 {
            return x.clone();
        }
        let noise = draw_for_batch(x.shape(), |shape| {
            self.generator.with(|rng| Tensor::randn(shape, rng))
        });
        x + noise * T::from_f64(self.std)
    }

    slots!(T; Rng generator);

    fn describe(&self) -> String {
        format!("GaussianNoise {}", self.std)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_deviation_is_right_and_the_state_can_be_restored() {
        let noise = GaussianNoise::new(0.5, &mut Init::glorot(3));
        let x = Tensor::<f64>::full([20_000], 2.0);
        let state = noise.generator.state();
        let first = noise.forward(&x, Mode::Train);
        let deviation = (&first - &x).square().mean().item().sqrt();
        assert!((first.mean().item() - 2.0).abs() < 0.02 && (deviation - 0.5).abs() < 0.01);
        assert_ne!(noise.forward(&x, Mode::Train).as_slice(), first.as_slice());
        noise.generator.set(state);
        assert_eq!(noise.forward(&x, Mode::Train).as_slice(), first.as_slice());
        assert_eq!(noise.forward(&x, Mode::Eval).as_slice(), x.as_slice());
    }

    #[test]
    #[should_panic(expected = "must be finite and not negative, got -1")]
    fn a_negative_standard_deviation_panics() {
        GaussianNoise::new(-1.0, &mut Init::glorot(1));
    }
}
