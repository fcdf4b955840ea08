//! Dropout.

use crate::init::Init;
use crate::mode::Mode;
use crate::module::Module;
use crate::parameter::RngState;
use crate::slots;
use engraft_tensor::shards::draw_for_batch;
use engraft_tensor::{Real, Tensor};
use rand::RngExt;

/// Sets each element to zero with probability `rate` in training mode, and divides the rest by `1 - rate` to keep the
/// expectation. The identity in evaluation mode.
///
/// *Source*: Srivastava et al., "Dropout", 2014, in the inverted form.
#[derive(Clone, Debug)]
pub struct Dropout {
    rate: f64,
    generator: RngState,
}

impl Dropout {
    /// Dropout with its own random stream, seeded from `init`.
    ///
    /// # Panics
    /// If the rate is not in `[0, 1)`.
    #[track_caller]
    pub fn new(rate: f64, init: &mut Init) -> Self {
        assert!(
            (0.0..1.0).contains(&rate),
            "dropout: the rate must be in [0, 1), got {rate}"
        );
        Self {
            rate,
            generator: RngState::new(init.generator()),
        }
    }
}

impl<T: Real> Module<T> for Dropout {
    fn forward(&self, x: &Tensor<T>, mode: Mode) -> Tensor<T> {
        if mode == Mode::Eval || self.rate == 0.0 {
            return x.clone();
        }
        let keep = T::from_f64(1.0 / (1.0 - self.rate));
        let mask = draw_for_batch(x.shape(), |shape| {
            self.generator.with(|rng| {
                let draw = |_| {
                    if rng.random::<f64>() < self.rate {
                        T::zero()
                    } else {
                        keep
                    }
                };
                Tensor::from_vec(shape, (0..shape.iter().product()).map(draw).collect())
            })
        });
        x * mask
    }

    slots!(T; Rng generator);

    fn describe(&self) -> String {
        format!("Dropout {}", self.rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_mean_and_its_state_can_be_put_back() {
        let dropout = Dropout::new(0.25, &mut Init::glorot(3));
        let x = Tensor::<f64>::ones([20_000]);
        let state = dropout.generator.state();
        let first = dropout.forward(&x, Mode::Train);
        assert!((first.mean().item() - 1.0).abs() < 0.02);
        let second = dropout.forward(&x, Mode::Train);
        assert_ne!(first.as_slice(), second.as_slice());
        dropout.generator.set(state);
        assert_eq!(dropout.forward(&x, Mode::Train).as_slice(), first.as_slice());
        assert_eq!(dropout.forward(&x, Mode::Eval).as_slice(), x.as_slice());
    }
}
