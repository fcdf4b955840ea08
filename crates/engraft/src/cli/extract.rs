//! Features of images: the choice of the extractor, its input format, and extraction with a progress bar.

use super::advice::ensure_run;
use super::options::FeatureOptions;
use super::progress::bar;
use anyhow::ensure;
use engraft_base::batches;
use engraft_data::Dataset;
use engraft_gan::{CheckpointChoice, SavedRun, dataset_tensor};
use engraft_metrics::{FeatureExtractor, FeatureOutput, Features, InputFit, features, read_fitted};
use engraft_tensor::Tensor;
use std::path::Path;
use std::sync::Arc;

/// Images per batch.
const BATCH: usize = 500;

/// A feature extractor for images `[h, w, c]`, and how they are converted to its input.
pub(super) struct Reader {
    pub(super) extractor: Arc<dyn FeatureExtractor>,
    pub(super) fit: InputFit,
}

impl Reader {
    /// The extractor of `--features`, or the default one for such images of this data set.
    ///
    /// # Errors
    /// If it would shrink the images or drop their color and is not named. A named one does so with a warning.
    pub(super) fn choose(chosen: &FeatureOptions, data: &str, image: [usize; 3]) -> anyhow::Result<Self> {
        let [height, width, _] = image;
        let named = chosen.features.as_deref();
        let name = named.unwrap_or_else(|| features::default_name(data, image));
        let extractor = features::open(name, chosen.weights.as_deref(), [height, width])?;
        let fit = InputFit::new(image, &extractor.input())?;
        if let Some(lost) = fit.lost() {
            ensure!(
                named.is_some(),
                "the feature extractor {name} loses information: {lost}; choose an extractor with --features, for instance {name}"
            );
            eprintln!("warning: {lost}");
        }
        Ok(Self { extractor, fit })
    }

    /// Features and classes of `count` images; `batch(start, end)` returns the images `start..end`.
    ///
    /// # Errors
    /// If there are none, or a feature is not finite.
    pub(super) fn read(
        &self,
        what: &str,
        count: usize,
        mut batch: impl FnMut(usize, usize) -> Tensor,
    ) -> anyhow::Result<FeatureOutput> {
        let bar = bar(what, count)?;
        let (mut sets, mut classes) = (Vec::new(), Vec::new());
        for part in batches(count, BATCH) {
            let (output, _) = read_fitted(&*self.extractor, &batch(part.start, part.end))?;
            sets.push(output.features);
            classes.extend(output.classes.into_iter().flatten());
            bar.set_position(part.end as u64);
        }
        bar.finish();
        ensure!(!sets.is_empty(), "there are no {what}");
        Ok(FeatureOutput {
            features: Features::stack(sets)?,
            classes: self.extractor.class_count().map(|_| classes),
        })
    }

    /// Features and classes of a data set.
    ///
    /// # Errors
    /// As [`Reader::read`].
    pub(super) fn read_data(&self, what: &str, data: &Dataset) -> anyhow::Result<FeatureOutput> {
        let indices: Vec<usize> = (0..data.len()).collect();
        self.read(what, data.len(), |start, end| {
            dataset_tensor(data, &indices[start..end])
        })
    }

    /// The first characters of the hash.
    pub(super) fn short_hash(&self) -> &str {
        &self.extractor.hash()[..12.min(self.extractor.hash().len())]
    }
}

/// Opens a run and prints its warnings.
pub(super) fn open_run(run: &Path, which: CheckpointChoice) -> anyhow::Result<SavedRun> {
    ensure_run("from", run)?;
    let run = engraft_transfer::open_run(run, which)?;
    for warning in &run.warnings {
        eprintln!("warning: {warning}");
    }
    Ok(run)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extractor_that_loses_information_must_be_named() {
        let named = |name: Option<&str>| FeatureOptions {
            features: name.map(Into::into),
            weights: None,
        };
        let digits = Reader::choose(&named(None), "mnist", [28, 28, 1]).unwrap();
        assert_eq!(
            (digits.extractor.name(), digits.fit.is_identity()),
            ("mnist", true)
        );
        let color = Reader::choose(&named(None), "mnist", [32, 32, 3]).unwrap();
        assert_eq!(color.extractor.name(), "random-rgb-32");
        let huge = Reader::choose(&named(None), "mnist", [512, 512, 3])
            .err()
            .unwrap()
            .to_string();
        assert!(
            huge.contains("--features") && huge.contains("512x512x3"),
            "{huge}"
        );
        let reduced = Reader::choose(&named(Some("mnist")), "mnist", [32, 32, 3]).unwrap();
        assert!(reduced.fit.to_string().contains("28x28"));
    }
}
