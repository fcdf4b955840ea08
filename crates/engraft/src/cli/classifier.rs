//! Classification accuracy score: how well a classifier reads real images that has seen generated ones only.

use anyhow::{Context, ensure};
use engraft_data::Dataset;
use engraft_gan::SavedRun;
use engraft_metrics::{IMAGE, Training, Variation};
use engraft_transfer::LabeledImages;
use indicatif::ProgressBar;
use rand::SeedableRng;
use rand::seq::index;
use rand_pcg::Pcg64;
use serde::Serialize;
use std::fmt;

/// Passes over the images.
const EPOCHS: usize = 5;

/// Shares of real test images that classifiers read, by what they were trained on.
#[derive(Debug, Serialize)]
pub(super) struct ClassifierAccuracy {
    /// On generated images alone.
    generated: f64,
    /// On as many real training images.
    real: f64,
    /// On both together.
    both: f64,
    /// Images of either kind.
    images: usize,
    epochs: usize,
    seed: u64,
}

/// Trains three classifiers, and lets them read the test images.
pub(super) fn classifier_accuracy(
    run: &SavedRun,
    [train, test]: [&Dataset; 2],
    count: usize,
    seed: u64,
) -> anyhow::Result<ClassifierAccuracy> {
    ensure!(
        run.config.image == IMAGE,
        "--classifier-accuracy: the classifier reads grey images of 28x28, and the run makes {:?}",
        run.config.image
    );
    let mut rng = Pcg64::seed_from_u64(seed);
    let images = count.min(train.len());
    let classes: Vec<usize> = (0..run.sampler.class_count()).collect();
    let drawn = LabeledImages::generate(&run.sampler, images, &classes, &mut rng).context(
        "--classifier-accuracy needs a generator that is told the class, for its images to have labels: train with \
         --conditional",
    )?;
    let chosen = index::sample(&mut rng, train.len(), images).into_vec();
    let real = LabeledImages::from_dataset(train, &chosen);
    let test = LabeledImages::from_dataset(test, &(0..test.len()).collect::<Vec<_>>());
    let training = Training {
        epochs: EPOCHS,
        seed,
        variation: Variation::for_data(&run.config.data),
    };
    let bar = ProgressBar::new(3 * EPOCHS as u64).with_message("classifiers");
    let score =
        |images: &LabeledImages| images.classification_accuracy(&test, &training, &mut |_, _| bar.inc(1));
    let found = ClassifierAccuracy {
        generated: score(&drawn)?,
        real: score(&real)?,
        both: score(&drawn.with(&real))?,
        images,
        epochs: EPOCHS,
        seed,
    };
    bar.finish_and_clear();
    Ok(found)
}

impl fmt::Display for ClassifierAccuracy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "real test images read by a classifier that was trained ({} passes) on {} generated images: {:.2} %, on as \
             many real ones: {:.2} %, on both: {:.2} %",
            self.epochs,
            self.images,
            100.0 * self.generated,
            100.0 * self.real,
            100.0 * self.both
        )
    }
}
