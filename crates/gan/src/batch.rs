//! Batches of a data set as tensors.

use crate::rng::{self, Purpose};
use engraft_data::{DataError, Dataset, TrainingData};
use engraft_tensor::Tensor;
use engraft_tensor::shards::{Shard, shard};
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64;

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

/// Mirrors each image of a batch with probability 1/2. The choice depends only on the seed of the run, the step and the place
/// of the image among all images of the step, which `places` has in ascending order. So a resumed run makes the same one.
pub(crate) fn mirror_some(batch: &Tensor, places: &[usize], seed: u64, step: u64) -> Tensor {
    let &[_, _, w, c] = batch.shape() else {
        unreachable!("a batch has four axes")
    };
    let mut pixels = batch.as_slice().to_vec();
    let mut rng = Pcg64::seed_from_u64(rng::seed(seed, Purpose::Mirror).wrapping_add(step));
    let image = pixels.len() / batch.shape()[0].max(1);
    let mut drawn = 0;
    for (image, place) in pixels.chunks_exact_mut(image.max(1)).zip(places) {
        let earlier = place - drawn;
        let draw = (0..=earlier).map(|_| rng.next_u64()).last().unwrap_or(0);
        drawn = place + 1;
        if draw >> 63 == 0 {
            continue;
        }
        for row in image.chunks_exact_mut(w * c) {
            for x in 0..w / 2 {
                let (left, right) = row.split_at_mut((w - 1 - x) * c);
                left[x * c..][..c].swap_with_slice(&mut right[..c]);
            }
        }
    }
    Tensor::from_vec(batch.shape(), pixels)
}

/// What is drawn for each of `n` images. In a shard it is drawn for all images of the batch, of which `n` belong to the shard.
pub(crate) fn for_each_image<D>(n: usize, mut draw: impl FnMut() -> D) -> Vec<D> {
    let Shard { index, count } = shard().unwrap_or(Shard { index: 0, count: 1 });
    let all = (0..n * count).map(|_| draw());
    let own = index * n..(index + 1) * n;
    let kept = all.enumerate().filter(|(i, _)| own.contains(i));
    kept.map(|(_, drawn)| drawn).collect()
}

/// The labels at these indices; 0 for data without labels.
pub(crate) fn labels_of(data: &dyn TrainingData, indices: &[usize]) -> Vec<usize> {
    indices.iter().map(|&i| data.label(i).unwrap_or(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn about_half_of_the_images_are_mirrored() {
        let pixels: Vec<f32> = (0..200 * 12).map(|i| i as f32).collect();
        let batch = Tensor::from_vec([200, 2, 3, 2], pixels.clone());
        let places: Vec<usize> = (0..200).collect();
        let mirrored = mirror_some(&batch, &places, 1, 5);
        assert_eq!(mirrored.as_slice(), mirror_some(&batch, &places, 1, 5).as_slice());
        let mut changed = 0;
        for (before, after) in pixels.chunks(12).zip(mirrored.as_slice().chunks(12)) {
            if before != after {
                let rows = [[4, 5, 2, 3, 0, 1], [10, 11, 8, 9, 6, 7]].concat();
                assert_eq!(after, rows.into_iter().map(|i| before[i]).collect::<Vec<_>>());
                changed += 1;
            }
        }
        // 100 expected, standard deviation 7.
        assert!((70..130).contains(&changed), "{changed}");
        let part = mirror_some(&batch.narrow(0, 150, 50), &places[150..], 1, 5);
        assert_eq!(part.as_slice(), mirrored.narrow(0, 150, 50).as_slice());
        for (seed, step) in [(1, 6), (2, 5)] {
            assert_ne!(
                mirror_some(&batch, &places, seed, step).as_slice(),
                mirrored.as_slice()
            );
        }
    }
}
