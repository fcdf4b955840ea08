//! Kernels: loops over slices, without tensors or graphs.
//!
//! Conventions: the destination comes first, and sizes are explicit. The output bits do not depend on the number of
//! threads: parallel work is cut into fixed sizes, and partial results are merged in order.

pub(crate) mod batch_norm;
pub(crate) mod blur;
pub(crate) mod channels;
pub(crate) mod conv;
pub(crate) mod direct;
pub(crate) mod elementwise;
pub(crate) mod gemm;
pub(crate) mod im2col;
pub(crate) mod matmul;
#[cfg(any(test, target_arch = "x86_64"))]
pub(crate) mod matrix_unit;
pub(crate) mod pieces;
pub(crate) mod reduce;
#[cfg(test)]
pub(crate) mod reference;
pub(crate) mod resample;
pub(crate) mod scratch;
pub(crate) mod simd;
pub(crate) mod strided;
pub(crate) mod tile_product;
pub(crate) mod transpose;
pub(crate) mod winograd;
