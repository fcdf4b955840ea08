//! What can be said to `engraft generate`.

use super::checkpoints;
use engraft_gan::CheckpointChoice;
use std::path::PathBuf;

/// Generate images with the generator of a run: a grid, single files, or an array.
#[derive(Debug, clap::Args)]
pub(crate) struct Generate {
    /// Run directory, of a training or of a transfer
    #[arg(long, value_name = "RUN")]
    pub(crate) from: PathBuf,
    /// Apply the adapter file of a transfer; --from is then its source
    #[arg(long, value_name = "FILE")]
    pub(crate) adapter: Option<PathBuf>,
    /// Which checkpoint of the run
    #[arg(long, value_parser = checkpoints(), default_value_t = CheckpointChoice::Last)]
    pub(crate) checkpoint: CheckpointChoice,
    /// Number of images
    #[arg(long, default_value_t = 64)]
    pub(crate) count: usize,
    /// PNG file of a grid, NPY file of an array [n, h, w, c] from -1 to 1, or with --files a folder [default: samples.png, or
    /// samples]
    #[arg(long, value_name = "FILE|DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Write each image as a PNG file of its own
    #[arg(long)]
    pub(crate) files: bool,
    /// Show above each row of a transfer's images those of its source for the same latent vectors
    #[arg(long, conflicts_with = "files")]
    pub(crate) with_source: bool,
    /// Interpolate in each row from one latent vector to another
    #[arg(long, conflicts_with = "files")]
    pub(crate) interpolate: bool,
    /// Images in a row of a grid
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=64))]
    pub(crate) columns: u64,
    /// Seed of the latent vectors
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}
