//! Sizes, strides and padding of a two-dimensional convolution.

/// How the border of an image is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Padding {
    /// No padding: the kernel stays inside the image.
    Valid,
    /// TensorFlow's `same`: the output has `ceil(input / stride)` rows. If the total padding is odd, the extra row
    /// comes after the image.
    Same,
    /// `[rows, columns]` of zeros on both sides, PyTorch's `padding`.
    Symmetric([usize; 2]),
    /// `[top, bottom, left, right]` rows and columns of zeros.
    Explicit([usize; 4]),
}

/// Geometry of the bilinear maps `conv2d`, `conv2d_input` and `conv2d_weight`.
///
/// Output row `o` and kernel row `k` meet input row `o * stride + k * dilation - pad`. Rows outside the
/// image count as zero. All sizes are `[rows, columns]`. The graph stores the geometry, and the three maps
/// share it. It cannot be derived from the shapes: with a stride, several input sizes give the same output size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Geometry {
    /// Size of the (larger) image that `conv2d` reads.
    pub input: [usize; 2],
    /// Size of the (smaller) image that `conv2d` writes.
    pub output: [usize; 2],
    /// Size of the kernel.
    pub kernel: [usize; 2],
    /// Input rows and columns between neighboring outputs.
    pub stride: [usize; 2],
    /// Input rows and columns between neighboring kernel taps.
    pub dilation: [usize; 2],
    /// Zeros before the first row and column. The zeros after the last follow from the sizes.
    pub pad: [usize; 2],
}

impl Geometry {
    /// Geometry of a convolution that reads an image of size `input`.
    ///
    /// # Panics
    /// If a stride, dilation or kernel size is 0, or the kernel does not fit into the padded image.
    #[track_caller]
    pub fn forward(
        input: [usize; 2],
        kernel: [usize; 2],
        stride: [usize; 2],
        dilation: [usize; 2],
        padding: Padding,
    ) -> Self {
        check_steps(kernel, stride, dilation);
        let mut output = [0; 2];
        let mut pad = [0; 2];
        for a in 0..2 {
            let extent = (kernel[a] - 1) * dilation[a] + 1;
            let (before, after) = match padding {
                Padding::Valid => (0, 0),
                Padding::Same => {
                    let out = input[a].div_ceil(stride[a]);
                    let total = (out.saturating_sub(1) * stride[a] + extent).saturating_sub(input[a]);
                    (total / 2, total - total / 2)
                }
                Padding::Symmetric(p) => (p[a], p[a]),
                Padding::Explicit(p) => (p[2 * a], p[2 * a + 1]),
            };
            let padded = input[a] + before + after;
            assert!(
                padded >= extent,
                "conv2d: a kernel of {kernel:?} with dilation {dilation:?} spans {extent} along axis {a}, \
                 but the padded input has only {padded} (input {input:?}, padding {padding:?})"
            );
            output[a] = match padding {
                // Equal to the formula below, except for an image without rows.
                Padding::Same => input[a].div_ceil(stride[a]),
                _ => (padded - extent) / stride[a] + 1,
            };
            pad[a] = before;
        }
        Self {
            input,
            output,
            kernel,
            stride,
            dilation,
            pad,
        }
    }

    /// Geometry of a transposed convolution that reads the small image `small` and writes the large one.
    ///
    /// `Padding` crops the full result. `Symmetric(p)` and `output_padding` are PyTorch's: the result has
    /// `(small - 1) * stride - 2 p + dilation * (kernel - 1) + output_padding + 1` rows.
    /// `Same` is TensorFlow's: the result has `small * stride` rows, and `output_padding` must be 0.
    ///
    /// # Panics
    /// If a stride, dilation or kernel size is 0, if the crop leaves nothing, or if `output_padding` is
    /// not smaller than the larger of stride and dilation.
    #[track_caller]
    pub fn transposed(
        small: [usize; 2],
        kernel: [usize; 2],
        stride: [usize; 2],
        dilation: [usize; 2],
        padding: Padding,
        output_padding: [usize; 2],
    ) -> Self {
        check_steps(kernel, stride, dilation);
        let mut large = [0; 2];
        let mut pad = [0; 2];
        for a in 0..2 {
            let extent = (kernel[a] - 1) * dilation[a] + 1;
            let full = small[a].saturating_sub(1) * stride[a] + extent;
            assert!(
                output_padding[a] == 0
                    || (output_padding[a] < stride[a].max(dilation[a]) && padding != Padding::Same),
                "conv_transpose2d: output padding {output_padding:?} must be smaller than the stride \
                 {stride:?} or the dilation {dilation:?}, and 0 with `Padding::Same`"
            );
            let (before, after) = match padding {
                Padding::Valid => (0, 0),
                Padding::Same => {
                    let total = full.saturating_sub(small[a] * stride[a]);
                    (total / 2, total - total / 2)
                }
                Padding::Symmetric(p) => (p[a], p[a]),
                Padding::Explicit(p) => (p[2 * a], p[2 * a + 1]),
            };
            let size = (full + output_padding[a])
                .checked_sub(before + after)
                .filter(|&s| s > 0);
            large[a] = match (padding, size) {
                // A kernel smaller than the stride leaves rows that no tap reaches. They are zero.
                (Padding::Same, _) => small[a] * stride[a],
                (_, Some(size)) => size,
                (_, None) => panic!(
                    "conv_transpose2d: padding {padding:?} cuts away all of the {full} rows or columns \
                     that input {small:?} and kernel {kernel:?} make along axis {a}"
                ),
            };
            pad[a] = before;
        }
        Self {
            input: large,
            output: small,
            kernel,
            stride,
            dilation,
            pad,
        }
    }

    /// The input index that output index `o` and kernel tap `k` meet along `axis`, or `None` outside the image.
    #[inline]
    pub fn input_index(&self, axis: usize, o: usize, k: usize) -> Option<usize> {
        (o * self.stride[axis] + k * self.dilation[axis])
            .checked_sub(self.pad[axis])
            .filter(|&i| i < self.input[axis])
    }

    /// Number of outputs of one image.
    pub fn positions(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// Number of kernel taps.
    pub fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }
}

#[track_caller]
fn check_steps(kernel: [usize; 2], stride: [usize; 2], dilation: [usize; 2]) {
    assert!(
        kernel.iter().chain(&stride).chain(&dilation).all(|&v| v > 0),
        "convolution: kernel {kernel:?}, stride {stride:?} and dilation {dilation:?} must be at least 1"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_padding_is_tensorflows() {
        let g = Geometry::forward([28, 28], [5, 5], [2, 2], [1, 1], Padding::Same);
        assert_eq!((g.output, g.pad), ([14, 14], [1, 1]));
        let g = Geometry::forward([7, 7], [5, 5], [1, 1], [1, 1], Padding::Same);
        assert_eq!((g.output, g.pad), ([7, 7], [2, 2]));
        let g = Geometry::forward([5, 6], [1, 2], [3, 2], [1, 1], Padding::Same);
        assert_eq!((g.output, g.pad), ([2, 3], [0, 0]));
    }

    #[test]
    fn transposed_sizes_are_pytorchs_and_tensorflows() {
        let sym = |p| Padding::Symmetric([p, p]);
        let g = Geometry::transposed([7, 7], [5, 5], [2, 2], [1, 1], sym(2), [1, 1]);
        assert_eq!((g.input, g.pad), ([14, 14], [2, 2]));
        let g = Geometry::transposed([7, 7], [5, 5], [2, 2], [1, 1], Padding::Same, [0, 0]);
        assert_eq!((g.input, g.pad), ([14, 14], [1, 1]));
        let g = Geometry::transposed([3, 4], [2, 2], [3, 3], [1, 1], Padding::Same, [0, 0]);
        assert_eq!((g.input, g.pad), ([9, 12], [0, 0]));
    }

    #[test]
    #[should_panic(expected = "padded input has only 3")]
    fn a_kernel_that_does_not_fit_is_refused() {
        Geometry::forward([3, 3], [5, 5], [1, 1], [1, 1], Padding::Valid);
    }

    #[test]
    #[should_panic(expected = "output padding")]
    fn too_much_output_padding_is_refused() {
        Geometry::transposed([3, 3], [3, 3], [2, 2], [1, 1], Padding::Valid, [2, 0]);
    }
}
