//! Source and target of a transfer, and the distance between them.

use crate::cli::advice;
use crate::cli::data_source::of_shape;
use crate::cli::extract::Reader;
use crate::cli::options::Transfer;
use crate::cli::rank_sources::{self, Comparison};
use crate::cli::target::Target;
use anyhow::{Context, ensure};
use engraft_gan::{CheckpointChoice, Sampler};
use engraft_metrics::Features;
use engraft_transfer::{
    DomainDistance, Experiment, PretrainedGan, TransferMethod, dataset_features, domain_distance,
};
use std::ops::ControlFlow;
use std::path::PathBuf;

/// Most target images that rank the shipped sources.
const RANKED: usize = 1000;

/// Source and target of a transfer.
pub(in crate::cli) struct Domains {
    /// Where the source is, or its name.
    pub(in crate::cli) from: PathBuf,
    pub(in crate::cli) source: PretrainedGan,
    pub(in crate::cli) target: Target,
    pub(super) reader: Reader,
    /// Features of the training images.
    pub(super) trained_on: Features,
    /// The source's generator.
    pub(super) untuned: Sampler,
    /// Features of its images.
    pub(super) of_source: Features,
    pub(super) found: DomainDistance,
}

/// The shipped source that is closest to the target; prints the ranking.
fn best_source(options: &Transfer) -> anyhow::Result<PathBuf> {
    let comparison = Comparison {
        data: &options.data,
        train_images: options.train_images.unwrap_or(RANKED),
        features: &options.features,
        pictures: &options.pictures,
        count: options.count,
        seed: options.seed,
    };
    let (ranked, reader) = comparison.rank(&rank_sources::shipped())?;
    for line in rank_sources::lines(&ranked) {
        note!("{line}");
    }
    let best = ranked.into_iter().next().context("no source is shipped")?;
    note!(
        "source    {} is the closest by recall and KID on the features {}; another one: --from RUN",
        best.source.display(),
        reader.extractor.name()
    );
    Ok(best.source)
}

impl Domains {
    /// Opens the source and the target, and measures their distance.
    ///
    /// # Errors
    /// If one of them cannot be used, or they do not fit together.
    pub(in crate::cli) fn open(options: &Transfer) -> anyhow::Result<Self> {
        let from = match &options.from {
            Some(from) => from.clone(),
            None => best_source(options)?,
        };
        let source = advice::source_at("from", &from, CheckpointChoice::Last)?;
        let [height, width, _] = source.config.image;
        if let Some(size) = options.size {
            ensure!(
                [height, width] == [size; 2],
                "--size {size}: the source {} generates {width}x{height} images; leave out --size, or choose another source",
                from.display()
            );
        }
        let mut how = of_shape(source.config.image);
        options.pictures.apply(source.config.pictures, &mut how);
        let mut target = Target::load(&options.data, &how, options.train_images, options.seed)?;
        if options.invert {
            target = target.inverted();
        }
        ensure!(
            target.train.len() >= 2,
            "--data {}: found {} training images, expected at least 2",
            options.data,
            target.train.len()
        );
        ensure!(
            source.config.classes == 0 || target.train.classes() > 0,
            "--data {}: the images have no labels, but the source {} is class-conditional; use an unconditional source, a known data \
             set, or a folder with one subfolder of images per class",
            options.data,
            from.display()
        );
        let experiment = Experiment {
            source: &source,
            target: &target.train,
            steps: options.steps,
            seed: options.seed,
        };
        let reader = Reader::choose_for(&options.features, &options.data, &target.train)?;
        let network = &*reader.extractor;
        let trained_on = dataset_features(network, &target.train)?;
        let untuned = experiment.train(
            &TransferMethod::Untuned,
            &from,
            &mut |_| ControlFlow::Continue(()),
        )?;
        let (untuned, _) = untuned.context("nothing to stop")?;
        let of_source = experiment.generate_features(network, &untuned, options.count)?;
        let found = domain_distance(&trained_on, &of_source)?;
        Ok(Self {
            from,
            source,
            target,
            reader,
            trained_on,
            untuned,
            of_source,
            found,
        })
    }

    /// The experiment with the steps and the seed of the options.
    pub(in crate::cli) fn experiment(&self, options: &Transfer) -> Experiment<'_> {
        Experiment {
            source: &self.source,
            target: &self.target.train,
            steps: options.steps,
            seed: options.seed,
        }
    }
}
