//! Images of a generator as further training images of a classifier.

use super::labels::unfit;
use super::trainer::SemiSupervised;
use crate::error::TransferError;
use engraft_base::{argmax, batches, to_bytes};
use engraft_data::{Dataset, Provenance};
use engraft_gan::Sampler;
use rand::SeedableRng;
use rand_pcg::Pcg64;

/// Images that are drawn at a time.
const AT_A_TIME: usize = 500;

/// Draws `count` images from a generator and keeps those of which the classifier is sure: whose most probable class has at
/// least the probability `sure`. That class is their label.
///
/// No label of the generator's is used, also where it is told the class: it may have been trained with labels that the task
/// does not have.
///
/// *Source*: Lee, "Pseudo-label: the simple and efficient semi-supervised learning method for deep neural networks", 2013, for
/// generated images and with a bound on the probability.
///
/// # Errors
/// [`TransferError::SemiSupervised`] if the generator draws images of another size, or the classifier is sure of none.
pub fn pseudo_labeled(
    classifier: &SemiSupervised<'_>,
    image_size: [usize; 3],
    sampler: &Sampler,
    count: usize,
    sure: f64,
    seed: u64,
) -> Result<Dataset, TransferError> {
    let mut rng = Pcg64::seed_from_u64(seed);
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for part in batches(count, AT_A_TIME) {
        let n = part.len();
        // As bytes, as all images of a data set are.
        let drawn = sampler.generate(n, &mut rng);
        if drawn.shape()[1..] != image_size {
            return Err(unfit(vec![format!(
                "the generator draws images of {:?}, but those of the data are {image_size:?}; give a generator of that size",
                &drawn.shape()[1..]
            )]));
        }
        let bytes = to_bytes(drawn.as_slice());
        let size = bytes.len() / n;
        let images = bytes.iter().map(|&b| f32::from(b) / 255.0).collect();
        let found = classifier.probabilities(&engraft_tensor::Tensor::from_vec([n, size], images));
        let rows = found.as_slice().chunks_exact(found.shape()[1]);
        for (row, image) in rows.zip(bytes.chunks_exact(size)) {
            let class = argmax(row);
            if f64::from(row[class]) >= sure {
                pixels.extend_from_slice(image);
                labels.push(class as u8);
            }
        }
    }
    if labels.is_empty() {
        return Err(unfit(vec![format!(
            "of {count} generated images there is none of whose class the classifier is sure (probability at least {sure})"
        )]));
    }
    Dataset::new("generated", Provenance::Memory, pixels, image_size, labels)
        .map_err(|error| unfit(vec![error.to_string()]))
}
