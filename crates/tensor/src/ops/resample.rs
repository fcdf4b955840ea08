//! Nearest-neighbor upsampling and sum pooling by a whole factor.

use crate::kernels::resample::{Lines, repeat, sum_blocks};
use crate::op::Op;
use crate::operation::Operation;
use crate::real::Real;
use crate::tensor::Tensor;
use ndarray::Array4;

/// Repeats every pixel as a block.
struct Upsample {
    factor: usize,
}
/// Sums every block of pixels.
struct SumPool {
    factor: usize,
}

impl<T: Real> Op<T> for Upsample {
    fn name(&self) -> &'static str {
        "upsample_nearest"
    }
    fn operation(&self) -> Option<Operation> {
        Some(Operation::UpsampleNearest { factor: self.factor })
    }
    fn vjp(&self, _: usize, _: &[Tensor<T>], _: &Tensor<T>, dy: &Tensor<T>) -> Tensor<T> {
        dy.sum_pool(self.factor)
    }
}

impl<T: Real> Op<T> for SumPool {
    fn name(&self) -> &'static str {
        "sum_pool"
    }
    fn operation(&self) -> Option<Operation> {
        Some(Operation::SumPool { factor: self.factor })
    }
    fn vjp(&self, _: usize, _: &[Tensor<T>], _: &Tensor<T>, dy: &Tensor<T>) -> Tensor<T> {
        dy.upsample_nearest(self.factor)
    }
}

/// The sizes of an image batch.
#[track_caller]
fn images<T: Real>(op: &str, x: &Tensor<T>, factor: usize) -> [usize; 4] {
    assert!(factor > 0, "{op}: the factor must be at least 1, got 0");
    match *x.shape() {
        [n, h, w, c] => [n, h, w, c],
        _ => panic!("{op}: the input must be [n, h, w, c], got {:?}", x.shape()),
    }
}

impl<T: Real> Tensor<T> {
    /// Nearest-neighbor upsampling: repeats every pixel as a block of `factor · factor` pixels. The adjoint of
    /// [`Tensor::sum_pool`].
    ///
    /// *Shapes*: `[n, h, w, c] -> [n, h · factor, w · factor, c]`.
    ///
    /// ```
    /// use engraft_tensor::Tensor;
    /// let x = Tensor::from_vec([1, 1, 2, 1], vec![1.0, 2.0]);
    /// assert_eq!(x.upsample_nearest(2).as_slice(), [1.0, 1.0, 2.0, 2.0, 1.0, 1.0, 2.0, 2.0]);
    /// ```
    ///
    /// # Panics
    /// If the input does not have four axes, the factor is 0, or the result has more elements than a computer can address.
    #[must_use]
    #[track_caller]
    pub fn upsample_nearest(&self, factor: usize) -> Self {
        let [n, h, width, channels] = images("upsample_nearest", self, factor);
        let larger = factor
            .checked_mul(factor)
            .and_then(|area| self.len().checked_mul(area));
        assert!(
            larger.is_some_and(|count| isize::try_from(count).is_ok()),
            "upsample_nearest: factor {factor} gives too many elements for shape {:?}",
            self.shape()
        );
        let lines = Lines {
            channels,
            width,
            factor,
        };
        let value = Array4::from_shape_vec(
            [n, h * factor, width * factor, channels],
            repeat(self.as_slice(), lines),
        )
        .expect("one block for each pixel");
        Self::from_op(value, Upsample { factor }, &[self])
    }

    /// Sum pooling: sums every block of `factor · factor` pixels. The adjoint of [`Tensor::upsample_nearest`].
    /// Divide by `factor²` for average pooling.
    ///
    /// *Shapes*: `[n, h, w, c] -> [n, h / factor, w / factor, c]`.
    ///
    /// ```
    /// use engraft_tensor::Tensor;
    /// let x = Tensor::from_vec([1, 2, 2, 1], vec![1.0, 2.0, 3.0, 4.0]);
    /// assert_eq!(x.sum_pool(2).as_slice(), [10.0]);
    /// ```
    ///
    /// # Panics
    /// If the input does not have four axes, the factor is 0, or the image is not a whole number of blocks.
    #[must_use]
    #[track_caller]
    pub fn sum_pool(&self, factor: usize) -> Self {
        let [n, h, w, channels] = images("sum_pool", self, factor);
        assert!(
            h.is_multiple_of(factor) && w.is_multiple_of(factor),
            "sum_pool: images of {h}x{w} are not a whole number of blocks of {factor}x{factor} (shape {:?})",
            self.shape()
        );
        let width = w / factor;
        let lines = Lines {
            channels,
            width,
            factor,
        };
        let value = Array4::from_shape_vec(
            [n, h / factor, width, channels],
            sum_blocks(self.as_slice(), lines),
        )
        .expect("one sum for each block");
        Self::from_op(value, SumPool { factor }, &[self])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "gives too many elements")]
    fn a_huge_factor_is_refused() {
        let _ = Tensor::<f32>::zeros([1, 2, 2, 1]).upsample_nearest(usize::MAX / 2);
    }

    #[test]
    fn two_channels_by_hand() {
        // One image of 2x2 pixels with channels (i, 10 i).
        let x = Tensor::from_vec([1, 2, 2, 2], vec![1.0, 10.0, 2.0, 20.0, 3.0, 30.0, 4.0, 40.0]);
        assert_eq!(x.sum_pool(2).as_slice(), [10.0, 100.0]);
        let top = [1.0, 10.0, 1.0, 10.0, 2.0, 20.0, 2.0, 20.0];
        let bottom = [3.0, 30.0, 3.0, 30.0, 4.0, 40.0, 4.0, 40.0];
        let large = x.upsample_nearest(2);
        assert_eq!(large.shape(), [1, 4, 4, 2]);
        assert_eq!(large.as_slice(), [top, top, bottom, bottom].concat());
        assert_eq!((large.sum_pool(2) / 4.0).as_slice(), x.as_slice());
        assert_eq!(x.sum_pool(1).as_slice(), x.upsample_nearest(1).as_slice());
    }
}
