//! Pseudo-labeled generated images as additional training images of a classifier.

use super::labels::setup_error;
use super::trainer::SemiSupervised;
use crate::error::TransferError;
use engraft_base::{argmax, batches, to_bytes};
use engraft_data::{Dataset, Provenance};
use engraft_gan::Sampler;
use rand::SeedableRng;
use rand_pcg::Pcg64;

/// Number of images generated per batch.
const BATCH: usize = 500;

/// Generates `count` images and keeps those that the classifier labels with a probability of at least `min_probability`.
///
/// The label is the class with the highest probability. Class labels of a conditional generator are not used, because it may
/// have been trained with labels that the task does not have.
///
/// *Source*: Lee, "Pseudo-label: the simple and efficient semi-supervised learning method for deep neural networks", 2013.
/// Here it is applied to generated images and with a minimum probability.
///
/// # Errors
/// [`TransferError::SemiSupervised`] if the generated images have another size than `image_size`, or no image reaches
/// `min_probability`.
pub fn pseudo_labeled(
    classifier: &SemiSupervised<'_>,
    image_size: [usize; 3],
    sampler: &Sampler,
    count: usize,
    min_probability: f64,
    seed: u64,
) -> Result<Dataset, TransferError> {
    let mut rng = Pcg64::seed_from_u64(seed);
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for part in batches(count, BATCH) {
        let n = part.len();
        // Rounded to bytes, like all images of a data set.
        let images = sampler.try_generate(n, &mut rng)?;
        if images.shape()[1..] != image_size {
            return Err(setup_error(vec![format!(
                "generated images have size {:?}, but those of the data have {image_size:?}; give a generator of that size",
                &images.shape()[1..]
            )]));
        }
        let bytes = to_bytes(images.as_slice());
        let size = bytes.len() / n;
        let pixels_0_to_1 = bytes.iter().map(|&b| f32::from(b) / 255.0).collect();
        let found = classifier.probabilities(&engraft_tensor::Tensor::from_vec([n, size], pixels_0_to_1));
        let rows = found.as_slice().chunks_exact(found.shape()[1]);
        for (row, image) in rows.zip(bytes.chunks_exact(size)) {
            let class = argmax(row);
            if f64::from(row[class]) >= min_probability {
                pixels.extend_from_slice(image);
                labels.push(class as u8);
            }
        }
    }
    if labels.is_empty() {
        return Err(setup_error(vec![format!(
            "none of {count} generated images has a class probability of at least {min_probability}; generate more images or \
             use a better classifier"
        )]));
    }
    Dataset::new("generated", Provenance::Memory, pixels, image_size, labels)
        .map_err(|error| setup_error(vec![error.to_string()]))
}
