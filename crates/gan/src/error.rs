//! Errors of this crate: files, directories, checkpoints, settings, divergence.

use engraft_base::FileError;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Error of this crate.
///
/// Programming errors, such as a wrong shape, panic instead.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GanError {
    /// A file does not have the expected format, or is damaged.
    #[error("{}: {}expected {expected}, found {found}; {advice}", .path.display(), at(*.offset))]
    Format {
        /// The file.
        path: PathBuf,
        /// Byte offset in the file, if known.
        offset: Option<u64>,
        /// What was expected there.
        expected: String,
        /// What was found.
        found: String,
        /// What the user can do.
        advice: &'static str,
    },
    /// A file was written in a newer format than this build reads.
    #[error(
        "{}: written by format {found}, this build reads up to {supported}; update engraft to read it",
        .path.display()
    )]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// Format version of the file.
        found: u32,
        /// Newest format version that this build reads.
        supported: u32,
    },
    /// Reading or writing a file failed.
    #[error("{}: {action} failed: {reason}{}", .path.display(), remedy(.reason))]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The operation that failed.
        action: String,
        /// The error of the operating system.
        reason: io::Error,
    },
    /// Another process is writing to the run directory.
    #[error("another run{owner} is writing to {}; stop it or choose another directory", .dir.display())]
    Locked {
        /// The run directory.
        dir: PathBuf,
        /// The owner as ` (pid 1234 on host)`; empty if unknown.
        owner: String,
    },
    /// The request to save a checkpoint is invalid.
    #[error("cannot save the checkpoint: {reason}")]
    Unsaveable {
        /// What is wrong with the request.
        reason: String,
    },
    /// Every checkpoint of the run is damaged.
    #[error(
        "{}: every checkpoint is damaged; restore one from a backup or start again in another directory:\n  {}",
        .dir.display(), .reasons.join("\n  ")
    )]
    NoIntactCheckpoint {
        /// The run directory.
        dir: PathBuf,
        /// The error of each checkpoint, newest first.
        reasons: Vec<String>,
    },
    /// The run directory has no checkpoint of the requested step.
    #[error("{}: no checkpoint of step {step}; choose one of the steps {available:?}", .dir.display())]
    NoSuchCheckpoint {
        /// The run directory.
        dir: PathBuf,
        /// The requested step.
        step: u64,
        /// The steps that have a checkpoint.
        available: Vec<u64>,
    },
    /// An intact checkpoint lacks a required file.
    #[error("{}: the checkpoint lacks the file {name:?} and has {available:?}; copy the whole checkpoint again", .path.display())]
    MissingFile {
        /// The checkpoint.
        path: PathBuf,
        /// The missing file.
        name: String,
        /// The files of the checkpoint.
        available: Vec<String>,
    },
    /// A generator with finite weights generates values that are not finite.
    #[error(
        "the generator's images are not finite: the first such values are results of its layer {layer:?}; its weights are \
         damaged or too large: use another checkpoint"
    )]
    NotFinite {
        /// Dotted name of the layer.
        layer: String,
    },
    /// Invalid settings, all problems at once.
    #[error("invalid settings: {}", .problems.join("; "))]
    Config {
        /// One entry for each problem.
        problems: Vec<String>,
    },
    /// A settings file cannot be parsed.
    #[error("{}: {reason}", .path.display())]
    ConfigSyntax {
        /// The file.
        path: PathBuf,
        /// The position and what was expected there.
        reason: String,
    },
    /// The run in the directory was started with different settings.
    #[error(
        "the run in {} was started with different settings; use the same settings or another directory:\n  {}",
        .path.display(), .differences.join("\n  ")
    )]
    OtherSettings {
        /// The run directory.
        path: PathBuf,
        /// One line for each difference.
        differences: Vec<String>,
    },
    /// The images differ from those that the settings were made for.
    #[error(
        "the settings expect the {name} images with SHA-256 {expected}, but {source_of_data} has {found}; use the \
         same images or start a new run"
    )]
    OtherData {
        /// Name of the data set in the settings.
        name: String,
        /// SHA-256 in the settings.
        expected: String,
        /// SHA-256 of the given images.
        found: String,
        /// Where those came from.
        source_of_data: String,
    },
    /// The images of a run have changed since its last step; its other settings are the same.
    #[error(
        "the images changed since the run in {} was started: it has {expected} images, {source_of_data} has {found}; {}; \
         restore them, or continue with the present images", .path.display(), .changes.join("; ")
    )]
    ChangedData {
        /// The run directory.
        path: PathBuf,
        /// Number of images of the run.
        expected: usize,
        /// Number of the given images.
        found: usize,
        /// Added, removed and changed images: numbers, and a few names.
        changes: Vec<String>,
        /// Where the given images came from.
        source_of_data: String,
    },
    /// The labels differ from those that the run was started with.
    #[error(
        "the settings expect the labels of {name} with SHA-256 {expected}, but {source_of_data} has {found}; use the \
         same labels or start a new run"
    )]
    OtherLabels {
        /// Name of the data set in the settings.
        name: String,
        /// SHA-256 in the settings.
        expected: String,
        /// SHA-256 of the given labels.
        found: String,
        /// Where those came from.
        source_of_data: String,
    },
    /// The network family cannot build networks for these images.
    #[error(
        "the network {network} does not support the {data} images of {}: {reason}; {}",
        size(.found), other_networks(.fitting)
    )]
    ImageSize {
        /// Name of the data set, or `given`.
        data: String,
        /// Name of the network family.
        network: String,
        /// The family's reason, from [`NetworkFamily::check`](crate::networks::NetworkFamily::check).
        reason: String,
        /// Names of the families that can.
        fitting: Vec<String>,
        /// `[height, width, channels]` of the images.
        found: [usize; 3],
    },
    /// A directory that should contain a run has no checkpoint.
    #[error("{} has no checkpoint; expected the run directory of a training or a transfer, such as runs/mnist", .path.display())]
    NoCheckpoint {
        /// The directory.
        path: PathBuf,
    },
    /// A directory that should be moved aside is not a run directory.
    #[error("{} is not a run directory: it has neither run.toml nor run.lock; choose another directory", .path.display())]
    NotARun {
        /// The directory.
        path: PathBuf,
    },
    /// A directory without checkpoints contains a file that a new run would overwrite.
    #[error(
        "{} contains {found} but no checkpoint to resume from; choose another directory, or move the earlier run aside",
        .path.display()
    )]
    Occupied {
        /// The directory.
        path: PathBuf,
        /// The existing file.
        found: &'static str,
    },
    /// The ranks of a distributed run do not agree.
    #[error("the ranks do not agree: {reason}")]
    Ranks {
        /// What differs, and why that may be.
        reason: String,
    },
    /// Training diverged: a loss, a weight, a running statistic or an optimizer moment is not finite.
    #[error(
        "training diverged at step {step}: {reason}; the last checkpoint is intact; try a lower learning rate"
    )]
    Diverged {
        /// The step.
        step: u64,
        /// Which value is not finite, and in which network.
        reason: String,
    },
    /// Error of the layers crate, such as weights that do not match a network.
    #[error(transparent)]
    Layers(#[from] engraft_layers::LayersError),
    /// Error of the metrics crate.
    #[error(transparent)]
    Metrics(#[from] engraft_metrics::MetricsError),
    /// Error of the data crate.
    #[error(transparent)]
    Data(#[from] engraft_data::DataError),
}

impl GanError {
    /// Advice for a damaged file of a checkpoint.
    pub(crate) const DAMAGED: &str = "the checkpoint is damaged: resume from an older one or copy it again";

    /// An error of the operating system for `path`; `action` is the operation that failed.
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
                "symbolic links and special files are not followed: copy the file itself there",
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

/// What to do about a network that does not support the images.
fn other_networks(fitting: &[String]) -> String {
    if fitting.is_empty() {
        "no other network supports this size either, choose another size".into()
    } else {
        format!("networks that do: {}", fitting.join(", "))
    }
}

fn size([h, w, c]: &[usize; 3]) -> String {
    format!("{h}x{w}x{c}")
}

fn at(offset: Option<u64>) -> String {
    offset.map(|byte| format!("at byte {byte}: ")).unwrap_or_default()
}

/// Advice for an error of the operating system; empty if the error is clear by itself.
fn remedy(source: &io::Error) -> &'static str {
    match source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "; free some space or choose another directory; checkpoints saved before are untouched"
        }
        ErrorKind::FileTooLarge => {
            "; raise the file size limit (ulimit -f) or choose another directory; \
             checkpoints saved before are untouched"
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            "; change the permissions or choose another directory"
        }
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
            "; a file is in the place of a directory: move it or choose another directory"
        }
        ErrorKind::Unsupported => {
            "; the file system does not support this operation: choose a directory on a local disk"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_the_file_the_operation_and_the_remedy() {
        let named = |error: &GanError, parts: &[&str]| {
            let text = error.to_string();
            assert!(parts.iter().all(|part| text.contains(part)), "{text}");
        };
        let full = GanError::io(
            Path::new("runs/a/x"),
            "writing 12 bytes",
            io::Error::from(ErrorKind::StorageFull),
        );
        named(&full, &["runs/a/x", "12 bytes", "no storage space", "directory"]);
        let read_only = GanError::io(
            Path::new("a"),
            "creating",
            io::Error::from(ErrorKind::ReadOnlyFilesystem),
        );
        named(&read_only, &["a: ", "creating", "permissions"]);
        let newer = GanError::NewerFormat {
            path: "a/state".into(),
            found: 7,
            supported: 1,
        };
        named(&newer, &["a/state", "7", "1", "update"]);
        let format = GanError::Format {
            path: "a/state".into(),
            offset: Some(8),
            expected: "this".into(),
            found: "that".into(),
            advice: "do so",
        };
        named(&format, &["a/state", "byte 8", "this", "that", "do so"]);
        let locked = GanError::Locked {
            dir: "runs/a".into(),
            owner: " (pid 7)".into(),
        };
        named(&locked, &["runs/a", "(pid 7)", "directory"]);
    }
}
