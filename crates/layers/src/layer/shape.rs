//! Layers that only change the shape.

use crate::mode::Mode;
use crate::module::Module;
use engraft_tensor::{Real, Tensor};

/// Flattens all axes but the first: `[n, h, w, c] -> [n, h · w · c]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flatten;

impl<T: Real> Module<T> for Flatten {
    fn forward(&self, x: &Tensor<T>, _: Mode) -> Tensor<T> {
        let n = x.shape().first().copied().unwrap_or(1);
        let features = x.shape().iter().skip(1).product();
        x.reshape([n, features])
    }
    fn describe(&self) -> String {
        "Flatten".into()
    }
}

/// Reshapes every example: `[n, ..] -> [n, shape..]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reshape {
    shape: Vec<usize>,
}

impl Reshape {
    /// The new shape of one example, without the batch axis.
    pub fn new(shape: impl Into<Vec<usize>>) -> Self {
        Self { shape: shape.into() }
    }
}

impl<T: Real> Module<T> for Reshape {
    fn forward(&self, x: &Tensor<T>, _: Mode) -> Tensor<T> {
        let mut shape = vec![x.shape().first().copied().unwrap_or(1)];
        shape.extend(&self.shape);
        x.reshape(shape)
    }
    fn describe(&self) -> String {
        format!("Reshape {:?}", self.shape)
    }
}
