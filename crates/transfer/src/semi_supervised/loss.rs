//! Loss functions of semi-supervised GANs, on logits and features.
//!
//! The discriminator is a classifier of `K` classes with logits `l`. The additional class "generated" has a constant logit of 0.
//! This is no restriction, because only differences of the `K + 1` logits matter. With `Z = ln Σ_k e^{l_k}`, an image is real with
//! probability `D = e^Z / (e^Z + 1)`.
//!
//! *Source*: Salimans et al., "Improved techniques for training GANs", 2016, section 5.

use engraft_layers::{Reduction, softmax_cross_entropy};
use engraft_tensor::{Real, Tensor};

/// Added to squared lengths, so that features that are all 0 have no length of 0.
const TINY: f64 = 1e-12;

/// Number of rows and columns.
#[track_caller]
fn matrix<T: Real>(name: &str, x: &Tensor<T>) -> [usize; 2] {
    match *x.shape() {
        [n, columns] if n > 0 && columns > 0 => [n, columns],
        _ => panic!("{name}: expected a non-empty matrix, got {:?}", x.shape()),
    }
}

/// Log-sum-exp `Z = ln Σ_k e^{l_k}` of each row, without overflow.
///
/// *Shapes*: `[n, K] -> [n, 1]`.
///
/// # Panics
/// If the logits are not a matrix with rows and columns.
#[must_use]
#[track_caller]
pub fn log_sum_exp<T: Real>(logits: &Tensor<T>) -> Tensor<T> {
    let _ = matrix("log_sum_exp", logits);
    // ln softmax is l - Z in every column.
    let first = |x: &Tensor<T>| x.narrow(1, 0, 1);
    first(logits) - first(&logits.log_softmax(1))
}

/// Loss of labeled images: the cross entropy `E(-l_y + Z)` over the `K` classes.
///
/// *Shapes*: logits `[n, K]` and `n` labels below `K`, to a scalar.
///
/// # Panics
/// If the logits are not a matrix, the number of labels is not `n`, or a label is not below `K`.
#[must_use]
#[track_caller]
pub fn labeled_loss<T: Real>(logits: &Tensor<T>, labels: &[usize]) -> Tensor<T> {
    softmax_cross_entropy(logits, labels, Reduction::Mean)
}

/// Loss of unlabeled and generated images: `½ E(-ln D(x)) + ½ E(-ln(1 - D(G(z))))`.
///
/// With `s(a) = ln(1 + e^a)` this is `½ E(-Z(x) + s(Z(x))) + ½ E s(Z(G(z)))`.
///
/// *Shapes*: logits `[n, K]` and `[m, K]`, to a scalar.
///
/// *Source*: Salimans et al., 2016, section 5, with the authors' weight of ½ for both halves.
///
/// # Panics
/// If the logits are not matrices with rows and columns.
#[must_use]
#[track_caller]
pub fn unlabeled_loss<T: Real>(real_logits: &Tensor<T>, fake_logits: &Tensor<T>) -> Tensor<T> {
    let (real, fake) = (log_sum_exp(real_logits), log_sum_exp(fake_logits));
    // -Z + s(Z) = s(-Z), without cancellation.
    ((-real).softplus().mean() + fake.softplus().mean()) * T::from_f64(0.5)
}

/// Feature matching, the generator's loss: `‖E f(x) - E f(G(z))‖²` with the mean features of a batch.
///
/// *Shapes*: features `[n, d]` and `[m, d]`, to a scalar. Detach the real features if only the generator trains.
///
/// *Source*: Salimans et al., 2016, section 3.1.
///
/// # Panics
/// If the features are not non-empty matrices with the same number of columns.
#[must_use]
#[track_caller]
pub fn feature_matching<T: Real>(real_features: &Tensor<T>, fake_features: &Tensor<T>) -> Tensor<T> {
    let dimensions = [real_features, fake_features].map(|f| matrix("feature_matching", f)[1]);
    assert!(
        dimensions[0] == dimensions[1],
        "feature_matching: features {:?} and {:?} must have the same dimension",
        real_features.shape(),
        fake_features.shape()
    );
    let mean = |f: &Tensor<T>| f.mean_axes(&[0]);
    (mean(real_features) - mean(fake_features)).square().sum()
}

/// Pull-away term `Σ_{i≠j} cos²(f_i, f_j) / (n (n - 1))`.
///
/// It is small if the features of generated images have different directions. It is a proxy for a high entropy of the generator.
///
/// *Shapes*: features `[n, d]` to a scalar.
///
/// *Source*: Zhao, Mathieu and LeCun, "Energy-based generative adversarial network", 2017, equation 4; as a term of the
/// generator's loss for semi-supervised learning: Dai et al., "Good semi-supervised learning that requires a bad GAN", 2017.
///
/// # Panics
/// If the features are not a matrix of at least two rows.
#[must_use]
#[track_caller]
pub fn pull_away<T: Real>(features: &Tensor<T>) -> Tensor<T> {
    let [n, _] = matrix("pull_away", features);
    assert!(
        n > 1,
        "pull_away: expected at least two rows, got {:?}",
        features.shape()
    );
    let squares = features.square().sum_keep(&[1]) + T::from_f64(TINY);
    let directions = features * squares.powf(-0.5);
    let mut others = vec![T::one(); n * n];
    (0..n).for_each(|i| others[i * n + i] = T::zero());
    let cosines = directions.matmul_nt(&directions) * Tensor::from_vec([n, n], others);
    cosines.square().sum() * T::from_f64(1.0 / (n * (n - 1)) as f64)
}

/// Conditional entropy `-E Σ_k p_k ln p_k` of the predictions `p = softmax(l)`, in nats. It is small for certain predictions.
///
/// *Shapes*: logits `[n, K]` to a scalar.
///
/// *Source*: Springenberg, "Unsupervised and semi-supervised learning with categorical generative adversarial networks", 2016;
/// as a term of the discriminator's loss: Dai et al., 2017.
///
/// # Panics
/// If the logits are not a matrix with rows and columns.
#[must_use]
#[track_caller]
pub fn conditional_entropy<T: Real>(logits: &Tensor<T>) -> Tensor<T> {
    let [n, _] = matrix("conditional_entropy", logits);
    let log = logits.log_softmax(1);
    (log.exp() * &log).sum() * T::from_f64(-1.0 / n as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_tensor::{gradcheck, gradgradcheck};

    fn rows<const N: usize>(values: &[[f64; N]]) -> Tensor<f64> {
        Tensor::from_vec([values.len(), N], values.concat())
    }

    fn near(found: &Tensor<f64>, expected: f64) {
        let found = found.item();
        assert!((found - expected).abs() < 1e-9, "{found} and {expected}");
    }

    #[test]
    fn losses_of_the_discriminator_by_hand() {
        // e^l is (1, 3) and (2, 2): Z = ln 4 for both; of the generated row (1, 1), Z = ln 2.
        let real = rows(&[[0.0, 3.0_f64.ln()], [2.0_f64.ln(), 2.0_f64.ln()]]);
        let fake = rows(&[[0.0, 0.0]]);
        for z in log_sum_exp(&real).as_slice() {
            assert!((z - 4.0_f64.ln()).abs() < 1e-12);
        }
        // Probabilities 3/4 and 1/2 of the true classes.
        let expected = -(0.75_f64.ln() + 0.5_f64.ln()) / 2.0;
        near(&labeled_loss(&real, &[1, 0]), expected);
        // D = 4/5 on real images, 2/3 on the generated one.
        near(
            &unlabeled_loss(&real, &fake),
            -0.5 * 0.8_f64.ln() - 0.5 * (1.0_f64 / 3.0).ln(),
        );
        let entropy = |p: f64| -p * p.ln() - (1.0 - p) * (1.0 - p).ln();
        near(&conditional_entropy(&real), (entropy(0.75) + entropy(0.5)) / 2.0);
    }

    #[test]
    fn losses_of_the_generator_by_hand() {
        let real = rows(&[[1.0, 2.0], [3.0, 0.0]]);
        let fake = rows(&[[1.0, 1.0], [1.0, 0.0], [1.0, -1.0]]);
        // Means (2, 1) and (1, 0).
        near(&feature_matching(&real, &fake), 2.0);
        // Squared cosines: 1/2 between neighbors, 0 between the first and the last; each pair twice.
        near(&pull_away(&fake), 2.0 * (0.5 + 0.5) / 6.0);
        near(&pull_away(&rows(&[[2.0, 0.0], [0.5, 0.0]])), 1.0);
        near(&pull_away(&rows(&[[0.0, 0.0], [1.0, 0.0]])), 0.0);
    }

    #[test]
    fn large_logits_do_not_overflow() {
        let large = rows(&[[900.0, 0.0], [-900.0, -900.0]]);
        let z = log_sum_exp(&large);
        assert_eq!(z.as_slice()[0], 900.0);
        assert!((z.as_slice()[1] + 900.0 - 2.0_f64.ln()).abs() < 1e-9);
        near(
            &unlabeled_loss(&rows(&[[900.0, 0.0]]), &rows(&[[-900.0, -900.0]])),
            0.0,
        );
        near(&conditional_entropy(&rows(&[[900.0, 0.0]])), 0.0);
    }

    #[test]
    fn gradients_match_finite_differences_in_both_orders() {
        let at = [
            rows(&[[0.3, -1.2, 0.8], [1.5, 0.1, -0.4]]),
            rows(&[[-0.7, 0.9, 0.2], [0.6, -0.3, 1.1], [0.2, 0.5, -1.4]]),
        ];
        type Loss<'a> = &'a dyn Fn(&[Tensor<f64>]) -> Tensor<f64>;
        let losses: [(&str, Loss<'_>); 5] = [
            ("labeled", &|x| labeled_loss(&x[0], &[2, 0])),
            ("unlabeled", &|x| unlabeled_loss(&x[0], &x[1])),
            ("feature matching", &|x| feature_matching(&x[0], &x[1])),
            ("pull-away", &|x| pull_away(&x[1])),
            ("conditional entropy", &|x| conditional_entropy(&x[0])),
        ];
        for (name, loss) in losses {
            gradcheck(loss, &at).unwrap_or_else(|e| panic!("{name}: {e}"));
            gradgradcheck(loss, &at).unwrap_or_else(|e| panic!("{name}: {e}"));
        }
    }

    #[test]
    #[should_panic(expected = "feature_matching: features [2, 3] and [2, 2]")]
    fn feature_matching_panics_for_different_dimensions() {
        let _ = feature_matching(&Tensor::<f32>::ones([2, 3]), &Tensor::ones([2, 2]));
    }

    #[test]
    #[should_panic(expected = "got [1, 3]")]
    fn pull_away_panics_for_one_row() {
        let _ = pull_away(&Tensor::<f32>::ones([1, 3]));
    }
}
