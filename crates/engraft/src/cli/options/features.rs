//! Options of `engraft features`.

use super::{FeatureOptions, PictureOptions, image_count, one_of, side};
use engraft_data::Split;
use std::path::PathBuf;

/// Write the features of images to an NPY file, one row per image.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("input").required(true))]
pub(crate) struct WriteFeatures {
    /// Real images: as --data of train
    #[arg(long, value_name = "NAME|DIR|ZIP|NPY", group = "input")]
    pub(crate) data: Option<String>,
    /// Generated images from any program: an NPY file (bytes, or floats from -1 to 1), or a folder or ZIP file of images
    #[arg(long, value_name = "NPY|DIR|ZIP", group = "input")]
    pub(crate) samples: Option<PathBuf>,
    /// Split of the real images
    #[arg(long, value_parser = one_of(&Split::ALL), default_value_t = Split::Test, conflicts_with = "samples")]
    pub(crate) split: Split,
    /// Largest number of images
    #[arg(long, default_value_t = 10_000, value_parser = image_count)]
    pub(crate) count: usize,
    /// Seed of the subset if there are more images than --count
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) features: FeatureOptions,
    /// Resize the images of --data to N x N pixels [default: unchanged]
    #[arg(long, value_name = "N", value_parser = side, conflicts_with = "samples")]
    pub(crate) size: Option<usize>,
    #[command(flatten)]
    pub(crate) pictures: PictureOptions,
    /// NPY file to write
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}
