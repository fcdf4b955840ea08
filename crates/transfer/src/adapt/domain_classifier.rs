//! Networks for domain adaptation: a feature extractor with one or two classifier heads, and the domain discriminator.

use crate::error::TransferError;
use engraft_layers::{
    BatchNorm, Conv2d, Dense, Dropout, Flatten, Init, MaxPool2x, Mode, Module, ReLU, Sequential, StateDict,
};
use engraft_tensor::Tensor;

/// Channels of the two convolutions.
const CHANNELS: [usize; 2] = [32, 48];
/// Width of the classifier's two hidden layers.
const HIDDEN: usize = 100;
/// Dropout probability in the heads.
const DROPPED: f64 = 0.5;

/// A LeNet classifier for domain adaptation: a feature extractor with one or two classifier heads.
///
/// The extractor is `conv 5x5 32, norm, ReLU, max pool, conv 5x5 48, norm, ReLU, max pool, flatten`. A head is `dense 100,
/// norm, ReLU, dropout, dense 100, norm, ReLU, dropout, dense`. Every method uses these networks, so their results are
/// comparable.
///
/// *Source*: the networks of Saito et al., 2018, for MNIST and USPS.
///
/// ```
/// use engraft_layers::{Mode, Module};
/// use engraft_tensor::Tensor;
/// use engraft_transfer::adapt::DomainClassifier;
/// let model = DomainClassifier::new([28, 28, 1], 10, 2, 1)?;
/// let images = Tensor::zeros([4, 28, 28, 1]);
/// assert_eq!(model.features(&images, Mode::Eval).shape(), [4, 768]);
/// assert_eq!(model.forward(&images, Mode::Eval).shape(), [4, 10]);
/// # Ok::<(), engraft_transfer::TransferError>(())
/// ```
pub struct DomainClassifier {
    extractor: Sequential,
    heads: Vec<Sequential>,
    image: [usize; 3],
    width: usize,
    classes: usize,
}

/// Largest side of the images of a classifier that is read from a file.
const MAX_SIDE: usize = 512;
/// Most classes of such a classifier.
const MAX_CLASSES: usize = 1 << 16;

/// Name of the extractor's first block.
const FIRST_BLOCK: &str = "block1";
/// Names of the heads.
const HEADS: [&str; 2] = ["classifier1", "classifier2"];

impl DomainClassifier {
    /// Networks with random weights for images `[height, width, channels]`.
    ///
    /// # Errors
    /// [`TransferError::Config`] for image sizes that do not fit the convolutions and poolings (28x28 and 32x32 do), fewer than
    /// two classes, or a number of heads other than 1 or 2.
    pub fn new(image: [usize; 3], classes: usize, heads: usize, seed: u64) -> Result<Self, TransferError> {
        let [height, width, channels] = image;
        let reduced = |size: usize| {
            let first = size.checked_sub(4).filter(|s| s % 2 == 0)? / 2;
            first
                .checked_sub(4)
                .filter(|s| s % 2 == 0 && *s > 0)
                .map(|s| s / 2)
        };
        let mut problems = Vec::new();
        let sizes = (reduced(height), reduced(width));
        if sizes.0.is_none() || sizes.1.is_none() {
            problems.push(format!(
                "images of {height}x{width} pixels do not fit two 5x5 convolutions with 2x2 pooling; expected sizes such as 28 or 32"
            ));
        }
        if channels == 0 || classes < 2 {
            problems.push(format!(
                "expected at least 1 channel and 2 classes, got {channels} and {classes}"
            ));
        }
        if !(1..=2).contains(&heads) {
            problems.push(format!("expected 1 or 2 heads, got {heads}"));
        }
        let (Some(rows), Some(columns), true) = (sizes.0, sizes.1, problems.is_empty()) else {
            return Err(TransferError::Config { problems });
        };
        let init = &mut Init::he(seed);
        let extractor = Sequential::new()
            .add(FIRST_BLOCK, block(channels, CHANNELS[0], init))
            .add("block2", block(CHANNELS[0], CHANNELS[1], init));
        let width = rows * columns * CHANNELS[1];
        Ok(Self {
            extractor: extractor.add("flat", Flatten),
            heads: (0..heads).map(|_| head(width, classes, init)).collect(),
            image,
            width,
            classes,
        })
    }

    /// The classifier with these weights, as `engraft adapt --out` saves them. The sizes follow from the weights; images are
    /// taken to be square.
    ///
    /// # Errors
    /// [`TransferError::Config`] if the weights are not those of such a classifier, or do not fit square images.
    pub fn from_state(state: &StateDict) -> Result<Self, TransferError> {
        let shape = |name: &str| state.get(name).map(|tensor| tensor.shape().to_vec());
        let heads = HEADS
            .iter()
            .filter(|head| shape(&format!("{head}.classes.bias")).is_some())
            .count();
        let found = [
            "extractor.block1.conv.weight",
            "classifier1.hidden1.dense.weight",
            "classifier1.classes.bias",
        ]
        .map(|name| shape(name).unwrap_or_default());
        let ([_, _, channels, _], [width, _], [classes]) = (&found[0][..], &found[1][..], &found[2][..])
        else {
            return Err(TransferError::Config {
                problems: vec![
                    "these are not the weights of a classifier of engraft adapt: expected extractor.block1.conv.weight, \
                     classifier1.hidden1.dense.weight and classifier1.classes.bias"
                        .into(),
                ],
            });
        };
        // The inverse of the two convolutions and poolings.
        let reduced = (width / CHANNELS[1]).isqrt();
        let side = (2 * reduced + 4) * 2 + 4;
        if reduced == 0
            || reduced * reduced * CHANNELS[1] != *width
            || side > MAX_SIDE
            || *classes > MAX_CLASSES
        {
            return Err(TransferError::Config {
                problems: vec![format!(
                    "the weights are for {width} features and {classes} classes; expected those of square images of up to {MAX_SIDE} \
                     pixels and up to {MAX_CLASSES} classes"
                )],
            });
        }
        let mut classifier = Self::new([side, side, *channels], *classes, heads, 0)?;
        state.apply(&mut classifier)?;
        Ok(classifier)
    }

    /// A classifier of the same architecture with its own random weights.
    pub(crate) fn new_like(&self) -> Self {
        Self::new(self.image, self.classes, self.heads.len(), 0)
            .expect("a classifier of this architecture exists")
    }

    /// A copy of the extractor's first block, with its weights and running statistics.
    pub(crate) fn copy_of_first_block(&self) -> Sequential {
        let mut copy = block(self.image[2], CHANNELS[0], &mut Init::he(0));
        StateDict::of(self.first_block())
            .apply(&mut copy)
            .expect("both blocks have the same architecture");
        copy
    }

    fn first_block(&self) -> &dyn Module {
        let first = self
            .extractor
            .layers()
            .iter()
            .find(|(name, _)| name == FIRST_BLOCK);
        first.expect("the extractor has a first block").1.as_ref()
    }

    /// Image size `[height, width, channels]`.
    pub fn image_size(&self) -> [usize; 3] {
        self.image
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Number of features.
    pub fn feature_dim(&self) -> usize {
        self.width
    }

    /// Features of images: `[n, h, w, c] -> [n, features]`.
    pub fn features(&self, images: &Tensor, mode: Mode) -> Tensor {
        self.extractor.forward(images, mode)
    }

    /// Features with another first block than the extractor's: `[n, h, w, c] -> [n, features]`.
    pub(crate) fn features_through(&self, first: &dyn Module, images: &Tensor, mode: Mode) -> Tensor {
        let later_blocks = self
            .extractor
            .layers()
            .iter()
            .filter(|(name, _)| name != FIRST_BLOCK);
        later_blocks.fold(first.forward(images, mode), |x, (_, layer)| {
            layer.forward(&x, mode)
        })
    }

    /// Logits of every head: `[n, features] -> [n, classes]` each.
    pub fn classify(&self, features: &Tensor, mode: Mode) -> Vec<Tensor> {
        self.heads
            .iter()
            .map(|head| head.forward(features, mode))
            .collect()
    }

    /// The feature extractor.
    pub(crate) fn extractor(&mut self) -> &mut Sequential {
        &mut self.extractor
    }

    /// The heads as one module.
    pub(crate) fn heads(&mut self) -> Heads<'_> {
        Heads(&mut self.heads)
    }
}

/// `[n, h, w, from] -> [n, (h - 4) / 2, (w - 4) / 2, to]`.
fn block(from: usize, to: usize, init: &mut Init) -> Sequential {
    Sequential::new()
        .add("conv", Conv2d::new(from, to, 5, init).no_bias())
        .add("norm", BatchNorm::new(to))
        .add("act", ReLU)
        .add("pool", MaxPool2x)
}

fn head(width: usize, classes: usize, init: &mut Init) -> Sequential {
    let hidden = |from: usize, init: &mut Init| {
        Sequential::new()
            .add("dense", Dense::new(from, HIDDEN, init).no_bias())
            .add("norm", BatchNorm::new(HIDDEN))
            .add("act", ReLU)
            .add("drop", Dropout::new(DROPPED, init))
    };
    Sequential::new()
        .add("hidden1", hidden(width, init))
        .add("hidden2", hidden(HIDDEN, init))
        .add("classes", Dense::new(HIDDEN, classes, init))
}

impl Module for DomainClassifier {
    /// The mean of the heads' logits.
    fn forward(&self, x: &Tensor, mode: Mode) -> Tensor {
        let all = self.classify(&self.features(x, mode), mode);
        let count = all.len() as f32;
        let sum = all
            .into_iter()
            .reduce(|a, b| a + b)
            .expect("a classifier has at least one head");
        sum / count
    }

    fn children(&self) -> Vec<(&str, &dyn Module)> {
        let extractor = ("extractor", &self.extractor as &dyn Module);
        let heads = HEADS.into_iter().zip(&self.heads);
        let heads = heads.map(|(name, head)| (name, head as &dyn Module));
        std::iter::once(extractor).chain(heads).collect()
    }

    fn children_mut(&mut self) -> Vec<(&str, &mut dyn Module)> {
        let extractor = ("extractor", &mut self.extractor as &mut dyn Module);
        let heads = HEADS.into_iter().zip(&mut self.heads);
        let heads = heads.map(|(name, head)| (name, head as &mut dyn Module));
        std::iter::once(extractor).chain(heads).collect()
    }

    fn describe(&self) -> String {
        format!("LeNet 32-48, {} head(s)", self.heads.len())
    }
}

/// The heads of a [`DomainClassifier`], for optimizer steps that change only the heads.
pub(crate) struct Heads<'m>(&'m mut Vec<Sequential>);

impl Module for Heads<'_> {
    fn forward(&self, features: &Tensor, mode: Mode) -> Tensor {
        self.0[0].forward(features, mode)
    }

    fn children(&self) -> Vec<(&str, &dyn Module)> {
        let heads = HEADS.into_iter().zip(self.0.iter());
        heads.map(|(name, head)| (name, head as &dyn Module)).collect()
    }

    fn children_mut(&mut self) -> Vec<(&str, &mut dyn Module)> {
        let heads = HEADS.into_iter().zip(self.0.iter_mut());
        heads
            .map(|(name, head)| (name, head as &mut dyn Module))
            .collect()
    }
}

/// A domain discriminator with hidden layers of these widths: `[n, inputs] -> [n, 1]`, a logit above 0 for the source.
pub(crate) fn domain_discriminator(inputs: usize, hidden: &[usize], seed: u64) -> Sequential {
    let init = &mut Init::he(seed);
    let mut network = Sequential::new();
    let mut from = inputs;
    for (i, &to) in hidden.iter().enumerate() {
        let layer = Sequential::new()
            .add("dense", Dense::new(from, to, init))
            .add("act", ReLU);
        network = network.add(&format!("hidden{}", i + 1), layer);
        from = to;
    }
    network.add("domain", Dense::new(from, 1, init))
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_layers::parameter_count;
    use rand::SeedableRng;
    use rand_pcg::Pcg64;

    #[test]
    fn unsupported_sizes_report_all_problems() {
        match DomainClassifier::new([27, 28, 1], 1, 3, 1).err() {
            Some(TransferError::Config { problems }) => {
                assert!(
                    problems.len() == 3 && problems[0].contains("27x28"),
                    "{problems:?}"
                );
            }
            found => panic!("{found:?}"),
        }
        for size in [12, 28, 32] {
            assert_eq!(
                DomainClassifier::new([size, size, 3], 10, 1, 1).is_ok(),
                size != 12,
                "{size}"
            );
        }
    }

    #[test]
    fn extractor_and_heads_have_all_parameters() {
        let mut model = DomainClassifier::new([28, 28, 1], 10, 2, 1).unwrap();
        let all = parameter_count(&model);
        assert_eq!(
            parameter_count(model.extractor()) + parameter_count(&model.heads()),
            all
        );
        // Another first block replaces the extractor's. With the same weights the features are the same.
        let images = Tensor::uniform([2, 28, 28, 1], -1.0, 1.0, &mut Pcg64::seed_from_u64(1));
        let other = model.copy_of_first_block();
        let by = |first: &dyn Module| model.features_through(first, &images, Mode::Eval);
        let own = model.features(&images, Mode::Eval);
        assert_eq!(by(&other).as_slice(), own.as_slice());
        let fresh = block(1, CHANNELS[0], &mut Init::he(7));
        assert_ne!(by(&fresh).as_slice(), own.as_slice());
        // The two heads start with different weights.
        let features = Tensor::ones([2, 768]);
        let logits = model.classify(&features, Mode::Eval);
        assert_ne!(logits[0].as_slice(), logits[1].as_slice());
    }
}
