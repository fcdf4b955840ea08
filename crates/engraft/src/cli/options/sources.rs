//! What can be said to `engraft sources`.

use engraft_metrics::features::NAMES;
use std::path::PathBuf;

/// Rank trained GANs as sources for a target, by how much of it their images cover.
#[derive(Debug, clap::Args)]
pub(crate) struct Sources {
    /// Run directories
    #[arg(value_name = "RUN", required = true)]
    pub(crate) runs: Vec<PathBuf>,
    /// Target: images as for train
    #[arg(long, value_name = "NAME|DIR|ZIP|NPY")]
    pub(crate) data: String,
    /// Use at most N training images of the target
    #[arg(long, alias = "shots", value_name = "N", default_value_t = 1000)]
    pub(crate) train_images: usize,
    /// Features to measure by [default: those of a classifier for grey images of 28x28, else random]
    #[arg(long, value_name = "NAME", value_parser = NAMES)]
    pub(crate) features: Option<String>,
    /// Seed of the choice of images and of the generated ones
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Print one line of JSON
    #[arg(long)]
    pub(crate) json: bool,
}
