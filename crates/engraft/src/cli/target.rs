//! The target of a transfer: training images, and reference images for evaluation.

use super::data_source::{self, of_shape, some};
use engraft_data::{Dataset, ENOUGH_TO_HOLD_OUT};

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
}

impl Target {
    /// The images of `--data NAME` in the source's shape, with a random subset of `images` training images.
    ///
    /// # Errors
    /// If they do not exist or cannot be used.
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
                    "the {} training images themselves, because there are fewer than {ENOUGH_TO_HOLD_OUT}: a generator that copies \
                     them gets a good KID, so check the column copies",
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
                false => format!("{} held-out images of {name} (every fifth)", reference.len()),
            },
            train,
            reference,
            is_held_out: true,
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
