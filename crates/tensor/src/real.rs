//! The element type: `f32` for training, `f64` for checks.

use crate::kernels::conv::Convolve;
use crate::kernels::gemm::GemmElement;
use crate::kernels::matmul::MultiplyMatrices;
use crate::kernels::scratch::Pooled;
use crate::kernels::simd::Dispatch;
use ndarray::NdFloat;
use num_traits::FloatConst;

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// Element type of a tensor: `f32` or `f64`.
///
/// Training runs in `f32`. Gradient checks and reference values use `f64`, because rounding noise can hide a
/// wrong gradient in `f32`.
pub trait Real:
    NdFloat
    + FloatConst
    + Default
    + Convolve
    + MultiplyMatrices
    + GemmElement
    + Dispatch
    + Pooled
    + sealed::Sealed
{
    /// Name of the type, as in Rust: `"f32"` or `"f64"`.
    const NAME: &'static str;

    /// Nearest value of this type.
    fn from_f64(x: f64) -> Self;

    /// Exact conversion to `f64`.
    fn into_f64(self) -> f64;

    /// The error function `2/√π ∫₀ˣ exp(-t²) dt`.
    fn erf(self) -> Self;
}

impl Real for f32 {
    const NAME: &'static str = "f32";

    fn from_f64(x: f64) -> Self {
        x as f32
    }

    fn into_f64(self) -> f64 {
        f64::from(self)
    }

    fn erf(self) -> Self {
        libm::erff(self)
    }
}

impl Real for f64 {
    const NAME: &'static str = "f64";

    fn from_f64(x: f64) -> Self {
        x
    }

    fn into_f64(self) -> f64 {
        self
    }

    fn erf(self) -> Self {
        libm::erf(self)
    }
}
