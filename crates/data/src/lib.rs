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
mod resize;
mod stacked;
#[cfg(test)]
mod test_server;

pub use batches::{BatchState, Batches};
pub use catalogue::DatasetName;
pub use dataset::{Dataset, Source, Split};
pub use drawn::drawn_digits;
pub use error::{DataError, Offset, Tried};
pub use folder::{FileReport, Folder, Treatment, load_folder};
pub use idx::Idx;
pub use loader::{LoadOptions, load};
pub use npy::{Npy, Numbers, write_npy};
pub use places::Places;
pub use stacked::stacked_digits;
