//! Errors of features and weights from outside.

use engraft_layers::LayersError;

/// Why a measure cannot be computed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MetricsError {
    /// A feature is infinite or not a number.
    #[error("feature {column} of image {row} is {value}; features must be finite")]
    NotFinite {
        /// Index of the image.
        row: usize,
        /// Index of the feature.
        column: usize,
        /// The feature.
        value: f64,
    },
    /// Features have no columns.
    #[error("there are no features; expected an array [n, d] with d of at least 1")]
    NoColumns,
    /// Two sets of features have different dimensions.
    #[error(
        "real images have {real} features and generated ones {fake}; both must come from the same extractor"
    )]
    Dimensions {
        /// Features of a real image.
        real: usize,
        /// Features of a generated image.
        fake: usize,
    },
    /// Too few images for a measure.
    #[error("{found} {what} images are too few; this measure needs at least {least}")]
    TooFew {
        /// Which images.
        what: &'static str,
        /// Number of images needed.
        least: usize,
        /// Number of images found.
        found: usize,
    },
    /// An intermediate result is not finite, although the features are.
    #[error(
        "{what} are not finite in double precision; the features are too large for this measure; divide both sets by \
         the same number, so that they lie below 1e30 or so"
    )]
    Overflow {
        /// The quantity.
        what: &'static str,
    },
    /// Images do not have the size that the feature network reads.
    #[error("images have size {found:?}, but the feature network {network} reads {expected:?}")]
    ImageSize {
        /// Name of the network.
        network: String,
        /// Height, width and channels that it reads.
        expected: [usize; 3],
        /// Those of the images.
        found: Vec<usize>,
    },
    /// Images cannot be converted to the input of a feature extractor.
    #[error(
        "images of {image:?} (height, width, channels) cannot be converted for a feature extractor that reads {input:?}; \
         expected images of at least one pixel with 1 (gray), 2 (gray and alpha), 3 (RGB) or 4 channels (RGB and alpha)"
    )]
    CannotFit {
        /// Height, width and channels of the images.
        image: [usize; 3],
        /// Those that the extractor reads.
        input: [usize; 3],
    },
    /// A name is not the name of a feature extractor.
    #[error("there is no feature extractor {name}; expected one of {}", known.join(", "))]
    UnknownExtractor {
        /// The name.
        name: String,
        /// The known names.
        known: &'static [&'static str],
    },
    /// An extractor needs a weights file, and there is none.
    #[error("the feature extractor {name} needs a file of its weights (.safetensors)")]
    NoWeights {
        /// Name of the extractor.
        name: String,
    },
    /// A weights file was given for an extractor that has built-in weights or none.
    #[error("the feature extractor {name} reads no weights file; leave the file out, or use one of {}", readers.join(", "))]
    UnusedWeights {
        /// Name of the extractor.
        name: String,
        /// The extractors that read a weights file.
        readers: &'static [&'static str],
    },
    /// A weights file does not belong to its network.
    #[error("{}: {problem}", path.display())]
    PretrainedWeights {
        /// The file.
        path: std::path::PathBuf,
        /// The problem.
        problem: String,
    },
    /// Weights do not belong to a feature network.
    #[error(transparent)]
    Weights(#[from] LayersError),
}
