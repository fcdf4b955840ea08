//! `engraft sources`: ranks trained GANs as sources for a transfer.

use super::advice;
use super::data_source;
use super::extract::Reader;
use super::options::{FeatureOptions, PictureOptions, Sources};
use anyhow::Context;
use engraft_data::{Channels, Dataset};
use engraft_gan::{CheckpointChoice, PictureConfig};
use engraft_transfer::{
    DomainDistance, Experiment, ShippedSource, dataset_features, domain_distance, open_source,
};
use serde_json::json;
use std::path::PathBuf;

/// A source and its distance from the target.
pub(super) struct Candidate {
    /// Run directory, or name of a shipped source.
    pub(super) source: PathBuf,
    pub(super) distance: DomainDistance,
    /// What the source cannot generate of the target.
    pub(super) lost: Option<&'static str>,
}

/// What sources are compared on.
pub(super) struct Comparison<'a> {
    /// Target images, as `--data`.
    pub(super) data: &'a str,
    /// Most training images of the target that are read.
    pub(super) train_images: usize,
    pub(super) features: &'a FeatureOptions,
    /// How picture files are read.
    pub(super) pictures: &'a PictureOptions,
    /// Images that each source generates.
    pub(super) count: usize,
    pub(super) seed: u64,
}

impl Comparison<'_> {
    /// The sources, best first, and the feature extractor that compared them.
    ///
    /// The target is read with its own colors, in the size of the smallest source that has colors if the target has them: a gray source
    /// is compared with the colors that it lacks.
    ///
    /// # Errors
    /// If there is no source, or a source or the target cannot be used.
    pub(super) fn rank(&self, sources: &[PathBuf]) -> anyhow::Result<(Vec<Candidate>, Reader)> {
        let mut opened = Vec::new();
        for path in sources {
            let source = open_source(path, CheckpointChoice::Last)
                .with_context(|| format!("{}", path.display()))
                .map_err(|error| match path.is_dir() {
                    true => error,
                    false => advice::with(
                        error,
                        "give run directories of train or transfer, or names of shipped sources",
                    ),
                })?;
            opened.push((path, source));
        }
        let sizes = opened.iter().map(|(_, source)| source.config.image);
        let smallest = sizes.clone().min().context("there are no sources to rank")?;
        let read = |[height, width, _]: [usize; 3]| -> anyhow::Result<Dataset> {
            let mut options = data_source::of_shape([height, width, 1]);
            self.pictures.apply(PictureConfig::default(), &mut options);
            options.channels = Channels::Keep;
            let loaded = data_source::open("data", self.data, &options)?;
            Ok(data_source::some(loaded.train, self.train_images, self.seed))
        };
        let of_colors = sizes.filter(|[.., channels]| *channels > 1).min();
        let of_colors = of_colors.unwrap_or(smallest);
        let mut target = read(of_colors)?;
        if target.image_size()[2] == 1 && of_colors[..2] != smallest[..2] {
            target = read(smallest)?;
        }
        let reader = Reader::choose_for(self.features, self.data, &target)?;
        let of_target = dataset_features(&*reader.extractor, &target)?;
        let mut ranked = Vec::new();
        for (path, source) in opened {
            let experiment = Experiment {
                source: &source,
                target: &target,
                steps: 0,
                seed: self.seed,
            };
            let sampler = source.sampler()?;
            let of_source = experiment.generate_features(&*reader.extractor, &sampler, self.count)?;
            let is_gray = source.config.image[2] == 1 && target.image_size()[2] > 1;
            ranked.push(Candidate {
                source: path.clone(),
                distance: domain_distance(&of_target, &of_source)?,
                lost: is_gray.then_some("it generates gray images; the color of the target is lost"),
            });
        }
        let key = |candidate: &Candidate| {
            let distance = candidate.distance;
            let (recall, kid) = (
                distance.recall.unwrap_or(0.0),
                distance.kid.unwrap_or(f64::INFINITY),
            );
            (candidate.lost.is_none(), recall, -kid)
        };
        ranked.sort_by(|a, b| {
            let (a, b) = (key(a), key(b));
            (b.0.cmp(&a.0))
                .then(b.1.total_cmp(&a.1))
                .then(b.2.total_cmp(&a.2))
        });
        Ok((ranked, reader))
    }
}

/// Names of the shipped sources.
pub(super) fn shipped() -> Vec<PathBuf> {
    ShippedSource::ALL
        .iter()
        .map(|source| source.name.into())
        .collect()
}

/// The ranking, one line for each source. Whether the target is close to one of them is said where it is compared in the size of
/// that source.
pub(super) fn lines(ranked: &[Candidate]) -> Vec<String> {
    let line = |(i, candidate): (usize, &Candidate)| {
        let lost = candidate.lost.map_or(String::new(), |lost| format!("; {lost}"));
        format!(
            "{}. {}: {}{lost}",
            i + 1,
            candidate.source.display(),
            candidate.distance.measures()
        )
    };
    ranked.iter().enumerate().map(line).collect()
}

/// Runs the command.
///
/// # Errors
/// If a run or the target cannot be used.
pub(super) fn run(options: &Sources) -> anyhow::Result<()> {
    let comparison = Comparison {
        data: &options.data,
        train_images: options.train_images,
        features: &options.features,
        pictures: &options.pictures,
        count: options.count,
        seed: options.seed,
    };
    let sources = match options.runs.as_slice() {
        [] => shipped(),
        runs => runs.to_vec(),
    };
    let (ranked, reader) = comparison.rank(&sources)?;
    if options.json {
        let rows: Vec<_> = ranked
            .iter()
            .map(|found| json!({ "run": found.source, "proximity": found.distance, "lost": found.lost }))
            .collect();
        out!(
            "{}",
            json!({ "sources": rows, "protocol": {
                "features": reader.extractor.name(), "features_sha256": reader.extractor.hash(), "data": options.data,
                "generated": options.count, "seed": options.seed,
            } })
        );
        return Ok(());
    }
    for line in lines(&ranked) {
        out!("{line}");
    }
    out!(
        "ranked by recall, then by KID; {} images per source; features {} ({}..; {}); seed {}",
        options.count,
        reader.extractor.name(),
        reader.short_hash(),
        reader.extractor.about(),
        options.seed
    );
    Ok(())
}
