//! The operations. Each computes its value with a kernel and its derivative with tensor operations.

mod activation;
mod arithmetic;
mod batch_norm;
mod batched;
mod blur;
mod choice;
mod convolution;
mod fused;
mod grouped_conv;
mod indexing;
mod matmul;
mod max_pool;
mod reduction;
mod resample;
mod resize;
mod reversal;
mod shape;
mod unary;

pub use batch_norm::{BatchMoments, batch_norm, batch_norm_leaky_relu};
pub use choice::select_where;
pub use convolution::{conv2d, conv2d_input, conv2d_weight};
pub use fused::{affine_leaky_relu, bias_leaky_relu};
pub use grouped_conv::{Padding1d, conv1d, conv2d_grouped};
pub use indexing::stack;
pub use shape::concat;
