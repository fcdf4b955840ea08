//! Share of images that two classifiers read alike.

use crate::feature_network::FeatureClassifier;
use engraft_base::argmax;
use engraft_layers::{Condition, forward_batched};
use engraft_tensor::Tensor;

/// Batch of the classifiers.
const BATCH: usize = 500;

/// Share of images `[n, 28, 28, 1]` to which both classifiers give the same class with a probability above `least`.
///
/// For generated digits it estimates how many can be read. Compare it with the share of real images: it is below 1 too. The
/// classifiers must be independent, for instance trained on different images from different initial weights. A classifier
/// often gives an image that is no digit a high probability, and two independent ones then rarely the same class.
///
/// ```
/// use engraft_layers::Init;
/// use engraft_metrics::{FeatureClassifier, readable_share};
/// use engraft_tensor::Tensor;
/// let [a, b] = [1, 2].map(|seed| FeatureClassifier::new(&mut Init::he(seed)));
/// let images = Tensor::full([3, 28, 28, 1], -1.0);
/// assert_eq!(readable_share([&a, &b], &images, 0.9), 0.0); // untrained: no class is probable
/// ```
///
/// # Panics
/// If the images have another shape, or there are none.
#[track_caller]
pub fn readable_share(classifiers: [&FeatureClassifier; 2], images: &Tensor, least: f64) -> f64 {
    let n = images.shape()[0];
    assert!(n > 0, "readable_share: expected at least one image");
    let [a, b] = classifiers.map(|classifier| certain_classes(classifier, images, least));
    let alike = a.iter().zip(&b).filter(|(a, b)| a.is_some() && a == b);
    alike.count() as f64 / n as f64
}

/// The most probable class of each image, if its probability is above `least`.
fn certain_classes(classifier: &FeatureClassifier, images: &Tensor, least: f64) -> Vec<Option<usize>> {
    let logits = forward_batched(classifier, images, &Condition::None, BATCH);
    let rows = logits.as_slice().chunks_exact(logits.shape()[1]);
    rows.map(|row| certain_class(row, least)).collect()
}

/// The class of the largest logit, if its softmax is above `least`.
fn certain_class(logits: &[f32], least: f64) -> Option<usize> {
    let class = argmax(logits);
    let sum: f64 = logits
        .iter()
        .map(|&logit| (f64::from(logit) - f64::from(logits[class])).exp())
        .sum();
    (1.0 / sum > least).then_some(class)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Training, Variation, train_classifier};
    use engraft_tensor::concat;

    #[test]
    fn a_class_is_certain_above_a_probability() {
        // The softmax of (ln 8, 0, 0) is (0.8, 0.1, 0.1).
        let logits = [8.0_f32.ln(), 0.0, 0.0];
        assert_eq!(certain_class(&logits, 0.79), Some(0));
        assert_eq!(certain_class(&logits, 0.81), None);
        assert_eq!(certain_class(&[f32::NAN; 3], 0.0), None);
    }

    #[test]
    fn only_images_that_both_know_are_readable() {
        let plain = |value: f32| Tensor::full([16, 28, 28, 1], value);
        let images = concat(&[&plain(-0.5), &plain(0.5)], 0);
        let classes: Vec<usize> = (0..32).map(|i| i / 16).collect();
        let swapped: Vec<usize> = classes.iter().map(|class| 1 - class).collect();
        let trained = |classes: &[usize], seed: u64| {
            let training = Training {
                epochs: 40,
                seed,
                variation: Variation::Shift,
            };
            train_classifier(&images, classes, &training, &mut |_, _| ())
        };
        let (a, b, c) = (trained(&classes, 1), trained(&classes, 2), trained(&swapped, 3));
        assert_eq!(readable_share([&a, &b], &images, 0.5), 1.0);
        assert_eq!(readable_share([&a, &c], &images, 0.5), 0.0);
        // A bright image is always read alike, a dark one never.
        let always_one = trained(&[1; 32], 4);
        assert_eq!(readable_share([&a, &always_one], &images, 0.5), 0.5);
    }
}
