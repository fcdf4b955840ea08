//! Activation functions as layers.

use crate::mode::Mode;
use crate::module::{Fusion, Module};
use engraft_tensor::{Real, Tensor};

/// `x` where positive, `slope · x` elsewhere.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LeakyReLU {
    slope: f64,
}

impl LeakyReLU {
    /// `slope` applies to negative inputs. Keras 2 uses 0.3, PyTorch 0.01, the DCGAN paper 0.2.
    pub fn new(slope: f64) -> Self {
        Self { slope }
    }
}

impl<T: Real> Module<T> for LeakyReLU {
    fn forward(&self, x: &Tensor<T>, _: Mode) -> Tensor<T> {
        x.leaky_relu(self.slope)
    }
    fn fusion(&self) -> Option<&dyn Fusion<T>> {
        Some(self)
    }
    fn describe(&self) -> String {
        format!("LeakyReLU {}", self.slope)
    }
}

impl<T: Real> Fusion<T> for LeakyReLU {
    fn as_leaky_relu(&self) -> Option<f64> {
        let finite = T::from_f64(self.slope).is_finite();
        (finite && self.slope >= 0.0).then_some(self.slope)
    }
}

/// `max(x, 0)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReLU;

impl<T: Real> Module<T> for ReLU {
    fn forward(&self, x: &Tensor<T>, _: Mode) -> Tensor<T> {
        x.relu()
    }
    fn fusion(&self) -> Option<&dyn Fusion<T>> {
        Some(self)
    }
    fn describe(&self) -> String {
        "ReLU".into()
    }
}

impl<T: Real> Fusion<T> for ReLU {
    fn as_leaky_relu(&self) -> Option<f64> {
        Some(0.0)
    }
}

macro_rules! activation {
    ($name:ident, $method:ident, $doc:literal) => {
        #[doc = $doc]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name;
        impl<T: Real> Module<T> for $name {
            fn forward(&self, x: &Tensor<T>, _: Mode) -> Tensor<T> {
                x.$method()
            }
            fn describe(&self) -> String {
                stringify!($name).into()
            }
        }
    };
}

activation!(Tanh, tanh, "Hyperbolic tangent.");
activation!(Sigmoid, sigmoid, "Logistic function `1 / (1 + e^-x)`.");
activation!(Softplus, softplus, "`ln(1 + e^x)`.");
activation!(
    Gelu,
    gelu,
    "`x` times the distribution function of the normal distribution."
);
activation!(SiLU, silu, "`x · sigmoid(x)`, also called swish.");
