//! The features of a [`ColorClassifier`] that this project trained.

use crate::color_classifier::{COLOR_FEATURES, ColorClassifier, TRAINED_SIZE};
use crate::error::MetricsError;
use crate::extractor::{FeatureExtractor, FeatureOutput, InputSpec, check_shape, in_batches};
use crate::feature_set::Features;
use engraft_base::{argmax, sha256_hex};
use engraft_layers::{Init, Mode, StateDict};
use engraft_tensor::Tensor;
use ndarray::Array2;
use std::path::Path;

/// Pixels per batch.
const BATCH_PIXELS: usize = 64 * TRAINED_SIZE * TRAINED_SIZE;

/// A frozen [`ColorClassifier`] as a feature extractor: 256 features of a color image.
///
/// It reads images of 32x32, on which it was trained. With another size in [`from_bytes`](Self::from_bytes) the same
/// convolutions run over more positions, and the features are their mean.
pub struct ColorFeatures {
    name: String,
    hash: String,
    size: usize,
    classes: usize,
    classifier: ColorClassifier,
}

impl ColorFeatures {
    /// An extractor from the bytes of a safetensors file with the state of a [`ColorClassifier`], for images of
    /// `size` times `size` pixels.
    ///
    /// # Errors
    /// If the bytes are damaged, or names or shapes differ from a classifier's; the error lists them.
    ///
    /// # Panics
    /// If the size is 0 or not a multiple of 8.
    #[track_caller]
    pub fn from_bytes(name: &str, bytes: &[u8], size: usize) -> Result<Self, MetricsError> {
        assert!(
            size > 0 && size.is_multiple_of(8),
            "ColorFeatures: the size must be a multiple of 8, got {size}"
        );
        let state = StateDict::from_bytes(bytes, Path::new(name))?;
        let classes = state.get("head.dense.bias").map_or(0, Tensor::len);
        let mut classifier = ColorClassifier::new(classes, &mut Init::he(0));
        state.apply(&mut classifier)?;
        Ok(Self {
            name: name.into(),
            hash: sha256_hex(bytes),
            size,
            classes,
            classifier: classifier.folded(),
        })
    }
}

impl FeatureExtractor for ColorFeatures {
    fn name(&self) -> &str {
        &self.name
    }

    /// SHA-256 of the weights file.
    fn hash(&self) -> &str {
        &self.hash
    }

    fn input(&self) -> InputSpec {
        InputSpec {
            size: [self.size; 2],
            channels: 3,
            range: [-1.0, 1.0],
        }
    }

    fn dimension(&self) -> usize {
        COLOR_FEATURES
    }

    fn class_count(&self) -> Option<usize> {
        Some(self.classes)
    }

    fn read(&self, images: &Tensor) -> Result<FeatureOutput, MetricsError> {
        check_shape(self, images)?;
        let n = images.shape()[0];
        let mut features = Vec::with_capacity(n * COLOR_FEATURES);
        let mut classes = Vec::with_capacity(n);
        let batch = (BATCH_PIXELS / (self.size * self.size)).max(1);
        in_batches(images, [batch, batch], |batch, count| {
            let [found, logits] = self.classifier.features_and_logits(batch, Mode::Eval);
            let rows = found.as_slice().chunks_exact(COLOR_FEATURES).take(count);
            features.extend(rows.flatten().map(|&x| f64::from(x)));
            classes.extend(
                logits
                    .as_slice()
                    .chunks_exact(self.classes)
                    .take(count)
                    .map(argmax),
            );
        });
        let features = Array2::from_shape_vec((n, COLOR_FEATURES), features).expect("one row per image");
        Ok(FeatureOutput {
            features: Features::new(features)?,
            classes: Some(classes),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_pcg::Pcg64;

    #[test]
    fn features_do_not_depend_on_the_other_images() {
        let state = StateDict::of(&ColorClassifier::new(4, &mut Init::he(1)));
        let bytes = state.to_half_bytes().unwrap();
        for size in [32, 40] {
            let extractor = ColorFeatures::from_bytes("untrained", &bytes, size).unwrap();
            let images = Tensor::uniform([70, size, size, 3], -1.0, 1.0, &mut Pcg64::seed_from_u64(1));
            let all = extractor.read(&images).unwrap();
            assert_eq!(all.features.dimension(), extractor.dimension());
            assert!(
                all.classes
                    .as_ref()
                    .is_some_and(|c| c.len() == 70 && c.iter().all(|c| *c < 4))
            );
            for (start, n) in [(0, 1), (7, 3), (30, 40)] {
                let part = extractor.read(&images.narrow(0, start, n)).unwrap().features;
                let indices: Vec<usize> = (start..start + n).collect();
                assert!(part == all.features.select(&indices), "{n} images from {start}");
            }
        }
        assert!(ColorFeatures::from_bytes("damaged", &bytes[..bytes.len() / 2], 32).is_err());
    }
}
