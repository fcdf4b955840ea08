//! Classification accuracy score (CAS): test accuracy on real images of a classifier trained on generated images.

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

/// Training epochs of the classifiers.
const EPOCHS: usize = 5;

/// Test accuracies of classifiers on real images, by their training images.
#[derive(Debug, Serialize)]
pub(super) struct ClassifierAccuracy {
    /// Trained on generated images.
    generated: f64,
    /// Trained on the same number of real images.
    real: f64,
    /// Trained on both.
    both: f64,
    /// Number of images of each kind.
    images: usize,
    epochs: usize,
    seed: u64,
}

/// Trains three classifiers and tests them.
pub(super) fn classifier_accuracy(
    run: &SavedRun,
    [train, test]: [&Dataset; 2],
    count: usize,
    seed: u64,
) -> anyhow::Result<ClassifierAccuracy> {
    ensure!(
        !run.config.pseudo_labels.is_on(),
        "--classifier-accuracy: the classes of the run are clusters, not those of the data; expected a run of train --conditional"
    );
    ensure!(
        run.config.image == IMAGE,
        "--classifier-accuracy: the classifier needs gray images of 28x28 pixels, but those of the run have the shape {:?}",
        run.config.image
    );
    let mut rng = Pcg64::seed_from_u64(seed);
    let images = count.min(train.len());
    let classes: Vec<usize> = (0..run.sampler.class_count()).collect();
    let generated_images = LabeledImages::generate(&run.sampler, images, &classes, &mut rng)
        .context("--classifier-accuracy needs a class-conditional run; train with --conditional")?;
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
        generated: score(&generated_images)?,
        real: score(&real)?,
        both: score(&generated_images.with(&real))?,
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
            "classification accuracy score ({} epochs, {} images of each kind): trained on generated images {:.2} %, on real \
             images {:.2} %, on both {:.2} %",
            self.epochs,
            self.images,
            100.0 * self.generated,
            100.0 * self.real,
            100.0 * self.both
        )
    }
}
