//! The target of a transfer: training images, and reference images for evaluation.

use super::data_source::{self, FEWEST_HELD_OUT, some};
use engraft_base::choose;
use engraft_data::{DataError, DataOptions, Dataset, ENOUGH_TO_HOLD_OUT, Report};

/// Most reference images.
const REFERENCE: usize = 2000;

/// The target of a transfer.
pub(super) struct Target {
    /// Training images.
    pub(super) train: Dataset,
    /// Reference images for evaluation.
    pub(super) reference: Dataset,
    /// Description of the reference images.
    pub(super) about: String,
    /// Whether the reference images are not training images.
    pub(super) is_held_out: bool,
    /// What was found and changed.
    pub(super) report: Report,
}

impl Target {
    /// The images of `--data NAME`, read as in `how`, with a random subset of `images` training images.
    ///
    /// # Errors
    /// If they do not exist or cannot be used.
    pub(super) fn load(
        name: &str,
        how: &DataOptions,
        images: Option<usize>,
        seed: u64,
    ) -> anyhow::Result<Self> {
        let loaded = data_source::open("data", name, how)?;
        let (train, rest) = match images {
            Some(count) => split(loaded.train, count, seed),
            None => (loaded.train, None),
        };
        if let Some(count) = images.filter(|&count| count > train.len()) {
            note!(
                "warning: --train-images {count}: there are only {} training images",
                train.len()
            );
        }
        let left = rest.as_ref().map_or(0, Dataset::len);
        let rest = rest.filter(|rest| rest.len() >= FEWEST_HELD_OUT);
        let (unused, about) = match (loaded.test, rest) {
            (Some(test), _) if loaded.has_own_test => (test, "test images"),
            (Some(test), None) => (test, "held-out images (every fifth)"),
            (Some(test), Some(rest)) => (joined(&test, &rest)?, "images that are not trained on"),
            (None, Some(rest)) => (rest, "images that are not trained on"),
            (None, None) => {
                return Ok(Self {
                    about: format!(
                        "the {} training images themselves, because {}: a generator that copies them gets a good KID, so check the \
                         column copies",
                        train.len(),
                        match left {
                            0 => format!("there are fewer than {ENOUGH_TO_HOLD_OUT}"),
                            left => format!("the other {left} images are fewer than {FEWEST_HELD_OUT}"),
                        }
                    ),
                    reference: train.clone(),
                    train,
                    is_held_out: false,
                    report: loaded.report,
                });
            }
        };
        let reference = some(unused, REFERENCE, seed);
        Ok(Self {
            about: format!("{} {about} of {name}", reference.len()),
            train,
            reference,
            is_held_out: true,
            report: loaded.report,
        })
    }

    /// The same images, inverted.
    pub(super) fn inverted(self) -> Self {
        Self {
            train: self.train.inverted(),
            reference: self.reference.inverted(),
            about: format!("(inverted) {}", self.about),
            ..self
        }
    }
}

/// A random subset of `count` images as [`some`] chooses it, and the others if there are any.
fn split(data: Dataset, count: usize, seed: u64) -> (Dataset, Option<Dataset>) {
    if data.len() <= count {
        return (data, None);
    }
    let chosen = choose(data.len(), count, seed);
    let others: Vec<usize> = (0..data.len())
        .filter(|i| chosen.binary_search(i).is_err())
        .collect();
    (data.subset(&chosen), Some(data.subset(&others)))
}

/// The images of both sets, which have the same size.
fn joined(first: &Dataset, second: &Dataset) -> Result<Dataset, DataError> {
    Dataset::new(
        first.name(),
        first.provenance().clone(),
        [first.images(), second.images()].concat(),
        first.image_size(),
        [first.labels(), second.labels()].concat(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// 130 pictures, of which 26 are held out and 10 trained on: the other 120 measure.
    #[test]
    fn pictures_that_are_not_trained_on_measure() {
        let folder = tempfile::tempdir().unwrap();
        for i in 0..130_u8 {
            let picture = image::GrayImage::from_pixel(4, 4, image::Luma([i]));
            picture.save(folder.path().join(format!("{i:03}.png"))).unwrap();
        }
        let name = folder.path().to_str().unwrap();
        let load = |images| Target::load(name, &data_source::of_shape([4, 4, 1]), images, 1).unwrap();
        let colors = |data: &Dataset| {
            (0..data.len())
                .map(|i| data.image(i)[0])
                .collect::<BTreeSet<u8>>()
        };
        let few = load(Some(10));
        assert_eq!((few.train.len(), few.reference.len()), (10, 120));
        assert!(colors(&few.train).is_disjoint(&colors(&few.reference)));
        assert!(few.is_held_out && few.about.contains("120"));
        let all = load(None);
        assert_eq!((all.train.len(), all.reference.len()), (104, 26));
    }
}
