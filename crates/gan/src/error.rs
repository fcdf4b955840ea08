//! What can go wrong outside the program: files, directories, checkpoints, other runs.

use engraft_base::FileError;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GanError {
    /// A file's content is not what its format demands.
    #[error("{}: {}expected {expected}, found {found}; {advice}", .path.display(), at(*.offset))]
    Format {
        /// The file.
        path: PathBuf,
        /// Where in the file, in bytes from its beginning, when that is known.
        offset: Option<u64>,
        /// What belongs there.
        expected: String,
        /// What is there.
        found: String,
        /// What the user can do.
        advice: &'static str,
    },
    /// A file was written by a later version of its format.
    #[error(
        "{}: written by format {found}, this build reads up to {supported}; update engraft to read it",
        .path.display()
    )]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// Format of the file.
        found: u32,
        /// Highest format that this build reads.
        supported: u32,
    },
    /// Reading or writing failed.
    #[error("{}: {action} failed: {reason}{}", .path.display(), remedy(.reason))]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was tried.
        action: String,
        /// The reason of the system.
        reason: io::Error,
    },
    /// Another process holds the run directory.
    #[error("another run{owner} is writing to {}; stop it or choose another --out", .dir.display())]
    Locked {
        /// The run directory.
        dir: PathBuf,
        /// Who holds it, as ` (pid 1234 on host)`; empty when unknown.
        owner: String,
    },
    /// The caller asked for something that cannot be saved.
    #[error("cannot save the checkpoint: {reason}")]
    Unsaveable {
        /// What is wrong with the request.
        reason: String,
    },
    /// Checkpoints exist, and every one of them is damaged.
    #[error(
        "{}: no checkpoint is intact; restore one from a copy or start anew in another --out:\n  {}",
        .dir.display(), .reasons.join("\n  ")
    )]
    NoIntactCheckpoint {
        /// The run directory.
        dir: PathBuf,
        /// What is wrong with each, newest first.
        reasons: Vec<String>,
    },
    /// The run directory has no checkpoint of this step.
    #[error("{}: no checkpoint of step {step}; the steps are {available:?}", .dir.display())]
    NoSuchCheckpoint {
        /// The run directory.
        dir: PathBuf,
        /// The step that was asked for.
        step: u64,
        /// The steps there are.
        available: Vec<u64>,
    },
    /// An intact checkpoint lacks a file that the reader needs.
    #[error("{}: the checkpoint has no file {name:?}; its files are {available:?}", .path.display())]
    MissingFile {
        /// The checkpoint.
        path: PathBuf,
        /// The file that was asked for.
        name: String,
        /// The files there are.
        available: Vec<String>,
    },
    /// Settings that make no sense, all of them at once.
    #[error("the settings make no sense: {}", .problems.join("; "))]
    Config {
        /// What is wrong, one entry for each setting.
        problems: Vec<String>,
    },
    /// A file of settings does not parse.
    #[error("{}: {reason}", .path.display())]
    ConfigSyntax {
        /// The file.
        path: PathBuf,
        /// Where, and what was expected.
        reason: String,
    },
    /// A run was begun with other settings than it is asked to go on with.
    #[error(
        "the run in {} was begun with other settings; go on with the old ones, choose another --out, or start \
         anew with --fresh:\n  {}",
        .path.display(), .differences.join("\n  ")
    )]
    OtherSettings {
        /// The run directory.
        path: PathBuf,
        /// One line for each difference.
        differences: Vec<String>,
    },
    /// The images are not those that the settings were made for.
    #[error(
        "the settings are for the {name} images with SHA-256 {expected}, but those given ({source_of_data}) \
         have {found}; give the same images or begin a new run"
    )]
    OtherData {
        /// Name of the data set in the settings.
        name: String,
        /// Fingerprint in the settings.
        expected: String,
        /// Fingerprint of the images given.
        found: String,
        /// Where those came from.
        source_of_data: String,
    },
    /// The labels are not those that a run was begun with.
    #[error(
        "the networks are told the labels of {name} with SHA-256 {expected}, but those given ({source_of_data}) have \
         {found}; give the same labels or begin a new run"
    )]
    OtherLabels {
        /// Name of the data set in the settings.
        name: String,
        /// SHA-256 in the settings.
        expected: String,
        /// SHA-256 of the labels given.
        found: String,
        /// Where those came from.
        source_of_data: String,
    },
    /// The networks cannot be built for the images, mostly because these have another size.
    #[error(
        "the {data} images are {}, which the network {network} is not built for: {reason}; give other images, or choose a \
         network that is: {}",
        size(.found), .fitting.join(", ")
    )]
    ImageSize {
        /// Name of the data set, or `given`.
        data: String,
        /// Name of the networks.
        network: String,
        /// Why not, as the family of networks says.
        reason: String,
        /// Names of the networks that can be built for them.
        fitting: Vec<String>,
        /// `[height, width, channels]` of the images.
        found: [usize; 3],
    },
    /// A directory from which a run was to be read has no checkpoint.
    #[error("{} holds no checkpoint of a run; name the directory that training wrote to", .path.display())]
    NoCheckpoint {
        /// The directory.
        path: PathBuf,
    },
    /// A directory that was to be replaced is not a run.
    #[error("{} is not a run directory (it has neither run.toml nor run.lock); choose another --out", .path.display())]
    NotARun {
        /// The directory.
        path: PathBuf,
    },
    /// A directory without checkpoints holds what a new run would replace.
    #[error(
        "{} has {found}, but no checkpoint to go on from; nothing in it was changed: choose another --out, or \
         start anew with --fresh, which moves an earlier run aside",
        .path.display()
    )]
    Occupied {
        /// The directory.
        path: PathBuf,
        /// The file that is there.
        found: &'static str,
    },
    /// A loss, a weight, a running statistic or a moment is no longer finite.
    #[error(
        "training diverged at step {step}: {reason}; the last checkpoint is intact, try a lower learning rate"
    )]
    Diverged {
        /// The step.
        step: u64,
        /// What is not finite any more, and in which network.
        reason: String,
    },
    /// Weights, moments or their names.
    #[error(transparent)]
    Layers(#[from] engraft_layers::LayersError),
    /// Features of images, and measures of them.
    #[error(transparent)]
    Metrics(#[from] engraft_metrics::MetricsError),
    /// Images, labels or their order.
    #[error(transparent)]
    Data(#[from] engraft_data::DataError),
}

impl GanError {
    /// Wraps a reason of the system: which file, what was tried.
    /// Advice for a damaged file of a checkpoint.
    pub(crate) const DAMAGED: &str = "the checkpoint is damaged: resume from an older one or copy it again";

    pub(crate) fn io(path: &Path, action: impl Into<String>, reason: io::Error) -> Self {
        Self::Io {
            path: path.to_path_buf(),
            action: action.into(),
            reason,
        }
    }
}

impl From<FileError> for GanError {
    fn from(error: FileError) -> Self {
        let (path, expected, found, advice) = match error {
            FileError::Io { path, action, reason } => return Self::io(&path, action, reason),
            FileError::NotRegular { path, found } => (
                path,
                "a regular file or directory".to_string(),
                found.to_string(),
                "links and special files are not followed: put the file itself there",
            ),
            FileError::TooLong { path, size, limit } => (
                path,
                format!("at most {limit} bytes"),
                format!("{size} bytes"),
                Self::DAMAGED,
            ),
            other => return Self::io(other.path(), "reading", io::Error::other(other.to_string())),
        };
        Self::Format {
            path,
            offset: None,
            expected,
            found,
            advice,
        }
    }
}

fn size([h, w, c]: &[usize; 3]) -> String {
    format!("{h}x{w}x{c}")
}

fn at(offset: Option<u64>) -> String {
    offset.map(|byte| format!("at byte {byte}: ")).unwrap_or_default()
}

/// What the user can do about an error of the system; empty when the reason speaks for itself.
fn remedy(source: &io::Error) -> &'static str {
    match source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "; free some space or choose another --out; checkpoints saved before are untouched"
        }
        ErrorKind::FileTooLarge => {
            "; raise the file size limit (ulimit -f) or choose another --out; \
             checkpoints saved before are untouched"
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            "; change the permissions or choose another directory"
        }
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
            "; a file stands where a directory is needed: move it or choose another --out"
        }
        ErrorKind::Unsupported => {
            "; the file system lacks this operation: choose a directory on a local disk"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_say_which_file_what_and_what_to_do() {
        let full = GanError::io(
            Path::new("runs/a/x"),
            "writing 12 bytes",
            io::Error::from(ErrorKind::StorageFull),
        );
        assert_eq!(
            full.to_string(),
            "runs/a/x: writing 12 bytes failed: no storage space; free some space or choose another --out; \
             checkpoints saved before are untouched"
        );
        let read_only = GanError::io(
            Path::new("a"),
            "creating",
            io::Error::from(ErrorKind::ReadOnlyFilesystem),
        );
        assert!(
            read_only
                .to_string()
                .ends_with("; change the permissions or choose another directory")
        );
        let newer = GanError::NewerFormat {
            path: "a/state".into(),
            found: 7,
            supported: 1,
        };
        assert_eq!(
            newer.to_string(),
            "a/state: written by format 7, this build reads up to 1; update engraft to read it"
        );
        let format = GanError::Format {
            path: "a/state".into(),
            offset: Some(8),
            expected: "this".into(),
            found: "that".into(),
            advice: "do so",
        };
        assert_eq!(
            format.to_string(),
            "a/state: at byte 8: expected this, found that; do so"
        );
        let locked = GanError::Locked {
            dir: "runs/a".into(),
            owner: " (pid 7)".into(),
        };
        assert_eq!(
            locked.to_string(),
            "another run (pid 7) is writing to runs/a; stop it or choose another --out"
        );
    }
}
