//! The values that known images reach: noise, blobs, and real images. A result means little without them.

use crate::area::area_average;
use crate::error::MetricsError;
use crate::extractor::FeatureExtractor;
use crate::feature_set::Features;
use crate::input_fit::read_fitted;
use crate::kernel_distance::kernel_distance;
use crate::prdc::balanced_coverage;
use crate::resize::bilinear;
use engraft_base::{choose, equidistant};
use engraft_tensor::Tensor;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Most images of each kind.
const IMAGES: usize = 500;
/// Fewest real images.
const FEWEST: usize = 20;
/// Height and width of the images from which blobs are enlarged.
const BLOBS: usize = 4;
/// Random splits of the real images into halves.
const SPLITS: u64 = 10;
/// Coverage of noise or blobs above which an extractor counts as blind.
const BLIND: f64 = 0.4;

/// The measures of known images against the real ones.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReferencePoint {
    /// [Kernel distance](kernel_distance).
    pub kid: f64,
    /// [Coverage](balanced_coverage).
    pub coverage: f64,
}

impl ReferencePoint {
    fn of(real: &Features, other: &Features) -> Result<Self, MetricsError> {
        Ok(Self {
            kid: kernel_distance(real, other)?.value,
            coverage: balanced_coverage(real, other)?,
        })
    }
}

/// The measures of noise, of blobs and of real images with the features of an extractor.
///
/// A good generator is near `real` and far from `noise` and `blobs`. If noise or blobs have a high coverage, the
/// extractor is [blind](Self::is_blind) for what these images show, and its coverage of generated images says nothing. A
/// classifier of digits is blind for pictures of other things, for example.
///
/// At most 500 real images are used, and the same number of each other kind.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReferencePoints {
    /// Noise: each pixel is that of a random real image at the same position. Colors and their places are right, and
    /// nothing else.
    pub noise: ReferencePoint,
    /// Blobs: real images reduced to 4x4 pixels and enlarged again.
    pub blobs: ReferencePoint,
    /// Real images: one half against the other, the mean over ten random splits.
    pub real: ReferencePoint,
    /// Number of images of each kind.
    pub images: usize,
}

impl ReferencePoints {
    /// Measures noise and blobs that are made from real images `[n, h, w, c]` with values in `[-1, 1]`, and these images.
    ///
    /// # Errors
    /// If there are fewer than 20 images, or the extractor cannot read them.
    pub fn new(extractor: &dyn FeatureExtractor, images: &Tensor, seed: u64) -> Result<Self, MetricsError> {
        let chosen = equidistant(IMAGES, images.shape()[0]);
        if chosen.len() < FEWEST {
            return Err(MetricsError::TooFew {
                what: "real",
                least: FEWEST,
                found: chosen.len(),
            });
        }
        let parts: Vec<Tensor> = chosen.iter().map(|&i| images.narrow(0, i, 1)).collect();
        let images = engraft_tensor::concat(&parts.iter().collect::<Vec<_>>(), 0);
        let read = |images: &Tensor| Ok::<_, MetricsError>(read_fitted(extractor, images)?.0.features);
        let real = read(&images)?;
        Ok(Self {
            noise: ReferencePoint::of(&real, &read(&pixel_noise(&images, seed))?)?,
            blobs: ReferencePoint::of(&real, &read(&blobs(&images))?)?,
            real: halves(&real, seed)?,
            images: real.len(),
        })
    }

    /// Whether noise or blobs cover more than 40 % of the real images. The features do not show then whether images are
    /// good.
    pub fn is_blind(&self) -> bool {
        self.noise.coverage.max(self.blobs.coverage) > BLIND
    }
}

impl fmt::Display for ReferencePoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            ("noise", self.noise),
            ("blobs", self.blobs),
            ("real images (half against half)", self.real),
        ];
        for (i, (name, point)) in parts.into_iter().enumerate() {
            let comma = if i > 0 { ", " } else { "" };
            let ReferencePoint { kid, coverage } = point;
            write!(f, "{comma}{name} KID {kid:.4} coverage {coverage:.3}")?;
        }
        Ok(())
    }
}

/// One half of the real images against the other.
pub(crate) fn halves(real: &Features, seed: u64) -> Result<ReferencePoint, MetricsError> {
    let n = real.len();
    let (mut kid, mut coverage) = (0.0, 0.0);
    for split in 0..SPLITS {
        let first = choose(n, n / 2, seed.wrapping_mul(SPLITS).wrapping_add(split));
        let second: Vec<usize> = (0..n).filter(|i| first.binary_search(i).is_err()).collect();
        let found = ReferencePoint::of(&real.select(&first), &real.select(&second))?;
        kid += found.kid / SPLITS as f64;
        coverage += found.coverage / SPLITS as f64;
    }
    Ok(ReferencePoint { kid, coverage })
}

/// The same number of images, each of whose pixels is that of a random one at the same position.
fn pixel_noise(images: &Tensor, seed: u64) -> Tensor {
    let &[n, h, w, c] = images.shape() else {
        panic!(
            "pixel_noise: images must be [n, h, w, c], got {:?}",
            images.shape()
        )
    };
    let mut rng = Pcg64::seed_from_u64(seed);
    let mut values = Vec::with_capacity(images.len());
    for _ in 0..n {
        for pixel in 0..h * w {
            let start = (rng.random_range(0..n) * h * w + pixel) * c;
            values.extend_from_slice(&images.as_slice()[start..start + c]);
        }
    }
    Tensor::from_vec(images.shape(), values)
}

/// The images reduced to 4x4 pixels and enlarged again.
fn blobs(images: &Tensor) -> Tensor {
    let [h, w] = [images.shape()[1], images.shape()[2]];
    bilinear(&area_average(images, [h.min(BLOBS), w.min(BLOBS)]), [h, w])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FeatureNetwork, RandomFeatures};
    use engraft_data::{Split, drawn_digits};

    /// Colored disks and squares of several sizes on white.
    fn shapes(n: usize) -> Tensor {
        let mut rng = Pcg64::seed_from_u64(5);
        let mut values = Vec::with_capacity(n * 32 * 32 * 3);
        for i in 0..n {
            let [red, green, blue] = [(); 3].map(|()| rng.random_range(-1.0..0.8_f32));
            let [y0, x0] = [(); 2].map(|()| rng.random_range(10.0..22.0_f32));
            let (radius, hole) = (rng.random_range(4.0..12.0_f32), rng.random_range(0.0..0.8_f32));
            for p in 0..32 * 32 {
                let [dy, dx] = [(p / 32) as f32 - y0, (p % 32) as f32 - x0];
                let distance = match i % 2 {
                    0 => dy.hypot(dx),
                    _ => dy.abs().max(dx.abs()),
                };
                let inside = distance < radius && distance > hole * radius;
                values.extend(if inside { [red, green, blue] } else { [1.0; 3] });
            }
        }
        Tensor::from_vec([n, 32, 32, 3], values)
    }

    #[test]
    fn noise_and_blobs_do_not_pass_for_few_pictures() {
        let found = ReferencePoints::new(&RandomFeatures::for_size(32), &shapes(60), 1).unwrap();
        assert!(
            found.noise.coverage < 0.2 && found.blobs.coverage < 0.4,
            "{found}"
        );
        assert!(found.real.coverage > 0.7, "{found}");
        assert!(found.noise.kid > 5.0 * found.real.kid.abs(), "{found}");
        assert!(!found.is_blind());
    }

    #[test]
    fn features_of_digits_are_for_digits() {
        let digits = drawn_digits(Split::Test, 60, 1);
        let all: Vec<usize> = (0..60).collect();
        let images = Tensor::from_vec([60, 28, 28, 1], digits.batch_f32(&all));
        let found = ReferencePoints::new(&FeatureNetwork::mnist(), &images, 1).unwrap();
        assert!(!found.is_blind(), "{found}");
        let found = ReferencePoints::new(&FeatureNetwork::mnist(), &shapes(60), 1).unwrap();
        assert!(found.is_blind(), "{found}");
    }

    #[test]
    fn few_images_are_refused() {
        let error = ReferencePoints::new(&RandomFeatures::for_size(32), &shapes(19), 1).unwrap_err();
        assert!(matches!(error, MetricsError::TooFew { found: 19, .. }), "{error}");
    }

    #[test]
    fn noise_keeps_the_place_of_a_pixel() {
        let images = Tensor::from_vec([2, 1, 2, 1], vec![0.0, 10.0, 1.0, 11.0]);
        for pixel in pixel_noise(&images, 3).as_slice().chunks_exact(2) {
            assert!(pixel[0] < 2.0 && pixel[1] >= 10.0, "{pixel:?}");
        }
    }
}
