//! What can be said to `engraft features`.

use super::one_of;
use crate::cli::images::Network;
use engraft_data::Split;
use std::path::PathBuf;

/// Write the features of images as an NPY file, one row of 128 numbers for each image.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("input").required(true))]
pub(crate) struct WriteFeatures {
    /// Real images: mnist, fashion-mnist, usps, drawn-digits, mnist-0-4, mnist-5-9, or a folder of pictures
    #[arg(long, value_name = "NAME|DIR", group = "input")]
    pub(crate) data: Option<String>,
    /// Images of any program: an NPY file (bytes, or floats from -1 to 1) or a folder of pictures
    #[arg(long, value_name = "FILE|DIR", group = "input")]
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
    /// Feature network [default: the one of the data, else that of mnist]
    #[arg(long, value_enum)]
    pub(crate) features: Option<Network>,
    /// File to write
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}
