#![doc = include_str!("../README.md")]

mod batches;
mod catalogue;
mod dataset;
mod download;
mod drawn;
mod error;
mod folder;
mod idx;
mod loader;
mod npy;
mod places;
mod provenance;
mod resize;
mod shown;
mod split;
mod stacked;
#[cfg(test)]
mod test_server;
mod training_data;
mod unknown_name;

pub use batches::{BatchState, Batches};
pub use catalogue::DatasetName;
pub use dataset::Dataset;
pub use drawn::drawn_digits;
pub use error::{DataError, Offset, Tried};
pub use folder::{FileReport, Folder, Treatment, load_folder};
pub use idx::Idx;
pub use loader::{LoadOptions, load};
pub use npy::{Npy, Numbers, write_npy};
pub use places::Places;
pub use provenance::Provenance;
pub use split::Split;
pub use stacked::stacked_digits;
pub use training_data::TrainingData;
pub use unknown_name::UnknownName;
