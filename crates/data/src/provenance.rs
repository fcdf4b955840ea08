//! Where images came from.

use std::fmt;
use std::path::PathBuf;

use crate::shown::shown;

/// Where the examples of a data set came from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Provenance {
    /// Files of the user, taken as they are.
    Directory(PathBuf),
    /// One file of the user, an archive or an array.
    File(PathBuf),
    /// Files of the cache directory, equal to the published ones by SHA-256.
    Cache(PathBuf),
    /// Files fetched just now into this cache directory, equal to the published ones by SHA-256.
    Download(PathBuf),
    /// Drawn by this program.
    Drawn {
        /// The seed that every pixel follows from.
        seed: u64,
    },
    /// Made by the calling program.
    Memory,
}

impl fmt::Display for Provenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Provenance::Directory(path) => write!(f, "files in {}", shown(path)),
            Provenance::File(path) => write!(f, "{}", shown(path)),
            Provenance::Cache(path) => write!(f, "verified files in {}", shown(path)),
            Provenance::Download(path) => write!(f, "downloaded and verified, kept in {}", shown(path)),
            Provenance::Drawn { seed } => write!(f, "drawn from seed {seed}"),
            Provenance::Memory => write!(f, "made in memory"),
        }
    }
}
