//! The layers: each a small module of its own.

mod activation;
mod batch_norm;
mod conv;
mod dense;
mod dropout;
mod fold;
mod sequential;
mod shape;
mod spectral;

pub use activation::{LeakyReLU, ReLU, Sigmoid, Softplus, Tanh};
pub use batch_norm::BatchNorm;
pub use conv::{Conv2d, ConvTranspose2d};
pub use dense::Dense;
pub use dropout::Dropout;
pub use sequential::Sequential;
pub use shape::{Flatten, Reshape};
