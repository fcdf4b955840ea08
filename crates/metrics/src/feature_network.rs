//! Feature networks: small convolutional classifiers, trained by this project and frozen.

use crate::error::MetricsError;
use crate::extractor::{
    FeatureExtractor, FeatureOutput, InputSpec, RecordedFeatures, check_shape, in_batches,
};
use crate::feature_set::Features;
use engraft_base::{argmax, sha256_hex};
use engraft_layers::{
    BatchNorm, Conv2d, Dense, Dropout, Flatten, Init, LeakyReLU, Mode, Module, Sequential, StateDict,
    children,
};
use engraft_tensor::Tensor;
use ndarray::Array2;
use std::path::Path;

/// Height, width and channels of the input of a feature network.
pub const IMAGE: [usize; 3] = [28, 28, 1];
/// Number of features per image.
pub const FEATURES: usize = 128;
/// Number of classes of a feature network.
pub const CLASSES: usize = 10;
/// Minimum and maximum number of images per batch.
const BATCH: [usize; 2] = [32, 250];
const SLOPE: f64 = 0.1;

/// The classifier of a feature network: `[n, 28, 28, 1]`, values in `[-1, 1]`, to logits `[n, 10]`.
///
/// The body is five 3x3 convolutions with batch norm and a dense layer to the 128 features. The head computes the logits
/// from them, with dropout of 0.5 in training.
pub struct FeatureClassifier {
    body: Sequential,
    head: Sequential,
}

impl FeatureClassifier {
    /// A classifier with initial weights.
    ///
    /// ```
    /// use engraft_layers::{Init, parameter_count};
    /// use engraft_metrics::FeatureClassifier;
    /// assert_eq!(parameter_count(&FeatureClassifier::new(&mut Init::he(1))), 393_226);
    /// ```
    pub fn new(init: &mut Init) -> Self {
        let blocks = [(1, 32, 1), (32, 48, 2), (48, 48, 1), (48, 64, 2), (64, 48, 1)];
        let mut body = Sequential::new();
        for (i, (from, to, stride)) in blocks.into_iter().enumerate() {
            let conv = Conv2d::new(from, to, 3, init).stride(stride).same().no_bias();
            let block = Sequential::new()
                .add("conv", conv)
                .add("norm", BatchNorm::new(to))
                .add("act", LeakyReLU::new(SLOPE));
            body = body.add(&format!("block{}", i + 1), block);
        }
        let features = Sequential::new()
            .add("dense", Dense::new(7 * 7 * 48, FEATURES, init).no_bias())
            .add("norm", BatchNorm::new(FEATURES))
            .add("act", LeakyReLU::new(SLOPE));
        let head = Sequential::new()
            .add("dropout", Dropout::new(0.5, init))
            .add("dense", Dense::new(FEATURES, CLASSES, init));
        Self {
            body: body.add("flat", Flatten).add("features", features),
            head,
        }
    }
}

impl Module for FeatureClassifier {
    fn forward(&self, x: &Tensor, mode: Mode) -> Tensor {
        self.head.forward(&self.body.forward(x, mode), mode)
    }

    children!(body, head);

    fn describe(&self) -> String {
        "FeatureClassifier".into()
    }
}

/// A frozen classifier. Its last hidden layer is the feature space of this crate's measures.
///
/// Its batch norms are folded into the weights, so it has no training mode. A measure depends on its network, so report
/// the [`name`](Self::name) and [`hash`](Self::hash) with it.
///
/// ```
/// use engraft_metrics::{FeatureExtractor, FeatureNetwork};
/// use engraft_tensor::Tensor;
/// let network = FeatureNetwork::mnist();
/// let output = network.read(&Tensor::full([3, 28, 28, 1], -1.0))?;
/// assert_eq!((output.features.len(), output.features.dimension()), (3, 128));
/// # Ok::<(), engraft_metrics::MetricsError>(())
/// ```
pub struct FeatureNetwork {
    name: String,
    hash: String,
    body: Sequential,
    head: Sequential,
}

impl FeatureNetwork {
    /// The network trained on MNIST's training images.
    pub fn mnist() -> Self {
        let bytes = include_bytes!("../weights/mnist.safetensors");
        Self::from_bytes("mnist", bytes).expect("the built-in weights are valid")
    }

    /// The network trained on Fashion-MNIST's training images.
    pub fn fashion_mnist() -> Self {
        let bytes = include_bytes!("../weights/fashion-mnist.safetensors");
        Self::from_bytes("fashion-mnist", bytes).expect("the built-in weights are valid")
    }

    /// A network from the bytes of a safetensors file with the state of a [`FeatureClassifier`].
    ///
    /// # Errors
    /// If the bytes are damaged, or names or shapes differ from a classifier's. The error lists all differences.
    pub fn from_bytes(name: &str, bytes: &[u8]) -> Result<Self, MetricsError> {
        let state = StateDict::from_bytes(bytes, Path::new(name))?;
        let mut classifier = FeatureClassifier::new(&mut Init::he(0));
        state.apply(&mut classifier)?;
        Ok(Self {
            name: name.into(),
            hash: sha256_hex(bytes),
            body: classifier.body.folded(),
            head: classifier.head.folded(),
        })
    }
}

impl FeatureExtractor for FeatureNetwork {
    /// Name of the training data.
    fn name(&self) -> &str {
        &self.name
    }

    /// SHA-256 of the weights file.
    fn hash(&self) -> &str {
        &self.hash
    }

    fn input(&self) -> InputSpec {
        let [height, width, channels] = IMAGE;
        InputSpec {
            size: [height, width],
            channels,
            range: [-1.0, 1.0],
        }
    }

    fn dimension(&self) -> usize {
        FEATURES
    }

    fn class_count(&self) -> Option<usize> {
        Some(CLASSES)
    }

    /// The result for an image does not depend on the number or order of the images, to the last bit.
    fn read(&self, images: &Tensor) -> Result<FeatureOutput, MetricsError> {
        check_shape(self, images)?;
        let n = images.shape()[0];
        let mut features = Vec::with_capacity(n * FEATURES);
        let mut classes = Vec::with_capacity(n);
        in_batches(images, BATCH, |batch, count| {
            let found = self.body.forward(batch, Mode::Eval);
            let logits = self.head.forward(&found, Mode::Eval);
            let rows = found.as_slice().chunks_exact(FEATURES).take(count);
            features.extend(rows.flatten().map(|&x| f64::from(x)));
            classes.extend(logits.as_slice().chunks_exact(CLASSES).take(count).map(argmax));
        });
        let features = Array2::from_shape_vec((n, FEATURES), features).expect("one row per image");
        Ok(FeatureOutput {
            features: Features::new(features)?,
            classes: Some(classes),
        })
    }

    fn recorded(&self, images: &Tensor) -> Option<RecordedFeatures> {
        let features = self.body.forward(images, Mode::Eval);
        let logits = Some(self.head.forward(&features, Mode::Eval));
        Some(RecordedFeatures { features, logits })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_pcg::Pcg64;

    #[test]
    fn features_do_not_depend_on_the_place_of_an_image() {
        let images = Tensor::uniform(
            [BATCH[1] + 40, 28, 28, 1],
            -1.0,
            1.0,
            &mut Pcg64::seed_from_u64(1),
        );
        let network = FeatureNetwork::mnist();
        let all = network.read(&images).unwrap();
        for (start, n) in [
            (0, 1),
            (7, 3),
            (100, 6),
            (BATCH[1] - 2, 5),
            (30, 33),
            (3, BATCH[1] + 2),
        ] {
            let part = network.read(&images.narrow(0, start, n)).unwrap();
            let indices: Vec<usize> = (start..start + n).collect();
            assert!(
                part.features == all.features.select(&indices),
                "{n} images from {start}"
            );
            assert_eq!(
                part.classes.unwrap(),
                all.classes.as_ref().unwrap()[start..start + n]
            );
        }
    }
}
