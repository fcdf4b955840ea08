//! Selection of the labeled images, and batches of labeled images.

use crate::error::TransferError;
use engraft_base::seeds;
use engraft_data::{BatchState, Batches, Dataset};

/// The error for data or settings that do not allow the training.
pub(super) fn setup_error(problems: Vec<String>) -> TransferError {
    TransferError::SemiSupervised { problems }
}

/// Randomly selects `count` labeled images with the same number of images per class. Returns their indices in ascending order.
///
/// The selection depends only on labels, count and seed, and is the same in every release.
///
/// ```
/// use engraft_transfer::semi_supervised::select_labeled;
/// let labels = [0, 1, 1, 0, 1, 0];
/// let selected = select_labeled(&labels, 4, 7)?;
/// assert_eq!(selected.iter().filter(|&&i| labels[i] == 1).count(), 2);
/// # Ok::<(), engraft_transfer::TransferError>(())
/// ```
///
/// # Errors
/// [`TransferError::SemiSupervised`] for fewer than two classes, a count that is 0 or not a multiple of the number of classes,
/// or a class with too few images.
pub fn select_labeled(labels: &[u8], count: usize, seed: u64) -> Result<Vec<usize>, TransferError> {
    let classes = labels.iter().max().map_or(0, |&largest| usize::from(largest) + 1);
    if classes < 2 {
        return Err(setup_error(vec![format!(
            "{} images of {classes} class(es); expected at least two classes; give a data set with labels (a plain folder has none)",
            labels.len()
        )]));
    }
    let mut members = vec![Vec::new(); classes];
    for (i, &label) in labels.iter().enumerate() {
        members[usize::from(label)].push(i);
    }
    let mut problems = Vec::new();
    if count == 0 || !count.is_multiple_of(classes) {
        problems.push(format!(
            "{count} labels: expected a multiple of the {classes} classes; the closest are {} and {}",
            (count / classes).max(1) * classes,
            (count / classes + 1).saturating_mul(classes)
        ));
    }
    let per_class = count / classes;
    for (class, members) in members
        .iter()
        .enumerate()
        .filter(|(_, m)| m.len() < per_class.max(1))
    {
        problems.push(format!(
            "class {class} has {} image(s), but {} labels need {} per class",
            members.len(),
            count,
            per_class.max(1)
        ));
    }
    if !problems.is_empty() {
        return Err(setup_error(problems));
    }
    let mut selected = Vec::with_capacity(count);
    for (class, members) in members.iter().enumerate() {
        // One shuffle per class, with an order that is the same in every release.
        let seed = seeds::numbered(seed, classes as u64, class as u64);
        let batch = Batches::new(members.len(), per_class, seed).map(|mut batches| batches.next_batch());
        let batch = batch.map_err(|error| setup_error(vec![error.to_string()]))?;
        selected.extend(batch.into_iter().map(|i| members[i]));
    }
    selected.sort_unstable();
    Ok(selected)
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
    fn selection_is_balanced_and_depends_on_the_seed() {
        let labels: Vec<u8> = (0..300).map(|i| [0, 1, 2, 1][i % 4]).collect();
        let [a, again, b] = [1, 1, 2].map(|seed| select_labeled(&labels, 30, seed).unwrap());
        for class in 0..3 {
            assert_eq!(a.iter().filter(|&&i| labels[i] == class).count(), 10);
        }
        assert!(a == again && a != b);
        assert!(a.windows(2).all(|pair| pair[0] < pair[1]));
    }

    /// Published label lists must not change with a release.
    #[test]
    fn the_selection_is_the_same_in_every_release() {
        let labels: Vec<u8> = (0..100).map(|i| i % 2).collect();
        // Computed by an independent program.
        assert_eq!(select_labeled(&labels, 6, 3).unwrap(), [1, 10, 39, 50, 91, 94]);
    }

    #[test]
    fn invalid_selections_report_all_problems() {
        let problems = |labels: &[u8], count| match select_labeled(labels, count, 1) {
            Err(TransferError::SemiSupervised { problems }) => problems,
            found => panic!("{found:?}"),
        };
        let found = problems(&[0, 0, 1, 0, 0], 5);
        assert!(found.len() == 2 && found[0].contains("4 and 6"), "{found:?}");
        assert!(found[1].contains("class 1 "), "{found:?}");
        let counts = [(&[0; 9][..], 3), (&[], 3), (&[0, 1], 0)]
            .map(|(labels, count)| problems(labels, count)[0].clone());
        assert!(
            counts[0].contains("9 images")
                && counts[1].contains("0 images")
                && counts[2].contains("0 labels")
        );
        assert!(
            problems(&[0, 2], 3)
                .iter()
                .any(|problem| problem.contains("class 1 "))
        );
    }

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
