//! What images teach a classifier: generated ones, and the target's few.

use super::{Args, Target, choose, spread};
use engraft_gan::Sampler;
use engraft_metrics::{Training, Variation};
use engraft_transfer::LabeledImages;
use rand::SeedableRng;
use rand_pcg::Pcg64;

/// Generated images that a classifier is taught with.
pub(super) const IMAGES: usize = 2000;
/// Passes over them.
pub(super) const PASSES: usize = 10;

fn training(target: &Target, passes: usize, seed: u64) -> Training {
    Training {
        epochs: passes,
        seed,
        variation: Variation::for_data(&target.name),
    }
}

/// Share of the test images that a classifier reads which saw images of the generator only; `None` if that is not told the
/// classes of the target.
pub(super) fn by_generated(target: &Target, sampler: &Sampler, seed: u64) -> anyhow::Result<Option<f64>> {
    let rng = &mut Pcg64::seed_from_u64(seed);
    let Some(drawn) = LabeledImages::generate(sampler, IMAGES, &target.classes, rng) else {
        return Ok(None);
    };
    let training = training(target, PASSES, seed);
    Ok(Some(drawn.classification_accuracy(
        &target.test,
        &training,
        &mut |_, _| (),
    )?))
}

/// What a classifier reads that was taught with the target images of a run themselves, in as many steps.
pub(super) fn by_images(args: &Args, target: &Target, count: usize) -> anyhow::Result<String> {
    let steps = training(target, PASSES, 0).steps(IMAGES);
    let mut found = Vec::new();
    for seed in args.seeds.iter() {
        let train = choose(&target.train, count, seed);
        let images = LabeledImages::from_dataset(&train, &(0..train.len()).collect::<Vec<_>>());
        let passes = steps.div_ceil(training(target, 1, seed).steps(train.len()).max(1));
        let score =
            images.classification_accuracy(&target.test, &training(target, passes, seed), &mut |_, _| ())?;
        found.push(Some(100.0 * score));
    }
    Ok(format!(
        "taught with {count} images of {} themselves, {steps} steps as with generated ones: {} % of the test images",
        target.name,
        spread(found.into_iter(), 1)
    ))
}
