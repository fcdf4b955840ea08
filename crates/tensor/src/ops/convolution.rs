//! Convolution as three bilinear maps, closed under differentiation.

use crate::geometry::Geometry;
use crate::kernels::scratch;
use crate::op::Op;
use crate::operation::Operation;
use crate::precision::{Precision, current_precision, with_precision};
use crate::real::Real;
use crate::tensor::Tensor;
use ndarray::{Array4, ArrayD, IxDyn};

/// `(x, w) -> y`
struct Conv {
    geometry: Geometry,
    precision: Precision,
}
/// `(dy, w) -> dx`
struct ConvInput {
    geometry: Geometry,
    precision: Precision,
}
/// `(x, dy) -> dw`
struct ConvWeight {
    geometry: Geometry,
    precision: Precision,
}

impl<T: Real> Op<T> for Conv {
    fn name(&self) -> &'static str {
        "conv2d"
    }
    fn operation(&self) -> Option<Operation> {
        Some(Operation::Conv2d(self.geometry))
    }
    fn vjp(&self, i: usize, inputs: &[Tensor<T>], _: &Tensor<T>, dy: &Tensor<T>) -> Tensor<T> {
        with_precision(self.precision, || match i {
            0 => conv2d_input(dy, &inputs[1], &self.geometry),
            _ => conv2d_weight(&inputs[0], dy, &self.geometry),
        })
    }
}

impl<T: Real> Op<T> for ConvInput {
    fn name(&self) -> &'static str {
        "conv2d_input"
    }
    fn operation(&self) -> Option<Operation> {
        Some(Operation::Conv2dInput(self.geometry))
    }
    fn vjp(&self, i: usize, inputs: &[Tensor<T>], _: &Tensor<T>, ddx: &Tensor<T>) -> Tensor<T> {
        with_precision(self.precision, || match i {
            0 => conv2d(ddx, &inputs[1], &self.geometry),
            _ => conv2d_weight(ddx, &inputs[0], &self.geometry),
        })
    }
}

impl<T: Real> Op<T> for ConvWeight {
    fn name(&self) -> &'static str {
        "conv2d_weight"
    }
    fn vjp(&self, i: usize, inputs: &[Tensor<T>], _: &Tensor<T>, ddw: &Tensor<T>) -> Tensor<T> {
        with_precision(self.precision, || match i {
            0 => conv2d_input(&inputs[1], ddw, &self.geometry),
            _ => conv2d(&inputs[0], ddw, &self.geometry),
        })
    }
}

/// The batch size and channels of images `[n, h, w, c]`. Their height and width must be `size`.
#[track_caller]
fn images<T: Real>(op: &str, what: &str, x: &Tensor<T>, size: [usize; 2]) -> (usize, usize) {
    match *x.shape() {
        [n, h, w, c] if [h, w] == size => (n, c),
        _ => panic!(
            "{op}: {what} must be [n, {}, {}, channels], got {:?}",
            size[0],
            size[1],
            x.shape()
        ),
    }
}

/// The channels of a weight `[kh, kw, c_in, c_out]`.
#[track_caller]
fn channels<T: Real>(op: &str, w: &Tensor<T>, kernel: [usize; 2]) -> (usize, usize) {
    match *w.shape() {
        [kh, kw, c_in, c_out] if [kh, kw] == kernel => (c_in, c_out),
        _ => panic!(
            "{op}: w must be [{}, {}, c_in, c_out], got {:?}",
            kernel[0],
            kernel[1],
            w.shape()
        ),
    }
}

/// Two-dimensional cross-correlation, called convolution in deep learning:
/// `y[o] = Σ_k x[o · stride + k · dilation - pad] · w[k]`.
///
/// *Shapes*: `x [n, h, w, c_in]`, `w [kh, kw, c_in, c_out]` -> `[n, oh, ow, c_out]`. `geometry` gives the
/// sizes.
///
/// ```
/// use engraft_tensor::{Geometry, Padding, Tensor, conv2d};
/// let x = Tensor::<f32>::ones([1, 4, 4, 1]);
/// let w = Tensor::ones([3, 3, 1, 1]);
/// let g = Geometry::forward([4, 4], [3, 3], [1, 1], [1, 1], Padding::Same);
/// let y = conv2d(&x, &w, &g);
/// assert_eq!(y.shape(), [1, 4, 4, 1]);
/// assert_eq!(y.as_slice()[..4], [4.0, 6.0, 6.0, 4.0]); // taps inside the image
/// ```
///
/// # Panics
/// If a shape does not fit the geometry or the channels differ.
#[must_use]
#[track_caller]
pub fn conv2d<T: Real>(x: &Tensor<T>, w: &Tensor<T>, geometry: &Geometry) -> Tensor<T> {
    let (n, c) = images("conv2d", "x", x, geometry.input);
    let (c_in, c_out) = channels("conv2d", w, geometry.kernel);
    assert!(
        c == c_in,
        "conv2d: x {:?} has {c} channels, w {:?} wants {c_in}",
        x.shape(),
        w.shape()
    );
    let [h, width] = geometry.output;
    let mut y = scratch::take(n * h * width * c_out);
    let precision = current_precision();
    T::conv_forward(
        geometry,
        [n, c_in, c_out],
        precision,
        x.as_slice(),
        w.as_slice(),
        &mut y,
    );
    let value = Array4::from_shape_vec([n, h, width, c_out], y).expect("the size of the output");
    Tensor::from_op(
        value,
        Conv {
            geometry: *geometry,
            precision,
        },
        &[x, w],
    )
}

/// The adjoint of [`conv2d`] in `x`: its gradient with respect to the input, and also the transposed
/// convolution.
///
/// *Shapes*: `dy [n, oh, ow, c_out]`, `w [kh, kw, c_in, c_out]` -> `[n, h, w, c_in]`.
///
/// # Panics
/// If a shape does not fit the geometry or the channels differ.
#[must_use]
#[track_caller]
pub fn conv2d_input<T: Real>(dy: &Tensor<T>, w: &Tensor<T>, geometry: &Geometry) -> Tensor<T> {
    let (n, c) = images("conv2d_input", "dy", dy, geometry.output);
    let (c_in, c_out) = channels("conv2d_input", w, geometry.kernel);
    assert!(
        c == c_out,
        "conv2d_input: dy {:?} has {c} channels, w {:?} wants {c_out}",
        dy.shape(),
        w.shape()
    );
    let [h, width] = geometry.input;
    let mut dx = scratch::take(n * h * width * c_in);
    let precision = current_precision();
    T::conv_input(
        geometry,
        [n, c_in, c_out],
        precision,
        dy.as_slice(),
        w.as_slice(),
        &mut dx,
    );
    let value = Array4::from_shape_vec([n, h, width, c_in], dx).expect("the size of the input");
    Tensor::from_op(
        value,
        ConvInput {
            geometry: *geometry,
            precision,
        },
        &[dy, w],
    )
}

/// The adjoint of [`conv2d`] in `w`: its gradient with respect to the weight.
///
/// *Shapes*: `x [n, h, w, c_in]`, `dy [n, oh, ow, c_out]` -> `[kh, kw, c_in, c_out]`.
///
/// # Panics
/// If a shape does not fit the geometry or the batch sizes differ.
#[must_use]
#[track_caller]
pub fn conv2d_weight<T: Real>(x: &Tensor<T>, dy: &Tensor<T>, geometry: &Geometry) -> Tensor<T> {
    let (n, c_in) = images("conv2d_weight", "x", x, geometry.input);
    let (n_dy, c_out) = images("conv2d_weight", "dy", dy, geometry.output);
    assert!(
        n == n_dy,
        "conv2d_weight: x {:?} has {n} images, dy {:?} has {n_dy}",
        x.shape(),
        dy.shape()
    );
    let [kh, kw] = geometry.kernel;
    let mut dw = scratch::take(kh * kw * c_in * c_out);
    let precision = current_precision();
    T::conv_weight(
        geometry,
        [n, c_in, c_out],
        precision,
        x.as_slice(),
        dy.as_slice(),
        &mut dw,
    );
    let value = ArrayD::from_shape_vec(IxDyn(&[kh, kw, c_in, c_out]), dw).expect("the size of the weight");
    Tensor::from_op(
        value,
        ConvWeight {
            geometry: *geometry,
            precision,
        },
        &[x, dy],
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Padding;

    #[test]
    #[should_panic(expected = "conv2d: x [8, 4, 4, 3] has 3 channels, w [3, 3, 4, 2] wants 4")]
    fn channels_that_differ_are_named() {
        let g = Geometry::forward([4, 4], [3, 3], [1, 1], [1, 1], Padding::Same);
        let _ = conv2d(
            &Tensor::<f32>::zeros([8, 4, 4, 3]),
            &Tensor::zeros([3, 3, 4, 2]),
            &g,
        );
    }

    #[test]
    #[should_panic(expected = "x must be [n, 4, 4, channels], got [8, 5, 4, 3]")]
    fn an_image_of_another_size_is_named() {
        let g = Geometry::forward([4, 4], [3, 3], [1, 1], [1, 1], Padding::Same);
        let _ = conv2d(
            &Tensor::<f32>::zeros([8, 5, 4, 3]),
            &Tensor::zeros([3, 3, 3, 2]),
            &g,
        );
    }
}
