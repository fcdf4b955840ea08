//! Options of `engraft sources`.

use super::{FeatureOptions, PictureOptions, compared_images};
use std::path::PathBuf;

/// Rank trained GANs as sources for a transfer, by recall of the target and then by KID.
#[derive(Debug, clap::Args)]
pub(crate) struct Sources {
    /// Run directories of the candidates, or names of shipped sources [default: all shipped sources]
    #[arg(value_name = "RUN")]
    pub(crate) runs: Vec<PathBuf>,
    /// Target images: as --data of train
    #[arg(long, value_name = "NAME|DIR|ZIP|NPY")]
    pub(crate) data: String,
    /// Use at most N training images of the target
    #[arg(long, alias = "shots", value_name = "N", default_value_t = 1000)]
    pub(crate) train_images: usize,
    /// Number of images that each source generates
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = compared_images)]
    pub(crate) count: usize,
    #[command(flatten)]
    pub(crate) features: FeatureOptions,
    /// Seed of the subset of images and of the generated images
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) pictures: PictureOptions,
    /// Print one line of JSON instead of the list
    #[arg(long)]
    pub(crate) json: bool,
}
