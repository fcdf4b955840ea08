//! The features of a [`ColorClassifier`] that this project trained.

use crate::area::area_average;
use crate::color_classifier::{COLOR_FEATURES, ColorClassifier, TRAINED_SIZE};
use crate::error::MetricsError;
use crate::extractor::{
    FeatureExtractor, FeatureOutput, InputSpec, RecordedFeatures, check_shape, in_batches,
};
use crate::feature_set::Features;
use engraft_base::{argmax, sha256_hex};
use engraft_layers::{Init, Mode, StateDict};
use engraft_tensor::Tensor;
use ndarray::Array2;
use std::path::Path;

/// Pixels per batch.
const BATCH_PIXELS: usize = 64 * TRAINED_SIZE * TRAINED_SIZE;
/// The convolutions halve the size this often, as a factor.
const STRIDE: usize = 8;
/// Side of the largest copy. A copy of 128x128 takes 1.5 billion multiply-adds.
const LARGEST_COPY: usize = 128;

/// A frozen [`ColorClassifier`] as a feature extractor of color images.
///
/// The classifier reads one or more copies of an image, and the mean of its last convolution over all positions gives 256
/// features of each copy. [`for_images`](Self::for_images) chooses the copies by the size of the images.
pub struct ColorFeatures {
    name: String,
    hash: String,
    /// Height and width of the images.
    image: [usize; 2],
    /// Heights and widths of the copies that the classifier reads, smallest first.
    copies: Vec<[usize; 2]>,
    classes: usize,
    classifier: ColorClassifier,
}

/// The built-in weights, trained on CIFAR-10 by `cargo xtask train-features --data cifar10`. They read 87.7 % of its test
/// images.
pub(crate) const BUILT_IN: Option<&[u8]> = Some(include_bytes!("../weights/cifar10.safetensors"));

impl ColorFeatures {
    /// An extractor from the bytes of a safetensors file with the state of a [`ColorClassifier`], for images of
    /// `size` times `size` pixels. The classifier reads them in this size only.
    ///
    /// # Errors
    /// If the bytes are damaged, or names or shapes differ from a classifier's; the error lists them.
    ///
    /// # Panics
    /// If the size is 0 or not a multiple of 8.
    #[track_caller]
    pub fn from_bytes(name: &str, bytes: &[u8], size: usize) -> Result<Self, MetricsError> {
        Self::with_copies(name, bytes, [size; 2], vec![[size; 2]])
    }

    /// The same for images of any height and width.
    ///
    /// Images of up to 32x32 are enlarged to it, if necessary, and have 256 features. Of larger images the classifier reads
    /// two copies, made by area averaging, which give 512 features: one of 32x32, and one of the image's size, rounded down
    /// to multiples of 8, of at most 128x128.
    ///
    /// The small copy shows objects and their layout, as in training. The large copy shows blur, noise and colors. *Check*: KID
    /// of degraded pictures of 64x64 above that of real ones, in standard deviations of the latter, with 200 Noto emoji (mild, medium,
    /// strong):
    ///
    /// | degradation | copy of 32x32 | image of 64x64 | both |
    /// |---|--:|--:|--:|
    /// | blur of radius 0.5, 1, 2 | 1.5, 18, 64 | 6.7, 42, 81 | 3.6, 28, 70 |
    /// | noise of deviation 5, 15, 40 of 255 | 0.1, 1.1, 22 | 0.5, 47, 283 | 0.3, 20, 128 |
    /// | colors scaled by up to 10, 25, 50 % | 0.5, 2.2, 6.9 | 0.8, 5.5, 17 | 0.6, 3.5, 11 |
    /// | 1, 2, 4 pairs of parts swapped | 3.4, 10, 28 | -0.2, 1.5, 6.2 | 1.9, 6.5, 19 |
    /// | checkerboard of ± 5, 15, 40 | 0.1, 0.1, 0.6 | -0.4, -0.4, 3.6 | -0.1, -0.2, 1.8 |
    ///
    /// # Errors
    /// As [`from_bytes`](Self::from_bytes).
    pub fn for_images(name: &str, bytes: &[u8], [height, width]: [usize; 2]) -> Result<Self, MetricsError> {
        let image = [height, width].map(|side| side.max(TRAINED_SIZE));
        let large = image.map(|side| side.min(LARGEST_COPY) / STRIDE * STRIDE);
        let mut copies = vec![[TRAINED_SIZE; 2]];
        if large != [TRAINED_SIZE; 2] {
            copies.push(large);
        }
        Self::with_copies(name, bytes, image, copies)
    }

    /// The same for images of a height and width, of which the classifier reads copies of these sizes. They are made by area
    /// averaging. The classes are those of the first copy.
    ///
    /// # Errors
    /// As [`from_bytes`](Self::from_bytes).
    ///
    /// # Panics
    /// If there are no copies, one is larger than the images, or a side is 0 or not a multiple of 8.
    #[track_caller]
    pub fn with_copies(
        name: &str,
        bytes: &[u8],
        image: [usize; 2],
        copies: Vec<[usize; 2]>,
    ) -> Result<Self, MetricsError> {
        let fits = |[h, w]: &[usize; 2]| {
            let whole = |side: usize| side > 0 && side.is_multiple_of(STRIDE);
            whole(*h) && whole(*w) && *h <= image[0] && *w <= image[1]
        };
        assert!(
            !copies.is_empty() && copies.iter().all(fits),
            "ColorFeatures: the sides of copies must be multiples of {STRIDE} up to {image:?}, got {copies:?}"
        );
        let state = StateDict::from_bytes(bytes, Path::new(name))?;
        let classes = state.get("head.dense.bias").map_or(0, Tensor::len);
        let mut classifier = ColorClassifier::new(classes, &mut Init::he(0));
        state.apply(&mut classifier)?;
        Ok(Self {
            name: name.into(),
            hash: sha256_hex(bytes),
            image,
            copies,
            classes,
            classifier: classifier.folded(),
        })
    }

    /// Images per batch, so that a batch has about the same number of pixels.
    fn batch(&self) -> usize {
        let [h, w] = self.image;
        (BATCH_PIXELS / (h * w)).max(1)
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
            size: self.image,
            channels: 3,
            range: [-1.0, 1.0],
        }
    }

    fn dimension(&self) -> usize {
        COLOR_FEATURES * self.copies.len()
    }

    fn about(&self) -> String {
        let copies = self.copies.iter().map(|copy| {
            let [h, w] = *copy;
            match *copy == self.image {
                true => format!("the image of {h}x{w}"),
                false => format!("a copy of {h}x{w} (area averaging)"),
            }
        });
        let copies: Vec<String> = copies.collect();
        format!(
            "{} features of a classifier trained on CIFAR-10, which reads {}",
            self.dimension(),
            copies.join(" and ")
        )
    }

    fn class_count(&self) -> Option<usize> {
        Some(self.classes)
    }

    fn read(&self, images: &Tensor) -> Result<FeatureOutput, MetricsError> {
        check_shape(self, images)?;
        let (n, d) = (images.shape()[0], self.dimension());
        let mut features = Array2::zeros((n, d));
        let mut classes = Vec::with_capacity(n);
        let (batch, mut row) = (self.batch(), 0);
        in_batches(images, [batch, batch], |batch, count| {
            for (i, &copy) in self.copies.iter().enumerate() {
                let [found, logits] = self
                    .classifier
                    .features_and_logits(&area_average(batch, copy), Mode::Eval);
                for (k, values) in found
                    .as_slice()
                    .chunks_exact(COLOR_FEATURES)
                    .take(count)
                    .enumerate()
                {
                    let columns = i * COLOR_FEATURES..(i + 1) * COLOR_FEATURES;
                    let mut to = features.slice_mut(ndarray::s![row + k, columns]);
                    to.iter_mut().zip(values).for_each(|(to, &x)| *to = f64::from(x));
                }
                if i == 0 {
                    let logits = logits.as_slice().chunks_exact(self.classes).take(count);
                    classes.extend(logits.map(argmax));
                }
            }
            row += count;
        });
        Ok(FeatureOutput {
            features: Features::new(features)?,
            classes: Some(classes),
        })
    }

    /// Only if the classifier reads the image itself and no smaller copies.
    fn recorded(&self, images: &Tensor) -> Option<RecordedFeatures> {
        if self.copies != [self.image] {
            return None;
        }
        let [features, logits] = self.classifier.features_and_logits(images, Mode::Eval);
        let logits = Some(logits);
        Some(RecordedFeatures { features, logits })
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

    #[test]
    fn large_images_are_read_in_two_sizes() {
        let bytes = BUILT_IN.unwrap();
        let of = |image| {
            let extractor = ColorFeatures::for_images("cifar10", bytes, image).unwrap();
            (extractor.image, extractor.copies)
        };
        let small = [32, 32];
        assert_eq!(of([28, 28]), (small, vec![small]));
        assert_eq!(of([39, 33]), ([39, 33], vec![small]));
        assert_eq!(of([64, 64]), ([64, 64], vec![small, [64, 64]]));
        assert_eq!(of([20, 100]), ([32, 100], vec![small, [32, 96]]));
        assert_eq!(of([256, 512]), ([256, 512], vec![small, [128, 128]]));
        let extractor = ColorFeatures::for_images("cifar10", bytes, [48, 40]).unwrap();
        let images = Tensor::full([3, 48, 40, 3], 0.25);
        let found = extractor.read(&images).unwrap();
        assert_eq!((found.features.len(), found.features.dimension()), (3, 512));
        // Of an even image, both copies are even, but the border of the convolutions weighs less in the large one.
        assert!(found.features.variance() < 1e-9);
    }
}
