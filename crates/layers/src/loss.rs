//! Losses: a prediction and a target make one number.

use engraft_tensor::{Real, Tensor};

/// How the losses of single elements become one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// Their mean.
    Mean,
    /// Their sum.
    Sum,
}

fn reduce<T: Real>(losses: &Tensor<T>, reduction: Reduction) -> Tensor<T> {
    match reduction {
        Reduction::Mean => losses.mean(),
        Reduction::Sum => losses.sum(),
    }
}

#[track_caller]
fn same_shape<T: Real>(name: &str, prediction: &Tensor<T>, target: &Tensor<T>) {
    assert!(
        prediction.shape() == target.shape(),
        "{name}: prediction {:?} and target {:?} must have one shape",
        prediction.shape(),
        target.shape()
    );
}

/// Binary cross entropy of logits `l` against targets `t` in `[0, 1]`:
/// `-t ln σ(l) - (1 - t) ln(1 - σ(l))`, without overflow for any logit.
///
/// # Panics
/// If the shapes differ.
#[track_caller]
pub fn bce_with_logits<T: Real>(logits: &Tensor<T>, targets: &Tensor<T>, reduction: Reduction) -> Tensor<T> {
    same_shape("bce_with_logits", logits, targets);
    // t · softplus(-l) + (1 - t) · softplus(l): both terms are exact where the other way round would cancel.
    let losses = targets * (-logits).softplus() + (-targets + T::one()) * logits.softplus();
    reduce(&losses, reduction)
}

/// Binary cross entropy of probabilities `p` against targets `t`: `-t ln p - (1 - t) ln(1 - p)`.
///
/// Each logarithm is at least -100, as in PyTorch, so that a certain mistake costs 100 and not infinity.
/// Its gradient there is not a number: train with [`bce_with_logits`].
///
/// # Panics
/// If the shapes differ.
#[track_caller]
pub fn bce<T: Real>(probabilities: &Tensor<T>, targets: &Tensor<T>, reduction: Reduction) -> Tensor<T> {
    same_shape("bce", probabilities, targets);
    let log = |p: &Tensor<T>| p.ln().clamp_min(-100.0);
    let losses = targets * log(probabilities) + (-targets + T::one()) * log(&(-probabilities + T::one()));
    -reduce(&losses, reduction)
}

/// Squared difference of prediction and target.
///
/// # Panics
/// If the shapes differ.
#[track_caller]
pub fn mse<T: Real>(prediction: &Tensor<T>, target: &Tensor<T>, reduction: Reduction) -> Tensor<T> {
    same_shape("mse", prediction, target);
    reduce(&(prediction - target).square(), reduction)
}

/// Cross entropy of class logits `[n, classes]` against one label for each row.
///
/// # Panics
/// If the logits are not a matrix, the number of labels differs, or a label is not a class.
#[track_caller]
pub fn softmax_cross_entropy<T: Real>(
    logits: &Tensor<T>,
    labels: &[usize],
    reduction: Reduction,
) -> Tensor<T> {
    let &[n, classes] = logits.shape() else {
        panic!(
            "softmax_cross_entropy: logits must be [n, classes], got {:?}",
            logits.shape()
        )
    };
    assert!(
        labels.len() == n && labels.iter().all(|&l| l < classes),
        "softmax_cross_entropy: logits {:?} need {n} labels below {classes}, got {} with maximum {:?}",
        logits.shape(),
        labels.len(),
        labels.iter().max()
    );
    let mut chosen = vec![T::zero(); n * classes];
    labels
        .iter()
        .enumerate()
        .for_each(|(i, &l)| chosen[i * classes + l] = T::one());
    let losses = -(logits.log_softmax(1) * Tensor::from_vec([n, classes], chosen)).sum_axes(&[1]);
    reduce(&losses, reduction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_by_hand() {
        let t = |v: &[f64]| Tensor::from_vec([v.len()], v.to_vec());
        let ln2 = std::f64::consts::LN_2;
        assert!((bce_with_logits(&t(&[0.0]), &t(&[0.3]), Reduction::Sum).item() - ln2).abs() < 1e-15);
        assert_eq!(
            bce_with_logits(&t(&[800.0, -800.0]), &t(&[1.0, 0.0]), Reduction::Sum).item(),
            0.0
        );
        assert_eq!(
            bce_with_logits(&t(&[800.0]), &t(&[0.0]), Reduction::Mean).item(),
            800.0
        );
        assert!((bce(&t(&[0.5, 0.5]), &t(&[1.0, 0.0]), Reduction::Mean).item() - ln2).abs() < 1e-15);
        assert_eq!(bce(&t(&[0.0]), &t(&[1.0]), Reduction::Mean).item(), 100.0);
        assert_eq!(mse(&t(&[1.0, 3.0]), &t(&[0.0, 1.0]), Reduction::Mean).item(), 2.5);
        let logits = Tensor::from_vec([1, 2], vec![0.0, 0.0]);
        assert!((softmax_cross_entropy(&logits, &[1], Reduction::Mean).item() - ln2).abs() < 1e-15);
    }

    #[test]
    #[should_panic(expected = "need 2 labels below 3, got 2 with maximum Some(3)")]
    fn a_label_that_is_no_class_is_named() {
        softmax_cross_entropy(&Tensor::<f32>::zeros([2, 3]), &[0, 3], Reduction::Mean);
    }
}
