//! Batches of labeled images.

use crate::error::TransferError;
use engraft_data::{BatchState, Batches, Dataset};

/// The error for data or settings that do not allow the training.
pub(super) fn setup_error(problems: Vec<String>) -> TransferError {
    TransferError::SemiSupervised { problems }
}

/// Infinite shuffled batches of a data set. Every image occurs equally often. If there are fewer images than a batch, they
/// repeat within it.
#[derive(Clone)]
pub(super) struct LabeledBatches<'a> {
    data: &'a Dataset,
    indices: Vec<usize>,
    /// Length of an epoch, which includes repeated images.
    len: usize,
    batches: Batches,
}

impl<'a> LabeledBatches<'a> {
    pub(super) fn new(
        data: &'a Dataset,
        indices: Vec<usize>,
        batch: usize,
        seed: u64,
    ) -> Result<Self, TransferError> {
        let times = batch.div_ceil(indices.len().max(1));
        let batches = Batches::new(indices.len() * times, batch, seed);
        Ok(Self {
            data,
            batches: batches.map_err(|error| setup_error(vec![error.to_string()]))?,
            len: indices.len() * times,
            indices,
        })
    }

    /// The position in the order.
    pub(super) fn state(&self) -> BatchState {
        self.batches.state()
    }

    /// Continues from a position of batches with the same images and seed.
    pub(super) fn resume(&mut self, state: BatchState) -> Result<(), TransferError> {
        if state.seed != self.batches.state().seed {
            return Err(setup_error(vec![format!(
                "the checkpoint's batch order has another seed: {}",
                state.seed
            )]));
        }
        let batches = Batches::resume(self.len, self.batches.batch_size(), state);
        self.batches = batches.map_err(|error| setup_error(vec![error.to_string()]))?;
        Ok(())
    }

    /// Indices into the data set.
    fn next(&mut self) -> Vec<usize> {
        let n = self.indices.len();
        let batch = self.batches.next_batch();
        batch.into_iter().map(|i| self.indices[i % n]).collect()
    }

    /// Pixels between 0 and 1, flat, and labels.
    pub(super) fn next_batch(&mut self) -> (Vec<f32>, Vec<usize>) {
        let indices = self.next();
        let labels = indices.iter().map(|&i| usize::from(self.data.label(i))).collect();
        (pixels(self.data, &indices), labels)
    }
}

/// Pixels of some images between 0 and 1, flat.
pub(super) fn pixels(data: &Dataset, indices: &[usize]) -> Vec<f32> {
    let mut pixels = data.batch_f32(indices);
    pixels.iter_mut().for_each(|p| *p = *p * 0.5 + 0.5);
    pixels
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_data::Provenance;

    #[test]
    fn few_images_repeat_within_a_batch() {
        let data = Dataset::new(
            "x",
            Provenance::Memory,
            vec![0, 51, 255],
            [1, 1, 1],
            vec![0, 1, 2],
        )
        .unwrap();
        let mut batches = LabeledBatches::new(&data, vec![2, 1], 4, 1).unwrap();
        let (pixels, mut labels) = batches.next_batch();
        for (pixel, label) in pixels.iter().zip(&labels) {
            assert!((pixel - [0.0, 0.2, 1.0][*label]).abs() < 1e-6);
        }
        labels.sort_unstable();
        assert_eq!(labels, [1, 1, 2, 2]);
        assert!(LabeledBatches::new(&data, vec![], 4, 1).is_err());
    }
}
