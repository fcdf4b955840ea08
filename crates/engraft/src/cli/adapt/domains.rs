//! The images of both domains, as the options prepare them.

use super::super::data_source::{self, ensure_labels, of_shape};
use super::super::options::Adapt;
use super::super::result_cache;
use super::super::transfer::inversion;
use anyhow::{Context, ensure};
use engraft_data::Dataset;
use engraft_gan::PictureConfig;
use engraft_metrics::IMAGE;
use engraft_transfer::adapt::{PixelStatsGap, Severity};
use std::path::PathBuf;

/// The data of both domains.
#[derive(Clone)]
pub(in crate::cli) struct Data {
    pub(super) source: Dataset,
    pub(super) source_test: Dataset,
    pub(super) target: Dataset,
    pub(super) target_test: Option<Dataset>,
    /// File names of the target's images, for a folder.
    pub(super) files: Vec<PathBuf>,
    /// SHA-256 of the images and labels, which decide the results together with the settings.
    pub(in crate::cli) fingerprints: serde_json::Value,
}

impl Data {
    /// The images that the options name, not yet [prepared](Self::prepared).
    ///
    /// # Errors
    /// If they do not exist or cannot be used.
    pub(in crate::cli) fn read(options: &Adapt) -> anyhow::Result<Self> {
        ensure!(
            options.target_data != options.source_data,
            "--target-data {}: this is the source; expected another data set",
            options.target_data
        );
        let mut from = of_shape(IMAGE);
        options.pictures.apply(PictureConfig::default(), &mut from);
        let source = data_source::open("source-data", &options.source_data, &from)?;
        ensure_labels(
            "source-data",
            &options.source_data,
            &source.train,
            "which the classifier needs",
        )?;
        let source_test = source.test.with_context(|| {
            format!(
                "--source-data {}: there are no held-out images; expected at least 100 images or a test set",
                options.source_data
            )
        })?;
        let mut target = data_source::open("target-data", &options.target_data, &from)?;
        match (target.train.classes(), &target.test) {
            (1.., Some(_)) => target.files = Vec::new(),
            (_, None) => {}
            (0, Some(_)) => {
                // Without labels nothing can be tested, so all images are used for training and prediction.
                from.held_out = false;
                target = data_source::open("target-data", &options.target_data, &from)?;
            }
        }
        Ok(Self {
            source: source.train,
            source_test,
            target: target.train,
            target_test: target.test,
            files: target.files,
            fingerprints: serde_json::Value::Null,
        })
    }

    /// The images with the inversion and the frames that the options ask for.
    ///
    /// # Errors
    /// If source and target seem to be preprocessed differently.
    pub(in crate::cli) fn prepared(mut self, options: &Adapt) -> anyhow::Result<Self> {
        if options.invert {
            self.target = self.target.inverted();
            self.target_test = self.target_test.map(|test| test.inverted());
        }
        if options.even_frames {
            note!("even frames: the content of each image becomes 20 of 28 pixels, centered by its mass");
            for data in [&mut self.source, &mut self.source_test, &mut self.target]
                .into_iter()
                .chain(self.target_test.as_mut())
            {
                *data = data.evenly_framed()?;
            }
        }
        let sets = [&self.source, &self.source_test, &self.target]
            .into_iter()
            .chain(self.target_test.as_ref())
            .map(result_cache::fingerprint)
            .collect::<anyhow::Result<Vec<_>>>()?;
        self.fingerprints = serde_json::json!(sets);
        self.check(options)?;
        Ok(self)
    }

    /// Whether the target has labeled test images.
    pub(in crate::cli) fn has_labels(&self) -> bool {
        self.target_test.is_some()
    }

    /// The same without the test images of the target.
    pub(in crate::cli) fn without_test_images(self) -> Self {
        Self {
            target_test: None,
            ..self
        }
    }

    /// Refuses domains that are preprocessed differently.
    fn check(&self, options: &Adapt) -> anyhow::Result<()> {
        let gap = PixelStatsGap::between(&self.source, &self.target);
        note!("source and target: {gap}");
        let mut refusals = Vec::new();
        for (severity, problem) in gap.problems() {
            if severity == Severity::Refusal && !options.allow_domain_mismatch {
                refusals.push(problem);
            } else {
                note!("warning: {problem}");
            }
        }
        if gap.is_inverted() && !options.allow_domain_mismatch {
            refusals.push(inversion(options.invert).into());
        }
        ensure!(
            refusals.is_empty(),
            "source and target seem to be preprocessed differently: {}; use --allow-domain-mismatch to train anyway",
            refusals.join("; ")
        );
        Ok(())
    }
}
