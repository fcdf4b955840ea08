//! What can be said to `engraft evaluate`.

use super::checkpoints;
use engraft_gan::CheckpointChoice;
use engraft_metrics::features::NAMES;
use std::path::PathBuf;

/// Measure generated images against real ones: FID, KID, precision, recall, density, coverage, diversity, memorization.
///
/// The same measures of real training images are shown as the floor. The features are those of small networks of this
/// project: numbers compare under the same protocol, and not with published FIDs.
#[derive(Debug, clap::Args)]
pub(crate) struct Evaluate {
    /// Run directory whose generator is evaluated
    #[arg(long, value_name = "RUN", required_unless_present = "samples")]
    pub(crate) from: Option<PathBuf>,
    /// Which checkpoint of the run
    #[arg(long, value_parser = checkpoints(), default_value_t = CheckpointChoice::Last, conflicts_with = "samples")]
    pub(crate) checkpoint: CheckpointChoice,
    /// Images of any program: an NPY file (bytes, or floats from -1 to 1), or a folder or ZIP file of pictures
    #[arg(long, value_name = "NPY|DIR|ZIP", conflicts_with = "from")]
    pub(crate) samples: Option<PathBuf>,
    /// Also print the classification accuracy score: classifiers are trained on generated and on real images and tested on real
    /// ones (some minutes); for class-conditional runs
    #[arg(long, requires = "from")]
    pub(crate) classifier_accuracy: bool,
    /// Real images: as for train, and stacked-mnist. Of pictures without a part named test, at least 100, every fifth is held out
    #[arg(long, value_name = "NAME|DIR|ZIP|NPY")]
    pub(crate) data: String,
    /// Still accepted: real images are always those of the test part
    #[arg(long, value_parser = ["test"], hide = true)]
    split: Option<String>,
    /// Images of either kind, at most
    #[arg(long, default_value_t = 10_000)]
    pub(crate) count: usize,
    /// Features to compare by [default: those of a classifier for grey images of 28x28, else random]. Images that these have to
    /// shrink or to make grey are only measured with features that are named
    #[arg(long, value_name = "NAME", value_parser = NAMES)]
    pub(crate) features: Option<String>,
    /// Seed of the generated images, and of the choice of real images and of --samples where there are more than --count
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Print one line of JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}
