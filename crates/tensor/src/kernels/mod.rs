//! Kernels: loops over slices that know no tensor and no graph.
//!
//! Destination first, sizes explicit, output bits independent of the number of threads: parallel work
//! is cut by fixed sizes, never by the thread count, and partial results are folded in order.

pub(crate) mod batch_norm;
pub(crate) mod channels;
pub(crate) mod conv;
pub(crate) mod elementwise;
pub(crate) mod gemm;
pub(crate) mod im2col;
pub(crate) mod reduce;
#[cfg(test)]
pub(crate) mod reference;
pub(crate) mod resample;
pub(crate) mod scratch;
pub(crate) mod simd;
pub(crate) mod strided;
pub(crate) mod tile_product;
pub(crate) mod winograd;
