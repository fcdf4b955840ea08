//! The error of this crate.

use engraft_base::FileError;
use engraft_gan::GanError;
use engraft_layers::LayersError;
use engraft_transfer::TransferError;
use std::path::PathBuf;
use thiserror::Error;

/// Why a network cannot be exported or a file cannot be imported.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ExportError {
    /// An operation that has no counterpart in the format.
    #[error(
        "the network cannot be exported: operation {operation:?} (number {index} of the forward pass) {reason}"
    )]
    Operation {
        /// Name of the operation.
        operation: String,
        /// Its place among the operations of the forward pass.
        index: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A network whose operations depend on the number of examples, or on their values.
    #[error("the network cannot be exported: {0}")]
    NotTraceable(String),
    /// A file that is not what it should be.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// An error of a file system.
    #[error(transparent)]
    Io(#[from] FileError),
    /// An error of weights.
    #[error(transparent)]
    Layers(#[from] LayersError),
    /// An error of a run.
    #[error(transparent)]
    Gan(Box<GanError>),
    /// An error of a transfer.
    #[error(transparent)]
    Transfer(Box<TransferError>),
}

impl From<GanError> for ExportError {
    fn from(error: GanError) -> Self {
        Self::Gan(Box::new(error))
    }
}

impl From<TransferError> for ExportError {
    fn from(error: TransferError) -> Self {
        Self::Transfer(Box::new(error))
    }
}
