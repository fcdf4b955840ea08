//! Differentiable augmentation: what the discriminator sees instead of the images themselves.
//!
//! Real and generated images go through the same kinds of random changes, with fresh draws for each image, and the
//! gradient to the generator passes through them. So the discriminator cannot learn few images by heart, and the
//! generator does not learn to draw the changes.

mod adaptive;
mod rearrange;

pub use adaptive::{AdaptiveConfig, AdaptiveProbability, HIGHEST_PROBABILITY};

use engraft_tensor::{Real, Tensor};
use rand::{Rng, RngExt};
use rearrange::rearrange;
use serde::{Deserialize, Serialize};

/// One kind of change, for images `[n, h, w, c]` with values around `[-1, 1]`.
///
/// Each image is changed with the given probability, by an amount of its own. Everything is a linear or an affine map
/// of the image, and differentiable at every order.
///
/// *Sources*: brightness, saturation, contrast, translation and cutout with their ranges from Zhao et al.,
/// "Differentiable augmentation for data-efficient GAN training", 2020; flip and quarter turn from Karras et al.,
/// "Training generative adversarial networks with limited data", 2020, appendix B.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Augmentation {
    /// Adds one number from `[-0.5, 0.5)` to all values.
    Brightness,
    /// Scales the distance of each pixel's channels to their mean by a factor from `[0, 2)`. On images of one channel
    /// it does nothing.
    Saturation,
    /// Scales the distance of all values to the image's mean by a factor from `[0.5, 1.5)`.
    Contrast,
    /// Moves the image by up to an eighth of its size along either axis; zeros come in.
    Translation,
    /// Sets a rectangle of half the image's height and width, around a random pixel, to zero.
    Cutout,
    /// Mirrors the image left to right, or leaves it, with equal chance. Not for digits and letters, which have a
    /// handedness.
    Flip,
    /// Turns the image by 0, 1, 2 or 3 quarters, with equal chance. Not for digits: a 6 becomes a 9.
    QuarterTurn,
}

impl Augmentation {
    /// The changed images, of the same shape; each image is changed with `probability`.
    ///
    /// The numbers drawn from `rng` depend on the number and size of the images alone.
    ///
    /// # Panics
    /// If the images are not `[n, h, w, c]`, or not square for a quarter turn.
    #[must_use]
    #[track_caller]
    pub fn apply<T: Real>(self, images: &Tensor<T>, probability: f64, rng: &mut impl Rng) -> Tensor<T> {
        let [n, h, w, _] = *images.shape() else {
            panic!("augment: images must be [n, h, w, c], got {:?}", images.shape())
        };
        match self {
            Self::Brightness => {
                let shifts: Tensor<T> = numbers(n, rng, |rng| {
                    let (yes, shift) = (bernoulli(rng, probability), uniform(rng) - 0.5);
                    if yes { shift } else { 0.0 }
                });
                images + shifts
            }
            Self::Saturation => {
                let factors: Tensor<T> = numbers(n, rng, |rng| {
                    let (yes, factor) = (bernoulli(rng, probability), 2.0 * uniform(rng));
                    if yes { factor } else { 1.0 }
                });
                scale_around(images, &images.mean_keep(&[3]), &factors)
            }
            Self::Contrast => {
                let factors: Tensor<T> = numbers(n, rng, |rng| {
                    let (yes, factor) = (bernoulli(rng, probability), 0.5 + uniform(rng));
                    if yes { factor } else { 1.0 }
                });
                scale_around(images, &images.mean_keep(&[1, 2, 3]), &factors)
            }
            Self::Translation => {
                let farthest = [h, w].map(|size| (size as f64 / 8.0 + 0.5) as isize);
                let moves: Vec<[isize; 2]> = (0..n)
                    .map(|_| {
                        let yes = bernoulli(rng, probability);
                        let by = farthest.map(|far| below(rng, 2 * far as usize + 1) as isize - far);
                        if yes { by } else { [0, 0] }
                    })
                    .collect();
                rearrange(images, |image, [y, x]| {
                    let [down, right] = moves[image];
                    Some([y.checked_add_signed(-down)?, x.checked_add_signed(-right)?])
                })
            }
            Self::Cutout => {
                let mut mask = vec![T::one(); n * h * w];
                for image in mask.chunks_exact_mut((h * w).max(1)) {
                    let (yes, center) = (bernoulli(rng, probability), [h, w].map(|size| below(rng, size)));
                    if yes {
                        let [rows, columns] = [(h, center[0]), (w, center[1])].map(|(size, center)| {
                            let (half, before) = (size.div_ceil(2), size.div_ceil(2) / 2);
                            center.saturating_sub(before)..(center + half - before).min(size)
                        });
                        for row in rows {
                            image[row * w..][columns.clone()].fill(T::zero());
                        }
                    }
                }
                images * Tensor::from_vec([n, h, w, 1], mask)
            }
            Self::Flip => {
                let flips: Vec<bool> = (0..n)
                    .map(|_| bernoulli(rng, probability) & (uniform(rng) < 0.5))
                    .collect();
                rearrange(images, |image, [y, x]| {
                    Some([y, if flips[image] { w - 1 - x } else { x }])
                })
            }
            Self::QuarterTurn => {
                assert!(
                    h == w,
                    "augment: a quarter turn needs square images, got {:?}",
                    images.shape()
                );
                let turns: Vec<usize> = (0..n)
                    .map(|_| {
                        let (yes, turns) = (bernoulli(rng, probability), below(rng, 4));
                        if yes { turns } else { 0 }
                    })
                    .collect();
                rearrange(images, |image, [y, x]| {
                    Some(match turns[image] {
                        0 => [y, x],
                        1 => [x, h - 1 - y],
                        2 => [h - 1 - y, w - 1 - x],
                        _ => [w - 1 - x, y],
                    })
                })
            }
        }
    }
}

/// A number from `[0, 1)`.
fn uniform(rng: &mut impl Rng) -> f64 {
    rng.random::<f64>()
}

/// True with a probability.
fn bernoulli(rng: &mut impl Rng, probability: f64) -> bool {
    uniform(rng) < probability
}

/// A whole number below `count`.
fn below(rng: &mut impl Rng, count: usize) -> usize {
    (uniform(rng) * count as f64) as usize
}

/// One number for each image, as `[n, 1, 1, 1]`.
fn numbers<T: Real, R: Rng>(n: usize, rng: &mut R, mut draw: impl FnMut(&mut R) -> f64) -> Tensor<T> {
    Tensor::from_vec([n, 1, 1, 1], (0..n).map(|_| T::from_f64(draw(rng))).collect())
}

/// `(x - mean) · factor + mean`, written so that a factor of 1 leaves every bit of `x`.
fn scale_around<T: Real>(x: &Tensor<T>, mean: &Tensor<T>, factor: &Tensor<T>) -> Tensor<T> {
    x * factor + mean * (-factor + T::one())
}

/// The section `[augment]` of a run: which changes, and how often.
///
/// ```toml
/// [augment]
/// kinds = ["translation", "cutout"]
/// probability = 0.5
/// ```
///
/// Instead of a fixed `probability` there can be a table `[augment.adaptive]`, for one that follows how far the
/// discriminator overfits; see [`AdaptiveConfig`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AugmentConfig {
    /// The changes, in the order in which they happen; none at first.
    pub kinds: Vec<Augmentation>,
    /// Chance with which each change happens to an image, 1 if not given.
    ///
    /// Changes that happen to every image may leak into what the generator draws, cutout and the colours most of
    /// all; with a probability well below 1 they do not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
    /// Settings of a probability that adapts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adaptive: Option<AdaptiveConfig>,
}

impl AugmentConfig {
    /// Whether nothing is changed, and nothing else is set.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Applies every kind, one after the other, each with `probability`.
    ///
    /// # Panics
    /// As for [`Augmentation::apply`].
    #[must_use]
    #[track_caller]
    pub fn apply<T: Real>(&self, images: &Tensor<T>, probability: f64, rng: &mut impl Rng) -> Tensor<T> {
        let mut images = images.clone();
        for kind in &self.kinds {
            images = kind.apply(&images, probability, rng);
        }
        images
    }

    /// What makes no sense in itself, one line for each problem.
    pub(crate) fn problems(&self, problems: &mut Vec<String>) {
        for (i, kind) in self.kinds.iter().enumerate() {
            if self.kinds[..i].contains(kind) {
                problems.push(format!("augment.kinds has {} twice", kind.name()));
            }
        }
        if self.kinds.is_empty() && !self.is_default() {
            problems.push("augment has a probability but no kinds: nothing would be changed".into());
        }
        if let Some(probability) = self.probability
            && !(probability > 0.0 && probability <= 1.0)
        {
            problems.push(format!(
                "augment.probability must be above 0 and at most 1, got {probability}"
            ));
        }
        if self.probability.is_some() && self.adaptive.is_some() {
            problems.push(
                "augment.probability fixes what augment.adaptive would move: keep one of the two".into(),
            );
        }
        if let Some(adaptive) = &self.adaptive {
            adaptive.problems(problems);
        }
    }

    /// What makes no sense for images of a size.
    pub(crate) fn problems_with_images(&self, [h, w, c]: [usize; 3]) -> Vec<String> {
        let mut problems = Vec::new();
        if c == 1 && self.kinds.contains(&Augmentation::Saturation) {
            problems.push("augment.kinds has saturation, which does nothing to images of one channel".into());
        }
        if h != w && self.kinds.contains(&Augmentation::QuarterTurn) {
            problems.push(format!(
                "augment.kinds has quarter-turn, which needs square images, but they are {h}x{w}"
            ));
        }
        problems
    }
}

impl Augmentation {
    /// The name in a `run.toml`.
    fn name(self) -> &'static str {
        match self {
            Self::Brightness => "brightness",
            Self::Saturation => "saturation",
            Self::Contrast => "contrast",
            Self::Translation => "translation",
            Self::Cutout => "cutout",
            Self::Flip => "flip",
            Self::QuarterTurn => "quarter-turn",
        }
    }
}

#[cfg(test)]
mod tests;
