//! Convolution and transposed convolution, channels last.

use crate::condition::Condition;
use crate::init::Init;
use crate::layer::parametrization::Parametrization;
use crate::mode::Mode;
use crate::module::{Fusion, Module};
use crate::parameter::{Slot, SlotMut};
use engraft_tensor::{Geometry, Padding, Real, Tensor, conv2d, conv2d_input};
use std::fmt::Debug;
use std::marker::PhantomData;

/// Two-dimensional convolution.
///
/// *Shapes*: `[n, h, w, c_in] -> [n, oh, ow, c_out]`; `weight [kh, kw, c_in, c_out]`, `bias [c_out]`.
///
/// ```
/// use engraft_layers::{Conv2d, Init, Mode, Module};
/// use engraft_tensor::Tensor;
/// let conv = Conv2d::<f32>::new(1, 64, 5, &mut Init::glorot(1)).stride(2).same();
/// assert_eq!(conv.forward(&Tensor::zeros([8, 28, 28, 1]), Mode::Train).shape(), [8, 14, 14, 64]);
/// ```
pub type Conv2d<T = f32> = Convolution<T, Direct>;

/// Two-dimensional transposed convolution, the adjoint of [`Conv2d`] in its input. It enlarges images.
///
/// *Shapes*: `[n, h, w, c_in] -> [n, oh, ow, c_out]`; `weight [kh, kw, c_out, c_in]`, `bias [c_out]`. With
/// `same` padding `oh = h · stride`. Otherwise PyTorch's formula applies, see
/// [`Geometry::transposed`].
pub type ConvTranspose2d<T = f32> = Convolution<T, Transposed>;

/// The common type of [`Conv2d`] and [`ConvTranspose2d`]: weight, bias and geometry. `D` is the linear map, in which they
/// differ.
#[derive(Clone, Debug)]
pub struct Convolution<T: Real, D> {
    weights: Parametrization<T>,
    size: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    padding: Padding,
    /// For transposed convolutions only.
    output_padding: [usize; 2],
    map: PhantomData<D>,
}

/// A linear map with a kernel: [`Direct`] or [`Transposed`].
pub trait KernelMap: Copy + Debug + Send + Sync + 'static {
    /// Name of the layer.
    #[doc(hidden)]
    const NAME: &'static str;
    /// The input and output axes of the weight.
    #[doc(hidden)]
    const AXES: [usize; 2];
    /// The map without a bias, for images of the given size.
    #[doc(hidden)]
    fn apply<T: Real>(
        layer: &Convolution<T, Self>,
        x: &Tensor<T>,
        weight: &Tensor<T>,
        image: [usize; 2],
    ) -> Tensor<T>;
}

/// The map of [`Conv2d`].
#[derive(Clone, Copy, Debug)]
pub struct Direct;

/// The map of [`ConvTranspose2d`].
#[derive(Clone, Copy, Debug)]
pub struct Transposed;

impl KernelMap for Direct {
    const NAME: &'static str = "Conv2d";
    const AXES: [usize; 2] = [2, 3];

    fn apply<T: Real>(
        l: &Convolution<T, Self>,
        x: &Tensor<T>,
        weight: &Tensor<T>,
        image: [usize; 2],
    ) -> Tensor<T> {
        conv2d(
            x,
            weight,
            &Geometry::forward(image, l.size, l.stride, l.dilation, l.padding),
        )
    }
}

impl KernelMap for Transposed {
    const NAME: &'static str = "ConvTranspose2d";
    const AXES: [usize; 2] = [3, 2];

    fn apply<T: Real>(
        l: &Convolution<T, Self>,
        x: &Tensor<T>,
        weight: &Tensor<T>,
        image: [usize; 2],
    ) -> Tensor<T> {
        let geometry = Geometry::transposed(image, l.size, l.stride, l.dilation, l.padding, l.output_padding);
        conv2d_input(x, weight, &geometry)
    }
}

impl<T: Real, D: KernelMap> Convolution<T, D> {
    /// A square kernel with stride 1, no padding, and a zero bias.
    pub fn new(c_in: usize, c_out: usize, kernel: usize, init: &mut Init) -> Self {
        Self::with_kernel(c_in, c_out, [kernel, kernel], init)
    }

    /// [`new`](Self::new) with a kernel of `[rows, columns]`.
    pub fn with_kernel(c_in: usize, c_out: usize, size: [usize; 2], init: &mut Init) -> Self {
        let taps = size[0] * size[1];
        let [inputs, outputs] = D::AXES;
        let mut shape = [size[0], size[1], 0, 0];
        (shape[inputs], shape[outputs]) = (c_in, c_out);
        let weight = init.weight(&shape, taps * c_in, taps * c_out);
        Self {
            weights: Parametrization::new(weight, outputs),
            size,
            stride: [1, 1],
            dilation: [1, 1],
            padding: Padding::Valid,
            output_padding: [0, 0],
            map: PhantomData,
        }
    }

    /// Stride along both axes, by default 1.
    #[must_use]
    pub fn stride(mut self, stride: usize) -> Self {
        self.stride = [stride, stride];
        self
    }

    /// Dilation along both axes, by default 1.
    #[must_use]
    pub fn dilation(mut self, dilation: usize) -> Self {
        self.dilation = [dilation, dilation];
        self
    }

    /// Padding, by default [`Padding::Valid`].
    #[must_use]
    pub fn padding(mut self, padding: Padding) -> Self {
        self.padding = padding;
        self
    }

    /// TensorFlow's `same` padding.
    #[must_use]
    pub fn same(self) -> Self {
        self.padding(Padding::Same)
    }

    /// Multiplies the initial weight by `factor`. A layer with factor 0 starts at zero and still learns. With
    /// [spectral normalization](crate::spectral_normalize) it is zero until the first step, and has a normalized weight
    /// from then on.
    #[must_use]
    pub fn scaled(mut self, factor: f64) -> Self {
        self.weights.scale(factor);
        self
    }

    /// Removes the bias, for use before a batch norm, which would cancel it.
    #[must_use]
    pub fn no_bias(mut self) -> Self {
        self.weights.drop_bias();
        self
    }

    /// Enables spectral normalization; see [`spectral_normalize`](crate::spectral_normalize).
    #[must_use]
    pub fn spectral_norm(mut self) -> Self {
        self.weights.spectral_normalize();
        self
    }

    /// The map without its bias.
    fn convolve(&self, x: &Tensor<T>, mode: Mode) -> Tensor<T> {
        let [_, height, width, _] = *x.shape() else {
            panic!("{}: the input must be [n, h, w, c], got {:?}", D::NAME, x.shape())
        };
        D::apply(self, x, &self.weights.weight(mode), [height, width])
    }
}

impl<T: Real> ConvTranspose2d<T> {
    /// Rows and columns added at the end, as PyTorch's `output_padding`. By default 0.
    #[must_use]
    pub fn output_padding(mut self, rows: usize, columns: usize) -> Self {
        self.output_padding = [rows, columns];
        self
    }
}

impl<T: Real, D: KernelMap> Module<T> for Convolution<T, D> {
    fn forward(&self, x: &Tensor<T>, mode: Mode) -> Tensor<T> {
        self.weights.add_bias(self.convolve(x, mode))
    }

    fn slots(&self) -> Vec<(&str, Slot<'_, T>)> {
        self.weights.slots()
    }

    fn slots_mut(&mut self) -> Vec<(&str, SlotMut<'_, T>)> {
        self.weights.slots_mut()
    }

    fn fusion(&self) -> Option<&dyn Fusion<T>> {
        Some(self)
    }

    fn fusion_mut(&mut self) -> Option<&mut dyn Fusion<T>> {
        Some(self)
    }

    fn parametrization_mut(&mut self) -> Option<&mut Parametrization<T>> {
        Some(&mut self.weights)
    }

    fn describe(&self) -> String {
        let pair = |v: [usize; 2]| {
            if v[0] == v[1] {
                format!("{}", v[0])
            } else {
                format!("{}x{}", v[0], v[1])
            }
        };
        let [inputs, outputs] = D::AXES.map(|axis| self.weights.shape()[axis]);
        let [rows, columns] = self.size;
        let mut text = format!("{} {rows}x{columns} {inputs} -> {outputs}", D::NAME);
        if self.stride != [1, 1] {
            text += &format!(", stride {}", pair(self.stride));
        }
        if self.dilation != [1, 1] {
            text += &format!(", dilation {}", pair(self.dilation));
        }
        text += &match self.padding {
            Padding::Valid => String::new(),
            Padding::Same => ", same".into(),
            Padding::Symmetric(p) => format!(", padding {}", pair(p)),
            Padding::Explicit(p) => format!(", padding {p:?}"),
        };
        text + &self.weights.describe()
    }
}

impl<T: Real, D: KernelMap> Fusion<T> for Convolution<T, D> {
    fn forward_leaky_relu(&self, x: &Tensor<T>, _: &Condition<T>, mode: Mode, slope: f64) -> Tensor<T> {
        self.weights.add_bias_leaky_relu(&self.convolve(x, mode), slope)
    }

    fn fold_affine(&mut self, scale: &Tensor<T>, shift: &Tensor<T>) -> bool {
        self.weights.fold_affine(scale, shift);
        true
    }

    fn fold(&mut self) {
        self.weights.materialize();
    }
}
