//! The trait of training data: examples and labels by index.

use crate::dataset::Dataset;
use crate::error::DataError;
use crate::provenance::Provenance;
use engraft_base::sha256_hex;
use rayon::prelude::*;
use std::sync::Arc;

/// Examples of one shape, accessed by index, with optional labels.
///
/// Training requests one batch at a time, so the examples need not be in memory. [`Dataset`] holds bytes in memory,
/// [`LazyPictures`](crate::LazyPictures) decodes pictures on demand.
///
/// Implement the trait for other data than pictures. For example, a recording of `n` samples is an example of
/// shape `[1, n, 1]` with values from -1 to 1, a spectrogram is `[frames, bins, 1]`. A network with this output shape
/// learns to generate them. How samples are written and evaluated is chosen separately.
///
/// ```
/// use engraft_data::{DataError, TrainingData};
///
/// /// Waves of one length, each with its own period.
/// struct Waves(usize);
///
/// impl TrainingData for Waves {
///     fn name(&self) -> &str {
///         "waves"
///     }
///     fn len(&self) -> usize {
///         100
///     }
///     fn shape(&self) -> [usize; 3] {
///         [1, self.0, 1]
///     }
///     fn batch(&self, indices: &[usize]) -> Result<Vec<f32>, DataError> {
///         let wave = |&i: &usize| (0..self.0).map(move |t| (t as f32 / (i + 1) as f32).sin());
///         Ok(indices.iter().flat_map(wave).collect())
///     }
///     fn fingerprint(&self) -> String {
///         format!("waves of {}", self.0)
///     }
/// }
///
/// let data: Box<dyn TrainingData> = Box::new(Waves(64));
/// assert_eq!(data.batch(&[4, 2])?.len(), 2 * 64);
/// assert_eq!((data.classes(), data.label(4)), (0, None));
/// # Ok::<(), DataError>(())
/// ```
pub trait TrainingData: Send + Sync {
    /// Name of the data, for example `mnist`.
    fn name(&self) -> &str;

    /// Number of examples.
    fn len(&self) -> usize;

    /// Whether there are no examples.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Shape of every example: height, width, channels `[h, w, c]`.
    fn shape(&self) -> [usize; 3];

    /// The examples at `indices`, in that order, as numbers from -1 to 1.
    ///
    /// # Shapes
    /// `[indices.len(), h, w, c]`, flat.
    ///
    /// # Errors
    /// If an example can no longer be read or has changed.
    ///
    /// # Panics
    /// If an index is not less than [`len`](Self::len).
    fn batch(&self, indices: &[usize]) -> Result<Vec<f32>, DataError>;

    /// Label of example `index`, less than [`classes`](Self::classes). `None` if the examples have no labels.
    ///
    /// # Panics
    /// If `index` is not less than [`len`](Self::len).
    fn label(&self, index: usize) -> Option<usize> {
        let _ = index;
        None
    }

    /// Number of classes. 0 if the examples have no labels.
    fn classes(&self) -> usize {
        0
    }

    /// Names of the classes, one per class. Empty if they have none.
    fn class_names(&self) -> &[String] {
        &[]
    }

    /// A string that identifies the examples and their order, usually a SHA-256 in hexadecimal. A run stores it.
    fn fingerprint(&self) -> String;

    /// The SHA-256 of the pixels of every example, in hexadecimal; equal examples have equal hashes. A run stores them, so that
    /// an evaluation can tell whether its test images were trained on. Empty (the default) if there are none.
    fn image_hashes(&self) -> Vec<String> {
        Vec::new()
    }

    /// A name for every example, such as the path of its file inside the folder. Empty (the default) if there are none.
    fn image_names(&self) -> Vec<String> {
        Vec::new()
    }

    /// A string that identifies the labels and their order, usually a SHA-256 in hexadecimal. Empty if there are none.
    fn labels_fingerprint(&self) -> String {
        String::new()
    }

    /// Origin of the examples.
    fn provenance(&self) -> &Provenance {
        static MEMORY: Provenance = Provenance::Memory;
        &MEMORY
    }
}

impl TrainingData for Dataset {
    fn name(&self) -> &str {
        self.name()
    }

    fn len(&self) -> usize {
        self.len()
    }

    fn shape(&self) -> [usize; 3] {
        self.image_size()
    }

    fn batch(&self, indices: &[usize]) -> Result<Vec<f32>, DataError> {
        Ok(self.batch_f32(indices))
    }

    fn label(&self, index: usize) -> Option<usize> {
        let label = self.label(index);
        (self.classes() > 0).then_some(label.into())
    }

    fn classes(&self) -> usize {
        self.classes()
    }

    fn class_names(&self) -> &[String] {
        self.class_names()
    }

    fn fingerprint(&self) -> String {
        self.sha256()
    }

    fn image_hashes(&self) -> Vec<String> {
        let pixels = self.image_size().iter().product();
        let images = self.images().par_chunks_exact(pixels);
        images.map(sha256_hex).collect()
    }

    fn labels_fingerprint(&self) -> String {
        if self.classes() > 0 {
            self.labels_sha256()
        } else {
            String::new()
        }
    }

    fn provenance(&self) -> &Provenance {
        self.provenance()
    }
}

impl From<Dataset> for Arc<dyn TrainingData> {
    fn from(data: Dataset) -> Self {
        Arc::new(data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dataset_serves_its_bytes_and_labels() {
        let bytes = vec![0, 255, 51, 204];
        let set = Dataset::new("two", Provenance::Memory, bytes.clone(), [1, 2, 1], vec![0, 3]).unwrap();
        let data: &dyn TrainingData = &set;
        assert_eq!((data.name(), data.len(), data.shape()), ("two", 2, [1, 2, 1]));
        assert_eq!(data.batch(&[1, 0]).unwrap(), set.batch_f32(&[1, 0]));
        assert_eq!((data.label(1), data.classes()), (Some(3), 4));
        assert_eq!(data.fingerprint(), set.sha256());
        assert_eq!(data.labels_fingerprint(), set.labels_sha256());
        assert_eq!(
            data.image_hashes(),
            [sha256_hex(&bytes[..2]), sha256_hex(&bytes[2..])]
        );

        let bare = Dataset::unlabeled("two", Provenance::Memory, bytes, [1, 2, 1]).unwrap();
        let data: &dyn TrainingData = &bare;
        assert_eq!((data.label(1), data.classes()), (None, 0));
        assert_eq!(data.fingerprint(), set.sha256());
        assert_eq!(data.labels_fingerprint(), "");
    }
}
