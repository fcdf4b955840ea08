//! Which images are labeled, and how the labeled ones are served.

use crate::error::TransferError;
use engraft_base::seeds;
use engraft_data::{BatchState, Batches, Dataset};

/// A task that cannot be set up.
pub(super) fn unfit(problems: Vec<String>) -> TransferError {
    TransferError::SemiSupervised { problems }
}

/// Indices of `count` labeled images, the same number of each class, in ascending order; which ones is a function of the
/// seed. The other labels are as if they were not there.
///
/// ```
/// use engraft_transfer::semi_supervised::select_labeled;
/// let labels = [0, 1, 1, 0, 1, 0];
/// let chosen = select_labeled(&labels, 4, 7)?;
/// assert_eq!(chosen.iter().filter(|&&i| labels[i] == 1).count(), 2);
/// # Ok::<(), engraft_transfer::TransferError>(())
/// ```
///
/// # Errors
/// [`TransferError::SemiSupervised`] if the images are of fewer than two classes, or the count is 0, no multiple of the number
/// of classes, or more than there are images of some class.
pub fn select_labeled(labels: &[u8], count: usize, seed: u64) -> Result<Vec<usize>, TransferError> {
    let classes = labels.iter().max().map_or(0, |&most| usize::from(most) + 1);
    if classes < 2 {
        return Err(unfit(vec![format!(
            "{} images of {classes} class(es): expected labels of at least two classes, as a folder of pictures has none; give \
             a data set with labels",
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
            "{count} labels: expected a multiple of the {classes} classes, so that each has as many; the closest are {} and {}",
            (count / classes).max(1) * classes,
            (count / classes + 1).saturating_mul(classes)
        ));
    }
    let each = count / classes;
    for (class, members) in members.iter().enumerate().filter(|(_, m)| m.len() < each.max(1)) {
        problems.push(format!(
            "class {class} has {} image(s), but {} labels take {} of each class",
            members.len(),
            count,
            each.max(1)
        ));
    }
    if !problems.is_empty() {
        return Err(unfit(problems));
    }
    let mut chosen = Vec::with_capacity(count);
    for (class, members) in members.iter().enumerate() {
        // One shuffle for each class, in the order that is the same in every release.
        let seed = seeds::numbered(seed, classes as u64, class as u64);
        let batch = Batches::new(members.len(), each, seed).map(|mut batches| batches.next_batch());
        let batch = batch.map_err(|error| unfit(vec![error.to_string()]))?;
        chosen.extend(batch.into_iter().map(|i| members[i]));
    }
    chosen.sort_unstable();
    Ok(chosen)
}

/// Images of a data set in shuffled batches without end, each as often as the others; fewer images than a batch are served
/// several times in it.
#[derive(Clone)]
pub(super) struct LabeledBatches<'a> {
    data: &'a Dataset,
    indices: Vec<usize>,
    /// Of the order, in which few images stand several times.
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
            batches: batches.map_err(|error| unfit(vec![error.to_string()]))?,
            len: indices.len() * times,
            indices,
        })
    }

    /// Where it stands.
    pub(super) fn state(&self) -> BatchState {
        self.batches.state()
    }

    /// Goes on from where another one of the same images and seed stood.
    pub(super) fn resume(&mut self, state: BatchState) -> Result<(), TransferError> {
        if state.seed != self.batches.state().seed {
            return Err(unfit(vec![format!(
                "the order of the images has the seed {}, not its own",
                state.seed
            )]));
        }
        let batches = Batches::resume(self.len, self.batches.batch_size(), state);
        self.batches = batches.map_err(|error| unfit(vec![error.to_string()]))?;
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
    fn each_class_has_as_many_and_the_seed_decides() {
        let labels: Vec<u8> = (0..300).map(|i| [0, 1, 2, 1][i % 4]).collect();
        let [a, again, b] = [1, 1, 2].map(|seed| select_labeled(&labels, 30, seed).unwrap());
        for class in 0..3 {
            assert_eq!(a.iter().filter(|&&i| labels[i] == class).count(), 10);
        }
        assert!(a == again && a != b);
        assert!(a.windows(2).all(|pair| pair[0] < pair[1]));
    }

    /// A label list that others can name must not change with a release.
    #[test]
    fn the_choice_is_the_one_of_every_release() {
        let labels: Vec<u8> = (0..100).map(|i| i % 2).collect();
        // Computed by a program apart from this one.
        assert_eq!(select_labeled(&labels, 6, 3).unwrap(), [1, 10, 39, 50, 91, 94]);
    }

    #[test]
    fn what_cannot_be_chosen_is_told_all_at_once() {
        let text = |labels: &[u8], count| select_labeled(labels, count, 1).unwrap_err().to_string();
        let found = text(&[0, 0, 1, 0, 0], 5);
        assert!(
            found.contains("5 labels: expected a multiple of the 2 classes"),
            "{found}"
        );
        assert!(found.contains("the closest are 4 and 6"), "{found}");
        assert!(
            found.contains("class 1 has 1 image(s), but 5 labels take 2 of each class"),
            "{found}"
        );
        assert!(text(&[0; 9], 3).contains("give a data set with labels"));
        assert!(text(&[], 3).contains("0 images"));
        assert!(text(&[0, 1], 0).contains("0 labels"));
        assert!(text(&[0, 2], 3).contains("class 1 has 0 image(s)"));
    }

    #[test]
    fn few_images_are_served_several_times_in_a_batch() {
        let data = Dataset::new(
            "x",
            Provenance::Memory,
            vec![0, 51, 255],
            [1, 1, 1],
            vec![0, 1, 2],
        )
        .unwrap();
        let mut supply = LabeledBatches::new(&data, vec![2, 1], 4, 1).unwrap();
        let (pixels, mut labels) = supply.next_batch();
        for (pixel, label) in pixels.iter().zip(&labels) {
            assert!((pixel - [0.0, 0.2, 1.0][*label]).abs() < 1e-6);
        }
        labels.sort_unstable();
        assert_eq!(labels, [1, 1, 2, 2]);
        assert!(LabeledBatches::new(&data, vec![], 4, 1).is_err());
    }
}
