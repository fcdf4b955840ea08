//! Readability: the share of images that two independent classifiers read alike.

use super::extract::BATCH;
use super::process::ensure_not_interrupted;
use anyhow::ensure;
use engraft_base::batches;
use engraft_data::Dataset;
use engraft_gan::dataset_tensor;
use engraft_metrics::{
    CLASSES, FeatureClassifier, IMAGE, Training, Variation, readable_share, train_classifier,
};
use engraft_tensor::Tensor;
use indicatif::ProgressBar;
use rand::SeedableRng;
use rand::seq::index;
use rand_pcg::Pcg64;
use serde::Serialize;
use std::fmt;

/// Training epochs of the classifiers.
const EPOCHS: usize = 5;
/// Most training images of a classifier.
const MOST_IMAGES: usize = 20_000;
/// Probability that both classifiers must give their class.
const LEAST: f64 = 0.9;
/// Fewest labeled images.
const FEWEST: usize = 200;

/// Shares of images that are readable.
#[derive(Debug, Serialize)]
pub(super) struct Readability {
    /// Of generated images.
    generated: f64,
    /// Of real test images.
    real: f64,
    /// Training images of each classifier.
    images: usize,
    epochs: usize,
    seed: u64,
}

/// Two classifiers that read images.
pub(super) struct Readers {
    classifiers: [FeatureClassifier; 2],
    images: usize,
    seed: u64,
}

impl Readers {
    /// Trains them on two halves of the labeled images, from different initial weights.
    ///
    /// # Errors
    /// If the images are not 28x28 and gray, have no labels, or are too few.
    pub(super) fn train(name: &str, images: &Dataset, seed: u64) -> anyhow::Result<Self> {
        let size = images.image_size();
        ensure!(
            size == IMAGE,
            "--readability: the classifiers need gray images of 28x28 pixels, but those of --data {name} have the shape {size:?}"
        );
        ensure!(
            (2..=CLASSES).contains(&images.classes()) && images.len() >= FEWEST,
            "--readability: the classifiers need at least {FEWEST} images with labels of 2 to {CLASSES} classes; --data {name} has {} images of \
             {} classes",
            images.len(),
            images.classes()
        );
        let count = (images.len() / 2).min(MOST_IMAGES);
        // In random order, because files are often sorted by class.
        let chosen = index::sample(&mut Pcg64::seed_from_u64(seed), images.len(), 2 * count).into_vec();
        let bar = ProgressBar::new(2 * EPOCHS as u64).with_message("classifiers");
        let classifiers = [0, 1].map(|half| {
            let chosen = &chosen[half * count..(half + 1) * count];
            let labels: Vec<usize> = chosen.iter().map(|&i| usize::from(images.label(i))).collect();
            let training = Training {
                epochs: EPOCHS,
                seed: seed.wrapping_mul(2).wrapping_add(half as u64),
                variation: Variation::for_data(name),
            };
            train_classifier(
                &dataset_tensor(images, chosen),
                &labels,
                &training,
                &mut |_, _| {
                    bar.inc(1);
                },
            )
        });
        bar.finish_and_clear();
        Ok(Self {
            classifiers,
            images: count,
            seed,
        })
    }

    /// Readability of generated images, beside that of real ones.
    ///
    /// # Errors
    /// Interruption.
    pub(super) fn beside_real(&self, generated: f64, real: &Dataset) -> anyhow::Result<Readability> {
        let all: Vec<usize> = (0..real.len()).collect();
        Ok(Readability {
            generated,
            real: self.share(real.len(), |start, end| {
                Ok(dataset_tensor(real, &all[start..end]))
            })?,
            images: self.images,
            epochs: EPOCHS,
            seed: self.seed,
        })
    }

    /// Share of `count` images that are readable, batch by batch. `batch(start, end)` returns the images `start..end`.
    ///
    /// # Errors
    /// Those of `batch`; interruption.
    pub(super) fn share(
        &self,
        count: usize,
        mut batch: impl FnMut(usize, usize) -> anyhow::Result<Tensor>,
    ) -> anyhow::Result<f64> {
        let mut tally = self.tally();
        for part in batches(count, BATCH) {
            ensure_not_interrupted()?;
            tally.add(&batch(part.start, part.end)?);
        }
        Ok(tally.share())
    }

    /// A count of readable images, of none so far.
    pub(super) fn tally(&self) -> Tally<'_> {
        Tally {
            readers: self,
            readable: 0.0,
            images: 0,
        }
    }
}

/// A count of readable images.
pub(super) struct Tally<'a> {
    readers: &'a Readers,
    readable: f64,
    images: usize,
}

impl Tally<'_> {
    /// Adds images `[n, 28, 28, 1]`.
    pub(super) fn add(&mut self, images: &Tensor) {
        let [a, b] = &self.readers.classifiers;
        let count = images.shape()[0];
        self.readable += readable_share([a, b], images, LEAST) * count as f64;
        self.images += count;
    }

    /// Share of the images that are readable.
    pub(super) fn share(&self) -> f64 {
        self.readable / self.images as f64
    }
}

impl fmt::Display for Readability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "readable: {:.1} % of the generated images, {:.1} % of the real ones (two classifiers, each trained on {} other real images, give \
             the same class with a probability above {LEAST})",
            100.0 * self.generated,
            100.0 * self.real,
            self.images
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_tensor::concat;

    /// One classifier knows dark and bright images, the other calls all of them bright.
    #[test]
    fn a_tally_counts_the_images_of_all_batches() {
        let plain = |count: usize, value: f32| Tensor::full([count, 28, 28, 1], value);
        let images = concat(&[&plain(16, -0.5), &plain(16, 0.5)], 0);
        let trained = |classes: &[usize], seed: u64| {
            let training = Training {
                epochs: 60,
                seed,
                variation: Variation::Shift,
            };
            train_classifier(&images, classes, &training, &mut |_, _| ())
        };
        let classes: Vec<usize> = (0..32).map(|i| i / 16).collect();
        let readers = Readers {
            classifiers: [trained(&classes, 1), trained(&[1; 32], 2)],
            images: 32,
            seed: 1,
        };
        let mixed = concat(&[&plain(6, 0.5), &plain(2, -0.5)], 0);
        let mut tally = readers.tally();
        for (start, count) in [(0, 1), (1, 7)] {
            tally.add(&mixed.narrow(0, start, count));
        }
        assert_eq!(tally.share(), 0.75);
        let whole = readers.share(8, |start, end| Ok(mixed.narrow(0, start, end - start)));
        assert_eq!(whole.unwrap(), 0.75);
    }
}
