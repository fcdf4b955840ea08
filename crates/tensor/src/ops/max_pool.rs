//! Max pooling over blocks of pixels.

use super::indexing::{Blocks, take};
use crate::operation::Operation;
use crate::real::Real;
use crate::tensor::Tensor;

impl<T: Real> Tensor<T> {
    /// Max pooling: the largest value of every block of `factor · factor` pixels, per channel. Among equal
    /// values, the first one receives the gradient.
    ///
    /// *Shapes*: `[n, h, w, c] -> [n, h / factor, w / factor, c]`.
    ///
    /// ```
    /// use engraft_tensor::{Tensor, grad};
    /// let x = Tensor::from_vec([1, 2, 2, 1], vec![1.0, 7.0, 3.0, 4.0]).as_leaf();
    /// let y = x.max_pool(2);
    /// assert_eq!(y.as_slice(), [7.0]);
    /// assert_eq!(grad(&y.sum(), [&x])[0].as_slice(), [0.0, 1.0, 0.0, 0.0]);
    /// ```
    ///
    /// # Panics
    /// If the input does not have four axes, the factor is 0, the image is not a whole number of blocks, or there are
    /// more than 2³² elements.
    #[must_use]
    #[track_caller]
    pub fn max_pool(&self, factor: usize) -> Self {
        let &[n, h, w, c] = self.shape() else {
            panic!("max_pool: the input must be [n, h, w, c], got {:?}", self.shape())
        };
        assert!(
            factor > 0 && h.is_multiple_of(factor) && w.is_multiple_of(factor),
            "max_pool: images of {h}x{w} are not a whole number of blocks of {factor}x{factor} (shape {:?})",
            self.shape()
        );
        assert!(
            u32::try_from(self.len()).is_ok(),
            "max_pool: at most 2^32 elements, got {:?}",
            self.shape()
        );
        let elements = self.as_slice();
        let [rows, columns] = [h / factor, w / factor];
        let mut places = Vec::with_capacity(n * rows * columns * c);
        for line in 0..n * rows {
            for column in 0..columns {
                let corner = (line * factor * w + column * factor) * c;
                for channel in 0..c {
                    let mut best = corner + channel;
                    for i in 0..factor * factor {
                        let at = corner + channel + (i / factor * w + i % factor) * c;
                        // A NaN is propagated, as in every other operation.
                        if elements[at] > elements[best] || elements[at].is_nan() {
                            best = at;
                        }
                    }
                    places.push(best as u32);
                }
            }
        }
        take(
            self,
            Blocks::of_elements(places, "max_pool"),
            &[n, rows, columns, c],
            Some(Operation::MaxPool { factor }),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::{gradcheck, gradgradcheck};

    #[test]
    fn two_channels_by_hand() {
        // One image of 2x4 pixels with channels (a, -a).
        let a = [1.0, 5.0, 2.0, 2.0, 4.0, 3.0, 0.0, 2.0];
        let x = Tensor::from_vec([1, 2, 4, 2], a.iter().flat_map(|&a| [a, -a]).collect());
        assert_eq!(x.max_pool(2).as_slice(), [5.0, -1.0, 2.0, 0.0]);
        assert_eq!(x.max_pool(1).as_slice(), x.as_slice());
        let x = x.as_leaf();
        let [dx] = crate::grad(&x.max_pool(2).sum(), [&x]);
        // The first of the three twos.
        let first: Vec<f64> = dx.as_slice().iter().copied().step_by(2).collect();
        assert_eq!(first, [0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn gradients_of_both_orders() {
        let x: Vec<f64> = (0..2 * 4 * 6 * 3)
            .map(|i| f64::from(i * 37 % 101) * 0.1)
            .collect();
        let x = Tensor::from_vec([2, 4, 6, 3], x);
        let f = |x: &[Tensor<f64>]| x[0].max_pool(2).square();
        gradcheck(f, std::slice::from_ref(&x)).unwrap();
        gradgradcheck(f, &[x]).unwrap();
    }

    #[test]
    #[should_panic(expected = "images of 3x4 are not a whole number of blocks of 2x2")]
    fn odd_images_are_refused() {
        let _ = Tensor::<f32>::zeros([1, 3, 4, 1]).max_pool(2);
    }
}
