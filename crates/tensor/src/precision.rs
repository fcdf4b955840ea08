//! Precision of the operands of convolutions and matrix products.

use std::cell::Cell;
use std::fmt;
use std::str::FromStr;

/// Precision of the operands of convolutions and matrix products in `f32`. Sums always have the precision of the tensors,
/// and so does every other operation. Tensors of `f64` are not affected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// Operands as they are stored.
    #[default]
    F32,
    /// Operands are rounded to the nearest bfloat16 number: the exponents of `f32` with 8 instead of 24 bits of precision, a
    /// relative error of at most 1/256. On an AMD CPU [with instructions for it](crate::has_bf16), a convolution takes 0.6 to
    /// 1 times as long, on one with a [matrix unit](crate::has_matrix_unit) 0.4 to 0.9 times. On an Intel CPU with instructions and
    /// without a matrix unit it takes longer than in `f32`.
    Bf16,
}

impl Precision {
    /// The name in settings: `"f32"` or `"bf16"`.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is no [`Precision`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownPrecision(pub String);

impl fmt::Display for UnknownPrecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "precision must be f32 or bf16, got {:?}", self.0)
    }
}

impl std::error::Error for UnknownPrecision {}

impl FromStr for Precision {
    type Err = UnknownPrecision;
    fn from_str(name: &str) -> Result<Self, UnknownPrecision> {
        [Self::F32, Self::Bf16]
            .into_iter()
            .find(|precision| precision.name() == name)
            .ok_or_else(|| UnknownPrecision(name.into()))
    }
}

thread_local! {
    static CURRENT: Cell<Precision> = const { Cell::new(Precision::F32) };
}

/// The precision of convolutions and matrix products that this thread computes now.
pub fn current_precision() -> Precision {
    CURRENT.get()
}

/// Runs `f` with a precision for the convolutions and matrix products of this thread.
///
/// An operation keeps its precision: its gradients have it too, wherever they are computed.
///
/// ```
/// use engraft_tensor::{Precision, Tensor, grad, with_precision};
/// let (a, b) = (Tensor::<f32>::full([1, 1], 1.001).as_leaf(), Tensor::ones([1, 1]).as_leaf());
/// let product = with_precision(Precision::Bf16, || a.matmul(&b));
/// assert_eq!(product.item(), 1.0); // 1.001 rounded to 8 bits
/// let [slope] = grad(&product, [&b]);
/// assert_eq!(slope.item(), 1.0);
/// assert_eq!(a.matmul(&b).item(), 1.001);
/// ```
pub fn with_precision<R>(precision: Precision, f: impl FnOnce() -> R) -> R {
    struct Reset(Precision);
    impl Drop for Reset {
        fn drop(&mut self) {
            CURRENT.set(self.0);
        }
    }
    let _reset = Reset(CURRENT.replace(precision));
    f()
}
