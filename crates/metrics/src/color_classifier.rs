//! A small residual classifier of color images. Its last hidden layer is a feature space for the measures.

use engraft_layers::{
    BatchNorm, Conv2d, Dense, Flatten, Init, LeakyReLU, MaxPool2x, Mode, Module, Residual, Sequential,
    children,
};
use engraft_tensor::Tensor;

/// Height and width of the images that it is trained on.
pub(crate) const TRAINED_SIZE: usize = 32;
/// Number of features per image.
pub(crate) const COLOR_FEATURES: usize = 256;
const SLOPE: f64 = 0.1;

/// Residual classifier of RGB images `[n, h, w, 3]` with values in `[-1, 1]`, to logits `[n, classes]`; `h` and `w` are
/// multiples of 8.
///
/// Four stages of 3x3 convolutions have 32, 64, 128 and 256 channels. All but the first halve the size. The second and
/// the last have a residual block of two more convolutions. The mean over all positions gives the 256 features, from which a dense
/// layer computes the logits. For images of 32x32 that is 1.6 million weights and 95 million multiply-adds.
///
/// *Source*: the arrangement is that of Page, "How to train your ResNet", 2018 (ResNet-9), at half its widths and with mean
/// instead of maximum pooling at the end.
///
/// ```
/// use engraft_layers::{Init, Mode, Module};
/// use engraft_metrics::ColorClassifier;
/// use engraft_tensor::Tensor;
/// let classifier = ColorClassifier::new(10, &mut Init::he(1));
/// let logits = classifier.forward(&Tensor::zeros([2, 32, 32, 3]), Mode::Eval);
/// assert_eq!(logits.shape(), [2, 10]);
/// ```
pub struct ColorClassifier {
    body: Sequential,
    head: Sequential,
}

impl ColorClassifier {
    /// A classifier with initial weights.
    pub fn new(classes: usize, init: &mut Init) -> Self {
        let body = Sequential::new()
            .add("stem", convolution(3, 32, init))
            .add("stage1", convolution(32, 64, init).add("pool", MaxPool2x))
            .add("residual1", residual(64, init))
            .add("stage2", convolution(64, 128, init).add("pool", MaxPool2x))
            .add(
                "stage3",
                convolution(128, COLOR_FEATURES, init).add("pool", MaxPool2x),
            )
            .add("residual3", residual(COLOR_FEATURES, init));
        let head = Sequential::new()
            .add("flat", Flatten)
            .add("dense", Dense::new(COLOR_FEATURES, classes, init));
        Self { body, head }
    }

    /// The features `[n, 256]` and the logits `[n, classes]` of images.
    pub(crate) fn features_and_logits(&self, images: &Tensor, mode: Mode) -> [Tensor; 2] {
        let features = self.body.forward(images, mode).mean_axes(&[1, 2]);
        let logits = self.head.forward(&features, mode);
        [features, logits]
    }

    /// The classifier for evaluation: its batch norms are folded into the convolutions.
    pub(crate) fn folded(self) -> Self {
        Self {
            body: self.body.folded(),
            head: self.head.folded(),
        }
    }
}

fn convolution(from: usize, to: usize, init: &mut Init) -> Sequential {
    Sequential::new()
        .add("conv", Conv2d::new(from, to, 3, init).same().no_bias())
        .add("norm", BatchNorm::new(to))
        .add("act", LeakyReLU::new(SLOPE))
}

fn residual(channels: usize, init: &mut Init) -> Residual {
    let branch = Sequential::new()
        .add("first", convolution(channels, channels, init))
        .add("second", convolution(channels, channels, init));
    Residual::new(branch)
}

impl Module for ColorClassifier {
    fn forward(&self, x: &Tensor, mode: Mode) -> Tensor {
        let [_, logits] = self.features_and_logits(x, mode);
        logits
    }

    children!(body, head);

    fn describe(&self) -> String {
        "ColorClassifier".into()
    }
}
