//! Options of `engraft generate`.

use super::checkpoints;
use engraft_gan::CheckpointChoice;
use std::path::PathBuf;

/// Generate images with a trained generator: as a grid, single files, or an array.
#[derive(Debug, clap::Args)]
pub(crate) struct Generate {
    /// Run directory of a training or a transfer
    #[arg(long, value_name = "RUN")]
    pub(crate) from: PathBuf,
    /// Adapter file of a transfer; --from is then its source
    #[arg(long, value_name = "FILE")]
    pub(crate) adapter: Option<PathBuf>,
    /// Checkpoint of the run
    #[arg(long, value_parser = checkpoints(), default_value_t = CheckpointChoice::Last)]
    pub(crate) checkpoint: CheckpointChoice,
    /// Number of images
    #[arg(long, default_value_t = 64)]
    pub(crate) count: usize,
    /// Output: a PNG file (grid), an NPY file (array [n, h, w, c] from -1 to 1), or with --files a folder [default: samples.png,
    /// or samples]
    #[arg(long, value_name = "FILE|DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Write one PNG file per image
    #[arg(long)]
    pub(crate) files: bool,
    /// Show the source's images for the same latent vectors above each row; for transfers
    #[arg(long, conflicts_with = "files")]
    pub(crate) with_source: bool,
    /// Interpolate between two latent vectors in each row
    #[arg(long, conflicts_with = "files")]
    pub(crate) interpolate: bool,
    /// Images per row of the grid
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=64))]
    pub(crate) columns: u64,
    /// Seed of the latent vectors
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}
