//! The images of a target: what a transfer trains on, and what its results are measured against.

use super::data_source::{self, of_shape, some};
use engraft_data::{Dataset, ENOUGH_TO_HOLD_OUT};

/// Test images that are compared with, at most.
const REFERENCE: usize = 2000;

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
}

impl Target {
    /// The images that `--data NAME` names, in the source's shape; of those to train on `images` are chosen by the seed.
    ///
    /// # Errors
    /// If there are none of that name.
    pub(super) fn load(
        name: &str,
        shape: [usize; 3],
        images: Option<usize>,
        seed: u64,
    ) -> anyhow::Result<Self> {
        let loaded = data_source::open("data", name, &of_shape(shape))?;
        let train = match images {
            Some(count) => some(loaded.train, count, seed),
            None => loaded.train,
        };
        let Some(test) = loaded.test else {
            return Ok(Self {
                about: format!(
                    "the {} training images themselves, as {ENOUGH_TO_HOLD_OUT} images are needed to keep some for measuring: a \
                     generator that copies them comes out well, so look at `copies`",
                    train.len()
                ),
                reference: train.clone(),
                train,
                is_held_out: false,
            });
        };
        let reference = some(test, REFERENCE, seed);
        Ok(Self {
            about: match loaded.has_own_test {
                true => format!("{} test images of {name}", reference.len()),
                false => format!(
                    "{} images of {name}, every fifth, that took no part in training",
                    reference.len()
                ),
            },
            train,
            reference,
            is_held_out: true,
        })
    }

    /// The same images with their shades turned round.
    pub(super) fn inverted(self) -> Self {
        Self {
            train: self.train.inverted(),
            reference: self.reference.inverted(),
            about: format!("(with shades turned round) {}", self.about),
            ..self
        }
    }
}
