//! Selection of the labeled images.

use super::labels::setup_error;
use crate::error::TransferError;
use engraft_base::seeds;
use engraft_data::{Batches, Dataset};
use engraft_gan::representative_images;

/// Number of principal components on which [`select_representative`] clusters the images.
pub const COMPONENTS: usize = 50;

/// Largest number of images that [`select_representative`] selects.
pub const MOST_REPRESENTATIVE: usize = 5000;

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
    let classes = number_of_classes(labels)?;
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

/// Selects the `count` images that are nearest to the centroids of `count` clusters of all images, and asks for their labels.
/// Returns their indices in ascending order.
///
/// The clusters are those of [`representative_images`], on [`COMPONENTS`] principal components. No label decides the selection.
/// So the classes can have different numbers of labeled images, and a class can have none. This is another protocol than
/// [`select_labeled`], which knows the class of each image beforehand: errors of the two do not compare.
///
/// ```
/// use engraft_data::{Split, drawn_digits};
/// use engraft_transfer::semi_supervised::select_representative;
/// let train = drawn_digits(Split::Train, 200, 1);
/// assert_eq!(select_representative(&train, 20, 1)?.len(), 20);
/// # Ok::<(), engraft_transfer::TransferError>(())
/// ```
///
/// # Errors
/// [`TransferError::SemiSupervised`] for fewer than two classes in the data or in the selection, or a count that is below 2, above
/// the number of images or above [`MOST_REPRESENTATIVE`], beyond which the clusters take hours. [`TransferError::Gan`] if the images have more than 300 channels.
pub fn select_representative(data: &Dataset, count: usize, seed: u64) -> Result<Vec<usize>, TransferError> {
    number_of_classes(data.labels())?;
    let most = data.len().min(MOST_REPRESENTATIVE);
    if !(2..=most).contains(&count) {
        return Err(setup_error(vec![format!(
            "{count} labels of {} images, chosen by clusters: expected from 2 to {most}",
            data.len()
        )]));
    }
    let selected = representative_images(data, count, COMPONENTS, seed)?;
    let first = data.label(selected[0]);
    if selected.iter().all(|&i| data.label(i) == first) {
        return Err(setup_error(vec![format!(
            "all {count} representative images are of class {first}; expected at least two classes; select more images, or with \
             another seed"
        )]));
    }
    Ok(selected)
}

/// The largest label plus 1.
///
/// # Errors
/// [`TransferError::SemiSupervised`] for fewer than two classes.
fn number_of_classes(labels: &[u8]) -> Result<usize, TransferError> {
    match labels.iter().max().map_or(0, |&largest| usize::from(largest) + 1) {
        classes @ 0..2 => Err(setup_error(vec![format!(
            "{} images of {classes} class(es); expected at least two classes; give a data set with labels (a plain folder has none)",
            labels.len()
        )])),
        classes => Ok(classes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_data::{Provenance, Split, drawn_digits};

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
    fn representative_images_depend_on_pixels_and_seed_alone() {
        let train = drawn_digits(Split::Train, 300, 1);
        let [a, again, b] = [1, 1, 2].map(|seed| select_representative(&train, 30, seed).unwrap());
        assert!(a == again && a != b && a.len() == 30);
        assert!(a.is_sorted_by(|a, b| a < b));
        let other: Vec<u8> = (0..300).map(|i| (i % 2) as u8).collect();
        let images = train.images().to_vec();
        let other = Dataset::new("other", Provenance::Memory, images, [28, 28, 1], other).unwrap();
        assert_eq!(select_representative(&other, 30, 1).unwrap(), a);
    }

    #[test]
    fn representative_images_of_one_class_are_refused() {
        let data = |pixels: &[u8], labels: &[u8]| {
            Dataset::new(
                "x",
                Provenance::Memory,
                pixels.to_vec(),
                [1, 1, 1],
                labels.to_vec(),
            )
            .unwrap()
        };
        let (pixels, labels) = ([0, 1, 2, 90, 91, 92], [0, 0, 0, 0, 0, 1]);
        for (data, count, named) in [
            (data(&pixels, &[0; 6]), 2, "1 class"),
            (data(&pixels, &labels), 1, "1 labels"),
            (data(&pixels, &labels), 7, "7 labels"),
            (data(&pixels, &labels), 2, "class 0"),
        ] {
            match select_representative(&data, count, 1) {
                Err(TransferError::SemiSupervised { problems }) => {
                    assert!(problems[0].contains(named), "{problems:?}");
                }
                found => panic!("{found:?}"),
            }
        }
    }
}
