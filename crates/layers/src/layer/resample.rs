//! Layers that resize images, without parameters.

use crate::mode::Mode;
use crate::module::Module;
use engraft_tensor::{Real, Tensor};

/// Average pooling over blocks of 2x2 pixels.
///
/// *Shapes*: `[n, h, w, c] -> [n, h / 2, w / 2, c]`, with even `h` and `w`.
///
/// ```
/// use engraft_layers::{AvgPool2x, Mode, Module};
/// use engraft_tensor::Tensor;
/// let x = Tensor::from_vec([1, 2, 2, 1], vec![1.0_f32, 2.0, 3.0, 6.0]);
/// assert_eq!(AvgPool2x.forward(&x, Mode::Eval).as_slice(), [3.0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AvgPool2x;

impl<T: Real> Module<T> for AvgPool2x {
    fn forward(&self, x: &Tensor<T>, _: Mode) -> Tensor<T> {
        x.sum_pool(2) * T::from_f64(0.25)
    }
    fn describe(&self) -> String {
        "AvgPool 2x2".into()
    }
}

/// Max pooling over blocks of 2x2 pixels, per channel.
///
/// *Shapes*: `[n, h, w, c] -> [n, h / 2, w / 2, c]`, with even `h` and `w`.
///
/// ```
/// use engraft_layers::{MaxPool2x, Mode, Module};
/// use engraft_tensor::Tensor;
/// let x = Tensor::from_vec([1, 2, 2, 1], vec![1.0_f32, 2.0, 3.0, 6.0]);
/// assert_eq!(MaxPool2x.forward(&x, Mode::Eval).as_slice(), [6.0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxPool2x;

impl<T: Real> Module<T> for MaxPool2x {
    fn forward(&self, x: &Tensor<T>, _: Mode) -> Tensor<T> {
        x.max_pool(2)
    }
    fn describe(&self) -> String {
        "MaxPool 2x2".into()
    }
}

/// Nearest-neighbor upsampling: repeats every pixel as a block of 2x2 pixels.
///
/// *Shapes*: `[n, h, w, c] -> [n, 2 h, 2 w, c]`.
///
/// ```
/// use engraft_layers::{Mode, Module, Upsample2x};
/// use engraft_tensor::Tensor;
/// let x = Tensor::from_vec([1, 1, 2, 1], vec![1.0_f32, 2.0]);
/// let y = Upsample2x.forward(&x, Mode::Eval);
/// assert_eq!(y.as_slice(), [1.0, 1.0, 2.0, 2.0, 1.0, 1.0, 2.0, 2.0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upsample2x;

impl<T: Real> Module<T> for Upsample2x {
    fn forward(&self, x: &Tensor<T>, _: Mode) -> Tensor<T> {
        x.upsample_nearest(2)
    }
    fn describe(&self) -> String {
        "Upsample 2x2, nearest".into()
    }
}
