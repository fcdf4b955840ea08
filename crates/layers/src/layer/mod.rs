//! The layers: each a small module of its own.

mod activation;
mod batch_norm;
mod conv;
mod dense;
mod dropout;
mod embedding;
mod fold;
mod resample;
mod residual;
mod sequential;
mod shape;
mod spectral;

pub use activation::{LeakyReLU, ReLU, Sigmoid, Softplus, Tanh};
pub use batch_norm::BatchNorm;
pub use conv::{Conv2d, ConvTranspose2d};
pub use dense::Dense;
pub use dropout::Dropout;
pub use embedding::{Embedding, one_hot};
pub use resample::{AvgPool2x, Upsample2x};
pub use residual::{GainBias, Residual};
pub use sequential::Sequential;
pub use shape::{Flatten, Reshape};
