//! Initial values of weights, from a seeded random stream.

use engraft_tensor::{Real, Tensor};
use rand::{Rng, SeedableRng};
use rand_distr::{Distribution, Normal};
use rand_pcg::Pcg64;

/// Distribution of the initial weights.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Scheme {
    GlorotUniform,
    HeNormal,
    Normal { std: f64 },
}

/// A seeded source of initial weights. All layers of a network share one, in order.
///
/// ```
/// use engraft_layers::{Dense, Init, Module, Mode};
/// use engraft_tensor::Tensor;
/// let mut init = Init::glorot(7);
/// let layer = Dense::<f32>::new(3, 2, &mut init);
/// assert_eq!(layer.forward(&Tensor::ones([5, 3]), Mode::Eval).shape(), [5, 2]);
/// ```
#[derive(Clone, Debug)]
pub struct Init {
    scheme: Scheme,
    rng: Pcg64,
}

impl Init {
    fn new(scheme: Scheme, seed: u64) -> Self {
        Self {
            scheme,
            rng: Pcg64::seed_from_u64(seed),
        }
    }

    /// Uniform on `±sqrt(6 / (fan_in + fan_out))`, the default of Keras.
    ///
    /// *Source*: Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural
    /// networks", 2010, equation 16.
    pub fn glorot(seed: u64) -> Self {
        Self::new(Scheme::GlorotUniform, seed)
    }

    /// Normal with standard deviation `sqrt(2 / fan_in)`, for layers before a ReLU.
    ///
    /// *Source*: He et al., "Delving deep into rectifiers", 2015, equation 10.
    pub fn he(seed: u64) -> Self {
        Self::new(Scheme::HeNormal, seed)
    }

    /// Normal with a fixed standard deviation. The DCGAN paper uses 0.02.
    ///
    /// # Panics
    /// If the standard deviation is negative or not finite.
    #[track_caller]
    pub fn normal(seed: u64, std: f64) -> Self {
        assert!(
            std.is_finite() && std >= 0.0,
            "Init::normal: the standard deviation must be finite and not negative, got {std:?}"
        );
        Self::new(Scheme::Normal { std }, seed)
    }

    /// A weight of the given shape. `fan_in` is the number of terms of each output's sum, `fan_out` the number of outputs
    /// that each input contributes to.
    pub fn weight<T: Real>(&mut self, shape: &[usize], fan_in: usize, fan_out: usize) -> Tensor<T> {
        match self.scheme {
            Scheme::GlorotUniform => {
                let limit = (6.0 / (fan_in + fan_out).max(1) as f64).sqrt();
                Tensor::uniform(shape, -limit, limit, &mut self.rng)
            }
            Scheme::HeNormal => self.normal_weight(shape, (2.0 / fan_in.max(1) as f64).sqrt()),
            Scheme::Normal { std } => self.normal_weight(shape, std),
        }
    }

    fn normal_weight<T: Real>(&mut self, shape: &[usize], std: f64) -> Tensor<T> {
        let normal = Normal::new(0.0, std).expect("the standard deviation is finite and not negative");
        let count = shape.iter().product();
        Tensor::from_vec(
            shape,
            (0..count)
                .map(|_| T::from_f64(normal.sample(&mut self.rng)))
                .collect(),
        )
    }

    /// A random stream for a layer that draws random numbers as it runs, such as dropout.
    pub fn generator(&mut self) -> Pcg64 {
        Pcg64::seed_from_u64(self.rng.next_u64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn std(x: &Tensor<f64>) -> f64 {
        let mean = x.mean().item();
        (x - &Tensor::scalar(mean)).square().mean().item().sqrt()
    }

    #[test]
    fn standard_deviations_are_those_of_the_papers() {
        let shape = [200, 300];
        let uniform = Init::glorot(1).weight::<f64>(&shape, 200, 300);
        let limit = (6.0 / 500.0_f64).sqrt();
        assert!(uniform.as_slice().iter().all(|v| v.abs() <= limit));
        assert!((std(&uniform) / (limit / 3.0_f64.sqrt()) - 1.0).abs() < 0.01);
        assert!((std(&Init::he(1).weight(&shape, 200, 300)) / 0.1 - 1.0).abs() < 0.01);
        assert!((std(&Init::normal(1, 0.02).weight(&shape, 1, 1)) / 0.02 - 1.0).abs() < 0.01);
    }

    #[test]
    fn an_invalid_standard_deviation_panics_at_once() {
        for (std, text) in [(f64::NAN, "NaN"), (f64::INFINITY, "inf"), (-0.5, "-0.5")] {
            let panic = std::panic::catch_unwind(|| Init::normal(1, std)).unwrap_err();
            let message = panic.downcast_ref::<String>().unwrap();
            assert!(
                message.ends_with(&format!("not negative, got {text}")),
                "{message}"
            );
        }
    }

    #[test]
    fn one_seed_one_weight_in_both_precisions() {
        let a = Init::glorot(5).weight::<f64>(&[10], 3, 4);
        let b = Init::glorot(5).weight::<f32>(&[10], 3, 4);
        assert_eq!(a.cast::<f32>().as_slice(), b.as_slice());
        assert_ne!(
            Init::glorot(6).weight::<f64>(&[10], 3, 4).as_slice(),
            a.as_slice()
        );
    }
}
