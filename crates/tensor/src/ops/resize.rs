//! Linear maps along the two axes of images: bilinear resizing, adaptive and strided average pooling.
//!
//! Each is a matrix for the rows and one for the columns, so that products of matrices are all that is needed.

use crate::operation::Operation;
use crate::real::Real;
use crate::tensor::Tensor;
use std::ops::Range;

/// A matrix `[rows, columns]` whose row `i` has the weights that `weights(i)` lists.
fn matrix<T: Real>(rows: usize, columns: usize, weights: impl Fn(usize) -> Vec<(usize, f64)>) -> Tensor<T> {
    let mut elements = vec![T::zero(); rows * columns];
    for row in 0..rows {
        for (column, weight) in weights(row) {
            let sum = &mut elements[row * columns + column];
            *sum += T::from_f64(weight);
        }
    }
    Tensor::from_vec([rows, columns], elements)
}

/// The mean over a range of indices.
fn mean_of(range: Range<usize>) -> Vec<(usize, f64)> {
    let weight = 1.0 / range.len() as f64;
    range.map(|i| (i, weight)).collect()
}

#[track_caller]
fn images<T: Real>(name: &str, x: &Tensor<T>) -> [usize; 4] {
    match *x.shape() {
        [n, h, w, c] => [n, h, w, c],
        _ => panic!("{name}: the input must be [n, h, w, c], got {:?}", x.shape()),
    }
}

impl<T: Real> Tensor<T> {
    /// A matrix for the rows and one for the columns of each image and channel.
    fn mapped_along_both(&self, [n, h, w, c]: [usize; 4], of_rows: &Self, of_columns: &Self) -> Self {
        let [rows, columns] = [of_rows, of_columns].map(|matrix| matrix.shape()[0]);
        // [n, h, w, c] -> [h, n w c] -> [rows, n w c] -> [w, rows n c] -> [columns, rows n c].
        let by_row = self.permute(&[1, 0, 2, 3]).reshape([h, n * w * c]);
        let by_row = of_rows.matmul(&by_row).reshape([rows, n, w, c]);
        let by_column = by_row.permute(&[2, 0, 1, 3]).reshape([w, rows * n * c]);
        let mapped = of_columns.matmul(&by_column).reshape([columns, rows, n, c]);
        mapped.permute(&[2, 1, 0, 3])
    }

    /// Bilinear resizing, with pixels as squares whose centers are interpolated, as PyTorch's `interpolate` with
    /// `align_corners=False` and without antialiasing.
    ///
    /// *Shapes*: `[n, h, w, c] -> [n, size[0], size[1], c]`.
    ///
    /// ```
    /// use engraft_tensor::Tensor;
    /// let x = Tensor::from_vec([1, 1, 2, 1], vec![0.0, 4.0]);
    /// assert_eq!(x.resize_bilinear([1, 4]).as_slice(), [0.0, 1.0, 3.0, 4.0]);
    /// ```
    ///
    /// # Panics
    /// If the input does not have four axes, or the image or the size has no pixels.
    #[must_use]
    #[track_caller]
    pub fn resize_bilinear(&self, size: [usize; 2]) -> Self {
        let shape = images("resize_bilinear", self);
        let [_, h, w, _] = shape;
        assert!(
            h * w > 0 && size[0] * size[1] > 0,
            "resize_bilinear: an image needs pixels, got shape {shape:?} and size {size:?}"
        );
        let of = |from: usize, to: usize| {
            matrix(to, from, |i| {
                let center = (i as f64 + 0.5) * from as f64 / to as f64 - 0.5;
                let center = center.clamp(0.0, (from - 1) as f64);
                let (before, share) = (center.floor() as usize, center.fract());
                vec![(before, 1.0 - share), ((before + 1).min(from - 1), share)]
            })
        };
        let resized = self.mapped_along_both(shape, &of(h, size[0]), &of(w, size[1]));
        resized.summarized(Operation::ResizeBilinear, &[self])
    }

    /// Average pooling to a given size: output `i` of `k` is the mean of the inputs from `floor(i n / k)` to
    /// `ceil((i + 1) n / k)`, as PyTorch's `adaptive_avg_pool2d`.
    ///
    /// *Shapes*: `[n, h, w, c] -> [n, size[0], size[1], c]`.
    ///
    /// # Panics
    /// If the input does not have four axes, or the image or the size has no pixels.
    #[must_use]
    #[track_caller]
    pub fn adaptive_avg_pool(&self, size: [usize; 2]) -> Self {
        let shape = images("adaptive_avg_pool", self);
        let [_, h, w, _] = shape;
        assert!(
            h * w > 0 && size[0] * size[1] > 0,
            "adaptive_avg_pool: an image needs pixels, got shape {shape:?} and size {size:?}"
        );
        let of = |from: usize, to: usize| {
            matrix(to, from, |i| {
                mean_of(i * from / to..((i + 1) * from).div_ceil(to))
            })
        };
        let pooled = self.mapped_along_both(shape, &of(h, size[0]), &of(w, size[1]));
        pooled.summarized(Operation::AdaptiveAvgPool, &[self])
    }

    /// Average pooling with a kernel and a stride, without padding.
    ///
    /// *Shapes*: `[n, h, w, c] -> [n, rows, columns, c]` with `rows = (h - kernel) / stride + 1`, and likewise for the columns,
    /// rounded down.
    ///
    /// # Panics
    /// If the input does not have four axes, the kernel or the stride is 0, or the kernel does not fit.
    #[must_use]
    #[track_caller]
    pub fn avg_pool_windows(&self, kernel: usize, stride: usize) -> Self {
        self.pooled("avg_pool_windows", kernel, stride, 0)
    }

    /// Average pooling with a kernel, a stride and a padding that is not part of the mean, as PyTorch's `avg_pool2d` with
    /// `count_include_pad=False`.
    ///
    /// *Shapes*: `[n, h, w, c] -> [n, rows, columns, c]` with `rows = (h + 2 padding - kernel) / stride + 1`, and likewise for the
    /// columns, rounded down.
    ///
    /// ```
    /// use engraft_tensor::Tensor;
    /// let x = Tensor::from_vec([1, 1, 3, 1], vec![1.0, 2.0, 6.0]);
    /// assert_eq!(x.avg_pool_inside(3, 1, 1).as_slice(), [1.5, 3.0, 4.0]);
    /// ```
    ///
    /// # Panics
    /// If the input does not have four axes, the kernel or the stride is 0, the padding is more than half of the kernel, or the
    /// kernel does not fit into the padded image.
    #[must_use]
    #[track_caller]
    pub fn avg_pool_inside(&self, kernel: usize, stride: usize, padding: usize) -> Self {
        self.pooled("avg_pool_inside", kernel, stride, padding)
    }

    #[track_caller]
    fn pooled(&self, name: &str, kernel: usize, stride: usize, padding: usize) -> Self {
        let shape = images(name, self);
        let [_, h, w, _] = shape;
        let fits = |side: usize| kernel <= side.saturating_add(padding.saturating_mul(2));
        assert!(
            kernel > 0 && stride > 0 && padding <= kernel / 2 && h * w > 0 && fits(h) && fits(w),
            "{name}: kernel {kernel} with stride {stride} and padding {padding} does not fit images of {h}x{w}"
        );
        let of = |from: usize| {
            matrix((from + 2 * padding - kernel) / stride + 1, from, |i| {
                let start = i * stride;
                mean_of(start.saturating_sub(padding)..(start + kernel - padding).min(from))
            })
        };
        let pooled = self.mapped_along_both(shape, &of(h), &of(w));
        let operation = Operation::AvgPoolWindows {
            kernel,
            stride,
            padding,
        };
        pooled.summarized(operation, &[self])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_by_hand() {
        let x = Tensor::from_vec([1, 3, 3, 1], (1..=9).map(f64::from).collect());
        assert_eq!(x.avg_pool_windows(2, 1).as_slice(), [3.0, 4.0, 6.0, 7.0]);
        for mean in [x.avg_pool_windows(3, 2), x.adaptive_avg_pool([1, 1])] {
            assert!((mean.item() - 5.0).abs() < 1e-12, "{mean:?}");
        }
        // Rows 0..2 and 1..3, columns 0..2 and 1..3: the ranges overlap.
        assert_eq!(x.adaptive_avg_pool([2, 2]).as_slice(), [3.0, 4.0, 6.0, 7.0]);
        assert_eq!(x.resize_bilinear([3, 3]).as_slice(), x.as_slice());
    }

    #[test]
    fn channels_and_images_stay_apart() {
        let x = Tensor::from_vec([2, 1, 2, 2], vec![0.0, 10.0, 4.0, 30.0, 1.0, 2.0, 3.0, 4.0]);
        assert_eq!(x.adaptive_avg_pool([1, 1]).as_slice(), [2.0, 20.0, 2.0, 3.0]);
        let y = x.resize_bilinear([2, 2]);
        assert_eq!(y.narrow(1, 1, 1).as_slice(), x.as_slice());
    }

    #[test]
    #[should_panic(expected = "kernel 4 with stride 1 and padding 0 does not fit images of 3x3")]
    fn a_kernel_that_does_not_fit_is_refused() {
        let _ = Tensor::<f32>::zeros([1, 3, 3, 1]).avg_pool_windows(4, 1);
    }
}
