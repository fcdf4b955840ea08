//! The operations: each computes its value with a kernel and states its derivative with operations.

mod activation;
mod arithmetic;
mod batch_norm;
mod convolution;
mod matmul;
mod reduction;
mod shape;
mod unary;

pub use batch_norm::{BatchMoments, batch_norm};
pub use convolution::{conv2d, conv2d_input, conv2d_weight};
pub use shape::concat;
