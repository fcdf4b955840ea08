//! The operations. Each computes its value with a kernel and its derivative with tensor operations.

mod activation;
mod arithmetic;
mod batch_norm;
mod blur;
mod convolution;
mod fused;
mod matmul;
mod max_pool;
mod reduction;
mod resample;
mod reversal;
mod shape;
mod unary;

pub use batch_norm::{BatchMoments, batch_norm, batch_norm_leaky_relu};
pub use convolution::{conv2d, conv2d_input, conv2d_weight};
pub use fused::{affine_leaky_relu, bias_leaky_relu};
pub use shape::concat;
