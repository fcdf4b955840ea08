//! Smoothing of images by the binomial 3x3 filter.

use crate::kernels::blur::blur;
use crate::op::Op;
use crate::operation::Operation;
use crate::real::Real;
use crate::tensor::Tensor;
use ndarray::Array4;

/// The filter is symmetric, so it is its own adjoint.
struct Blur;

impl<T: Real> Op<T> for Blur {
    fn name(&self) -> &'static str {
        "blur"
    }
    fn operation(&self) -> Option<Operation> {
        Some(Operation::Blur)
    }
    fn vjp(&self, _: usize, _: &[Tensor<T>], _: &Tensor<T>, dy: &Tensor<T>) -> Tensor<T> {
        dy.blur()
    }
}

impl<T: Real> Tensor<T> {
    /// Filters every channel with the binomial kernel `[1, 2, 1]ᵀ [1, 2, 1] / 16`. Pixels outside the image are 0.
    ///
    /// After [`upsample_nearest(2)`](Tensor::upsample_nearest) it gives bilinear upsampling by 2, except at the border.
    ///
    /// *Shapes*: `[n, h, w, c] -> [n, h, w, c]`.
    ///
    /// *Source*: Zhang, "Making convolutional networks shift-invariant again", 2019.
    ///
    /// ```
    /// use engraft_tensor::Tensor;
    /// let x = Tensor::from_vec([1, 1, 3, 1], vec![0.0, 8.0, 0.0]);
    /// assert_eq!(x.blur().as_slice(), [1.0, 2.0, 1.0]);
    /// ```
    ///
    /// # Panics
    /// If the input does not have four axes.
    #[must_use]
    #[track_caller]
    pub fn blur(&self) -> Self {
        let [n, h, w, c] = *self.shape() else {
            panic!("blur: the input must be [n, h, w, c], got {:?}", self.shape())
        };
        let value = Array4::from_shape_vec([n, h, w, c], blur(self.as_slice(), [h, w, c]))
            .expect("one value for each pixel");
        Self::from_op(value, Blur, &[self])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against the definition, on more numbers than one piece of parallel work.
    #[test]
    fn equals_the_sum_over_neighbors() {
        let (n, h, w, c) = (3, 37, 41, 19);
        let x = Tensor::from_vec(
            [n, h, w, c],
            (0..n * h * w * c).map(|i| (i as f64 * 0.37).sin()).collect(),
        );
        let y = x.blur();
        let (x, y) = (x.view(), y.view());
        for (at, &found) in y.indexed_iter() {
            let mut sum = 0.0;
            for (dy, dx) in (0..3).flat_map(|dy| (0..3).map(move |dx| (dy, dx))) {
                let (row, column) = (at[1] + dy, at[2] + dx);
                if (1..=h).contains(&row) && (1..=w).contains(&column) {
                    let weight = [1.0, 2.0, 1.0][dy] * [1.0, 2.0, 1.0][dx] / 16.0;
                    sum += weight * x[[at[0], row - 1, column - 1, at[3]]];
                }
            }
            assert!((found - sum).abs() < 1e-12, "{at:?}: {found} and {sum}");
        }
    }
}
