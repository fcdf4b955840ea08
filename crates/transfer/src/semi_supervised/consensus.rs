//! Predictions of several classifiers together.

use engraft_base::argmax;
use engraft_tensor::Tensor;

/// Consensus of classifiers: the mean of their class probabilities of the same images.
///
/// The error of the mean is a fair one for a number of labels only if all classifiers were trained on the same labeled images.
///
/// *Shapes*: `[n, classes]` each, to `[n, classes]`.
///
/// *Source*: Breiman, "Bagging predictors", 1996, section 4.2; here the classifiers differ by their seed instead of their images.
///
/// ```
/// use engraft_tensor::Tensor;
/// use engraft_transfer::semi_supervised::{consensus, misclassified};
/// let one = Tensor::from_vec([2, 2], vec![0.9, 0.1, 0.6, 0.4]);
/// let other = Tensor::from_vec([2, 2], vec![0.8, 0.2, 0.1, 0.9]);
/// let labels = [0, 1];
/// assert_eq!(misclassified(&one, &labels), 1);
/// assert_eq!(misclassified(&consensus(&[one, other]), &labels), 0);
/// ```
///
/// # Panics
/// If there are no classifiers, or the shapes differ.
#[must_use]
#[track_caller]
pub fn consensus(probabilities: &[Tensor]) -> Tensor {
    let Some((first, others)) = probabilities.split_first() else {
        panic!("consensus: expected the probabilities of at least one classifier")
    };
    let same = |other: &&Tensor| other.shape() == first.shape();
    assert!(
        others.iter().all(|other| same(&other)),
        "consensus: the probabilities have different shapes: {:?}",
        probabilities.iter().map(Tensor::shape).collect::<Vec<_>>()
    );
    let sum = others.iter().fold(first.clone(), |sum, other| sum + other);
    sum / probabilities.len() as f32
}

/// Number of rows whose largest probability, the first one of equal ones, is not that of the label.
///
/// *Shapes*: probabilities or logits `[n, classes]` and `n` labels.
///
/// # Panics
/// If the probabilities are not a matrix with a row for each label.
#[must_use]
#[track_caller]
pub fn misclassified(probabilities: &Tensor, labels: &[u8]) -> usize {
    let [n, classes] = *probabilities.shape() else {
        panic!(
            "misclassified: expected a matrix, got {:?}",
            probabilities.shape()
        )
    };
    assert!(
        n == labels.len() && classes > 0,
        "misclassified: {} labels for probabilities of the shape {:?}",
        labels.len(),
        probabilities.shape()
    );
    let rows = probabilities.as_slice().chunks_exact(classes).zip(labels);
    rows.filter(|(row, label)| argmax(row) != usize::from(**label))
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_of_three_by_hand() {
        let of = |values: [f32; 2]| Tensor::from_vec([1, 2], values.to_vec());
        let mean = consensus(&[of([1.0, 0.0]), of([0.5, 0.5]), of([0.0, 1.0])]);
        assert_eq!(mean.as_slice(), [0.5, 0.5]);
        assert_eq!(misclassified(&mean, &[0]), 0);
        assert_eq!(misclassified(&mean, &[1]), 1);
    }

    #[test]
    #[should_panic(expected = "different shapes")]
    fn other_shapes_panic() {
        let _ = consensus(&[Tensor::ones([1, 2]), Tensor::ones([2, 2])]);
    }

    #[test]
    #[should_panic(expected = "3 labels")]
    fn a_missing_row_panics() {
        let _ = misclassified(&Tensor::ones([2, 2]), &[0, 1, 1]);
    }
}
