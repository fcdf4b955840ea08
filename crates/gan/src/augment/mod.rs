//! Differentiable augmentation of the discriminator's input.
//!
//! Real and generated images pass through the same kinds of random changes, independently for each image. The
//! generator's gradient passes through them. This keeps the discriminator from overfitting few images, without
//! teaching the changes to the generator.
//!
//! ```
//! use engraft_gan::augment::{AdaptiveConfig, Augmentation};
//! use engraft_gan::{AugmentConfig, Gan, RegularizeConfig, dcgan};
//! use engraft_layers::{Condition, Init};
//! use engraft_tensor::Tensor;
//! use rand::SeedableRng;
//!
//! // For few images: adaptive augmentation and LeCam.
//! let init = &mut Init::glorot(1);
//! let mut gan = Gan::<f32>::new(dcgan::generator(init), dcgan::discriminator(init), dcgan::LATENT)
//!     .regularize(RegularizeConfig { lecam: 0.3, ..RegularizeConfig::default() })
//!     .augment(AugmentConfig {
//!         kinds: vec![Augmentation::Translation, Augmentation::Cutout],
//!         adaptive: Some(AdaptiveConfig::default()),
//!         ..AugmentConfig::default()
//!     });
//! gan.check()?;
//!
//! let rng = &mut rand_pcg::Pcg64::seed_from_u64(1);
//! let report = gan.step(&Tensor::uniform([4, 28, 28, 1], -1.0, 1.0, rng), Condition::None, rng);
//! assert_eq!(report.augment_probability, 0.0); // rises while the discriminator overfits
//! # Ok::<(), engraft_gan::GanError>(())
//! ```
//!
//! In `run.toml`:
//!
//! ```toml
//! [augment]
//! kinds = ["translation", "cutout"]
//! [augment.adaptive]
//! ```

mod adaptive;
mod rearrange;

pub use adaptive::{AdaptiveConfig, AdaptiveProbability, HIGHEST_PROBABILITY};

use crate::batch::for_each_image;
use engraft_tensor::{Real, Tensor};
use rand::{Rng, RngExt};
use rearrange::rearrange;
use serde::{Deserialize, Serialize};

/// One kind of augmentation, for images `[n, h, w, c]` with values in about `[-1, 1]`.
///
/// Each image is changed with the given probability and its own random amount. Each kind is an affine map of the
/// image, so it is differentiable at every order.
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
    /// Scales the difference of each pixel's channels from their mean by a factor from `[0, 2)`. No effect on
    /// images with one channel.
    Saturation,
    /// Scales the difference of all values from the image mean by a factor from `[0.5, 1.5)`.
    Contrast,
    /// Shifts the image by up to an eighth of its size along each axis; the border is filled with 0.
    Translation,
    /// Sets a rectangle of half the image's height and width, around a random pixel, to 0.
    Cutout,
    /// Mirrors the image left to right with probability one half. Not for digits and letters.
    Flip,
    /// Rotates the image by 0°, 90°, 180° or 270° with equal probability. Not for digits: a 6 becomes a 9.
    QuarterTurn,
}

impl Augmentation {
    /// The augmented images, `[n, h, w, c]`; each image is changed with `probability`.
    ///
    /// The amount of randomness that `rng` provides depends only on the shape of the images. In a
    /// [shard](engraft_tensor::shards) it is that of the whole batch.
    ///
    /// # Panics
    /// If the images are not `[n, h, w, c]`, or not square for [`Augmentation::QuarterTurn`].
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
                let moves: Vec<[isize; 2]> = for_each_image(n, || {
                    let yes = bernoulli(rng, probability);
                    let by = farthest.map(|far| below(rng, 2 * far as usize + 1) as isize - far);
                    if yes { by } else { [0, 0] }
                });
                rearrange(images, |image, [y, x]| {
                    let [down, right] = moves[image];
                    Some([y.checked_add_signed(-down)?, x.checked_add_signed(-right)?])
                })
            }
            Self::Cutout => {
                let mut mask = vec![T::one(); n * h * w];
                let holes = for_each_image(n, || {
                    (bernoulli(rng, probability), [h, w].map(|size| below(rng, size)))
                });
                for (image, (yes, center)) in mask.chunks_exact_mut((h * w).max(1)).zip(holes) {
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
                let flips = for_each_image(n, || bernoulli(rng, probability) & (uniform(rng) < 0.5));
                rearrange(images, |image, [y, x]| {
                    Some([y, if flips[image] { w - 1 - x } else { x }])
                })
            }
            Self::QuarterTurn => {
                assert!(
                    h == w,
                    "augment: quarter-turn needs square images, got {:?}",
                    images.shape()
                );
                let turns = for_each_image(n, || {
                    let (yes, turns) = (bernoulli(rng, probability), below(rng, 4));
                    if yes { turns } else { 0 }
                });
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

/// Uniform on `[0, 1)`.
fn uniform(rng: &mut impl Rng) -> f64 {
    rng.random::<f64>()
}

/// True with this probability.
fn bernoulli(rng: &mut impl Rng, probability: f64) -> bool {
    uniform(rng) < probability
}

/// Uniform on `0..count`.
fn below(rng: &mut impl Rng, count: usize) -> usize {
    (uniform(rng) * count as f64) as usize
}

/// One number for each image, `[n, 1, 1, 1]`.
fn numbers<T: Real, R: Rng>(n: usize, rng: &mut R, mut draw: impl FnMut(&mut R) -> f64) -> Tensor<T> {
    Tensor::from_vec([n, 1, 1, 1], for_each_image(n, || T::from_f64(draw(rng))))
}

/// `(x - mean) · factor + mean`, written so that a factor of 1 leaves `x` unchanged bit for bit.
fn scale_around<T: Real>(x: &Tensor<T>, mean: &Tensor<T>, factor: &Tensor<T>) -> Tensor<T> {
    x * factor + mean * (-factor + T::one())
}

/// The section `[augment]` of `run.toml`: which augmentations, and how often.
///
/// ```toml
/// [augment]
/// kinds = ["translation", "cutout"]
/// probability = 0.5
/// ```
///
/// A table `[augment.adaptive]` replaces the fixed `probability` by one that adapts to discriminator overfitting
/// (ADA); see [`AdaptiveConfig`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AugmentConfig {
    /// The augmentations, in the order of application; default none.
    pub kinds: Vec<Augmentation>,
    /// Probability of each augmentation for an image; default 1.
    ///
    /// Augmentations that are applied to every image can leak into the generated images, cutout and the color
    /// changes most of all. A probability well below 1 avoids this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
    /// Settings of an adaptive probability.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adaptive: Option<AdaptiveConfig>,
}

impl AugmentConfig {
    /// DiffAugment for this number of training images, the fewer, the more: changes of brightness, contrast, with color of
    /// saturation, and translations; up to 300 images also cutout. Every image is changed up to 1000 images, half of them up to
    /// 20 000, none beyond.
    ///
    /// *Source*: Zhao et al., "Differentiable augmentation for data-efficient GAN training", 2020.
    pub fn for_images(images: usize, channels: usize) -> Self {
        let mut kinds = vec![
            Augmentation::Brightness,
            Augmentation::Contrast,
            Augmentation::Translation,
        ];
        if channels > 1 {
            kinds.insert(1, Augmentation::Saturation);
        }
        let probability = match images {
            0..=1000 => None,
            1001..=20_000 => Some(0.5),
            _ => return Self::default(),
        };
        if images <= 300 {
            kinds.push(Augmentation::Cutout);
        }
        Self {
            kinds,
            probability,
            ..Self::default()
        }
    }

    /// Whether all settings have their defaults, so nothing is augmented.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Applies all kinds in order, each with `probability`, to images `[n, h, w, c]`.
    ///
    /// # Panics
    /// Same as [`Augmentation::apply`].
    #[must_use]
    #[track_caller]
    pub fn apply<T: Real>(&self, images: &Tensor<T>, probability: f64, rng: &mut impl Rng) -> Tensor<T> {
        let mut images = images.clone();
        for kind in &self.kinds {
            images = kind.apply(&images, probability, rng);
        }
        images
    }

    /// Problems of these settings alone, one line each.
    pub(crate) fn problems(&self, problems: &mut Vec<String>) {
        for (i, kind) in self.kinds.iter().enumerate() {
            if self.kinds[..i].contains(kind) {
                problems.push(format!("augment.kinds lists {} twice", kind.name()));
            }
        }
        if self.kinds.is_empty() && !self.is_default() {
            problems
                .push("augment sets a probability but augment.kinds is empty; list at least one kind".into());
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
                "augment.probability and augment.adaptive exclude each other; remove one of them".into(),
            );
        }
        if let Some(adaptive) = &self.adaptive {
            adaptive.problems(problems);
        }
    }

    /// Problems with images of this shape.
    pub(crate) fn problems_with_images(&self, [h, w, c]: [usize; 3]) -> Vec<String> {
        let mut problems = Vec::new();
        if c == 1 && self.kinds.contains(&Augmentation::Saturation) {
            problems.push(
                "augment.kinds lists saturation, which has no effect on images with one channel".into(),
            );
        }
        if h != w && self.kinds.contains(&Augmentation::QuarterTurn) {
            problems.push(format!(
                "augment.kinds lists quarter-turn, which needs square images, but they are {h}x{w}"
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
