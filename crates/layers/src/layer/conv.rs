//! Convolution and transposed convolution, channels last.

use crate::condition::Condition;
use crate::init::Init;
use crate::layer::parametrization::Parametrization;
use crate::mode::Mode;
use crate::module::{Fusion, Module};
use crate::parameter::{Slot, SlotMut};
use engraft_tensor::{Geometry, Padding, Real, Tensor, conv2d, conv2d_input};

/// What both directions share: weight and bias, and the steps of the kernel.
#[derive(Clone, Debug)]
struct Kernel<T: Real> {
    weights: Parametrization<T>,
    size: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    padding: Padding,
}

impl<T: Real> Kernel<T> {
    /// The outputs lie on `axis` of the weight.
    fn new(weight: Tensor<T>, axis: usize, size: [usize; 2]) -> Self {
        Self {
            weights: Parametrization::new(weight, axis),
            size,
            stride: [1, 1],
            dilation: [1, 1],
            padding: Padding::Valid,
        }
    }

    fn describe(&self, name: &str, inputs: usize, outputs: usize) -> String {
        let pair = |v: [usize; 2]| {
            if v[0] == v[1] {
                format!("{}", v[0])
            } else {
                format!("{}x{}", v[0], v[1])
            }
        };
        let mut text = format!("{name} {}x{} {inputs} -> {outputs}", self.size[0], self.size[1]);
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

/// Rows and columns of an image batch.
#[track_caller]
fn image_size<T: Real>(layer: &str, x: &Tensor<T>) -> [usize; 2] {
    match *x.shape() {
        [_, h, w, _] => [h, w],
        _ => panic!("{layer}: the input must be [n, h, w, c], got {:?}", x.shape()),
    }
}

macro_rules! kernel_settings {
    () => {
        /// Steps between neighbouring outputs (inputs, if transposed), equal along both axes; 1 at first.
        #[must_use]
        pub fn stride(mut self, stride: usize) -> Self {
            self.kernel.stride = [stride, stride];
            self
        }

        /// Steps between neighbouring taps of the kernel, equal along both axes; 1 at first.
        #[must_use]
        pub fn dilation(mut self, dilation: usize) -> Self {
            self.kernel.dilation = [dilation, dilation];
            self
        }

        /// Treatment of the border; [`Padding::Valid`] at first.
        #[must_use]
        pub fn padding(mut self, padding: Padding) -> Self {
            self.kernel.padding = padding;
            self
        }

        /// TensorFlow's `same` padding.
        #[must_use]
        pub fn same(self) -> Self {
            self.padding(Padding::Same)
        }

        /// Multiplies the initial weight by `factor`; with 0 the layer begins as zero, which still learns. With
        /// [spectral normalisation](crate::spectral_normalize) it is zero until the first step, and as large as any
        /// other from then on.
        #[must_use]
        pub fn scaled(mut self, factor: f64) -> Self {
            self.kernel.weights.scale(factor);
            self
        }

        /// Drops the bias, as before a batch norm, which would cancel it.
        #[must_use]
        pub fn no_bias(mut self) -> Self {
            self.kernel.weights.drop_bias();
            self
        }

        /// Divides the weight by its largest singular value; see [`crate::spectral_normalize`].
        #[must_use]
        pub fn spectral_norm(mut self) -> Self {
            self.kernel.weights.spectral_normalize();
            self
        }
    };
}

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
#[derive(Clone, Debug)]
pub struct Conv2d<T: Real = f32> {
    kernel: Kernel<T>,
}

impl<T: Real> Conv2d<T> {
    /// A square kernel with stride 1, no padding, and a bias of zeros.
    pub fn new(c_in: usize, c_out: usize, kernel: usize, init: &mut Init) -> Self {
        Self::with_kernel(c_in, c_out, [kernel, kernel], init)
    }

    /// As [`Conv2d::new`] for a kernel of `[rows, columns]`.
    pub fn with_kernel(c_in: usize, c_out: usize, size: [usize; 2], init: &mut Init) -> Self {
        let taps = size[0] * size[1];
        let weight = init.weight(&[size[0], size[1], c_in, c_out], taps * c_in, taps * c_out);
        Self {
            kernel: Kernel::new(weight, 3, size),
        }
    }

    kernel_settings!();

    /// The convolution without its bias.
    fn convolve(&self, x: &Tensor<T>, mode: Mode) -> Tensor<T> {
        let k = &self.kernel;
        let geometry = Geometry::forward(image_size("Conv2d", x), k.size, k.stride, k.dilation, k.padding);
        conv2d(x, &k.weights.weight(mode), &geometry)
    }
}

impl<T: Real> Module<T> for Conv2d<T> {
    fn forward(&self, x: &Tensor<T>, mode: Mode) -> Tensor<T> {
        self.kernel.weights.add_bias(self.convolve(x, mode))
    }

    fn slots(&self) -> Vec<(&str, Slot<'_, T>)> {
        self.kernel.weights.slots()
    }

    fn slots_mut(&mut self) -> Vec<(&str, SlotMut<'_, T>)> {
        self.kernel.weights.slots_mut()
    }

    fn fusion(&self) -> Option<&dyn Fusion<T>> {
        Some(self)
    }

    fn fusion_mut(&mut self) -> Option<&mut dyn Fusion<T>> {
        Some(self)
    }

    fn parametrization_mut(&mut self) -> Option<&mut Parametrization<T>> {
        Some(&mut self.kernel.weights)
    }

    fn describe(&self) -> String {
        let shape = self.kernel.weights.shape();
        self.kernel.describe("Conv2d", shape[2], shape[3])
    }
}

impl<T: Real> Fusion<T> for Conv2d<T> {
    fn forward_leaky_relu(&self, x: &Tensor<T>, _: &Condition<T>, mode: Mode, slope: f64) -> Tensor<T> {
        self.kernel
            .weights
            .add_bias_leaky_relu(&self.convolve(x, mode), slope)
    }

    fn fold_affine(&mut self, scale: &Tensor<T>, shift: &Tensor<T>) -> bool {
        self.kernel.weights.fold_affine(scale, shift);
        true
    }

    fn fold(&mut self) {
        self.kernel.weights.materialize();
    }
}

/// Two-dimensional transposed convolution: the adjoint of [`Conv2d`] in its input, which enlarges images.
///
/// *Shapes*: `[n, h, w, c_in] -> [n, oh, ow, c_out]`; `weight [kh, kw, c_out, c_in]`, `bias [c_out]`. With
/// `same` padding `oh = h · stride`; otherwise PyTorch's formula holds, see
/// [`Geometry::transposed`].
#[derive(Clone, Debug)]
pub struct ConvTranspose2d<T: Real = f32> {
    kernel: Kernel<T>,
    output_padding: [usize; 2],
}

impl<T: Real> ConvTranspose2d<T> {
    /// A square kernel with stride 1, no padding, and a bias of zeros.
    pub fn new(c_in: usize, c_out: usize, kernel: usize, init: &mut Init) -> Self {
        Self::with_kernel(c_in, c_out, [kernel, kernel], init)
    }

    /// As [`ConvTranspose2d::new`] for a kernel of `[rows, columns]`.
    pub fn with_kernel(c_in: usize, c_out: usize, size: [usize; 2], init: &mut Init) -> Self {
        let taps = size[0] * size[1];
        let weight = init.weight(&[size[0], size[1], c_out, c_in], taps * c_in, taps * c_out);
        Self {
            kernel: Kernel::new(weight, 2, size),
            output_padding: [0, 0],
        }
    }

    /// Rows and columns added at the end, as PyTorch's `output_padding`; 0 at first.
    #[must_use]
    pub fn output_padding(mut self, rows: usize, columns: usize) -> Self {
        self.output_padding = [rows, columns];
        self
    }

    kernel_settings!();

    /// The transposed convolution without its bias.
    fn convolve(&self, x: &Tensor<T>, mode: Mode) -> Tensor<T> {
        let k = &self.kernel;
        let size = image_size("ConvTranspose2d", x);
        let geometry =
            Geometry::transposed(size, k.size, k.stride, k.dilation, k.padding, self.output_padding);
        conv2d_input(x, &k.weights.weight(mode), &geometry)
    }
}

impl<T: Real> Module<T> for ConvTranspose2d<T> {
    fn forward(&self, x: &Tensor<T>, mode: Mode) -> Tensor<T> {
        self.kernel.weights.add_bias(self.convolve(x, mode))
    }

    fn slots(&self) -> Vec<(&str, Slot<'_, T>)> {
        self.kernel.weights.slots()
    }

    fn slots_mut(&mut self) -> Vec<(&str, SlotMut<'_, T>)> {
        self.kernel.weights.slots_mut()
    }

    fn fusion(&self) -> Option<&dyn Fusion<T>> {
        Some(self)
    }

    fn fusion_mut(&mut self) -> Option<&mut dyn Fusion<T>> {
        Some(self)
    }

    fn parametrization_mut(&mut self) -> Option<&mut Parametrization<T>> {
        Some(&mut self.kernel.weights)
    }

    fn describe(&self) -> String {
        let shape = self.kernel.weights.shape();
        self.kernel.describe("ConvTranspose2d", shape[3], shape[2])
    }
}

impl<T: Real> Fusion<T> for ConvTranspose2d<T> {
    fn forward_leaky_relu(&self, x: &Tensor<T>, _: &Condition<T>, mode: Mode, slope: f64) -> Tensor<T> {
        self.kernel
            .weights
            .add_bias_leaky_relu(&self.convolve(x, mode), slope)
    }

    fn fold_affine(&mut self, scale: &Tensor<T>, shift: &Tensor<T>) -> bool {
        self.kernel.weights.fold_affine(scale, shift);
        true
    }

    fn fold(&mut self) {
        self.kernel.weights.materialize();
    }
}
