#![doc = include_str!("../README.md")]

mod eigen;
mod geometry;
mod grad;
mod grad_mode;
mod gradcheck;
mod kernels;
mod op;
mod operation;
mod ops;
mod precision;
mod program;
mod real;
pub mod shards;
mod tensor;
mod trace;

/// Crates whose types appear in the public signatures of this crate.
pub use {ndarray, rand};

pub use eigen::{SymmetricEigen, symmetric_eigen, symmetric_eigenvalues};
pub use geometry::{Geometry, Padding};
pub use grad::{Unreachable, WrongShape, grad, grad_of, grad_of_with_graph, grad_strict, grad_with_graph};
#[doc(hidden)]
pub use grad_mode::parallel;
pub use grad_mode::{is_recording, no_grad};
pub use gradcheck::{GradcheckError, gradcheck, gradgradcheck};
pub use kernels::conv::{ConvAlgorithm, with_conv_algorithm};
#[doc(hidden)] // name in earlier versions
pub use kernels::simd::vectorized as vectorised;
pub use kernels::simd::{cpu_features, has_bf16, has_matrix_unit, instruction_set, vectorized};
pub use op::Op;
pub use operation::Operation;
pub use ops::{
    BatchMoments, Padding1d, affine_leaky_relu, batch_norm, batch_norm_leaky_relu, bias_leaky_relu, concat,
    conv1d, conv2d, conv2d_grouped, conv2d_input, conv2d_weight, select_where, stack,
};
pub use precision::{Precision, UnknownPrecision, current_precision, with_precision};
pub use program::{Node, Program, ProgramError, Step};
pub use real::Real;
pub use tensor::Tensor;
pub use trace::{Trace, TraceNode, TraceValue, trace};
