//! Exponential moving average of the generator's weights (EMA).

use engraft_layers::{Buffer, Module, Parameter, Slot, SlotMut, visit, visit_mut};
use engraft_tensor::Real;

/// Exponential moving average of a module's parameters: `ema ← b · ema + (1 - b) · live`.
///
/// `b = 0.5^(batch / half_life)`, so the influence of an image halves after `half_life` more images. At the start
/// of training the half-life is at most 5 % of the images so far, which keeps the random initialization out of the
/// average.
///
/// Running statistics are copied, not averaged. Frozen parameters stay equal to the live ones bit for bit.
///
/// *Source*: Karras et al., "Training generative adversarial networks with limited data", 2020, in the form
/// of its appendix.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ema {
    half_life: u64,
}

impl Ema {
    /// An average in which the influence of an image halves after `half_life` more images.
    pub fn new(half_life: u64) -> Self {
        Self { half_life }
    }

    /// The factor `b` for a batch of `batch` images after `seen` earlier images.
    pub fn decay(&self, batch: usize, seen: u64) -> f64 {
        let half_life = (self.half_life as f64).min(0.05 * seen as f64);
        if half_life > 0.0 {
            0.5_f64.powf(batch as f64 / half_life)
        } else {
            0.0
        }
    }

    #[doc(hidden)] // earlier name of `decay`
    pub fn keep(&self, batch: usize, seen: u64) -> f64 {
        self.decay(batch, seen)
    }

    /// Updates `average` after a training step: `batch` is the number of images in the step, `seen` the number before it.
    ///
    /// # Panics
    /// If the two modules differ in the names, kinds or shapes of what they hold.
    #[track_caller]
    pub fn update<T: Real>(
        &self,
        average: &mut dyn Module<T>,
        live: &dyn Module<T>,
        batch: usize,
        seen: u64,
    ) {
        let keep = T::from_f64(self.decay(batch, seen));
        let mut slots = Vec::new();
        visit(live, |_, slot| match slot {
            Slot::Parameter(p) => slots.push(Live::Parameter(p)),
            Slot::Buffer(b) => slots.push(Live::Buffer(b)),
            Slot::Rng(_) => {}
        });
        let mut slots = slots.into_iter();
        visit_mut(average, |path, slot| match slot {
            SlotMut::Parameter(average) => {
                let Some(Live::Parameter(live)) = slots.next() else {
                    panic!("ema: {path} is not a parameter of the live module")
                };
                let live = live.tensor();
                assert!(
                    live.shape() == average.tensor().shape(),
                    "ema: {path} has shape {:?}, in the live module {:?}",
                    average.tensor().shape(),
                    live.shape()
                );
                average.update(|values| {
                    for (a, &l) in values.iter_mut().zip(live.as_slice()) {
                        // Rounding would change equal values, and so frozen parameters.
                        if *a != l {
                            *a = *a * keep + l * (T::one() - keep);
                        }
                    }
                });
            }
            SlotMut::Buffer(average) => {
                let Some(Live::Buffer(live)) = slots.next() else {
                    panic!("ema: {path} is not a buffer of the live module")
                };
                average.set(&live.tensor());
            }
            SlotMut::Rng(_) => {}
        });
    }
}

/// A parameter or buffer of the live module.
enum Live<'a, T: Real> {
    Parameter(&'a Parameter<T>),
    Buffer(&'a Buffer<T>),
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_layers::{BatchNorm, Dense, Init, Mode, Sequential, parameters};
    use engraft_tensor::Tensor;

    fn net(seed: u64) -> Sequential<f64> {
        Sequential::new()
            .add("dense", Dense::new(2, 1, &mut Init::glorot(seed)).no_bias())
            .add("norm", BatchNorm::new(1))
    }

    #[test]
    fn the_half_life_ramps_up() {
        let average = Ema::new(1000);
        assert_eq!(average.decay(10, 0), 0.0);
        assert!((average.decay(10, 2000) - 0.5_f64.powf(0.1)).abs() < 1e-15);
        assert!((average.decay(1000, 1_000_000) - 0.5).abs() < 1e-15);
    }

    #[test]
    fn parameters_are_averaged_and_statistics_copied() {
        let (mut average, live) = (net(1), net(2));
        let first = |m: &Sequential<f64>| parameters(m)[0].1.tensor().as_slice()[0];
        let (a, l) = (first(&average), first(&live));
        live.forward(&Tensor::from_vec([2, 2], vec![1.0, 2.0, 3.0, 5.0]), Mode::Train);
        Ema::new(100).update(&mut average, &live, 100, 1_000_000);
        assert!((first(&average) - (a + l) / 2.0).abs() < 1e-15);
        let mut same = net(1);
        for _ in 0..9 {
            Ema::new(77).update(&mut same, &net(1), 7, 1_000_000);
        }
        assert_eq!(first(&same), a, "equal values do not change");
        // Without earlier images nothing of the old average remains.
        Ema::new(100).update(&mut average, &live, 100, 0);
        let x = Tensor::ones([1, 2]);
        assert_eq!(
            average.forward(&x, Mode::Eval).as_slice(),
            live.forward(&x, Mode::Eval).as_slice()
        );
    }
}
