//! Labeled images, real or drawn by a generator that is told the class, and what a classifier learns from them.

use crate::error::TransferError;
use engraft_data::Dataset;
use engraft_gan::{Sampler, dataset_tensor};
use engraft_metrics::{CLASSES, IMAGE, InputFit, InputSpec, Training, accuracy, train_classifier};
use engraft_tensor::{Tensor, concat, no_grad};
use rand::Rng;

/// Images that are generated at once.
const BATCH: usize = 500;

/// Images with their classes, as a classifier is trained on them or asked about them.
#[derive(Clone, Debug)]
pub struct LabeledImages {
    /// `[n, 28, 28, 1]`, from -1 to 1.
    images: Tensor,
    labels: Vec<usize>,
}

impl LabeledImages {
    /// The images of a data set at the indices.
    ///
    /// # Panics
    /// If an index is out of range.
    pub fn from_dataset(data: &Dataset, indices: &[usize]) -> Self {
        Self {
            images: digits(&dataset_tensor(data, indices)),
            labels: indices.iter().map(|&i| usize::from(data.label(i))).collect(),
        }
    }

    /// `count` images that a generator draws, as many of each of these classes; `None` if it is not told the class, or not
    /// each of these.
    ///
    /// # Panics
    /// If `count` is 0.
    pub fn generate(sampler: &Sampler, count: usize, classes: &[usize], rng: &mut impl Rng) -> Option<Self> {
        if classes.is_empty() || classes.iter().any(|&class| class >= sampler.class_count()) {
            return None;
        }
        let labels: Vec<usize> = classes.iter().copied().cycle().take(count).collect();
        let drawn: Vec<Tensor> = labels
            .chunks(BATCH)
            .map(|labels| no_grad(|| digits(&sampler.generate_with(labels, rng))))
            .collect();
        Some(Self {
            images: concat(&drawn.iter().collect::<Vec<_>>(), 0),
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

    /// These images and then the others.
    #[must_use]
    pub fn with(&self, others: &Self) -> Self {
        Self {
            images: concat(&[&self.images, &others.images], 0),
            labels: self.labels.iter().chain(&others.labels).copied().collect(),
        }
    }

    /// Trains a classifier on these images and gives the share of the test images that it reads: of generated images their
    /// *classification accuracy score*. Every pass and its mean loss is told.
    ///
    /// *Source*: Ravuri and Vinyals, "Classification accuracy score for conditional generative models", 2019.
    ///
    /// # Errors
    /// If there are fewer than two images to train on, or none to test with, or a label is none of the classifier's
    /// [`CLASSES`].
    pub fn classification_accuracy(
        &self,
        test: &Self,
        training: &Training,
        on_epoch: &mut dyn FnMut(usize, f64),
    ) -> Result<f64, TransferError> {
        let last = self.labels.iter().chain(&test.labels).copied().max();
        if self.len() < 2 || test.is_empty() || last >= Some(CLASSES) {
            return Err(TransferError::Classifier {
                learned: self.len(),
                tested: test.len(),
                last: last.unwrap_or(0),
            });
        }
        let classifier = train_classifier(&self.images, &self.labels, training, on_epoch);
        Ok(accuracy(&classifier, &test.images, &test.labels))
    }
}

/// Images `[n, h, w, c]` as the classifier reads them: gray, 28x28.
fn digits(images: &Tensor) -> Tensor {
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
    fn a_classifier_reads_what_it_was_taught_and_too_few_images_are_refused() {
        let (train, test) = (
            drawn_digits(Split::Train, 640, 1),
            drawn_digits(Split::Test, 100, 1),
        );
        let of = |data: &Dataset, n: usize| LabeledImages::from_dataset(data, &(0..n).collect::<Vec<_>>());
        let (train, test) = (of(&train, 640), of(&test, 100));
        let mut passes = 0;
        let score = train
            .classification_accuracy(&test, &training(8), &mut |_, _| passes += 1)
            .unwrap();
        assert!(score > 0.5 && passes == 8, "{score}");
        let none = of(&drawn_digits(Split::Test, 10, 1), 0);
        let error = none
            .classification_accuracy(&test, &training(1), &mut |_, _| ())
            .unwrap_err();
        assert!(error.to_string().contains("found 0 and 100"), "{error}");
        let other = LabeledImages {
            labels: vec![10; 100],
            ..test.clone()
        };
        let error = train
            .classification_accuracy(&other, &training(1), &mut |_, _| ())
            .unwrap_err();
        assert!(error.to_string().contains("labels up to 10"), "{error}");
        assert_eq!(train.with(&test).len(), 740);
    }

    #[test]
    fn a_generator_without_classes_draws_none_and_one_with_them_draws_each_in_turn() {
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
        let told = Sampler::new(conditional, 4).classes(3);
        let drawn = LabeledImages::generate(&told, 7, &all, rng).unwrap();
        assert_eq!(drawn.labels, [0, 1, 2, 0, 1, 2, 0]);
        assert_eq!(drawn.images.shape(), [7, 28, 28, 1]);
        assert_eq!(
            LabeledImages::generate(&told, 3, &[1, 2], rng).unwrap().labels,
            [1, 2, 1]
        );
        assert!(LabeledImages::generate(&told, 3, &[2, 3], rng).is_none());
    }
}
