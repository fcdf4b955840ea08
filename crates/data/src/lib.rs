#![doc = include_str!("../README.md")]

mod batches;
mod catalogue;
mod dataset;
mod download;
mod drawn;
mod error;
mod idx;
mod loader;
mod places;
#[cfg(test)]
mod test_server;

pub use batches::{BatchState, Batches};
pub use catalogue::DatasetName;
pub use dataset::{Dataset, Source, Split};
pub use drawn::drawn_digits;
pub use error::{DataError, Offset, Tried};
pub use idx::Idx;
pub use loader::{LoadOptions, load};
pub use places::Places;
