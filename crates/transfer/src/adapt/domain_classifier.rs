//! The networks of adaptation: a feature extractor with one or two classifiers, and the domain discriminator.

use crate::error::TransferError;
use engraft_layers::{
    BatchNorm, Conv2d, Dense, Dropout, Flatten, Init, MaxPool2x, Mode, Module, ReLU, Sequential, StateDict,
};
use engraft_tensor::Tensor;

/// Channels of the two convolutions.
const CHANNELS: [usize; 2] = [32, 48];
/// Width of the classifier's two hidden layers.
const HIDDEN: usize = 100;
/// Share of the classifier's inputs that is dropped in training.
const DROPPED: f64 = 0.5;

/// A classifier in two parts: features of an image, and one or two heads that read classes from them.
///
/// The features are those of a LeNet: `conv 5x5 32, norm, ReLU, max pool, conv 5x5 48, norm, ReLU, max pool`, flat; a head
/// is `dense 100, norm, ReLU, dropout, dense 100, norm, ReLU, dropout, dense`. They are the networks with which Saito et
/// al. (2018) adapt between MNIST and USPS, and every method here uses them, so that methods compare.
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

/// Name of the extractor's first block.
const FIRST_BLOCK: &str = "block1";
/// Names of the heads.
const HEADS: [&str; 2] = ["classifier1", "classifier2"];

impl DomainClassifier {
    /// Networks with fresh weights for images `[height, width, channels]`.
    ///
    /// # Errors
    /// [`TransferError::Config`] if the images do not fit the two convolutions and poolings (28x28 and 32x32 do), there
    /// are fewer than two classes, or not one or two heads.
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
                "images of {height}x{width}: two convolutions of 5x5, each halved, need sizes such as 28 or 32"
            ));
        }
        if channels == 0 || classes < 2 {
            problems.push(format!(
                "{channels} channels and {classes} classes: at least 1 and 2"
            ));
        }
        if !(1..=2).contains(&heads) {
            problems.push(format!("{heads} classifiers: 1 or 2"));
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

    /// A model of the same kind, with weights of its own.
    pub(crate) fn like(&self) -> Self {
        Self::new(self.image, self.classes, self.heads.len(), 0).expect("a model of this kind exists")
    }

    /// A first block of the extractor's kind, with the same weights and running statistics but apart from it.
    pub(crate) fn copy_of_first_block(&self) -> Sequential {
        let mut copy = block(self.image[2], CHANNELS[0], &mut Init::he(0));
        StateDict::of(self.first_block())
            .apply(&mut copy)
            .expect("two blocks of one kind");
        copy
    }

    fn first_block(&self) -> &dyn Module {
        let first = self
            .extractor
            .layers()
            .iter()
            .find(|(name, _)| name == FIRST_BLOCK);
        first.expect("the extractor was built with it").1.as_ref()
    }

    /// Height, width and channels of its images.
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

    /// Features of images: `[n, h, w, c] -> [n, width]`.
    pub fn features(&self, images: &Tensor, mode: Mode) -> Tensor {
        self.extractor.forward(images, mode)
    }

    /// Features by way of another first block than the extractor's: `[n, h, w, c] -> [n, width]`.
    pub(crate) fn features_through(&self, first: &dyn Module, images: &Tensor, mode: Mode) -> Tensor {
        let rest = self
            .extractor
            .layers()
            .iter()
            .filter(|(name, _)| name != FIRST_BLOCK);
        rest.fold(first.forward(images, mode), |x, (_, layer)| {
            layer.forward(&x, mode)
        })
    }

    /// Logits of every head: `[n, width] -> [n, classes]` each.
    pub fn classify(&self, features: &Tensor, mode: Mode) -> Vec<Tensor> {
        self.heads
            .iter()
            .map(|head| head.forward(features, mode))
            .collect()
    }

    /// The feature extractor alone.
    pub(crate) fn extractor(&mut self) -> &mut Sequential {
        &mut self.extractor
    }

    /// The classifiers, as one module.
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
            .expect("a model has at least one head");
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
        format!("LeNet 32-48, {} classifier(s)", self.heads.len())
    }
}

/// The heads of a [`DomainClassifier`], for gradients and steps of theirs alone.
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

/// A domain discriminator: features (or what is made of them) to one logit, through hidden layers of these widths.
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
    fn sizes_that_do_not_fit_are_told_together() {
        let error = DomainClassifier::new([27, 28, 1], 1, 3, 1)
            .err()
            .map(|e| e.to_string());
        let error = error.expect("an error");
        assert!(error.contains("27x28") && error.contains("1 classes") && error.contains("3 classifiers"));
        for size in [12, 28, 32] {
            assert_eq!(
                DomainClassifier::new([size, size, 3], 10, 1, 1).is_ok(),
                size != 12,
                "{size}"
            );
        }
    }

    #[test]
    fn the_parts_share_the_whole() {
        let mut model = DomainClassifier::new([28, 28, 1], 10, 2, 1).unwrap();
        let all = parameter_count(&model);
        assert_eq!(
            parameter_count(model.extractor()) + parameter_count(&model.heads()),
            all
        );
        // Another first block takes the place of the extractor's, and only that: with the same weights nothing changes.
        let images = Tensor::uniform([2, 28, 28, 1], -1.0, 1.0, &mut Pcg64::seed_from_u64(1));
        let other = model.copy_of_first_block();
        let by = |first: &dyn Module| model.features_through(first, &images, Mode::Eval);
        let own = model.features(&images, Mode::Eval);
        assert_eq!(by(&other).as_slice(), own.as_slice());
        let fresh = block(1, CHANNELS[0], &mut Init::he(7));
        assert_ne!(by(&fresh).as_slice(), own.as_slice());
        // The two heads begin differently.
        let features = Tensor::ones([2, 768]);
        let logits = model.classify(&features, Mode::Eval);
        assert_ne!(logits[0].as_slice(), logits[1].as_slice());
    }
}
