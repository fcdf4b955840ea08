//! Features of images: the choice of the extractor, its input format, and extraction with a progress bar.

use super::advice::{ensure_run, on_weights};
use super::data_source::FEWEST_HELD_OUT;
use super::feature_cache::CachedFeatures;
use super::options::FeatureOptions;
use super::process::ensure_not_interrupted;
use super::progress::bar;
use anyhow::{Context, ensure};
use engraft_base::{batches, equidistant};
use engraft_data::{Dataset, DatasetName};
use engraft_gan::{CheckpointChoice, SavedRun, dataset_tensor};
use engraft_metrics::{
    FeatureExtractor, FeatureOutput, Features, InputFit, ReferencePoints, features, read_fitted,
};
use engraft_tensor::Tensor;
use std::path::Path;
use std::sync::Arc;

/// Images per batch.
pub(super) const BATCH: usize = 500;
/// Most images of which noise and blobs are made.
const COMPARED: usize = 500;
/// Most images that decide whether default features are blind.
const CHECKED: usize = 200;

/// A feature extractor for images `[h, w, c]`, and how they are converted to its input.
pub(super) struct Reader {
    pub(super) extractor: Arc<dyn FeatureExtractor>,
    pub(super) fit: InputFit,
    /// The features that were named, or that replace default ones which are blind; `None` for the default.
    pub(super) named: FeatureOptions,
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
        let extractor =
            features::open(name, chosen.weights.as_deref(), [height, width]).map_err(on_weights)?;
        let fit = InputFit::new(image, &extractor.input())?;
        if let Some(lost) = fit.lost() {
            ensure!(
                named.is_some(),
                "the feature extractor {name} loses information: {lost}; choose an extractor with --features, for instance {name}"
            );
            note!("warning: {lost}");
        }
        Ok(Self {
            extractor,
            fit,
            named: chosen.clone(),
        })
    }

    /// Features and classes of `count` images; `batch(start, end)` returns the images `start..end`.
    ///
    /// # Errors
    /// If there are none, or a feature is not finite. [`Interrupted`](super::process::Interrupted) after a signal.
    pub(super) fn read(
        &self,
        what: &str,
        count: usize,
        mut batch: impl FnMut(usize, usize) -> anyhow::Result<Tensor>,
    ) -> anyhow::Result<FeatureOutput> {
        let bar = bar(what, count)?;
        let (mut sets, mut classes) = (Vec::new(), Vec::new());
        for part in batches(count, BATCH) {
            ensure_not_interrupted()?;
            let (output, _) = read_fitted(&*self.extractor, &batch(part.start, part.end)?)?;
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

    /// Features and classes of a data set, from the cache directory if they are there.
    ///
    /// # Errors
    /// As [`Reader::read`].
    pub(super) fn read_data(&self, what: &str, data: &Dataset) -> anyhow::Result<FeatureOutput> {
        let (hash, fit) = (
            self.extractor.hash(),
            format!("{}; {}", self.fit, self.extractor.about()),
        );
        let cached = CachedFeatures::new(hash, &fit, &data.sha256(), data.len());
        if let Some(found) = cached.as_ref().and_then(CachedFeatures::read)
            && found.features.len() == data.len()
            && found.features.dimension() == self.extractor.dimension()
        {
            return Ok(found);
        }
        let indices: Vec<usize> = (0..data.len()).collect();
        let found = self.read(what, data.len(), |start, end| {
            Ok(dataset_tensor(data, &indices[start..end]))
        })?;
        if let Some(cached) = cached {
            cached.write(&found);
        }
        Ok(found)
    }

    /// What noise, blobs and real images reach with these features. `None` if there are fewer than 20 real images.
    ///
    /// # Errors
    /// If a feature is not finite.
    pub(super) fn reference_points(
        &self,
        data: &Dataset,
        seed: u64,
    ) -> anyhow::Result<Option<ReferencePoints>> {
        if data.len() < FEWEST_HELD_OUT {
            return Ok(None);
        }
        let images = dataset_tensor(data, &equidistant(COMPARED, data.len()));
        Ok(Some(ReferencePoints::new(&*self.extractor, &images, seed)?))
    }

    /// [`Reader::choose`] for a data set. If the features are not named and the default ones are blind for these images, those
    /// for color images are chosen.
    ///
    /// # Errors
    /// As [`Reader::choose`].
    pub(super) fn choose_for(chosen: &FeatureOptions, data: &str, images: &Dataset) -> anyhow::Result<Self> {
        let reader = Self::choose(chosen, data, images.image_size())?;
        let is_trusted = chosen.features.is_some()
            || data.parse::<DatasetName>().is_ok()
            || reader.extractor.name() == features::for_colors();
        if is_trusted || reader.extractor.name().starts_with("random") {
            return Ok(reader);
        }
        let few = images.subset(&equidistant(CHECKED, images.len()));
        let Some(points) = reader
            .reference_points(&few, 1)?
            .filter(ReferencePoints::is_blind)
        else {
            return Ok(reader);
        };
        let other = features::for_colors();
        note!(
            "features  {other} instead of {}, which do not distinguish these images from noise and blobs ({points})",
            reader.extractor.name()
        );
        let other = FeatureOptions {
            features: Some(other.into()),
            weights: None,
        };
        Self::choose(&other, data, images.image_size())
    }

    /// The first characters of the hash.
    pub(super) fn short_hash(&self) -> &str {
        &self.extractor.hash()[..12.min(self.extractor.hash().len())]
    }
}

/// Opens a run and prints its warnings.
pub(super) fn open_run(run: &Path, which: CheckpointChoice) -> anyhow::Result<SavedRun> {
    open_run_of("from", run, which)
}

/// [`open_run`] of another option.
pub(super) fn open_run_of(option: &str, run: &Path, which: CheckpointChoice) -> anyhow::Result<SavedRun> {
    ensure_run(option, run)?;
    let mut found = engraft_transfer::open_run(run, which)?;
    for warning in &found.warnings {
        note!("warning: {warning}");
    }
    found.sampler = found
        .sampler
        .checked()
        .with_context(|| format!("--{option} {}", run.display()))?;
    Ok(found)
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
        assert!(color.extractor.name().starts_with(features::for_colors()));
        let huge = Reader::choose(&named(None), "mnist", [512, 512, 3]);
        if features::for_colors() == "random" {
            let error = huge.err().unwrap().to_string();
            assert!(
                error.contains("--features") && error.contains("512x512x3"),
                "{error}"
            );
        } else {
            assert!(huge.unwrap().fit.is_identity());
        }
        let reduced = Reader::choose(&named(Some("mnist")), "mnist", [32, 32, 3]).unwrap();
        assert!(reduced.fit.to_string().contains("28x28"));
    }

    /// Gray pictures that show no digits.
    #[test]
    fn features_of_digits_are_not_used_for_other_pictures() {
        let disk = |i: usize| {
            (0..28 * 28).map(move |p| {
                let [dy, dx] = [(p / 28) as f64 - 13.5, (p % 28) as f64 - 13.5];
                let inside = dy.hypot(dx) < 3.0 + (i % 10) as f64;
                if inside { 40 + 3 * i as u8 } else { 255 }
            })
        };
        let pixels = (0..60).flat_map(disk).collect();
        let memory = engraft_data::Provenance::Memory;
        let disks = Dataset::new("disks", memory, pixels, [28, 28, 1], vec![0; 60]).unwrap();
        let digits = engraft_data::drawn_digits(engraft_data::Split::Test, 60, 1);
        let chosen = |data: &str, images| {
            let reader = Reader::choose_for(&FeatureOptions::default(), data, images).unwrap();
            reader.extractor.name().to_string()
        };
        assert!(chosen("my-pictures", &disks).starts_with(features::for_colors()));
        assert_eq!(chosen("my-digits", &digits), "mnist");
        assert_eq!(chosen("mnist", &disks), "mnist");
    }
}
