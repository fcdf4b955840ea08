//! Loss functions of a prediction and a target.

use crate::layer::one_hot;
use engraft_tensor::{Op, Real, Tensor};
use ndarray::Array1;

/// How the losses of the elements are combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reduction {
    /// The mean.
    Mean,
    /// The sum.
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
        "{name}: prediction {:?} and target {:?} must have the same shape",
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
    // t · softplus(-l) + (1 - t) · softplus(l). Both terms are exact. The equivalent form with softplus(l) - t · l cancels.
    let losses = targets * (-logits).softplus() + (-targets + T::one()) * logits.softplus();
    reduce(&losses, reduction)
}

/// Binary cross entropy of probabilities `p` against targets `t`: `-t ln p - (1 - t) ln(1 - p)`.
///
/// Each logarithm is clamped to at least -100, as in PyTorch, so a certain mistake costs 100 instead of infinity.
/// The gradient is NaN where a probability is exactly 0 or 1, even if it is correct. Use [`bce_with_logits`] for
/// training.
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

/// Squared error of prediction and target.
///
/// # Panics
/// If the shapes differ.
#[track_caller]
pub fn mse<T: Real>(prediction: &Tensor<T>, target: &Tensor<T>, reduction: Reduction) -> Tensor<T> {
    same_shape("mse", prediction, target);
    reduce(&(prediction - target).square(), reduction)
}

/// The value of each row at its label: `[n, classes] -> [n]`.
struct Pick {
    labels: Vec<usize>,
}

impl<T: Real> Op<T> for Pick {
    fn name(&self) -> &'static str {
        "pick"
    }
    fn vjp(&self, _: usize, inputs: &[Tensor<T>], _: &Tensor<T>, dy: &Tensor<T>) -> Tensor<T> {
        dy.reshape([dy.len(), 1]) * one_hot(&self.labels, inputs[0].shape()[1])
    }
}

/// Cross entropy of class logits `[n, classes]` and one label per row.
///
/// A class with logit `-inf` is masked: it does not contribute to its row and gets a gradient of 0. If it is the
/// label of the row, the loss is infinite.
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
    let log = logits.log_softmax(1);
    // Picked by index. A sum over one-hot rows would be NaN with a masked class.
    let chosen = Array1::from_iter(
        labels
            .iter()
            .enumerate()
            .map(|(i, &l)| log.as_slice()[i * classes + l]),
    );
    let pick = Pick {
        labels: labels.to_vec(),
    };
    reduce(&-Tensor::from_op(chosen, pick, &[&log]), reduction)
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_tensor::{grad, gradcheck, gradgradcheck};
    use rand::SeedableRng;
    use rand_pcg::Pcg64;

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
    fn the_gradient_of_a_certain_probability_is_not_a_number() {
        for certain in [0.0, 1.0] {
            let p = Tensor::from_vec([2], vec![certain, 0.5_f64]).as_leaf();
            let loss = bce(&p, &p.detach(), Reduction::Sum);
            let [dp] = grad(&loss, [&p]);
            assert!(loss.is_finite() && dp.as_slice()[0].is_nan() && dp.as_slice()[1].is_finite());
        }
    }

    /// The definition: a sum over each row with one-hot factors.
    fn summed(logits: &Tensor<f32>, labels: &[usize]) -> Tensor<f32> {
        -(logits.log_softmax(1) * one_hot(labels, logits.shape()[1])).sum_axes(&[1])
    }

    #[test]
    fn the_chosen_class_is_the_sum_over_all_to_the_last_bit() {
        for classes in [1, 2, 10, 37] {
            let rng = &mut Pcg64::seed_from_u64(classes as u64);
            let labels: Vec<usize> = (0..64).map(|i| i % classes).collect();
            // A wide range, so that some probabilities are exactly 1 and 0.
            let logits = (Tensor::<f32>::randn([64, classes], rng) * 30.0).as_leaf();
            for (reduction, whole) in [
                (Reduction::Mean, summed(&logits, &labels).mean()),
                (Reduction::Sum, summed(&logits, &labels).sum()),
            ] {
                let loss = softmax_cross_entropy(&logits, &labels, reduction);
                assert_eq!(loss.item().to_bits(), whole.item().to_bits());
                let bits = |loss| {
                    let [d] = grad(loss, [&logits]);
                    d.as_slice().iter().map(|v| v.to_bits()).collect::<Vec<_>>()
                };
                assert_eq!(bits(&loss), bits(&whole));
            }
        }
    }

    #[test]
    fn cross_entropy_has_both_derivatives() {
        let logits = Tensor::<f64>::randn([3, 4], &mut Pcg64::seed_from_u64(1));
        let loss = |x: &[Tensor<f64>]| softmax_cross_entropy(&x[0], &[2, 0, 3], Reduction::Mean);
        gradcheck(loss, std::slice::from_ref(&logits)).unwrap();
        gradgradcheck(loss, &[logits]).unwrap();
    }

    #[test]
    fn a_masked_class_takes_no_part() {
        let masked = Tensor::from_vec([1, 3], vec![0.3, f64::NEG_INFINITY, -0.4]).as_leaf();
        let without = Tensor::from_vec([1, 2], vec![0.3, -0.4]).as_leaf();
        let loss = softmax_cross_entropy(&masked, &[2], Reduction::Mean);
        let expected = softmax_cross_entropy(&without, &[1], Reduction::Mean);
        assert_eq!(loss.item(), expected.item());
        let ([d], [e]) = (grad(&loss, [&masked]), grad(&expected, [&without]));
        assert_eq!(d.as_slice(), [e.as_slice()[0], 0.0, e.as_slice()[1]]);
        let impossible = softmax_cross_entropy(&masked, &[1], Reduction::Mean);
        assert_eq!(impossible.item(), f64::INFINITY);
    }

    #[test]
    #[should_panic(expected = "need 2 labels below 3, got 2 with maximum Some(3)")]
    fn an_unknown_label_is_named() {
        softmax_cross_entropy(&Tensor::<f32>::zeros([2, 3]), &[0, 3], Reduction::Mean);
    }
}
