//! The images of a target: what a transfer trains on, and what its results are measured against.

use super::images::choose;
use anyhow::{bail, ensure};
use engraft_data::{Dataset, DatasetName, LoadOptions, Split, load, load_folder};
use std::path::Path;

/// Test images that are compared with, at most.
const REFERENCE: usize = 2000;
/// Pictures of a folder from which on every fifth is kept for measuring.
const ENOUGH: usize = 100;
const EVERY: usize = 5;

/// The target of a transfer.
pub(super) struct Target {
    /// Images to train on.
    pub(super) train: Dataset,
    /// Images to measure with.
    pub(super) reference: Dataset,
    /// What those are, in words.
    pub(super) about: String,
    /// Whether they took no part in training.
    pub(super) is_held_out: bool,
    /// Whether its labels are classes.
    pub(super) has_labels: bool,
}

impl Target {
    /// The same images with their shades turned round.
    pub(super) fn inverted(self) -> Self {
        Self {
            train: self.train.inverted(),
            reference: self.reference.inverted(),
            about: format!("(with shades turned round) {}", self.about),
            ..self
        }
    }

    /// The target of this name, or in this folder, as images of the source's size; of the training images `shots` are
    /// chosen by the seed.
    pub(super) fn load(
        name: &str,
        image: [usize; 3],
        shots: Option<usize>,
        seed: u64,
    ) -> anyhow::Result<Self> {
        let few = |data: Dataset| match shots {
            Some(shots) => choose(data, shots, seed),
            None => data,
        };
        if let Ok(known) = name.parse::<DatasetName>() {
            let options = LoadOptions::new().notify(|line| eprintln!("{line}"));
            let read = |split| -> anyhow::Result<Dataset> {
                let data = load(known, split, &options)?;
                let [height, width, channels] = image;
                ensure!(
                    data.channels() == channels,
                    "--data {name}: its images have {} channel(s), but the source makes images of {channels}",
                    data.channels()
                );
                Ok(data.resized(height, width))
            };
            let reference = choose(read(Split::Test)?, REFERENCE, seed);
            return Ok(Self {
                train: few(read(Split::Train)?),
                about: format!("{} test images of {name}", reference.len()),
                reference,
                is_held_out: true,
                has_labels: true,
            });
        }
        if !Path::new(name).is_dir() {
            bail!(
                "--data {name}: neither a directory nor one of {}",
                DatasetName::ALL.map(DatasetName::as_str).join(", ")
            );
        }
        let folder = load_folder(name, image)?;
        for report in &folder.reports {
            eprintln!("{report}");
        }
        let data = few(folder.data);
        let n = data.len();
        eprintln!(
            "{n} pictures of {name}, as {}x{}x{}",
            image[0], image[1], image[2]
        );
        if n < ENOUGH {
            return Ok(Self {
                about: format!(
                    "the {n} training images themselves, as {ENOUGH} pictures are needed to keep some for measuring: a \
                     generator that copies them comes out well, so look at `copies`"
                ),
                reference: data.clone(),
                train: data,
                is_held_out: false,
                has_labels: false,
            });
        }
        let part = |split: Split| {
            let wanted = |i: &usize| (i % EVERY == EVERY - 1) == (split == Split::Test);
            data.subset(&(0..n).filter(wanted).collect::<Vec<_>>())
        };
        let reference = part(Split::Test);
        Ok(Self {
            about: format!(
                "{} pictures of the folder, every fifth, that took no part in training",
                reference.len()
            ),
            train: part(Split::Train),
            reference,
            is_held_out: true,
            has_labels: false,
        })
    }
}
