//! Modes of stacked MNIST: how many of the 1000 a generator covers.

use super::data_source::load_options;
use super::extract::open_run;
use super::progress::bar;
use anyhow::ensure;
use engraft_base::batches;
use engraft_data::{DatasetName, Split, load, stacked_digits};
use engraft_gan::{CheckpointChoice, dataset_tensor};
use engraft_metrics::{CLASSES, ClassCounts, FeatureExtractor, FeatureNetwork};
use engraft_tensor::Tensor;
use rand::SeedableRng;
use rand_pcg::Pcg64;
use serde_json::json;
use std::path::Path;

/// Images per batch.
const BATCH: usize = 500;

/// Prints the number of modes that the generator of a run covers and their divergence from a uniform distribution, with those
/// of the same number of real test images.
pub(super) fn report(
    run: &Path,
    which: CheckpointChoice,
    count: usize,
    seed: u64,
    as_json: bool,
) -> anyhow::Result<()> {
    let network = FeatureNetwork::mnist();
    let run = open_run(run, which)?;
    ensure!(
        run.config.image == [28, 28, 3],
        "the images of the run have the shape {:?}, expected 28x28x3; train with --data stacked-mnist",
        run.config.image
    );
    let mut rng = Pcg64::seed_from_u64(seed);
    let generated = modes(&network, "generated", count, |n, _| {
        Ok(run.sampler.try_generate(n, &mut rng)?)
    })?;
    let real = stacked_digits(
        &load(DatasetName::Mnist, Split::Test, &load_options())?,
        count,
        seed,
    )?;
    let floor = modes(&network, "real (test)", count, |n, start| {
        Ok(dataset_tensor(&real, &(start..start + n).collect::<Vec<_>>()))
    })?;
    if as_json {
        let of = |counts: &ClassCounts| json!({ "modes": counts.modes(), "divergence": counts.divergence_from_uniform() });
        let mut line = of(&generated);
        line["floor"] = of(&floor);
        line["protocol"] = json!({
            "features": network.name(), "features_sha256": network.hash(), "data": DatasetName::StackedMnist.as_str(), "split": "test",
            "generated": count, "step": run.step, "seed": seed,
        });
        out!("{line}");
    } else {
        out!("{:<28}{:>10}{:>22}", "", "generated", "floor (real images)");
        out!(
            "{:<28}{:>10}{:>22}",
            "modes of 1000",
            generated.modes(),
            floor.modes()
        );
        let [ours, theirs] = [&generated, &floor].map(ClassCounts::divergence_from_uniform);
        out!("{:<28}{ours:>10.4}{theirs:>22.4}", "divergence from uniform");
        out!(
            "{count} images, step {}; digits of the channels predicted by the network {} ({}..); seed {seed}",
            run.step,
            network.name(),
            &network.hash()[..12]
        );
    }
    Ok(())
}

/// Counts the modes of `count` images; `images(n, start)` returns `n` images from `start` on.
fn modes(
    network: &FeatureNetwork,
    what: &str,
    count: usize,
    mut images: impl FnMut(usize, usize) -> anyhow::Result<Tensor>,
) -> anyhow::Result<ClassCounts> {
    let bar = bar(what, count)?;
    let mut digits: [Vec<usize>; 3] = Default::default();
    for part in batches(count, BATCH) {
        let stacked = images(part.len(), part.start)?;
        for (channel, digits) in digits.iter_mut().enumerate() {
            let read = network
                .read(&stacked.narrow(3, channel, 1))?
                .classes
                .unwrap_or_default();
            debug_assert!(read.iter().all(|&digit| digit < CLASSES));
            digits.extend(read);
        }
        bar.set_position(part.end as u64);
    }
    bar.finish();
    Ok(ClassCounts::stacked([&digits[0], &digits[1], &digits[2]]))
}
