//! Options of `engraft playground`.

use engraft_gan::CheckpointChoice;
use std::path::PathBuf;

/// Write a web page on which to play with a generator: one file, which needs no network.
///
/// The page has samples by seed, buttons for the classes, sliders along the directions of the latent space that change the
/// images most, and interpolation between two seeds. The generator runs in the browser.
#[derive(Debug, clap::Args)]
pub(crate) struct Playground {
    /// Run directory of a training or a transfer, or a source that is part of the program
    #[arg(long, value_name = "RUN")]
    pub(crate) from: PathBuf,
    /// A second run, whose images of the same latent vectors are shown beside those of --from
    #[arg(long, value_name = "RUN")]
    pub(crate) beside: Option<PathBuf>,
    /// Show the source's images of the same latent vectors beside those of --from; for transfers
    #[arg(long, conflicts_with = "beside")]
    pub(crate) with_source: bool,
    /// Checkpoint of the runs: last; best, by KID times (2 - coverage) on validation images, or the last one if it is worse by less than
    /// the standard error (checkpoints that copy training images are avoided); or the number of a step
    #[arg(long, value_name = "last|best|STEP", default_value_t = CheckpointChoice::Last)]
    pub(crate) checkpoint: CheckpointChoice,
    /// The page, an .html file
    #[arg(long, value_name = "FILE", default_value = "playground.html")]
    pub(crate) out: PathBuf,
    /// Replace an existing file
    #[arg(long)]
    pub(crate) overwrite: bool,
}
