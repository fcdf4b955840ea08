//! MobileNetV2 as in torchvision, up to its 1280 pooled features.

use super::layers::{Convolution, Depthwise, is_recorded};
use super::weights::{Official, Weights};
use crate::error::MetricsError;
use crate::extractor::{FeatureExtractor, FeatureOutput, InputSpec, RecordedFeatures, read_features};
use engraft_tensor::Tensor;
use std::path::Path;

const SIZE: usize = 224;
const FEATURES: usize = 1280;
/// Images per batch.
const BATCH: usize = 16;
const EPSILON: f32 = 1e-5;
/// Mean and standard deviation of ImageNet's red, green and blue, on a scale from 0 to 1.
const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const DEVIATION: [f32; 3] = [0.229, 0.224, 0.225];
/// The weights of torchvision, `mobilenet_v2-b0353104.pth`.
const OFFICIAL: Official = Official {
    name: "torchvision IMAGENET1K_V1",
    file: MOBILENET_V2_WEIGHTS,
    tensors: Some("976030261e7a8039c7a4b56b8c1353f8d8a86455633b65780c43ba02b2c4e160"),
};

/// The SHA-256 of torchvision's weights `IMAGENET1K_V1`, in the file `mobilenet_v2-b0353104.pth`.
pub const MOBILENET_V2_WEIGHTS: &str = "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889";

/// Expansion, channels, blocks, and stride of the first block, of each stage: table 2 of the paper.
const STAGES: [[usize; 4]; 7] = [
    [1, 16, 1, 1],
    [6, 24, 2, 2],
    [6, 32, 3, 2],
    [6, 64, 4, 2],
    [6, 96, 3, 1],
    [6, 160, 3, 2],
    [6, 320, 1, 1],
];

/// An inverted residual block: expansion, depthwise convolution, projection.
struct Block {
    expand: Option<Convolution>,
    depthwise: Depthwise,
    project: Convolution,
    stride: usize,
    has_skip: bool,
}

impl Block {
    fn forward(&self, x: &Tensor) -> Tensor {
        let expanded = self.expand.as_ref().map(|expand| expand.relu6(x, 1, [0, 0]));
        let y = self.depthwise.relu6(expanded.as_ref().unwrap_or(x), self.stride);
        let y = self.project.linear(&y, 1, [0, 0]);
        if self.has_skip { &y + x } else { y }
    }
}

/// The features of MobileNetV2: the mean over all positions of its last convolution, 1280 numbers for an image of 224x224.
///
/// The weights are those of torchvision's `mobilenet_v2`, under its names, in a safetensors file that the user supplies.
/// [`CONVERT`](super::CONVERT) writes one from torchvision's file `mobilenet_v2-b0353104.pth`.
///
/// Images of other sizes are resized to 224x224 by Catmull and Rom's cubic interpolation ([`InputFit`](crate::InputFit)).
///
/// *Source*: Sandler et al., "MobileNetV2: Inverted residuals and linear bottlenecks", 2018.
pub struct MobileNetV2 {
    hash: String,
    origin: String,
    stem: Convolution,
    blocks: Vec<Block>,
    last: Convolution,
}

impl MobileNetV2 {
    /// The network with the weights of a safetensors file.
    ///
    /// # Errors
    /// If the file cannot be read, or a weight is missing or has another shape.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, MetricsError> {
        let (weights, hash) = Weights::read(path.as_ref(), EPSILON)?;
        Self::from_weights(weights, hash)
    }

    fn from_weights(mut weights: Weights, hash: String) -> Result<Self, MetricsError> {
        let stem = weights.convolution(["features.0.0", "features.0.1"], [3, 32], [3, 3]);
        let (mut blocks, mut from) = (Vec::new(), 32);
        for [expansion, channels, count, first_stride] in STAGES {
            for i in 0..count {
                let stride = if i == 0 { first_stride } else { 1 };
                let name = |part: &str| format!("features.{}.conv.{part}", blocks.len() + 1);
                let inner = from * expansion;
                // Without an expansion, the numbers of the parts are lower by one.
                let (expand, [depthwise, depthwise_norm, project, project_norm]) = if expansion == 1 {
                    (None, ["0.0", "0.1", "1", "2"].map(name))
                } else {
                    let [convolution, norm] = ["0.0", "0.1"].map(name);
                    let expand = weights.convolution([&convolution, &norm], [from, inner], [1, 1]);
                    (Some(expand), ["1.0", "1.1", "2", "3"].map(name))
                };
                blocks.push(Block {
                    expand,
                    depthwise: weights.depthwise([&depthwise, &depthwise_norm], inner),
                    project: weights.convolution([&project, &project_norm], [inner, channels], [1, 1]),
                    stride,
                    has_skip: stride == 1 && from == channels,
                });
                from = channels;
            }
        }
        let last = weights.convolution(["features.18.0", "features.18.1"], [from, FEATURES], [1, 1]);
        let origin = weights.origin(&OFFICIAL);
        weights.finish()?;
        Ok(Self {
            hash,
            origin,
            stem,
            blocks,
            last,
        })
    }

    /// Features `[n, 1280]` of images `[n, h, w, 3]` with values in `[-1, 1]`.
    fn forward(&self, images: &Tensor) -> Tensor {
        let mut x = self.stem.relu6(&normalized(images), 2, [1, 1]);
        for block in &self.blocks {
            x = block.forward(&x);
        }
        self.last.relu6(&x, 1, [0, 0]).mean_axes(&[1, 2])
    }
}

/// Images with values in `[-1, 1]` on the scale of the training.
fn normalized(images: &Tensor) -> Tensor {
    if is_recorded(images) {
        let of_channels = |numbers: [f32; 3]| Tensor::from_vec([3], numbers.to_vec());
        return ((images + 1.0) * 0.5 - of_channels(MEAN)) / of_channels(DEVIATION);
    }
    let values = images.as_slice().iter().enumerate().map(|(i, x)| {
        let channel = i % 3;
        ((x + 1.0) / 2.0 - MEAN[channel]) / DEVIATION[channel]
    });
    Tensor::from_vec(images.shape(), values.collect())
}

impl FeatureExtractor for MobileNetV2 {
    fn name(&self) -> &str {
        "mobilenet-v2"
    }

    /// SHA-256 of the weights file.
    fn hash(&self) -> &str {
        &self.hash
    }

    fn input(&self) -> InputSpec {
        InputSpec {
            size: [SIZE; 2],
            channels: 3,
            range: [-1.0, 1.0],
        }
    }

    fn dimension(&self) -> usize {
        FEATURES
    }

    fn about(&self) -> String {
        format!(
            "{FEATURES} features of MobileNetV2, Catmull-Rom to {SIZE}x{SIZE}; {}",
            self.origin
        )
    }

    fn read(&self, images: &Tensor) -> Result<FeatureOutput, MetricsError> {
        read_features(self, images, BATCH, |part| self.forward(part))
    }

    fn recorded(&self, images: &Tensor) -> Option<RecordedFeatures> {
        Some(RecordedFeatures::without_logits(self.forward(images)))
    }
}
