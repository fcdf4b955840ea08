//! Conversion of images of any size and color to the input of a feature extractor.

use crate::error::MetricsError;
use crate::extractor::{FeatureExtractor, FeatureOutput, InputSpec};
use engraft_base::{from_byte, to_byte};
use engraft_tensor::Tensor;
use image::imageops::{FilterType, resize};
use image::{ImageBuffer, Luma, Pixel, Rgb};
use rayon::prelude::*;
use std::fmt;

/// The values of black and white in the images of this project.
const RANGE: [f32; 2] = [-1.0, 1.0];

/// One step of a conversion, see [`InputFit`].
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum FitStep {
    /// Drops the alpha channel: colors count as opaque.
    AlphaDropped,
    /// Converts colors to gray with the weights of ITU-R BT.709.
    Grayed,
    /// Repeats the gray channel as red, green and blue.
    ReplicatedChannels,
    /// Resizes by cubic interpolation (Catmull-Rom).
    Resized {
        /// Height and width before.
        from: [usize; 2],
        /// Height and width after.
        to: [usize; 2],
    },
    /// Maps values from -1 to 1 linearly to another range.
    Rescaled {
        /// The values of black and white.
        to: [f32; 2],
    },
}

impl fmt::Display for FitStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlphaDropped => write!(f, "without alpha"),
            Self::Grayed => write!(f, "gray by ITU-R BT.709"),
            Self::ReplicatedChannels => write!(f, "gray to RGB"),
            Self::Resized { to: [h, w], .. } => write!(f, "Catmull-Rom to {h}x{w}"),
            Self::Rescaled { to: [low, high] } => write!(f, "values from {low} to {high}"),
        }
    }
}

/// A conversion of images of one shape to the input of a feature extractor.
///
/// Images that already have the right shape are unchanged. For all others, pixels are first rounded to bytes, as in a
/// file, so that generated and real images are treated alike.
///
/// The conversion is never silent: the [steps](Self::steps) and their text describe it, and
/// [`lost`](Self::lost) describes what the measures cannot detect afterwards. Programs should print it.
///
/// ```
/// use engraft_metrics::{FeatureExtractor, FeatureNetwork, InputFit};
/// use engraft_tensor::Tensor;
///
/// let network = FeatureNetwork::mnist();
/// let fit = InputFit::new([64, 64, 3], &network.input())?;
/// assert_eq!(fit.to_string(), "gray by ITU-R BT.709, Catmull-Rom to 28x28");
/// assert!(fit.lost().expect("colors are lost").contains("64x64x3"));
/// let images = fit.apply(&Tensor::full([2, 64, 64, 3], 0.25));
/// assert_eq!(images.shape(), [2, 28, 28, 1]);
///
/// let digits = InputFit::new([28, 28, 1], &network.input())?;
/// assert!(digits.is_identity() && digits.lost().is_none());
/// assert_eq!(digits.to_string(), "none");
/// # Ok::<(), engraft_metrics::MetricsError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct InputFit {
    image: [usize; 3],
    input: InputSpec,
    steps: Vec<FitStep>,
}

impl InputFit {
    /// The conversion of images `[h, w, c]` for an extractor with this input.
    ///
    /// # Errors
    /// If the images have no pixels or more than 4 channels, or the extractor's number of channels is neither theirs nor 1
    /// or 3.
    pub fn new(image: [usize; 3], input: &InputSpec) -> Result<Self, MetricsError> {
        let [h, w, c] = image;
        let mut steps = Vec::new();
        match (c, input.channels) {
            (1, 3) => steps.push(FitStep::ReplicatedChannels),
            (2, 1) | (4, 3) => steps.push(FitStep::AlphaDropped),
            (2, 3) => steps.extend([FitStep::AlphaDropped, FitStep::ReplicatedChannels]),
            (3, 1) => steps.push(FitStep::Grayed),
            (4, 1) => steps.extend([FitStep::AlphaDropped, FitStep::Grayed]),
            (c, wanted) if c == wanted && (matches!(c, 1 | 3) || [h, w] == input.size) => {}
            _ => return Err(Self::impossible(image, input)),
        }
        if h == 0 || w == 0 {
            return Err(Self::impossible(image, input));
        }
        if [h, w] != input.size {
            steps.push(FitStep::Resized {
                from: [h, w],
                to: input.size,
            });
        }
        if input.range != RANGE {
            steps.push(FitStep::Rescaled { to: input.range });
        }
        Ok(Self {
            image,
            input: *input,
            steps,
        })
    }

    fn impossible(image: [usize; 3], input: &InputSpec) -> MetricsError {
        MetricsError::CannotFit {
            image,
            input: input.shape(),
        }
    }

    /// The steps in order. Empty for images that need no conversion.
    pub fn steps(&self) -> &[FitStep] {
        &self.steps
    }

    /// Whether the images need no conversion.
    pub fn is_identity(&self) -> bool {
        self.steps.is_empty()
    }

    /// A sentence about what the extractor cannot detect after the conversion. `None` if nothing is lost. Enlarging and
    /// repeated channels lose nothing.
    pub fn lost(&self) -> Option<String> {
        let [h, w, c] = self.image;
        let mut lost = Vec::new();
        for step in &self.steps {
            match step {
                FitStep::Grayed => lost.push("colors"),
                FitStep::AlphaDropped => lost.push("transparency"),
                FitStep::Resized { from, to } if to[0] < from[0] || to[1] < from[1] => {
                    lost.push("small details")
                }
                _ => {}
            }
        }
        (!lost.is_empty()).then(|| {
            let [height, width, channels] = self.input.shape();
            format!(
                "images of {h}x{w}x{c} are reduced to {height}x{width}x{channels} for evaluation; the measures do \
                 not see {}",
                lost.join(" and ")
            )
        })
    }

    /// Converts images `[n, h, w, c]` with values in `[-1, 1]`.
    ///
    /// # Panics
    /// If the images have another shape than in [`new`](Self::new).
    #[must_use]
    #[track_caller]
    pub fn apply(&self, images: &Tensor) -> Tensor {
        let [h, w, c] = self.image;
        let n = images.shape().first().copied().unwrap_or(0);
        assert!(
            images.shape() == [n, h, w, c],
            "InputFit: images must be [n, {h}, {w}, {c}], got {:?}",
            images.shape()
        );
        let unchanged = images.clone();
        let fitted = match self.steps.as_slice() {
            [] | [FitStep::Rescaled { .. }] => unchanged,
            _ => self.redrawn(images),
        };
        let [low, high] = self.input.range;
        if self.input.range == RANGE {
            fitted
        } else {
            (&fitted + 1.0) * ((high - low) / 2.0) + low
        }
    }

    /// Rounds the images to bytes, converts the channels, then resizes.
    fn redrawn(&self, images: &Tensor) -> Tensor {
        let [h, w, c] = self.image;
        let [height, width, channels] = self.input.shape();
        let n = images.shape()[0];
        let mut values = vec![0.0; n * height * width * channels];
        let new = values.par_chunks_mut((height * width * channels).max(1));
        new.zip(images.as_slice().par_chunks(h * w * c))
            .for_each(|(new, image)| {
                let pixels = image.chunks_exact(c);
                let bytes: Vec<u8> = match channels {
                    1 => pixels.map(|pixel| to_byte(luminance(pixel))).collect(),
                    _ => pixels
                        .flat_map(|pixel| red_green_blue(pixel).map(to_byte))
                        .collect(),
                };
                let bytes = match channels {
                    1 => resized::<Luma<u8>>(bytes, [h, w], self.input.size),
                    _ => resized::<Rgb<u8>>(bytes, [h, w], self.input.size),
                };
                for (value, byte) in new.iter_mut().zip(bytes) {
                    *value = from_byte(byte);
                }
            });
        Tensor::from_vec([n, height, width, channels], values)
    }
}

impl fmt::Display for InputFit {
    /// The steps separated by commas, or "none".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_identity() {
            return write!(f, "none");
        }
        let steps: Vec<String> = self.steps.iter().map(FitStep::to_string).collect();
        write!(f, "{}", steps.join(", "))
    }
}

/// Converts images `[n, h, w, c]` of any size, with values in `[-1, 1]`, and runs an extractor. Also returns the
/// conversion.
///
/// ```
/// use engraft_metrics::{RandomFeatures, read_fitted};
/// use engraft_tensor::Tensor;
/// let images = Tensor::full([2, 28, 28, 1], 0.5);
/// let (output, fit) = read_fitted(&RandomFeatures::for_size(32), &images)?;
/// assert_eq!(output.features.len(), 2);
/// assert_eq!(fit.to_string(), "gray to RGB, Catmull-Rom to 32x32");
/// # Ok::<(), engraft_metrics::MetricsError>(())
/// ```
///
/// # Errors
/// If the images cannot be converted, see [`InputFit::new`], or their features are not finite.
///
/// # Panics
/// If the images do not have four axes.
#[track_caller]
pub fn read_fitted(
    extractor: &dyn FeatureExtractor,
    images: &Tensor,
) -> Result<(FeatureOutput, InputFit), MetricsError> {
    let &[_, h, w, c] = images.shape() else {
        panic!(
            "read_fitted: images must be [n, h, w, c], got {:?}",
            images.shape()
        )
    };
    let fit = InputFit::new([h, w, c], &extractor.input())?;
    Ok((extractor.read(&fit.apply(images))?, fit))
}

/// The brightness of a pixel, without its alpha channel.
fn luminance(pixel: &[f32]) -> f32 {
    match *pixel {
        [r, g, b, ..] => 0.2126 * r + 0.7152 * g + 0.0722 * b,
        [value, ..] => value,
        [] => unreachable!("a pixel has at least one channel"),
    }
}

/// The color of a pixel, without its alpha channel.
fn red_green_blue(pixel: &[f32]) -> [f32; 3] {
    match *pixel {
        [r, g, b, ..] => [r, g, b],
        [value, ..] => [value; 3],
        [] => unreachable!("a pixel has at least one channel"),
    }
}

fn resized<P: Pixel<Subpixel = u8> + 'static>(
    pixels: Vec<u8>,
    [h, w]: [usize; 2],
    [height, width]: [usize; 2],
) -> Vec<u8> {
    if [h, w] == [height, width] {
        return pixels;
    }
    let image = ImageBuffer::<P, _>::from_raw(w as u32, h as u32, pixels).expect("the buffer has this size");
    resize(&image, width as u32, height as u32, FilterType::CatmullRom).into_raw()
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_data::{Dataset, Provenance};
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64;

    const GRAY: InputSpec = InputSpec {
        size: [28, 28],
        channels: 1,
        range: RANGE,
    };

    fn fitted(images: &Tensor, input: &InputSpec) -> Tensor {
        let shape = images.shape();
        InputFit::new([shape[1], shape[2], shape[3]], input)
            .unwrap()
            .apply(images)
    }

    #[test]
    fn colors_become_gray_and_sizes_one() {
        let gray = Tensor::full([2, 28, 28, 1], 0.3);
        assert_eq!(fitted(&gray, &GRAY).as_slice(), gray.as_slice());
        let white = fitted(&Tensor::full([1, 32, 32, 3], 1.0), &GRAY);
        assert_eq!(white.shape(), [1, 28, 28, 1]);
        assert!(white.as_slice().iter().all(|&x| x == 1.0));
        // The alpha channel of a gray image is ignored.
        let values = (0..2 * 28 * 28).map(|i| if i % 2 == 0 { -1.0 } else { 1.0 });
        let black = fitted(&Tensor::from_vec([1, 28, 28, 2], values.collect()), &GRAY);
        assert!(black.as_slice().iter().all(|&x| x == -1.0));
        assert_eq!(
            fitted(&Tensor::zeros([0, 32, 32, 3]), &GRAY).shape(),
            [0, 28, 28, 1]
        );
    }

    /// Published results on data sets of other sizes use the resizing of `engraft-data`, so both must agree.
    #[test]
    fn images_are_resized_as_data_sets_are() {
        let mut rng = Pcg64::seed_from_u64(1);
        for ([h, w, c], input) in [
            ([16, 16, 1], GRAY),
            ([40, 33, 1], GRAY),
            (
                [20, 50, 3],
                InputSpec {
                    size: [32, 32],
                    channels: 3,
                    ..GRAY
                },
            ),
        ] {
            let pixels: Vec<u8> = (0..3 * h * w * c).map(|_| rng.random()).collect();
            let data = Dataset::new("noise", Provenance::Memory, pixels, [h, w, c], vec![0; 3]).unwrap();
            let all = [0, 1, 2];
            let images = Tensor::from_vec([3, h, w, c], data.batch_f32(&all));
            let expected = data.resized(input.size[0], input.size[1]).batch_f32(&all);
            assert_eq!(fitted(&images, &input).as_slice(), expected);
        }
    }

    #[test]
    fn every_step_is_described() {
        let color = InputSpec {
            size: [32, 32],
            channels: 3,
            ..GRAY
        };
        let text = |image, input: &InputSpec| InputFit::new(image, input).unwrap().to_string();
        assert_eq!(text([32, 32, 3], &color), "none");
        assert_eq!(text([28, 28, 1], &color), "gray to RGB, Catmull-Rom to 32x32");
        assert_eq!(
            text([32, 32, 4], &GRAY),
            "without alpha, gray by ITU-R BT.709, Catmull-Rom to 28x28"
        );
        let lost = |image, input: &InputSpec| InputFit::new(image, input).unwrap().lost();
        assert_eq!(lost([28, 28, 1], &color), None);
        assert_eq!(
            lost([64, 64, 3], &GRAY).unwrap(),
            "images of 64x64x3 are reduced to 28x28x1 for evaluation; the measures do not see colors and small \
             details"
        );
        assert!(InputFit::new([8, 8, 5], &GRAY).is_err());
        assert!(InputFit::new([0, 8, 1], &GRAY).is_err());
    }

    #[test]
    fn another_range_of_values() {
        let unit = InputSpec {
            range: [0.0, 1.0],
            ..GRAY
        };
        let fit = InputFit::new([28, 28, 1], &unit).unwrap();
        assert_eq!(fit.to_string(), "values from 0 to 1");
        let values = fit.apply(&Tensor::full([1, 28, 28, 1], -0.5));
        assert!(values.as_slice().iter().all(|&x| x == 0.25));
    }
}
