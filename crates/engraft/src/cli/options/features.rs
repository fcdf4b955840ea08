//! What can be said to `engraft features`.

use super::{at_least_one, one_of};
use engraft_data::Split;
use engraft_metrics::features::NAMES;
use std::path::PathBuf;

/// Write the features of images as an NPY file, one row for each image.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("input").required(true))]
pub(crate) struct WriteFeatures {
    /// Real images, as for train
    #[arg(long, value_name = "NAME|DIR|ZIP|NPY", group = "input")]
    pub(crate) data: Option<String>,
    /// Images of any program: an NPY file (bytes, or floats from -1 to 1), or a folder or ZIP file of pictures
    #[arg(long, value_name = "NPY|DIR|ZIP", group = "input")]
    pub(crate) samples: Option<PathBuf>,
    /// Part of the real images
    #[arg(long, value_parser = one_of(&Split::ALL), default_value_t = Split::Test, conflicts_with = "samples")]
    pub(crate) split: Split,
    /// Images at most
    #[arg(long, default_value_t = 10_000)]
    pub(crate) count: usize,
    /// Seed of the choice, of real images or of samples, where there are more than --count
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Features [default: those of a classifier for grey images of 28x28, else random]
    #[arg(long, value_name = "NAME", value_parser = NAMES)]
    pub(crate) features: Option<String>,
    /// Height and width that --data is brought to [default: its own]
    #[arg(long, value_name = "N", value_parser = at_least_one, conflicts_with = "samples")]
    pub(crate) size: Option<usize>,
    /// File to write
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}
