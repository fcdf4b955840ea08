//! Batches of a data set as tensors.

use engraft_data::{DataError, Dataset, TrainingData};
use engraft_tensor::Tensor;

/// A batch `[indices.len(), h, w, c]` of the examples at these indices, with values in `[-1, 1]`.
///
/// # Errors
/// If the data cannot be read.
///
/// # Panics
/// If an index is beyond the data's end.
pub fn batch_tensor(data: &dyn TrainingData, indices: &[usize]) -> Result<Tensor, DataError> {
    let [h, w, c] = data.shape();
    Ok(Tensor::from_vec([indices.len(), h, w, c], data.batch(indices)?))
}

/// Like [`batch_tensor`], for a data set in memory, which cannot fail.
///
/// # Panics
/// If an index is beyond the data's end.
pub fn dataset_tensor(data: &Dataset, indices: &[usize]) -> Tensor {
    let [h, w, c] = data.image_size();
    Tensor::from_vec([indices.len(), h, w, c], data.batch_f32(indices))
}

/// The labels at these indices; 0 for data without labels.
pub(crate) fn labels_of(data: &dyn TrainingData, indices: &[usize]) -> Vec<usize> {
    indices.iter().map(|&i| data.label(i).unwrap_or(0)).collect()
}
