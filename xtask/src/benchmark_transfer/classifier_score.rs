//! Classification accuracy score (CAS) of generated images, and of the target's training images for comparison.

use super::{Args, Target, choose, spread};
use engraft_gan::Sampler;
use engraft_metrics::{Training, Variation};
use engraft_transfer::LabeledImages;
use rand::SeedableRng;
use rand_pcg::Pcg64;

/// Number of generated images to train a classifier on.
pub(super) const IMAGES: usize = 2000;
/// Training epochs.
pub(super) const EPOCHS: usize = 10;

fn training(target: &Target, epochs: usize, seed: u64) -> Training {
    Training {
        epochs,
        seed,
        variation: Variation::for_data(&target.name),
    }
}

/// Test accuracy of a classifier trained only on generated images; `None` unless the generator is conditioned on the
/// target's classes.
pub(super) fn by_generated(target: &Target, sampler: &Sampler, seed: u64) -> anyhow::Result<Option<f64>> {
    let rng = &mut Pcg64::seed_from_u64(seed);
    let Some(drawn) = LabeledImages::generate(sampler, IMAGES, &target.classes, rng) else {
        return Ok(None);
    };
    let training = training(target, EPOCHS, seed);
    Ok(Some(drawn.classification_accuracy(
        &target.test,
        &training,
        &mut |_, _| (),
    )?))
}

/// Test accuracy of classifiers trained on the target's training images, with the same number of steps, as a line of text.
pub(super) fn by_images(args: &Args, target: &Target, count: usize) -> anyhow::Result<String> {
    let steps = training(target, EPOCHS, 0).steps(IMAGES);
    let mut found = Vec::new();
    for seed in args.seeds.iter() {
        let train = choose(&target.train, count, seed);
        let images = LabeledImages::from_dataset(&train, &(0..train.len()).collect::<Vec<_>>());
        let epochs = steps.div_ceil(training(target, 1, seed).steps(train.len()).max(1));
        let score =
            images.classification_accuracy(&target.test, &training(target, epochs, seed), &mut |_, _| ())?;
        found.push(Some(100.0 * score));
    }
    Ok(format!(
        "CAS of {count} training images of {} instead of generated images, with the same {steps} steps: {} %",
        target.name,
        spread(found.into_iter(), 1)
    ))
}
