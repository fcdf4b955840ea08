//! Options of `engraft evaluate`.

use super::{FeatureOptions, PictureOptions, image_count};
use engraft_gan::CheckpointChoice;
use std::path::PathBuf;

/// Evaluate generated images: FID, KID, precision, recall, density, coverage, diversity, memorization.
///
/// The column `floor` has the same metrics for real training images. The features are those of this project's small networks,
/// so the numbers are comparable with each other but not with published FIDs.
#[derive(Debug, clap::Args)]
pub(crate) struct Evaluate {
    /// Run directory of the generator; --samples takes its place
    #[arg(long, value_name = "RUN", required_unless_present = "samples")]
    pub(crate) from: Option<PathBuf>,
    /// Checkpoint of the run: last; best, by KID times (2 - coverage) on validation images, or the last one if it is worse by less than
    /// the standard error (checkpoints that copy training images are avoided); or the number of a step
    #[arg(long, value_name = "last|best|STEP", default_value_t = CheckpointChoice::Last, conflicts_with = "samples")]
    pub(crate) checkpoint: CheckpointChoice,
    /// Generated images from any program: an NPY file (bytes, or floats from -1 to 1), or a folder or ZIP file of images
    #[arg(long, value_name = "NPY|DIR|ZIP", conflicts_with = "from")]
    pub(crate) samples: Option<PathBuf>,
    /// Also print the classification accuracy score (CAS): the test accuracy of classifiers trained on generated images, on real
    /// images and on both. Needs a class-conditional run, and takes minutes
    #[arg(long, requires = "from")]
    pub(crate) classifier_accuracy: bool,
    /// Also print how many generated images are readable: two classifiers, each trained on one half of the labeled real images, give
    /// the same class with a probability above 0.9. For 28x28 gray images of at most 10 classes; takes minutes
    #[arg(long)]
    pub(crate) readability: bool,
    /// Real images: as --data of train. Without a test set, every fifth image is held out if there are at least 100
    #[arg(long, value_name = "NAME|DIR|ZIP|NPY")]
    pub(crate) data: String,
    /// Still accepted; real images are always those of the test set
    #[arg(long, value_parser = ["test"], hide = true)]
    split: Option<String>,
    /// Number of generated images, and largest number of real ones
    #[arg(long, default_value_t = 10_000, value_parser = image_count)]
    pub(crate) count: usize,
    #[command(flatten)]
    pub(crate) features: FeatureOptions,
    /// Seed of the generated images, and of the subset if there are more images than --count
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) pictures: PictureOptions,
    /// Print one line of JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}
