//! What can be said to `engraft generate`.

use super::checkpoints;
use engraft_gan::CheckpointChoice;
use std::path::PathBuf;

/// Draw images from a run: a sheet, single files, or an array.
#[derive(Debug, clap::Args)]
pub(crate) struct Generate {
    /// Run directory, of a training or of a transfer
    #[arg(long, value_name = "RUN")]
    pub(crate) from: PathBuf,
    /// Draw through the adapter file of a transfer, of which --from is the source
    #[arg(long, value_name = "FILE")]
    pub(crate) adapter: Option<PathBuf>,
    /// Which checkpoint of the run
    #[arg(long, value_parser = checkpoints(), default_value_t = CheckpointChoice::Last)]
    pub(crate) checkpoint: CheckpointChoice,
    /// Images
    #[arg(long, default_value_t = 64)]
    pub(crate) count: usize,
    /// PNG file of a sheet, NPY file of an array [n, h, w, c] from -1 to 1, or with --files a folder [default: samples.png, or
    /// samples]
    #[arg(long, value_name = "FILE|DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Write each image as a PNG file of its own
    #[arg(long)]
    pub(crate) files: bool,
    /// Beside each row of a transfer's images, the same noise through its source
    #[arg(long, conflicts_with = "files")]
    pub(crate) with_source: bool,
    /// In each row, walk from one image to another
    #[arg(long, conflicts_with = "files")]
    pub(crate) interpolate: bool,
    /// Images in a row of a sheet
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=64))]
    pub(crate) columns: u64,
    /// Seed of the noise
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}
