//! The layers, one file per kind.

mod activation;
pub(crate) mod adapter;
mod axes;
mod batch_norm;
mod conv;
mod dense;
mod dropout;
mod embedding;
mod excitation;
mod noise;
pub(crate) mod parametrization;
mod pixel_norm;
mod resample;
mod residual;
mod sequential;
mod shape;
mod spectral;
mod upsample_conv;
mod weight_norm;

pub use activation::{LeakyReLU, ReLU, Sigmoid, Softplus, Tanh};
pub use adapter::Adapter;
pub use batch_norm::{BatchNorm, ConditionalBatchNorm};
pub use conv::{Conv2d, ConvTranspose2d, Convolution, Direct, KernelMap, Transposed};
pub use dense::Dense;
pub use dropout::Dropout;
pub use embedding::{Embedding, one_hot};
pub use excitation::SkipExcitation;
pub use noise::GaussianNoise;
pub use pixel_norm::PixelNorm;
pub use resample::{AvgPool2x, MaxPool2x, Upsample2x};
pub use residual::{Residual, ScaleShift};
pub use sequential::Sequential;
pub use shape::{Flatten, Reshape};
pub use upsample_conv::UpsampleConv2d;
pub use weight_norm::WeightNormDense;
