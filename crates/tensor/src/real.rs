//! The element type: `f32` for work, `f64` for the truth.

use crate::kernels::conv::Convolve;
use crate::kernels::gemm::GemmElement;
use crate::kernels::scratch::Pooled;
use crate::kernels::simd::Dispatch;
use ndarray::NdFloat;
use num_traits::FloatConst;

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// Element type of a tensor: `f32` or `f64`, and nothing else.
///
/// Training runs in `f32`. `f64` exists for gradient checks and reference values: in `f32` a wrong
/// gradient hides in rounding noise.
pub trait Real:
    NdFloat + FloatConst + Default + Convolve + GemmElement + Dispatch + Pooled + sealed::Sealed
{
    /// Name as in Rust and in NumPy's short form: `"f32"` or `"f64"`.
    const NAME: &'static str;

    /// Nearest value of this type.
    fn from_f64(x: f64) -> Self;

    /// The value as `f64`; exact.
    fn into_f64(self) -> f64;
}

impl Real for f32 {
    const NAME: &'static str = "f32";

    fn from_f64(x: f64) -> Self {
        x as f32
    }

    fn into_f64(self) -> f64 {
        f64::from(self)
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
}
