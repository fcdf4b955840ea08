//! Loss functions of domain adaptation.

pub use crate::semi_supervised::conditional_entropy;
use engraft_gan::Objective;
use engraft_tensor::{Real, Tensor, grad};

/// Loss of a domain discriminator: `½ E s(-D(f_S)) + ½ E s(D(f_T))` with `s(a) = ln(1 + e^a)`.
///
/// A logit above 0 stands for the source.
///
/// *Shapes*: logits `[n, 1]` and `[m, 1]` to a scalar.
///
/// *Source*: Ganin et al., "Domain-adversarial training of neural networks", 2016, equation 9, for the same number of examples
/// of both domains.
///
/// ```
/// use engraft_tensor::Tensor;
/// use engraft_transfer::adapt::domain_loss;
/// let undecided = Tensor::<f64>::zeros([4, 1]);
/// assert!((domain_loss(&undecided, &undecided).item() - 2.0_f64.ln()).abs() < 1e-12);
/// ```
#[must_use]
pub fn domain_loss<T: Real>(source_logits: &Tensor<T>, target_logits: &Tensor<T>) -> Tensor<T> {
    ((-source_logits).softplus().mean() + target_logits.softplus().mean()) * T::from_f64(0.5)
}

/// Discrepancy of two classifiers: the mean of `|p_1 - p_2|` over examples and classes.
///
/// *Shapes*: both `[n, classes]`, probabilities.
///
/// *Source*: Saito et al., "Maximum classifier discrepancy for unsupervised domain adaptation", 2018, equation 9.
///
/// # Panics
/// If the shapes differ.
#[must_use]
#[track_caller]
pub fn discrepancy<T: Real>(first: &Tensor<T>, second: &Tensor<T>) -> Tensor<T> {
    assert!(
        first.shape() == second.shape(),
        "discrepancy: {:?} and {:?} must have the same shape",
        first.shape(),
        second.shape()
    );
    (first - second).abs().mean()
}

/// Entropy of each prediction: `[n, classes] -> [n, 1]`.
#[track_caller]
pub(crate) fn entropies<T: Real>(logits: &Tensor<T>) -> Tensor<T> {
    assert!(
        logits.rank() == 2,
        "entropy: logits must be [n, classes], got {:?}",
        logits.shape()
    );
    let log_p = logits.log_softmax(1);
    -(log_p.exp() * &log_p).sum_keep(&[1])
}

/// Mean Kullback-Leibler divergence `KL(p ‖ q) = E Σ_k p_k (ln p_k - ln q_k)` of predictions, in nats.
///
/// *Shapes*: both logits `[n, classes]`.
///
/// # Panics
/// If the shapes differ.
#[must_use]
#[track_caller]
pub fn kl_divergence<T: Real>(p_logits: &Tensor<T>, q_logits: &Tensor<T>) -> Tensor<T> {
    assert!(
        p_logits.shape() == q_logits.shape() && p_logits.rank() == 2,
        "kl_divergence: both logits must be [n, classes], got {:?} and {:?}",
        p_logits.shape(),
        q_logits.shape()
    );
    let log_p = p_logits.log_softmax(1);
    (log_p.exp() * (&log_p - q_logits.log_softmax(1)))
        .sum_keep(&[1])
        .mean()
}

/// Step sizes of [`virtual_adversarial`], in the units of the input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Perturbation {
    /// Length ξ of the finite-difference step of the power iteration.
    ///
    /// Implementations often use 1e-6. For the pixels of an image this is below the resolution of `f32`.
    pub xi: f64,
    /// Length ε of the adversarial perturbation.
    pub epsilon: f64,
}

impl Default for Perturbation {
    /// ξ = 1 and ε = 3.5 (Shu et al., 2018).
    fn default() -> Self {
        Self {
            xi: 1.0,
            epsilon: 3.5,
        }
    }
}

/// Virtual adversarial loss: the change of the predictions under the worst perturbation of length
/// [`epsilon`](Perturbation::epsilon).
///
/// One step of power iteration from the given random directions `d` finds the perturbation. Let `g` be the gradient of
/// `KL(p(x) ‖ p(x + ξ d))` with respect to `d`, and `r = ε g / |g|`. The loss is `KL(p(x) ‖ p(x + r))`, where `p(x)` and `r` are
/// constants. `logits` must be the same function in every call, so dropout must use the same mask.
///
/// *Shapes*: `x` and `directions` `[n, ..]`; `logits` maps `[n, ..]` to `[n, classes]`.
///
/// *Source*: Miyato et al., "Virtual adversarial training", 2018, section 3.3.
///
/// # Panics
/// If `directions` has another shape than `x`.
#[track_caller]
pub fn virtual_adversarial<T: Real>(
    logits: &dyn Fn(&Tensor<T>) -> Tensor<T>,
    x: &Tensor<T>,
    directions: &Tensor<T>,
    perturbation: Perturbation,
) -> Tensor<T> {
    assert!(
        x.shape() == directions.shape(),
        "virtual_adversarial: inputs {:?} and directions {:?} must have the same shape",
        x.shape(),
        directions.shape()
    );
    let x = x.detach();
    let clean = logits(&x).detach();
    let direction = unit(&directions.detach()).as_leaf();
    let perturbed = &x + &direction * T::from_f64(perturbation.xi);
    let [gradient] = grad(&kl_divergence(&clean, &logits(&perturbed)), [&direction]);
    let step = unit(&gradient.detach()) * T::from_f64(perturbation.epsilon);
    kl_divergence(&clean, &logits(&(&x + step)))
}

/// Each example divided by its length.
fn unit<T: Real>(x: &Tensor<T>) -> Tensor<T> {
    let axes: Vec<usize> = (1..x.rank()).collect();
    // A constant prediction has a gradient of 0; the step is then 0.
    let length = (x.square().sum_keep(&axes) + T::from_f64(1e-30)).sqrt();
    x / length
}

/// Input of [CDAN](super::AdaptationMethod::Cdan)'s domain discriminator: the flattened outer product `f ⊗ p` of features and
/// predictions.
///
/// *Shapes*: `[n, d]` and `[n, k]` to `[n, d · k]`.
///
/// *Source*: Long et al., "Conditional adversarial domain adaptation", 2018, equation 4.
///
/// # Panics
/// If the inputs are not matrices with the same number of rows.
#[must_use]
#[track_caller]
pub fn multilinear_map<T: Real>(features: &Tensor<T>, predictions: &Tensor<T>) -> Tensor<T> {
    let (&[n, d], &[m, k]) = (features.shape(), predictions.shape()) else {
        panic!(
            "multilinear_map: features and predictions must be [n, d] and [n, k], got {:?} and {:?}",
            features.shape(),
            predictions.shape()
        )
    };
    assert!(
        n == m,
        "multilinear_map: {n} rows of features, but {m} of predictions"
    );
    (features.reshape([n, d, 1]) * predictions.reshape([n, 1, k])).reshape([n, d * k])
}

/// Randomized multilinear map for wide features: `(f R_f) ⊙ (p R_p) / √width`.
///
/// Its inner products equal those of [`multilinear_map`] in expectation if the entries of both matrices have mean 0 and
/// variance 1.
///
/// *Shapes*: inputs `[n, d]` and `[n, k]`, matrices `[d, width]` and `[k, width]`, to `[n, width]`.
///
/// *Source*: Long et al., 2018, equation 6.
///
/// # Panics
/// If the shapes do not match.
#[must_use]
#[track_caller]
pub fn randomized_multilinear_map<T: Real>(
    [features, predictions]: [&Tensor<T>; 2],
    [of_features, of_predictions]: [&Tensor<T>; 2],
) -> Tensor<T> {
    let width = of_features.shape()[1] as f64;
    features.matmul(of_features) * predictions.matmul(of_predictions) * T::from_f64(1.0 / width.sqrt())
}

/// Entropy-based example weights `1 + e^{-H}`, scaled to mean 1 and detached. Certain predictions have larger weights.
///
/// *Shapes*: logits `[n, classes]` to `[n, 1]`.
///
/// *Source*: Long et al., 2018, section 3.3 (CDAN+E).
#[must_use]
pub fn certainty_weights<T: Real>(logits: &Tensor<T>) -> Tensor<T> {
    let weights = (-entropies(&logits.detach())).exp() + T::one();
    (&weights / weights.mean()).detach()
}

/// Losses `[discriminators, generators]` of two coupled GANs, from the logits of real and generated images.
///
/// With `s(a) = ln(1 + e^a)` they are `E s(-D(x)) + E s(D(G(z)))` and the non-saturating `E s(-D(G(z)))`, averaged over both
/// domains. Arguments have the source first and the target second.
///
/// *Shapes*: logits `[n, 1]` to scalars.
///
/// *Source*: Liu and Tuzel, "Coupled generative adversarial networks", 2016, equation 3, which sums over the domains. The
/// authors' code averages, and the weights of their other terms fit the average.
///
/// ```
/// use engraft_tensor::Tensor;
/// use engraft_transfer::adapt::coupled_losses;
/// let undecided = &Tensor::<f64>::zeros([4, 1]);
/// let [of_discriminators, of_generators] = coupled_losses([undecided; 2], [undecided; 2]);
/// assert!((of_discriminators.item() - 2.0 * 2.0_f64.ln()).abs() < 1e-12);
/// assert!((of_generators.item() - 2.0_f64.ln()).abs() < 1e-12);
/// ```
#[must_use]
pub fn coupled_losses<T: Real>(real: [&Tensor<T>; 2], fake: [&Tensor<T>; 2]) -> [Tensor<T>; 2] {
    let objective = Objective::NonSaturating;
    let half = T::from_f64(0.5);
    let of_discriminators =
        objective.discriminator(real[0], fake[0]) + objective.discriminator(real[1], fake[1]);
    let of_generators = objective.generator(fake[0], None) + objective.generator(fake[1], None);
    [of_discriminators * half, of_generators * half]
}

/// Squared distance between the features of paired images: `|f_S - f_T|²`, averaged over pairs.
///
/// *Shapes*: both `[n, d]`.
///
/// *Source*: the code of Liu and Tuzel, 2016, for adaptation between digit data sets. It is not in the paper.
///
/// # Panics
/// If the shapes differ.
#[must_use]
#[track_caller]
pub fn pair_distance<T: Real>(source: &Tensor<T>, target: &Tensor<T>) -> Tensor<T> {
    assert!(
        source.shape() == target.shape() && source.rank() == 2,
        "pair_distance: both features must be [n, d] with the same shape, got {:?} and {:?}",
        source.shape(),
        target.shape()
    );
    (source - target).square().sum_keep(&[1]).mean()
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_tensor::{gradcheck, no_grad};
    use rand::SeedableRng;
    use rand_pcg::Pcg64;

    fn random(shape: &[usize], seed: u64) -> Tensor<f64> {
        Tensor::randn(shape, &mut Pcg64::seed_from_u64(seed))
    }

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-12, "{a} is not {b}");
    }

    #[test]
    fn the_domain_loss_by_hand() {
        let [source, target] = [[1.0, -2.0], [0.5, 3.0]].map(|v| Tensor::from_vec([2, 1], v.to_vec()));
        let s = |a: f64| (1.0 + a.exp()).ln();
        let expected = 0.5 * (s(-1.0) + s(2.0)) / 2.0 + 0.5 * (s(0.5) + s(3.0)) / 2.0;
        close(domain_loss(&source, &target).item(), expected);
        gradcheck(|x| domain_loss(&x[0], &x[1]), &[source, target]).unwrap();
    }

    #[test]
    fn discrepancy_entropy_and_divergence_by_hand() {
        let p = Tensor::from_vec([2, 2], vec![0.75, 0.25, 0.5, 0.5]);
        let q = Tensor::from_vec([2, 2], vec![0.25, 0.75, 0.5, 0.5]);
        close(discrepancy(&p, &q).item(), 0.25);
        let entropy = -(0.75 * 0.75_f64.ln() + 0.25 * 0.25_f64.ln());
        // Logits may be the logarithms of the probabilities.
        close(
            conditional_entropy(&p.ln()).item(),
            (entropy + 2.0_f64.ln()) / 2.0,
        );
        let kl = 0.75 * 3.0_f64.ln() - 0.25 * 3.0_f64.ln();
        close(kl_divergence(&p.ln(), &q.ln()).item(), kl / 2.0);
        close(kl_divergence(&p.ln(), &(p.ln() + 4.0)).item(), 0.0);

        let (a, b) = (random(&[4, 3], 1), random(&[4, 3], 2));
        gradcheck(
            |x| discrepancy(&x[0].softmax(1), &x[1].softmax(1)),
            &[a.clone(), b.clone()],
        )
        .unwrap();
        gradcheck(|x| kl_divergence(&x[0], &x[1]), &[a, b]).unwrap();
    }

    /// For a linear model with two classes the divergence depends only on the change along the difference of both weights. The
    /// worst step of a given length is along this difference.
    #[test]
    fn the_adversarial_step_of_a_linear_model_by_hand() {
        let w = Tensor::from_vec([3, 2], vec![1.0, -1.0, 2.0, 0.0, -0.5, 0.5]);
        let along = [2.0, 2.0, -1.0].map(|v: f64| v / 3.0);
        let x = random(&[4, 3], 3);
        let logits = |x: &Tensor<f64>| x.matmul(&w);
        let perturbation = Perturbation {
            xi: 1e-3,
            epsilon: 0.3,
        };
        let found = virtual_adversarial(&logits, &x, &random(&[4, 3], 4), perturbation).item();
        let clean = logits(&x);
        // The power iteration starts in a random direction, so each example can step to either side.
        let moved = |sign: f64| {
            let step = Tensor::from_vec([1, 3], along.map(|v| 0.3 * sign * v).to_vec());
            let moved = logits(&(&x + step));
            (0..4)
                .map(|i| kl_divergence(&clean.narrow(0, i, 1), &moved.narrow(0, i, 1)).item())
                .collect::<Vec<f64>>()
        };
        let (one, other) = (moved(1.0), moved(-1.0));
        let possible: Vec<f64> = (0..16)
            .map(|sides: usize| {
                let of = |i: usize| if sides >> i & 1 == 1 { one[i] } else { other[i] };
                (0..4).map(of).sum::<f64>() / 4.0
            })
            .collect();
        assert!(
            possible.iter().any(|p| (p - found).abs() < 1e-9),
            "{found} is none of {possible:?}"
        );
        // The gradient with respect to the weights treats the clean prediction and the step as constants.
        let w = w.as_leaf();
        let logits = |x: &Tensor<f64>| x.matmul(&w);
        let directions = random(&[4, 3], 4);
        let loss = virtual_adversarial(&logits, &x, &directions, perturbation);
        let [found] = grad(&loss, [&w]);
        let step = no_grad(|| {
            let d = unit(&directions) * perturbation.xi;
            // The step is along the difference of the weights, to the side of d.
            let along = Tensor::from_vec([3, 1], along.to_vec());
            let side = d.matmul(&along);
            let side = &side / side.abs();
            side.matmul(&along.reshape([1, 3])) * perturbation.epsilon
        });
        let by_hand = kl_divergence(&clean.detach(), &(&x + &step).matmul(&w));
        let [expected] = grad(&by_hand, [&w]);
        let apart = (found - expected).abs().sum().item();
        assert!(apart < 1e-6, "{apart}");
    }

    #[test]
    fn a_constant_model_has_no_adversarial_loss() {
        let constant = |x: &Tensor<f64>| x.matmul(&Tensor::zeros([3, 2]));
        let x = random(&[2, 3], 6);
        let loss = virtual_adversarial(&constant, &x, &random(&[2, 3], 7), Perturbation::default());
        assert_eq!(loss.item(), 0.0);
    }

    #[test]
    fn the_multilinear_map_by_hand_and_in_expectation() {
        let f = Tensor::from_vec([1, 2], vec![2.0, 3.0]);
        let p = Tensor::from_vec([1, 3], vec![0.5, 0.25, 0.25]);
        assert_eq!(
            multilinear_map(&f, &p).as_slice(),
            [1.0, 0.5, 0.5, 1.5, 0.75, 0.75]
        );
        let (f, p) = (random(&[2, 5], 8), random(&[2, 3], 9));
        gradcheck(|x| multilinear_map(&x[0], &x[1]), &[f.clone(), p.clone()]).unwrap();
        let product = |x: &Tensor<f64>| no_grad(|| (x.narrow(0, 0, 1) * x.narrow(0, 1, 1)).sum().item());
        let exact = product(&multilinear_map(&f, &p));
        let [of_f, of_p] = [random(&[5, 40_000], 10), random(&[3, 40_000], 11)];
        let random = product(&randomized_multilinear_map([&f, &p], [&of_f, &of_p]));
        let size = f.square().sum().item() * p.square().sum().item();
        assert!((random - exact).abs() < 0.05 * size, "{random}, {exact}");
    }

    #[test]
    fn certain_predictions_weigh_more() {
        let logits = Tensor::from_vec([2, 2], vec![50.0, 0.0, 0.0, 0.0]);
        let weights = certainty_weights(&logits);
        // 1 + e^0 = 2 and 1 + e^{-ln 2} = 1.5, divided by their mean.
        close(weights.as_slice()[0], 2.0 / 1.75);
        close(weights.as_slice()[1], 1.5 / 1.75);
        assert!(!weights.requires_grad());
    }

    #[test]
    fn the_losses_of_coupled_players_by_hand() {
        let column = |v: &[f64]| Tensor::from_vec([v.len(), 1], v.to_vec());
        // Different numbers of images: both domains have the same weight.
        let real = [column(&[1.0, -2.0]), column(&[0.5])];
        let fake = [column(&[-1.5]), column(&[0.25, 3.0])];
        let s = |a: f64| (1.0 + a.exp()).ln();
        let of =
            |real: [&Tensor<f64>; 2], fake: [&Tensor<f64>; 2]| coupled_losses(real, fake).map(|l| l.item());
        let [discriminators, generators] = of(real.each_ref(), fake.each_ref());
        let of_source = (s(-1.0) + s(2.0)) / 2.0 + s(-1.5);
        let of_target = s(-0.5) + (s(0.25) + s(3.0)) / 2.0;
        close(discriminators, (of_source + of_target) / 2.0);
        close(generators, (s(1.5) + (s(-0.25) + s(-3.0)) / 2.0) / 2.0);
        let [a, b] = real;
        let [c, d] = fake;
        for player in 0..2 {
            gradcheck(
                |x| coupled_losses([&x[0], &x[1]], [&x[2], &x[3]])[player].clone(),
                &[a.clone(), b.clone(), c.clone(), d.clone()],
            )
            .unwrap();
        }
    }

    #[test]
    fn the_distance_of_pairs_by_hand() {
        let f = Tensor::from_vec([2, 3], vec![1.0, 2.0, 0.0, -1.0, 0.5, 4.0]);
        let g = Tensor::from_vec([2, 3], vec![0.0, 2.0, 2.0, -1.0, 0.0, 4.0]);
        // Squares 1 + 0 + 4 of the first pair, 0 + 0.25 + 0 of the second.
        close(pair_distance(&f, &g).item(), 5.25 / 2.0);
        assert_eq!(pair_distance(&f, &f).item(), 0.0);
        gradcheck(|x| pair_distance(&x[0], &x[1]), &[f, g]).unwrap();
    }

    #[test]
    #[should_panic(expected = "got [2, 3] and [3, 3]")]
    fn pair_distance_panics_for_different_shapes() {
        let _ = pair_distance(&random(&[2, 3], 1), &random(&[3, 3], 2));
    }
}
