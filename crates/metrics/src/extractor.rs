//! The trait of feature extractors: functions from images to points of a feature space.

use crate::error::MetricsError;
use crate::feature_set::Features;
use engraft_tensor::{Tensor, no_grad};
use ndarray::Array2;

/// The images that a [`FeatureExtractor`] reads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InputSpec {
    /// Height and width.
    pub size: [usize; 2],
    /// Channels, the last axis of an image: 1 for gray, 3 for RGB.
    pub channels: usize,
    /// The values of black and white. `[-1, 1]` for the extractors of this crate.
    pub range: [f32; 2],
}

impl InputSpec {
    /// Height, width and channels.
    pub fn shape(&self) -> [usize; 3] {
        [self.size[0], self.size[1], self.channels]
    }
}

/// Result of a feature extractor.
#[derive(Clone, Debug)]
pub struct FeatureOutput {
    /// One point per image.
    pub features: Features,
    /// The predicted class of each image (largest logit). `None` if the extractor is not a classifier.
    pub classes: Option<Vec<usize>>,
}

/// A fixed function from images to points of a feature space. The measures of this crate compare sets of these points.
///
/// A measure depends on its extractor, so report the [`name`](Self::name) and [`hash`](Self::hash) with it. Results with
/// different extractors are not comparable.
///
/// This crate has [`FeatureNetwork`](crate::FeatureNetwork), a trained classifier of gray 28x28 images, and
/// [`RandomFeatures`](crate::RandomFeatures), an untrained network for color images. You can add your own:
///
/// ```
/// use engraft_metrics::{FeatureExtractor, FeatureOutput, Features, InputFit, InputSpec, MetricsError};
/// use engraft_tensor::Tensor;
/// use ndarray::Array2;
///
/// /// The mean color of an image.
/// struct MeanColor;
///
/// impl FeatureExtractor for MeanColor {
///     fn name(&self) -> &str {
///         "mean-color"
///     }
///     fn hash(&self) -> &str {
///         "1" // it has no weights: a version of its formula
///     }
///     fn input(&self) -> InputSpec {
///         InputSpec { size: [8, 8], channels: 3, range: [-1.0, 1.0] }
///     }
///     fn dimension(&self) -> usize {
///         3
///     }
///     fn read(&self, images: &Tensor) -> Result<FeatureOutput, MetricsError> {
///         let means = images.mean_axes(&[1, 2]);
///         let rows = means.as_slice().iter().map(|&x| f64::from(x)).collect();
///         let points = Array2::from_shape_vec((images.shape()[0], 3), rows).expect("three numbers an image");
///         Ok(FeatureOutput { features: Features::new(points)?, classes: None })
///     }
/// }
///
/// // Gray images of another size are converted to the input, and the fit describes how.
/// let images = Tensor::full([5, 16, 16, 1], 0.5);
/// let fit = InputFit::new([16, 16, 1], &MeanColor.input())?;
/// assert_eq!(fit.to_string(), "gray to RGB, Catmull-Rom to 8x8");
/// let output = MeanColor.read(&fit.apply(&images))?;
/// assert_eq!((output.features.len(), output.features.dimension()), (5, 3));
/// # Ok::<(), MetricsError>(())
/// ```
pub trait FeatureExtractor: Send + Sync {
    /// Name of the extractor. For those of this crate, the name in [`features::find`](crate::features::find).
    fn name(&self) -> &str;

    /// SHA-256 in hexadecimal of everything that defines the extractor. Equal hashes mean equal features up to rounding.
    fn hash(&self) -> &str;

    /// The images that it reads. [`InputFit`](crate::InputFit) converts others.
    fn input(&self) -> InputSpec;

    /// Number of features per image.
    fn dimension(&self) -> usize;

    /// What the features are, how the images reach their size, and the origin of the weights, in a line without the name
    /// and the hash. Programs print it with the results. By default, the number of features and the size of the input.
    fn about(&self) -> String {
        let [height, width, channels] = self.input().shape();
        format!("{} features of {height}x{width}x{channels}", self.dimension())
    }

    /// Number of classes. `None` if it is not a classifier.
    fn class_count(&self) -> Option<usize> {
        None
    }

    /// Computes features, and predicted classes if it is a classifier, of images `[n, h, w, c]` as in
    /// [`input`](Self::input). The result for an image does not depend on the other images.
    ///
    /// # Errors
    /// If the images have another size, or a feature is not finite.
    fn read(&self, images: &Tensor) -> Result<FeatureOutput, MetricsError>;

    /// The features `[n, dimension]` of images, and the logits of a classifier, as results of recorded operations. Programs
    /// that export the network need them. `None`, the default, if it is computed by other means than operations of tensors.
    fn recorded(&self, images: &Tensor) -> Option<RecordedFeatures> {
        let _ = images;
        None
    }
}

/// Result of [`FeatureExtractor::recorded`].
#[derive(Clone, Debug)]
pub struct RecordedFeatures {
    /// One row per image.
    pub features: Tensor,
    /// One row per image. `None` if the extractor is not a classifier.
    pub logits: Option<Tensor>,
}

impl RecordedFeatures {
    /// The features of an extractor that is not a classifier.
    pub fn without_logits(features: Tensor) -> Self {
        Self {
            features,
            logits: None,
        }
    }
}

/// Checks that images have the shape that an extractor reads.
pub(crate) fn check_shape(extractor: &dyn FeatureExtractor, images: &Tensor) -> Result<(), MetricsError> {
    let expected = extractor.input().shape();
    match *images.shape() {
        [_, h, w, c] if [h, w, c] == expected => Ok(()),
        _ => Err(MetricsError::ImageSize {
            network: extractor.name().into(),
            expected,
            found: images.shape().iter().skip(1).copied().collect(),
        }),
    }
}

/// Runs `f` without recording on at most `most` images at a time. The last batch is padded with zeros to `least` images,
/// because layers may use other algorithms, with other last bits, for fewer. `f` also gets the number of real images.
pub(crate) fn in_batches(images: &Tensor, [least, most]: [usize; 2], mut f: impl FnMut(&Tensor, usize)) {
    let n = images.shape()[0];
    no_grad(|| {
        for part in engraft_base::batches(n, most) {
            let count = part.len();
            let part = images.narrow(0, part.start, count);
            f(&part.pad(0, 0, least.saturating_sub(count)), count);
        }
    });
}

/// The features of images, without classes, by a network that maps `[batch, h, w, c]` to `[batch, dimension]`. Each batch has
/// exactly `batch` images, see [`in_batches`].
pub(crate) fn read_features(
    extractor: &dyn FeatureExtractor,
    images: &Tensor,
    batch: usize,
    forward: impl Fn(&Tensor) -> Tensor,
) -> Result<FeatureOutput, MetricsError> {
    check_shape(extractor, images)?;
    let (n, d) = (images.shape()[0], extractor.dimension());
    let mut features = Vec::with_capacity(n * d);
    in_batches(images, [batch, batch], |part, count| {
        let found = forward(part);
        features.extend(found.as_slice()[..count * d].iter().map(|&x| f64::from(x)));
    });
    let features = Array2::from_shape_vec((n, d), features).expect("one row per image");
    Ok(FeatureOutput {
        features: Features::new(features)?,
        classes: None,
    })
}
