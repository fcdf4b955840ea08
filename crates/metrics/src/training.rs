//! Training of a classifier, for feature networks and for the classification accuracy score.

use crate::feature_network::{FeatureClassifier, IMAGE};
use engraft_base::argmax;
use engraft_layers::{
    Adam, Condition, Init, Mode, Module, Optimizer, Reduction, Schedule, forward_batched, gradients,
    softmax_cross_entropy,
};
use engraft_tensor::Tensor;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

/// Batch size.
const BATCH: usize = 128;
/// Initial learning rate. It decays linearly to 0.
const RATE: f64 = 2e-3;
/// Maximum shift of an image along each axis, in pixels.
const SHIFT: i32 = 2;

/// Random changes of training images that keep their class, different in each pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Variation {
    /// Shifts by up to two pixels.
    Shift,
    /// Shifts by up to two pixels, and a horizontal flip with probability 0.5. It keeps the class of a shoe, but not of a
    /// digit.
    ShiftAndMirror,
}

impl Variation {
    /// The variation that keeps the classes of a data set. Only Fashion-MNIST allows flips.
    pub fn for_data(name: &str) -> Self {
        match name {
            "fashion-mnist" => Self::ShiftAndMirror,
            _ => Self::Shift,
        }
    }
}

/// Settings of [`train_classifier`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Training {
    /// Number of passes over the images.
    pub epochs: usize,
    /// Seed of initial weights, dropout, order and variation.
    pub seed: u64,
    /// Variation of the images.
    pub variation: Variation,
}

impl Training {
    /// Number of steps for `images` images. Images that do not fill a batch are skipped.
    pub fn steps(&self, images: usize) -> usize {
        self.epochs * (images / BATCH.min(images.max(1)))
    }
}

/// Trains a [`FeatureClassifier`] with Adam on images `[n, 28, 28, 1]` with values in `[-1, 1]` and their classes. Calls
/// `on_epoch` with the number of each pass and its mean loss.
///
/// ```
/// use engraft_metrics::{Training, Variation, accuracy, train_classifier};
/// use engraft_tensor::{Tensor, concat};
/// // Class 0 is dark, class 1 is bright.
/// let images = concat(&[&Tensor::full([64, 28, 28, 1], -0.5), &Tensor::full([64, 28, 28, 1], 0.5)], 0);
/// let classes: Vec<usize> = (0..128).map(|i| i / 64).collect();
/// let training = Training { epochs: 2, seed: 1, variation: Variation::Shift };
/// let classifier = train_classifier(&images, &classes, &training, &mut |_, _| ());
/// # let _ = accuracy(&classifier, &images, &classes);
/// ```
///
/// # Panics
/// If the images have another shape, the number of classes differs, or there are fewer than two images.
#[track_caller]
pub fn train_classifier(
    images: &Tensor,
    classes: &[usize],
    training: &Training,
    on_epoch: &mut dyn FnMut(usize, f64),
) -> FeatureClassifier {
    let [height, width, channels] = IMAGE;
    assert!(
        images.shape() == [classes.len(), height, width, channels] && classes.len() > 1,
        "train_classifier: images must be [n, {height}, {width}, {channels}] with n classes and n at least 2, got {:?} \
         and {} classes",
        images.shape(),
        classes.len()
    );
    let mut classifier = FeatureClassifier::new(&mut Init::he(training.seed));
    let mut rng = Pcg64::seed_from_u64(training.seed);
    let batch = BATCH.min(classes.len());
    let mut adam = Adam::new(RATE).schedule(Schedule::LinearDecay {
        from: 0,
        to: training.steps(classes.len()) as u64,
    });
    let mut order: Vec<usize> = (0..classes.len()).collect();
    let pixels = height * width * channels;
    for epoch in 1..=training.epochs {
        order.shuffle(&mut rng);
        let mut total = 0.0;
        for indices in order.chunks_exact(batch) {
            let mut values = Vec::with_capacity(batch * pixels);
            for &i in indices {
                values.extend_from_slice(&images.as_slice()[i * pixels..(i + 1) * pixels]);
            }
            for image in values.chunks_exact_mut(pixels) {
                vary(image, training.variation, &mut rng);
            }
            let labels: Vec<usize> = indices.iter().map(|&i| classes[i]).collect();
            let x = Tensor::from_vec([batch, height, width, channels], values);
            let logits = classifier.forward(&x, Mode::Train);
            let loss = softmax_cross_entropy(&logits, &labels, Reduction::Mean);
            let found = gradients(&loss, &classifier);
            total += f64::from(loss.item());
            drop((logits, loss));
            adam.step(&mut classifier, &found);
        }
        on_epoch(epoch, total / (classes.len() / batch) as f64);
    }
    classifier
}

/// Accuracy of a classifier on images `[n, 28, 28, 1]`. For a classifier that was trained only on labeled generated images,
/// the accuracy on real images is the classification accuracy score (CAS).
///
/// *Source*: Ravuri and Vinyals, "Classification accuracy score for conditional generative models", 2019.
///
/// # Panics
/// If the numbers of classes and images differ, or there are none.
#[track_caller]
pub fn accuracy(classifier: &FeatureClassifier, images: &Tensor, classes: &[usize]) -> f64 {
    assert!(
        images.shape()[0] == classes.len() && !classes.is_empty(),
        "accuracy: expected one class per image and at least one image, got {} classes for images {:?}",
        classes.len(),
        images.shape()
    );
    let logits = forward_batched(classifier, images, &Condition::None, 500);
    let rows = logits.as_slice().chunks_exact(logits.shape()[1]).zip(classes);
    let right = rows.filter(|(row, class)| argmax(row) == **class).count();
    right as f64 / classes.len() as f64
}

fn vary(image: &mut [f32], variation: Variation, rng: &mut Pcg64) {
    let [height, width, _] = IMAGE;
    let [down, right] = [(); 2].map(|()| rng.random_range(-SHIFT..=SHIFT) as isize);
    let old = image.to_vec();
    for y in 0..height {
        for x in 0..width {
            let from = |at: usize, by: isize, size: usize| at.checked_add_signed(-by).filter(|&i| i < size);
            // Pixels shifted in from outside are black.
            image[y * width + x] = match (from(y, down, height), from(x, right, width)) {
                (Some(y), Some(x)) => old[y * width + x],
                _ => -1.0,
            };
        }
    }
    if variation == Variation::ShiftAndMirror && rng.random::<bool>() {
        image.chunks_exact_mut(width).for_each(<[f32]>::reverse);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variation_moves_and_fills_with_black() {
        let rng = &mut Pcg64::seed_from_u64(1);
        let mut sides = [0; 2];
        for _ in 0..40 {
            let mut image = vec![-1.0; 784];
            image[10 * 28 + 5] = 1.0;
            vary(&mut image, Variation::ShiftAndMirror, rng);
            let at: Vec<usize> = (0..784).filter(|&i| image[i] > 0.0).collect();
            assert_eq!(at.len(), 1);
            assert!((8..=12).contains(&(at[0] / 28)));
            sides[usize::from(at[0] % 28 > 13)] += 1;
        }
        assert!(sides[0] > 8 && sides[1] > 8, "{sides:?}");
    }

    #[test]
    fn it_learns_and_the_seed_decides() {
        // Bars: vertical and horizontal ones, at positions that the test images have too.
        let bar = |i: usize| {
            (0..784).map(move |p| {
                if [p % 28, p / 28][i % 2] / 3 == 3 + i % 3 {
                    1.0
                } else {
                    -1.0
                }
            })
        };
        let images = Tensor::from_vec([96, 28, 28, 1], (0..96).flat_map(bar).collect());
        let classes: Vec<usize> = (0..96).map(|i| i % 2).collect();
        let training = Training {
            epochs: 12,
            seed: 3,
            variation: Variation::Shift,
        };
        let mut losses = Vec::new();
        let classifier = train_classifier(&images, &classes, &training, &mut |_, loss| losses.push(loss));
        assert!(losses[11] < losses[0] / 3.0, "{losses:?}");
        let mut again = Vec::new();
        train_classifier(&images, &classes, &training, &mut |_, loss| again.push(loss));
        assert_eq!(losses, again);
        assert!(accuracy(&classifier, &images, &classes) > 0.4);
    }
}
