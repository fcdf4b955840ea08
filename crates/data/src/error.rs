//! Errors of files, names and saved states.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use engraft_base::FileError;

use crate::shown::{escaped, shown};
use crate::split::Split;
use crate::unknown_name::UnknownName;

/// Error of this crate.
///
/// Each message says what was expected, what was found and what to do. [`source`](std::error::Error::source) adds
/// nothing. Control characters in names and server responses are escaped, so messages are safe to print on a terminal.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// Reading or writing failed, or the path is not a regular file.
    #[error("{}", escaped(&.0.to_string()))]
    File(#[from] FileError),
    /// A file does not follow its format.
    #[error("{}: {offset}: expected {expected}, found {found}; {advice}", shown(.path))]
    Format {
        /// The file.
        path: PathBuf,
        /// Where the problem was found.
        offset: Offset,
        /// What the format requires there.
        expected: String,
        /// What was found there.
        found: String,
        /// What to do.
        advice: &'static str,
    },
    /// The contents of a file differ from the pinned ones.
    #[error("{}: expected SHA-256 {expected}, found {found}; delete the file and fetch it again", shown(.path))]
    Checksum {
        /// The file.
        path: PathBuf,
        /// The pinned SHA-256, in hexadecimal.
        expected: String,
        /// The SHA-256 of the file, in hexadecimal.
        found: String,
    },
    /// A file holds labels instead of images, or vice versa.
    #[error(
        "{}: expected {expected}, found an array of rank {found}; \
         are the files of images and labels swapped?",
        shown(.path)
    )]
    Rank {
        /// The file.
        path: PathBuf,
        /// What was expected, with its rank.
        expected: &'static str,
        /// Rank of the array in the file.
        found: usize,
    },
    /// Only one of the user's two files exists.
    #[error(
        "{}: its counterpart is missing: there is no {missing}; add it to the directory, or move this file away",
        shown(.found)
    )]
    HalfMissing {
        /// The file that exists.
        found: PathBuf,
        /// All possible names of the other file.
        missing: String,
    },
    /// The numbers of images and labels differ.
    #[error(
        "{name}: {images} images but {labels} labels; both files must come from the same release and split"
    )]
    CountMismatch {
        /// Name of the data set.
        name: String,
        /// Number of images.
        images: usize,
        /// Number of labels.
        labels: usize,
    },
    /// The pixels are not a whole number of images.
    #[error(
        "{name}: {bytes} bytes of pixels are not a whole number of images of {}x{}x{} \
         (height, width and channels must be at least 1)",
        .image_size[0], .image_size[1], .image_size[2]
    )]
    ImageSize {
        /// Name of the data set.
        name: String,
        /// Number of bytes.
        bytes: usize,
        /// Height, width, channels.
        image_size: [usize; 3],
    },
    /// A path or text cannot be used as data.
    #[error("{}: expected {expected}, found {}; {advice}", shown(.place), escaped(.found))]
    Unusable {
        /// The file, folder or archive, or the text.
        place: PathBuf,
        /// What was expected.
        expected: String,
        /// What was found.
        found: String,
        /// What to do.
        advice: &'static str,
    },
    /// A folder or archive has no usable picture.
    #[error(
        "{}: no usable picture{}",
        shown(.place),
        .reasons.iter().map(|reason| format!("\n  {reason}")).collect::<String>()
    )]
    NoPictures {
        /// The folder or the archive.
        place: PathBuf,
        /// Why the first files were skipped.
        reasons: Vec<String>,
    },
    /// A name is not the name of a data set.
    #[error(transparent)]
    UnknownName(#[from] UnknownName),
    /// A data set was not found.
    #[error("{name}, {split}: not found{}\nto do: {advice}", listed(.tried))]
    NotFound {
        /// Name of the data set.
        name: &'static str,
        /// Its split.
        split: Split,
        /// All places, in search order.
        tried: Vec<Tried>,
        /// What to do.
        advice: String,
    },
    /// The batch size does not fit the data.
    #[error("a batch of {batch_size} cannot be drawn from {len} examples; use a batch size from 1 to {len}")]
    BatchSize {
        /// The requested batch size.
        batch_size: usize,
        /// Number of examples.
        len: usize,
    },
    /// A saved position does not fit the data and batch size.
    #[error(
        "the saved position {position} does not fit {len} examples in batches of {batch_size}; \
         resume with the data set and the batch size of the run that was saved"
    )]
    Position {
        /// Number of examples served in the epoch, as saved.
        position: u64,
        /// Number of examples.
        len: usize,
        /// The batch size.
        batch_size: usize,
    },
}

/// A position in a file, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Offset {
    /// A byte of the file.
    File(u64),
    /// A byte of the unpacked gzip data.
    Unpacked(u64),
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Offset::File(byte) => write!(f, "byte {byte}"),
            Offset::Unpacked(byte) => write!(f, "byte {byte} of the unpacked data"),
        }
    }
}

/// A place that was searched, and why it was not used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// A directory, a variable or an address.
    pub place: String,
    /// The reason.
    pub reason: String,
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", escaped(&self.place), escaped(&self.reason))
    }
}

/// The error of a failed `action`, for example `reading`.
pub(crate) fn io_error(path: &Path, action: &'static str, reason: io::Error) -> DataError {
    DataError::File(FileError::Io {
        path: path.to_owned(),
        action,
        reason,
    })
}

fn listed(tried: &[Tried]) -> String {
    tried.iter().map(|one| format!("\n  {one}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_name_cannot_reach_the_terminal() {
        let reason = io::Error::from(io::ErrorKind::NotFound);
        let error = io_error(Path::new("a\u{1b}[2Jb\n\u{202e}gz"), "opening", reason);
        assert_eq!(
            error.to_string(),
            "a\\u{1b}[2Jb\\n\\u{202e}gz: opening failed: entity not found"
        );
    }

    #[test]
    fn every_place_has_a_line() {
        let error = DataError::NotFound {
            name: "mnist",
            split: Split::Test,
            tried: vec![
                Tried {
                    place: "ENGRAFT_DATA".into(),
                    reason: "not set".into(),
                },
                Tried {
                    place: "http://mirror/x".into(),
                    reason: "http status: 404\r".into(),
                },
            ],
            advice: "go online".into(),
        };
        assert_eq!(
            error.to_string(),
            "mnist, test: not found\n  ENGRAFT_DATA: not set\n  http://mirror/x: http status: 404\\r\nto do: go online"
        );
    }

    #[test]
    fn counts_and_offsets_are_named() {
        let error = DataError::CountMismatch {
            name: "mnist".into(),
            images: 60000,
            labels: 10000,
        };
        assert!(
            error
                .to_string()
                .starts_with("mnist: 60000 images but 10000 labels")
        );
        let error = DataError::Format {
            path: "a.gz".into(),
            offset: Offset::Unpacked(4),
            expected: "x".into(),
            found: "y".into(),
            advice: "do z",
        };
        assert_eq!(
            error.to_string(),
            "a.gz: byte 4 of the unpacked data: expected x, found y; do z"
        );
    }
}
