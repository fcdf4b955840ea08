//! The classification accuracy score (CAS): a classifier trains on labeled images, real or generated, and is tested on real
//! ones.

use crate::error::TransferError;
use engraft_data::Dataset;
use engraft_gan::{Sampler, dataset_tensor};
use engraft_metrics::{CLASSES, IMAGE, InputFit, InputSpec, Training, accuracy, train_classifier};
use engraft_tensor::{Tensor, concat, no_grad};
use rand::Rng;

/// Number of images generated per batch.
const BATCH: usize = 500;

/// Images with class labels, to train or to test a classifier.
///
/// ```
/// use engraft_data::{Split, drawn_digits};
/// use engraft_transfer::LabeledImages;
///
/// let digits = drawn_digits(Split::Train, 30, 1);
/// let [train, more] = [0..20, 20..30].map(|part| LabeledImages::from_dataset(&digits, &part.collect::<Vec<_>>()));
/// assert_eq!(train.with(&more).len(), 30);
/// ```
#[derive(Clone, Debug)]
pub struct LabeledImages {
    /// `[n, 28, 28, 1]`, from -1 to 1.
    images: Tensor,
    labels: Vec<usize>,
}

impl LabeledImages {
    /// The images of a data set at these indices, resized to 28x28 pixels in gray.
    ///
    /// # Panics
    /// If an index is out of range.
    pub fn from_dataset(data: &Dataset, indices: &[usize]) -> Self {
        Self {
            images: classifier_input(&dataset_tensor(data, indices)),
            labels: indices.iter().map(|&i| usize::from(data.label(i))).collect(),
        }
    }

    /// Generates `count` images whose labels cycle through `classes`. `None` if the generator is not conditioned on every one
    /// of these classes, or if there are no classes.
    ///
    /// # Panics
    /// If `count` is 0.
    pub fn generate(sampler: &Sampler, count: usize, classes: &[usize], rng: &mut impl Rng) -> Option<Self> {
        if classes.is_empty() || classes.iter().any(|&class| class >= sampler.class_count()) {
            return None;
        }
        let labels: Vec<usize> = classes.iter().copied().cycle().take(count).collect();
        let generated: Vec<Tensor> = labels
            .chunks(BATCH)
            .map(|labels| no_grad(|| classifier_input(&sampler.generate_with(labels, rng))))
            .collect();
        Some(Self {
            images: concat(&generated.iter().collect::<Vec<_>>(), 0),
            labels,
        })
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// These images followed by the others.
    #[must_use]
    pub fn with(&self, others: &Self) -> Self {
        Self {
            images: concat(&[&self.images, &others.images], 0),
            labels: self.labels.iter().chain(&others.labels).copied().collect(),
        }
    }

    /// Trains a classifier on these images and returns its accuracy on the test images, from 0 to 1.
    ///
    /// For generated images this is the *classification accuracy score* (CAS). `on_epoch` receives the number and the mean
    /// loss of every epoch.
    ///
    /// *Source*: Ravuri and Vinyals, "Classification accuracy score for conditional generative models", 2019.
    ///
    /// # Errors
    /// [`TransferError::Classifier`] for fewer than two training images, no test images, or a label of at least [`CLASSES`].
    pub fn classification_accuracy(
        &self,
        test: &Self,
        training: &Training,
        on_epoch: &mut dyn FnMut(usize, f64),
    ) -> Result<f64, TransferError> {
        let largest = self.labels.iter().chain(&test.labels).copied().max();
        if self.len() < 2 || test.is_empty() || largest >= Some(CLASSES) {
            return Err(TransferError::Classifier {
                training_images: self.len(),
                test_images: test.len(),
                largest_label: largest.unwrap_or(0),
            });
        }
        let classifier = train_classifier(&self.images, &self.labels, training, on_epoch);
        Ok(accuracy(&classifier, &test.images, &test.labels))
    }
}

/// Converts images `[n, h, w, c]` to the classifier's input `[n, 28, 28, 1]` in gray.
fn classifier_input(images: &Tensor) -> Tensor {
    let &[_, h, w, c] = images.shape() else {
        panic!("expected images [n, h, w, c], got {:?}", images.shape())
    };
    let input = InputSpec {
        size: [IMAGE[0], IMAGE[1]],
        channels: IMAGE[2],
        range: [-1.0, 1.0],
    };
    let fit = InputFit::new([h, w, c], &input).unwrap_or_else(|error| panic!("{error}"));
    fit.apply(images)
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_data::{Split, drawn_digits};
    use engraft_gan::networks::ConditionalGenerator;
    use engraft_layers::{Dense, Embedding, Init, Reshape, Sequential};
    use engraft_metrics::Variation;
    use rand::SeedableRng;
    use rand_pcg::Pcg64;

    fn training(epochs: usize) -> Training {
        Training {
            epochs,
            seed: 1,
            variation: Variation::Shift,
        }
    }

    #[test]
    fn classification_accuracy_of_real_images_and_errors_for_unusable_ones() {
        let (train, test) = (
            drawn_digits(Split::Train, 640, 1),
            drawn_digits(Split::Test, 100, 1),
        );
        let first = |data: &Dataset, n: usize| LabeledImages::from_dataset(data, &(0..n).collect::<Vec<_>>());
        let (train, test) = (first(&train, 640), first(&test, 100));
        let mut epochs = 0;
        let score = train
            .classification_accuracy(&test, &training(8), &mut |_, _| epochs += 1)
            .unwrap();
        assert!(score > 0.5 && epochs == 8, "{score}");
        let none = first(&drawn_digits(Split::Test, 10, 1), 0);
        let error = none
            .classification_accuracy(&test, &training(1), &mut |_, _| ())
            .unwrap_err();
        assert!(matches!(
            error,
            TransferError::Classifier {
                training_images: 0,
                test_images: 100,
                ..
            }
        ));
        let other = LabeledImages {
            labels: vec![10; 100],
            ..test.clone()
        };
        let error = train
            .classification_accuracy(&other, &training(1), &mut |_, _| ())
            .unwrap_err();
        assert!(matches!(
            error,
            TransferError::Classifier {
                largest_label: 10,
                ..
            }
        ));
        assert_eq!(train.with(&test).len(), 740);
    }

    #[test]
    fn labeled_images_need_a_conditional_generator_and_cycle_through_the_classes() {
        let generator = |inputs| {
            Sequential::new()
                .add("pixels", Dense::new(inputs, 784, &mut Init::glorot(1)))
                .add("grid", Reshape::new([28, 28, 1]))
        };
        let rng = &mut Pcg64::seed_from_u64(1);
        let all = [0, 1, 2];
        assert!(LabeledImages::generate(&Sampler::new(generator(4), 4), 20, &all, rng).is_none());
        let embedding = Embedding::new(3, 3, &mut Init::glorot(2));
        let conditional = ConditionalGenerator::new(embedding, generator(4 + 3), 4);
        let conditional = Sequential::new().add("conditional", conditional);
        let sampler = Sampler::new(conditional, 4).classes(3);
        let generated = LabeledImages::generate(&sampler, 7, &all, rng).unwrap();
        assert_eq!(generated.labels, [0, 1, 2, 0, 1, 2, 0]);
        assert_eq!(generated.images.shape(), [7, 28, 28, 1]);
        assert_eq!(
            LabeledImages::generate(&sampler, 3, &[1, 2], rng).unwrap().labels,
            [1, 2, 1]
        );
        assert!(LabeledImages::generate(&sampler, 3, &[2, 3], rng).is_none());
    }
}
