//! Features of color images from an untrained convolutional network.

use crate::error::MetricsError;
use crate::extractor::{FeatureExtractor, FeatureOutput, InputSpec, RecordedFeatures, read_features};
use engraft_base::sha256_hex;
use engraft_tensor::{Geometry, Padding, Tensor, concat, conv2d};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

/// Channels of the last four stages, on 32x32, 16x16, 8x8 and 4x4 pixels.
const WIDTHS: [usize; 4] = [40, 64, 96, 128];
/// Channels of the additional first stages of larger images.
const FIRST: usize = 24;
/// Components of a color with energies: red, green, blue, red minus green, yellow minus blue.
const COLORS: [[f32; 5]; 3] = [
    [1.0, 0.0, 0.0, 1.0, 0.5],
    [0.0, 1.0, 0.0, -1.0, 0.5],
    [0.0, 0.0, 1.0, 0.0, -1.0],
];
/// Maximum number of energies and means per stage.
const OF_A_STAGE: usize = 20;
/// Number of projections of the last feature map, including positions.
const LAYOUT: usize = 64;
const SLOPE: f64 = 0.2;
/// A pixel whose squared norm over the channels is below this counts as flat.
const FLAT: f32 = 0.01;
/// Energies below this do not matter. It is about the energy of rounding to bytes.
const QUIET: f32 = 1e-4;
const SEED: u64 = 1;
/// Rows of pixels per batch. The batch size is fixed, so the bits of an image's features do not depend on the other
/// images.
const BATCH_ROWS: usize = 1024;
/// Version of the formula. It must change with everything except the weights that changes the features.
const RECIPE: &str = "random-rgb 1";

/// Features of RGB images from an untrained convolutional network with fixed random weights.
///
/// The features describe color, contrast, texture at all scales and coarse layout, but not objects. They detect blur,
/// noise, wrong colors, artifacts, low diversity and copies of training images, and serve to choose between checkpoints of
/// a run. They work for any content and need no download. They do not detect whether a face looks right, and results are
/// not comparable with a published FID. Use a trained [`FeatureNetwork`](crate::FeatureNetwork) if there is one for the
/// data.
///
/// *Network*: a stage is a 3x3 convolution with orthogonal weights, a leaky ReLU and a division by the root mean square
/// over the channels. Between stages is 2x2 average pooling. The last four stages have 32x32, 16x16, 8x8 and 4x4 pixels.
/// Each doubling of the image size adds a stage before them. Half of the filters of a stage have mean 0 in every channel, so
/// they respond to texture but not to brightness.
///
/// *Features*: The first ones are the mean color. Then come the energies of the colors and of the zero-mean filters before
/// the leaky ReLU. An energy is the logarithm of the variance over the pixels. Then come the means of the other filters'
/// channels after the leaky ReLU, and 64 projections of the last feature map including positions. There are 232 for images of 32x32 and 24 more for each doubling of the size.
///
/// *Check*, 1000 CIFAR-10 test pictures per set, from `cargo test -p engraft-metrics --test random_features -- --nocapture`
/// (which also uses drawings of 64x64):
///
/// | generated images | KID | coverage | memorized |
/// |---|--:|--:|--:|
/// | other real ones | -0.002 ± 0.001 | 0.96 | 0.05 |
/// | blurred by \[1, 2, 1\] | 0.119 ± 0.012 | 0.89 | 0.05 |
/// | with noise of deviation 0.05 | 0.009 ± 0.003 | 0.97 | 0.06 |
/// | with noise of deviation 0.2 | 0.323 ± 0.012 | 0.63 | 0.01 |
/// | under a checkerboard of ± 0.1 | 0.069 ± 0.004 | 0.92 | 0.04 |
/// | converted to gray | 0.611 ± 0.014 | 0.23 | 0.04 |
/// | with their colors rotated | 0.145 ± 0.013 | 0.68 | 0.03 |
/// | cut into 2x2 parts and shuffled | 0.040 ± 0.006 | 0.75 | 0.04 |
/// | of one color | 33.2 ± 0.1 | 0.00 | 0.00 |
/// | 50 real ones, each 20 times | 0.029 ± 0.005 | 0.21 | 0.14 |
/// | copies of training images, with noise of 0.02 | 0.004 ± 0.006 | 0.97 | 1.00 |
///
/// The weights are computed by additions, multiplications, divisions and square roots only, in a fixed order, so they are
/// the same on every machine.
///
/// *Source*: Naeem et al., "Reliable fidelity and diversity metrics for generative models", 2020, section 3.2 (networks with
/// random weights as embeddings for images that differ from those of ImageNet).
///
/// ```
/// use engraft_metrics::{FeatureExtractor, RandomFeatures};
/// use engraft_tensor::Tensor;
/// let extractor = RandomFeatures::for_size(32);
/// assert_eq!(extractor.name(), "random-rgb-32");
/// let output = extractor.read(&Tensor::full([2, 32, 32, 3], 0.5))?;
/// assert_eq!(output.features.dimension(), extractor.dimension());
/// assert!(output.classes.is_none());
/// # Ok::<(), engraft_metrics::MetricsError>(())
/// ```
pub struct RandomFeatures {
    name: String,
    hash: String,
    size: usize,
    stages: Vec<Tensor>,
    layout: Tensor,
}

impl RandomFeatures {
    /// The sizes that [`for_size`](Self::for_size) supports.
    pub const SIZES: [usize; 4] = [32, 64, 128, 256];

    /// The extractor for images of `size` times `size` pixels.
    ///
    /// # Panics
    /// If the size is not one of [`SIZES`](Self::SIZES).
    #[track_caller]
    pub fn for_size(size: usize) -> Self {
        assert!(
            Self::SIZES.contains(&size),
            "RandomFeatures: the size must be one of {:?}, got {size}",
            Self::SIZES
        );
        let mut rng = Pcg64::seed_from_u64(SEED);
        let mut widths = vec![FIRST; (size / 32).ilog2() as usize];
        widths.extend(WIDTHS);
        let mut from = 3;
        let stages: Vec<Tensor> = widths
            .into_iter()
            .map(|to| {
                let halves =
                    [true, false].map(|zero_mean| orthogonal([9 * from, to / 2], &mut rng, zero_mean));
                let weight = concat(&halves.each_ref(), 1).reshape([3, 3, from, to]);
                from = to;
                weight
            })
            .collect();
        let layout = orthogonal([16 * from, LAYOUT], &mut rng, false);
        let mut definition = RECIPE.as_bytes().to_vec();
        for weight in stages.iter().chain([&layout]) {
            definition.extend(weight.as_slice().iter().flat_map(|value| value.to_le_bytes()));
        }
        Self {
            name: format!("random-rgb-{size}"),
            hash: sha256_hex(&definition),
            size,
            stages,
            layout,
        }
    }

    /// The smallest of the [`SIZES`](Self::SIZES) that does not shrink images of this height and width, or the largest one.
    pub fn fitting_size([height, width]: [usize; 2]) -> usize {
        let fits = |size: &&usize| **size >= height.max(width);
        let [.., largest] = Self::SIZES;
        *Self::SIZES.iter().find(fits).unwrap_or(&largest)
    }

    /// The features `[n, d]` of images `[n, size, size, 3]`.
    fn forward(&self, images: &Tensor) -> Tensor {
        let color = images
            .reshape([images.len() / 3, 3])
            .matmul(&Tensor::from_vec([3, 5], COLORS.concat()));
        let [n, h, w] = [images.shape()[0], self.size, self.size];
        let mut found = vec![energies(&color.reshape([n, h, w, 5])), images.mean_axes(&[1, 2])];
        let mut x = images.clone();
        for (i, weight) in self.stages.iter().enumerate() {
            if i > 0 {
                x = x.sum_pool(2) * 0.25;
            }
            let size = [x.shape()[1], x.shape()[2]];
            let geometry = Geometry::forward(size, [3, 3], [1, 1], [1, 1], Padding::Same);
            let y = conv2d(&x, weight, &geometry);
            let half = y.shape()[3] / 2;
            let some = half.min(OF_A_STAGE);
            found.push(energies(&y.narrow(3, 0, some)));
            let y = y.leaky_relu(SLOPE);
            // Every pixel gets about the same norm over its channels, so that all stages have the same scale.
            x = &y / &(y.square().mean_keep(&[3]) + FLAT).sqrt();
            found.push(x.mean_axes(&[1, 2]).narrow(1, half, some));
        }
        found.push(x.reshape([n, x.len() / n]).matmul(&self.layout));
        concat(&found.iter().collect::<Vec<_>>(), 1)
    }
}

/// Half the logarithm of the variance of each channel over the pixels, `[n, c]`.
fn energies(x: &Tensor) -> Tensor {
    let variance = &x.square().mean_axes(&[1, 2]) - &x.mean_axes(&[1, 2]).square();
    (variance.clamp_min(0.0) + QUIET).ln() * 0.5
}

impl FeatureExtractor for RandomFeatures {
    fn name(&self) -> &str {
        &self.name
    }

    fn hash(&self) -> &str {
        &self.hash
    }

    fn input(&self) -> InputSpec {
        InputSpec {
            size: [self.size; 2],
            channels: 3,
            range: [-1.0, 1.0],
        }
    }

    fn dimension(&self) -> usize {
        let of_stages = self.stages.iter().map(|w| 2 * (w.shape()[3] / 2).min(OF_A_STAGE));
        COLORS[0].len() + 3 + of_stages.sum::<usize>() + LAYOUT
    }

    fn read(&self, images: &Tensor) -> Result<FeatureOutput, MetricsError> {
        read_features(self, images, BATCH_ROWS / self.size, |part| self.forward(part))
    }

    fn recorded(&self, images: &Tensor) -> Option<RecordedFeatures> {
        Some(RecordedFeatures::without_logits(self.forward(images)))
    }
}

/// A matrix `[inputs, outputs]` with columns of length 1. They are orthogonal in groups, as far as the dimension allows.
/// With `zero_mean` the inputs are 9 taps of each channel, and the taps of a channel have mean 0.
fn orthogonal([inputs, outputs]: [usize; 2], rng: &mut Pcg64, zero_mean: bool) -> Tensor {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let channels = inputs / 9;
    let group = if zero_mean { 8 * channels } else { inputs };
    let mut columns: Vec<Vec<f64>> = Vec::with_capacity(outputs);
    for i in 0..outputs {
        let mut column: Vec<f64> = (0..inputs).map(|_| rng.random_range(-1.0..1.0)).collect();
        for c in (0..channels).filter(|_| zero_mean) {
            let mean = column.iter().skip(c).step_by(channels).sum::<f64>() / 9.0;
            column
                .iter_mut()
                .skip(c)
                .step_by(channels)
                .for_each(|x| *x -= mean);
        }
        for other in &columns[i / group * group..] {
            let along = dot(&column, other);
            column.iter_mut().zip(other).for_each(|(x, o)| *x -= along * o);
        }
        let length = dot(&column, &column).sqrt();
        column.iter_mut().for_each(|x| *x /= length);
        columns.push(column);
    }
    let values = (0..inputs).flat_map(|row| columns.iter().map(move |column| column[row] as f32));
    Tensor::from_vec([inputs, outputs], values.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_orthogonal_and_the_same_everywhere() {
        let w = orthogonal([5, 7], &mut Pcg64::seed_from_u64(2), false);
        for i in 0..7 {
            for j in (0..7).filter(|j| j / 5 == i / 5) {
                let column = |k: usize| w.narrow(1, k, 1);
                let product = (&column(i) * &column(j)).sum().item();
                let expected = if i == j { 1.0 } else { 0.0 };
                assert!((product - expected).abs() < 1e-6, "{i} {j}: {product}");
            }
        }
    }

    /// Results on different machines are comparable only if the hashes are the same.
    #[test]
    fn hashes_stay() {
        let hashes = ["26f043b51ce5", "e0ec1eaa46e8", "a052ccddd973"];
        for (size, hash) in RandomFeatures::SIZES.into_iter().zip(hashes) {
            let found = RandomFeatures::for_size(size);
            assert!(
                found.hash().starts_with(hash),
                "{}: {}",
                found.name(),
                found.hash()
            );
        }
    }

    #[test]
    fn features_do_not_depend_on_the_other_images() {
        let extractor = RandomFeatures::for_size(32);
        let images = Tensor::uniform([70, 32, 32, 3], -1.0, 1.0, &mut Pcg64::seed_from_u64(1));
        let all = extractor.read(&images).unwrap().features;
        assert_eq!(all.dimension(), extractor.dimension());
        for (start, n) in [(0, 1), (7, 3), (30, 40)] {
            let part = extractor.read(&images.narrow(0, start, n)).unwrap().features;
            let indices: Vec<usize> = (start..start + n).collect();
            assert!(part == all.select(&indices), "{n} images from {start}");
        }
        assert!(extractor.read(&Tensor::zeros([1, 28, 28, 1])).is_err());
    }

    #[test]
    fn every_size_reads() {
        for size in RandomFeatures::SIZES {
            let images = Tensor::uniform([1, size, size, 3], -1.0, 1.0, &mut Pcg64::seed_from_u64(1));
            let found = RandomFeatures::for_size(size).read(&images).unwrap();
            assert!(found.features.variance() == 0.0 && found.features.len() == 1);
        }
        for (size, fitting) in [([28, 28], 32), ([32, 33], 64), ([1, 1], 32), ([999, 5], 256)] {
            assert_eq!(RandomFeatures::fitting_size(size), fitting);
        }
    }
}
