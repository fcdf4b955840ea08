//! What can be wrong with features and weights that come from outside.

use engraft_layers::LayersError;

/// Why a measure cannot be computed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MetricsError {
    /// A feature is infinite or not a number.
    #[error("feature {column} of image {row} is {value}: features must be finite")]
    NotFinite {
        /// Index of the image.
        row: usize,
        /// Index of the feature.
        column: usize,
        /// The feature.
        value: f64,
    },
    /// Features without columns.
    #[error("there are no features: an array [n, d] with d of at least 1 is needed")]
    NoColumns,
    /// Two sets of features of different length.
    #[error(
        "real images have {real} features and generated ones {fake}: both must come from the same network"
    )]
    Dimensions {
        /// Features of a real image.
        real: usize,
        /// Features of a generated image.
        fake: usize,
    },
    /// Too few images for a measure.
    #[error("{found} {what} images are too few: this measure needs at least {least}")]
    TooFew {
        /// Which images.
        what: &'static str,
        /// How many are needed.
        least: usize,
        /// How many there are.
        found: usize,
    },
    /// A number that a measure goes through is infinite or not a number, though the features are finite.
    #[error(
        "{what} are not finite in double precision: the features are too large for this measure; divide both sets by \
         the same number, so that they lie below 1e30 or so"
    )]
    Overflow {
        /// Which numbers.
        what: &'static str,
    },
    /// Images of another size than the feature network takes.
    #[error("images have size {found:?}, the feature network {network} takes {expected:?}")]
    ImageSize {
        /// Name of the network.
        network: String,
        /// Height, width and channels that it takes.
        expected: [usize; 3],
        /// Those of the images.
        found: Vec<usize>,
    },
    /// Images that cannot be made what a feature extractor reads.
    #[error(
        "images of {image:?} (height, width, channels) cannot be made fit for a feature extractor that reads {input:?}; \
         expected images of at least one pixel with 1 (gray), 2 (gray and alpha), 3 (RGB) or 4 channels (RGB and alpha)"
    )]
    CannotFit {
        /// Height, width and channels of the images.
        image: [usize; 3],
        /// Those that the extractor reads.
        input: [usize; 3],
    },
    /// A name of no feature extractor.
    #[error("there is no feature extractor {name}; expected one of {}", known.join(", "))]
    UnknownExtractor {
        /// The name.
        name: String,
        /// The names that there are.
        known: &'static [&'static str],
    },
    /// A weights file that is not that of the network that it is meant for.
    #[error("{}: {problem}", path.display())]
    PretrainedWeights {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// Weights that are not those of a feature network.
    #[error(transparent)]
    Weights(#[from] LayersError),
}
