//! Adam.

use super::{Rates, RuleOptimizer, UpdateRule};
use engraft_tensor::{Real, parallel, vectorized};
use rayon::prelude::*;

/// Elements per piece of parallel work.
const CHUNK: usize = 16_384;

/// Adam: the mean gradient divided by the root of its mean square, both with bias correction.
///
/// *Source*: Kingma and Ba, "Adam", 2015, algorithm 1.
///
/// ```
/// use engraft_layers::{Adam, Dense, Init, Mode, Module, Optimizer, gradients};
/// use engraft_tensor::Tensor;
///
/// let mut layer = Dense::<f32>::new(2, 1, &mut Init::glorot(1));
/// let mut adam = Adam::new(2e-4).betas(0.5, 0.999);
/// let loss = layer.forward(&Tensor::ones([4, 2]), Mode::Train).square().mean();
/// let found = gradients(&loss, &layer);
/// adam.step(&mut layer, &found);
/// ```
pub type Adam<T = f32> = RuleOptimizer<AdamRule, T>;

/// The update rule of [`Adam`].
#[derive(Clone, Copy, Debug)]
pub struct AdamRule {
    beta1: f64,
    beta2: f64,
    eps: f64,
}

impl<T: Real> Adam<T> {
    /// Adam with betas 0.9 and 0.999 and eps 1e-8.
    pub fn new(lr: f64) -> Self {
        let rule = AdamRule {
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
        };
        Self::with_rule(rule, lr)
    }

    /// Decay rates of the mean gradient and of its mean square, by default 0.9 and 0.999.
    #[must_use]
    pub fn betas(mut self, beta1: f64, beta2: f64) -> Self {
        (self.rule.beta1, self.rule.beta2) = (beta1, beta2);
        self
    }

    /// The number added to the root of the (corrected) mean square, by default 1e-8.
    #[must_use]
    pub fn eps(mut self, eps: f64) -> Self {
        self.rule.eps = eps;
        self
    }
}

impl UpdateRule for AdamRule {
    const KIND: &'static str = "adam";
    const MOMENTS: &'static [&'static str] = &["first_moment", "second_moment"];

    /// One pass over values, gradient and both moments.
    fn update<T: Real>(&self, values: &mut [T], gradient: &[T], moments: &mut [Vec<T>], rates: &Rates) {
        let [m, v] = moments else {
            unreachable!("Adam has two moments");
        };
        let t = i32::try_from(rates.step).unwrap_or(i32::MAX);
        let correction1 = 1.0 - self.beta1.powi(t);
        let correction2 = 1.0 - self.beta2.powi(t);
        let [b1, b2, eps] = [self.beta1, self.beta2, self.eps].map(T::from_f64);
        let [c1, c2] = [1.0 - self.beta1, 1.0 - self.beta2].map(T::from_f64);
        let rate = T::from_f64(rates.lr / correction1);
        let root = T::from_f64(1.0 / correction2.sqrt());
        let keep = T::from_f64(1.0 - rates.lr * rates.weight_decay);
        let piece = |x: &mut [T], g: &[T], m: &mut [T], v: &mut [T]| {
            vectorized(|| {
                for (((x, &g), m), v) in x.iter_mut().zip(g).zip(m).zip(v) {
                    *m = b1 * *m + c1 * g;
                    *v = b2 * *v + c2 * (g * g);
                    *x = keep * *x - rate * *m / (v.sqrt() * root + eps);
                }
            });
        };
        if values.len() <= 2 * CHUNK {
            piece(values, gradient, m, v);
        } else {
            parallel(|| {
                values
                    .par_chunks_mut(CHUNK)
                    .zip(gradient.par_chunks(CHUNK))
                    .zip(m.par_chunks_mut(CHUNK))
                    .zip(v.par_chunks_mut(CHUNK))
                    .for_each(|(((x, g), m), v)| piece(x, g, m, v));
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_tensor::{is_recording, no_grad};
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn the_first_step_is_the_learning_rate_and_decay_is_decoupled() {
        let adam = Adam::<f64>::new(0.1).eps(0.0).rule;
        let rates = Rates {
            lr: 0.1,
            weight_decay: 0.5,
            step: 1,
        };
        let mut x = [1.0_f64, 1.0];
        let mut moments = [vec![0.0_f64; 2], vec![0.0; 2]];
        adam.update(&mut x, &[3.0, -2.0], &mut moments, &rates);
        assert!(
            (x[0] - (0.95 - 0.1)).abs() < 1e-12 && (x[1] - (0.95 + 0.1)).abs() < 1e-12,
            "{x:?}"
        );
        assert!((moments[0][0] - 0.3).abs() < 1e-12 && (moments[1][0] - 0.009).abs() < 1e-12);
    }

    /// A thread that waits for an update may run another task of the pool. That task must find recording on.
    #[test]
    fn tasks_that_share_threads_do_not_share_recording() {
        let rule = Adam::<f32>::new(0.1).rule;
        let rates = Rates {
            lr: 0.1,
            weight_decay: 0.0,
            step: 1,
        };
        let off = AtomicUsize::new(0);
        // Far more threads than cores, so that pieces are stolen and waited for. Many rounds, because the pairing is random.
        let pool = rayon::ThreadPoolBuilder::new().num_threads(16).build().unwrap();
        pool.scope(|s| {
            for _ in 0..1000 {
                s.spawn(|_| {
                    off.fetch_add(usize::from(!is_recording()), Ordering::Relaxed);
                    let [mut x, g, m, v] = std::array::from_fn(|_| vec![1.0_f32; 8 * CHUNK]);
                    let mut moments = [m, v];
                    for _ in 0..2 {
                        no_grad(|| rule.update(&mut x, &g, &mut moments, &rates));
                    }
                });
            }
        });
        assert_eq!(off.into_inner(), 0, "tasks found recording off");
    }
}
