#![doc = include_str!("../README.md")]

mod batches;
mod channels;
mod data_dirs;
mod data_source;
mod dataset;
mod download;
mod drawn;
mod error;
mod fingerprint;
mod held_out;
mod idx;
mod layout;
mod lazy_pictures;
mod listing;
mod loader;
mod npy;
mod npy_images;
mod picture;
mod pictures;
mod provenance;
mod registry;
mod report;
mod resize;
mod shown;
mod split;
mod stacked;
#[cfg(test)]
mod test_server;
mod training_data;
mod unknown_name;

pub use batches::{BatchState, Batches};
pub use channels::Channels;
pub use data_dirs::DataDirs;
#[doc(hidden)] // the name of earlier versions
pub use data_dirs::DataDirs as Places;
pub use data_source::{DataOptions, DataSource, Loaded};
pub use dataset::Dataset;
pub use drawn::drawn_digits;
pub use error::{DataError, Offset, Tried};
pub use held_out::{ENOUGH_TO_HOLD_OUT, every_fifth};
pub use idx::Idx;
pub use lazy_pictures::LazyPictures;
pub use loader::{LoadOptions, load};
pub use npy::{Npy, Numbers, write_npy};
pub use picture::{Fit, WHITE};
pub use provenance::Provenance;
pub use registry::DatasetName;
pub use report::{FileReport, Note, Report, Treatment};
pub use split::Split;
pub use stacked::stacked_digits;
pub use training_data::TrainingData;
pub use unknown_name::UnknownName;
