//! The element type: `f32` for training, `f64` for checks.

use crate::kernels::conv::Convolve;
use crate::kernels::direct::rounded_copy;
use crate::kernels::gemm::GemmElement;
use crate::kernels::scratch::{Pooled, Scratch};
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
    NdFloat + FloatConst + Default + Convolve + GemmElement + Dispatch + Pooled + sealed::Sealed
{
    /// Name of the type, as in Rust: `"f32"` or `"f64"`.
    const NAME: &'static str;

    /// Nearest value of this type.
    fn from_f64(x: f64) -> Self;

    /// Exact conversion to `f64`.
    fn into_f64(self) -> f64;

    /// The error function `2/√π ∫₀ˣ exp(-t²) dt`.
    fn erf(self) -> Self;

    /// A copy rounded to the nearest bfloat16 numbers; `None` for a type that is not rounded.
    #[doc(hidden)]
    fn rounded_to_bf16(x: &[Self]) -> Option<Scratch<Self>>;
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

    fn rounded_to_bf16(x: &[Self]) -> Option<Scratch<Self>> {
        Some(rounded_copy(x))
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

    fn rounded_to_bf16(_: &[Self]) -> Option<Scratch<Self>> {
        None
    }
}
