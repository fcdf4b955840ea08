//! Adversarial losses of discriminator and generator, and the section `[objective]` of a run.

use engraft_tensor::{Real, Tensor};
use serde::{Deserialize, Serialize};

/// Adversarial loss on logits `D(x)`, without a sigmoid.
///
/// `E` is the mean over the batch, and `s(a) = ln(1 + e^a)` the softplus: `ln σ(a) = -s(-a)` and `ln(1 - σ(a)) = -s(a)`
/// without the logarithm of a rounded probability.
///
/// | objective | discriminator loss | generator loss |
/// |---|---|---|
/// | minimax | `E s(-D(x)) + E s(D(G(z)))` | `-E s(D(G(z)))` |
/// | non-saturating | the same | `E s(-D(G(z)))` |
/// | least squares | `½ E (D(x) - 1)² + ½ E D(G(z))²` | `½ E (D(G(z)) - 1)²` |
/// | hinge | `E max(0, 1 - D(x)) + E max(0, 1 + D(G(z)))` | `-E D(G(z))` |
/// | Wasserstein | `E D(G(z)) - E D(x)` | `-E D(G(z))` |
/// | relativistic | `E s(D(G(z)) - D(x))` | `E s(D(x) - D(G(z)))` |
///
/// ```
/// use engraft_gan::Objective;
/// use engraft_tensor::Tensor;
/// let undecided = Tensor::<f64>::zeros([8, 1]);
/// let loss = Objective::NonSaturating.discriminator(&undecided, &undecided);
/// assert!((loss.item() - 2.0 * 2.0_f64.ln()).abs() < 1e-12);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Objective {
    /// Minimax loss. The generator's gradient vanishes while the discriminator is confident.
    ///
    /// *Source*: Goodfellow et al., "Generative adversarial nets", 2014, equation 1.
    Minimax,
    /// Non-saturating loss: the generator maximizes `E ln σ(D(G(z)))`. It has the same fixed point as minimax, with a
    /// strong gradient from the start.
    ///
    /// *Source*: Goodfellow et al., 2014, section 3.
    #[default]
    NonSaturating,
    /// Squared distances of the logits to 1 for real images and 0 for generated ones.
    ///
    /// *Source*: Mao et al., "Least squares generative adversarial networks", 2017, equation 9.
    LeastSquares,
    /// Hinge loss: images beyond a margin of 1 have no gradient in the discriminator.
    ///
    /// *Source*: Lim and Ye, "Geometric GAN", 2017; Miyato et al., "Spectral normalization for generative
    /// adversarial networks", 2018, equations 16 and 17.
    Hinge,
    /// Wasserstein loss: the difference of the mean logits. It needs a Lipschitz critic: use a gradient penalty or spectral
    /// normalization.
    ///
    /// *Source*: Arjovsky, Chintala and Bottou, "Wasserstein GAN", 2017.
    Wasserstein,
    /// Relativistic pairing loss: depends only on the difference of the logits of a real and a generated image.
    ///
    /// *Source*: Jolicoeur-Martineau, "The relativistic discriminator", 2018; Huang et al., "The GAN is dead;
    /// long live the GAN!", 2024, which adds R1 and R2.
    Relativistic,
}

impl Objective {
    /// Loss of the discriminator from its logits of real and generated images.
    ///
    /// # Panics
    /// For the relativistic objective, if the numbers of logits differ.
    #[must_use]
    #[track_caller]
    pub fn discriminator<T: Real>(self, real_logits: &Tensor<T>, fake_logits: &Tensor<T>) -> Tensor<T> {
        match self {
            Self::Minimax | Self::NonSaturating => {
                (-real_logits).softplus().mean() + fake_logits.softplus().mean()
            }
            Self::LeastSquares => self.smoothed_discriminator(real_logits, fake_logits, 0.0),
            Self::Hinge => (-real_logits + T::one()).relu().mean() + (fake_logits + T::one()).relu().mean(),
            Self::Wasserstein => fake_logits.mean() - real_logits.mean(),
            Self::Relativistic => {
                check_pairs(real_logits, fake_logits);
                (fake_logits - real_logits).softplus().mean()
            }
        }
    }

    /// Loss of the discriminator with one-sided label smoothing: the label of real images is `1 - smoothing`, that
    /// of generated ones is 0.
    ///
    /// For the logistic objectives the real term becomes `(1 - ε) s(-D(x)) + ε s(D(x)) = s(-D(x)) + ε D(x)`, for
    /// least squares `½ E (D(x) - (1 - ε))²`.
    ///
    /// *Source*: Salimans et al., "Improved techniques for training GANs", 2016, section 3.4.
    ///
    /// # Panics
    /// If the objective has no labels (see [`Objective::has_labels`]) and the smoothing is not 0.
    #[must_use]
    #[track_caller]
    pub fn smoothed_discriminator<T: Real>(
        self,
        real_logits: &Tensor<T>,
        fake_logits: &Tensor<T>,
        smoothing: f64,
    ) -> Tensor<T> {
        assert!(
            smoothing == 0.0 || self.has_labels(),
            "objective: {self:?} has no labels to smooth, got a smoothing of {smoothing}"
        );
        if self == Self::LeastSquares {
            let label = T::from_f64(1.0 - smoothing);
            let squares = (real_logits - label).square().mean() + fake_logits.square().mean();
            return squares * T::from_f64(0.5);
        }
        let loss = self.discriminator(real_logits, fake_logits);
        if smoothing == 0.0 {
            loss
        } else {
            loss + real_logits.mean() * T::from_f64(smoothing)
        }
    }

    /// Loss of the generator from the discriminator's logits of generated images. Only the relativistic objective uses those of
    /// real images.
    ///
    /// # Panics
    /// For the relativistic objective, if the real logits are missing or their number differs.
    #[must_use]
    #[track_caller]
    pub fn generator<T: Real>(self, fake_logits: &Tensor<T>, real_logits: Option<&Tensor<T>>) -> Tensor<T> {
        match self {
            Self::Minimax => -fake_logits.softplus().mean(),
            Self::NonSaturating => (-fake_logits).softplus().mean(),
            Self::LeastSquares => (fake_logits - T::one()).square().mean() * T::from_f64(0.5),
            Self::Hinge | Self::Wasserstein => -fake_logits.mean(),
            Self::Relativistic => {
                let real_logits = real_logits
                    .expect("objective: the relativistic generator loss needs logits of real images");
                check_pairs(real_logits, fake_logits);
                (real_logits - fake_logits).softplus().mean()
            }
        }
    }

    /// Whether the loss compares real and generated images in pairs. Then the generator's loss needs the logits of real
    /// images, and a single logit has no meaning.
    pub fn is_paired(self) -> bool {
        self == Self::Relativistic
    }

    /// The logit above which an image is classified as real; `None` if only differences of logits have a meaning.
    pub(crate) fn threshold(self) -> Option<f64> {
        match self {
            Self::Minimax | Self::NonSaturating | Self::Hinge => Some(0.0),
            Self::LeastSquares => Some(0.5),
            Self::Wasserstein | Self::Relativistic => None,
        }
    }

    /// The name in a `run.toml`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Minimax => "minimax",
            Self::NonSaturating => "non-saturating",
            Self::LeastSquares => "least-squares",
            Self::Hinge => "hinge",
            Self::Wasserstein => "wasserstein",
            Self::Relativistic => "relativistic",
        }
    }

    /// Whether the loss has labels (1 for real, 0 for generated) that can be smoothed.
    pub fn has_labels(self) -> bool {
        matches!(self, Self::Minimax | Self::NonSaturating | Self::LeastSquares)
    }
}

#[track_caller]
fn check_pairs<T: Real>(real_logits: &Tensor<T>, fake_logits: &Tensor<T>) {
    assert!(
        real_logits.shape() == fake_logits.shape(),
        "objective: the relativistic loss needs the same number of real and generated logits, got shapes {:?} and {:?}",
        real_logits.shape(),
        fake_logits.shape()
    );
}

/// The adversarial objective and its settings.
///
/// In a `run.toml` a name is enough if nothing else is set:
///
/// ```toml
/// objective = "hinge"
/// ```
///
/// ```toml
/// [objective]
/// kind = "wasserstein"
/// n_critic = 5
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ObjectiveConfig {
    /// The adversarial objective.
    pub kind: Objective,
    /// One-sided label smoothing: real images have the label `1 - label_smoothing`. See
    /// [`Objective::smoothed_discriminator`].
    pub label_smoothing: f64,
    /// Number of images that the discriminator evaluates together (PacGAN): stacked along the channels, all real or all generated. See
    /// [`pack`](crate::pack).
    pub packing: u32,
    /// Discriminator steps per generator step, each with new real images and new noise; at most 1000.
    #[serde(alias = "critic_steps")]
    pub n_critic: u32,
    /// Optional feature-matching term of the generator loss.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feature_matching: Option<FeatureMatching>,
    /// Weight of the discriminator's self-supervision: the mean squared error with which it reconstructs real images, augmented and at a
    /// smaller size, from its feature map; 0 for none. The family `light` has such a
    /// [head](crate::networks::ReconstructionHead). It is for few images.
    #[serde(skip_serializing_if = "is_zero")]
    pub reconstruction: f64,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde passes a reference
fn is_zero(weight: &f64) -> bool {
    *weight == 0.0
}

/// Feature matching: `weight · ‖E f(x) - E f(G(z))‖²` is added to the generator's loss, where `f` is the
/// output of a layer of the discriminator.
///
/// *Source*: Salimans et al., "Improved techniques for training GANs", 2016, section 3.1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureMatching {
    /// Name of a top-level layer of the discriminator, such as `block2`.
    pub layer: String,
    /// Weight of the term; the adversarial loss has weight 1.
    pub weight: f64,
}

impl Default for ObjectiveConfig {
    fn default() -> Self {
        Self {
            kind: Objective::default(),
            label_smoothing: 0.0,
            packing: 1,
            n_critic: 1,
            feature_matching: None,
            reconstruction: 0.0,
        }
    }
}

impl From<Objective> for ObjectiveConfig {
    /// The objective with default settings.
    fn from(kind: Objective) -> Self {
        Self {
            kind,
            ..Self::default()
        }
    }
}

impl ObjectiveConfig {
    /// Adds a line for each invalid setting.
    pub(crate) fn problems(&self, problems: &mut Vec<String>) {
        let smoothing = self.label_smoothing;
        if !(0.0..0.5).contains(&smoothing) {
            problems.push(format!(
                "objective.label_smoothing must be from 0 to below 0.5, got {smoothing}"
            ));
        } else if smoothing > 0.0 && !self.kind.has_labels() {
            problems.push(format!(
                "objective.label_smoothing needs an objective with labels (minimax, non-saturating or least-squares), got \
                 {}; set it to 0",
                self.kind.name()
            ));
        }
        if self.packing == 0 {
            problems.push("objective.packing must be at least 1, got 0".into());
        }
        if self.n_critic == 0 {
            problems.push("objective.n_critic must be at least 1, got 0".into());
        }
        if let Some(FeatureMatching { weight, .. }) = self.feature_matching
            && !(weight.is_finite() && weight > 0.0)
        {
            problems.push(format!(
                "objective.feature_matching.weight must be above 0, got {weight}"
            ));
        }
        let weight = self.reconstruction;
        if !(weight.is_finite() && weight >= 0.0) {
            problems.push(format!(
                "objective.reconstruction must be 0 or above, got {weight}"
            ));
        }
    }
}

/// Order of the updates of the two networks in a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum StepOrder {
    /// Both gradients use the old weights and the same generated images, which the discriminator evaluates once. This is the
    /// step of TensorFlow's tutorial, and the faster one.
    #[default]
    Simultaneous,
    /// The discriminator is updated first, then the generator with the new discriminator and new noise: Goodfellow et al.,
    /// 2014, algorithm 1 with `k = 1`.
    Alternating,
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_tensor::{grad, gradcheck, gradgradcheck};

    const ALL: [Objective; 6] = [
        Objective::Minimax,
        Objective::NonSaturating,
        Objective::LeastSquares,
        Objective::Hinge,
        Objective::Wasserstein,
        Objective::Relativistic,
    ];

    fn logits(values: &[f64]) -> Tensor<f64> {
        Tensor::from_vec([values.len(), 1], values.to_vec())
    }

    #[test]
    fn losses_by_hand() {
        let sigma = |a: f64| 1.0 / (1.0 + (-a).exp());
        let (real, fake) = (logits(&[1.0, -0.5]), logits(&[0.3, 2.0]));
        let value =
            (sigma(1.0).ln() + sigma(-0.5).ln() + (1.0 - sigma(0.3)).ln() + (1.0 - sigma(2.0)).ln()) / 2.0;
        let minimax = ((1.0 - sigma(0.3)).ln() + (1.0 - sigma(2.0)).ln()) / 2.0;
        let saturating = -(sigma(0.3).ln() + sigma(2.0).ln()) / 2.0;
        let pairs = -(sigma(0.7).ln() + sigma(-2.5).ln()) / 2.0;
        let reversed = -(sigma(-0.7).ln() + sigma(2.5).ln()) / 2.0;
        let squares = [(2.25 + 0.09 + 4.0) / 4.0, (0.49 + 1.0) / 4.0];
        let expected = [
            (-value, minimax),
            (-value, saturating),
            (squares[0], squares[1]),
            (1.5 / 2.0 + (1.3 + 3.0) / 2.0, -1.15),
            (1.15 - 0.25, -1.15),
            (pairs, reversed),
        ];
        for (objective, (d, g)) in ALL.into_iter().zip(expected) {
            let found = objective.discriminator(&real, &fake).item();
            assert!((found - d).abs() < 1e-12, "{objective:?}: {found} and {d}");
            let found = objective.generator(&fake, Some(&real)).item();
            assert!((found - g).abs() < 1e-12, "{objective:?}: {found} and {g}");
        }
    }

    #[test]
    fn smoothing_by_hand_lowers_the_label_of_real_images_only() {
        let sigma = |a: f64| 1.0 / (1.0 + (-a).exp());
        let (real, fake) = (logits(&[1.0, -0.5]), logits(&[0.3, 2.0]));
        let cross_entropy = |a: f64, label: f64| -label * sigma(a).ln() - (1.0 - label) * sigma(-a).ln();
        let expected = [(1.0, 0.9), (-0.5, 0.9), (0.3, 0.0), (2.0, 0.0)].map(|(a, l)| cross_entropy(a, l));
        let expected = expected.iter().sum::<f64>() / 2.0;
        for objective in [Objective::Minimax, Objective::NonSaturating] {
            let found = objective.smoothed_discriminator(&real, &fake, 0.1).item();
            assert!((found - expected).abs() < 1e-12, "{objective:?}");
        }
        let found = Objective::LeastSquares
            .smoothed_discriminator(&real, &fake, 0.1)
            .item();
        assert!(
            (found - (0.01 + 1.96 + 0.09 + 4.0) / 4.0).abs() < 1e-12,
            "{found}"
        );
        for objective in ALL {
            let plain = objective.discriminator(&real, &fake).item();
            assert_eq!(objective.smoothed_discriminator(&real, &fake, 0.0).item(), plain);
        }
    }

    #[test]
    #[should_panic(expected = "Hinge has no labels to smooth")]
    fn smoothing_needs_labels() {
        let _ = Objective::Hinge.smoothed_discriminator(&logits(&[0.0]), &logits(&[0.0]), 0.1);
    }

    #[test]
    #[should_panic(expected = "real images")]
    fn pairs_need_real_logits() {
        let _ = Objective::Relativistic.generator(&logits(&[0.0]), None);
    }

    /// The points lie away from the kinks of the hinge.
    #[test]
    fn gradients_match_differences_at_both_orders() {
        let at = [logits(&[1.7, -0.5, 0.2]), logits(&[0.3, 2.0, -1.4])];
        for objective in ALL {
            let smoothing = if objective.has_labels() { 0.1 } else { 0.0 };
            type Loss<'a> = &'a dyn Fn(&[Tensor<f64>]) -> Tensor<f64>;
            let losses: [Loss<'_>; 2] = [
                &|x| objective.smoothed_discriminator(&x[0], &x[1], smoothing),
                &|x| objective.generator(&x[1], Some(&x[0])),
            ];
            for loss in losses {
                gradcheck(loss, &at).unwrap_or_else(|e| panic!("{objective:?}: {e}"));
                gradgradcheck(loss, &at).unwrap_or_else(|e| panic!("{objective:?}: {e}"));
            }
        }
    }

    /// Both pull the generator the same way; only the minimax pull fades when the discriminator is sure.
    #[test]
    fn the_minimax_gradient_saturates() {
        let fake = logits(&[-12.0]).as_leaf();
        let [minimax] = grad(&Objective::Minimax.generator(&fake, None), [&fake]);
        let [other] = grad(&Objective::NonSaturating.generator(&fake, None), [&fake]);
        assert!(minimax.item() < 0.0 && minimax.item() > -1e-5);
        assert!(other.item() < -0.99);
    }

    /// Every objective wants generated images to have larger logits, and the discriminator the reverse.
    #[test]
    fn the_two_losses_pull_apart() {
        let (real, fake) = (logits(&[0.1]).as_leaf(), logits(&[-0.2]).as_leaf());
        for objective in ALL {
            let [of_real, of_fake] = grad(&objective.discriminator(&real, &fake), [&real, &fake]);
            let [of_generator] = grad(&objective.generator(&fake, Some(&real)), [&fake]);
            // Least squares pulls towards its label, which lies above 0.1 and above -0.2.
            assert!(of_real.item() < 0.0 && of_generator.item() < 0.0, "{objective:?}");
            let towards_label = objective == Objective::LeastSquares;
            assert!(of_fake.item() > 0.0 || towards_label, "{objective:?}");
        }
    }
}
