//! What can be wrong with a request to transfer.

/// Why a transfer cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// Settings that make no sense, all of them at once.
    #[error("the settings of the transfer make no sense: {}", .problems.join("; "))]
    Config {
        /// What is wrong, one entry for each setting.
        problems: Vec<String>,
    },
    /// The settings were made for another source.
    #[error(
        "the transfer was begun from the source with SHA-256 {expected}, but this one has {found}; name the run, and the \
         checkpoint, that it was begun from"
    )]
    OtherSource {
        /// Of the source in the settings.
        expected: String,
        /// Of the source given.
        found: String,
    },
    /// A directory for a transfer holds a run that is none.
    #[error("{}: holds a run that is no transfer, which stays as it is; name another directory", .path.display())]
    NoTransfer {
        /// The directory.
        path: std::path::PathBuf,
    },
    /// A file is no adapter file.
    #[error("{}: no adapter file: {}", .path.display(), .problems.join("; "))]
    AdapterFile {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong, one entry for each part.
        problems: Vec<String>,
    },
    /// A semi-supervised task that cannot be set up, with everything that is wrong.
    #[error("semi-supervised learning is not possible like this: {}", .problems.join("; "))]
    SemiSupervised {
        /// What is wrong, what was expected, and what to do.
        problems: Vec<String>,
    },
    /// A checkpoint of another training with few labels.
    #[error(
        "{}: a checkpoint of a training with other images, labels or settings than these; give the same ones, or begin anew elsewhere \
         (images that a generator drew can differ from one CPU or version to another)",
        .path.display()
    )]
    OtherTraining {
        /// The checkpoint.
        path: std::path::PathBuf,
    },
    /// Too few images for a classifier, or too many classes.
    #[error(
        "a classifier needs at least 2 images to learn from and 1 to be tested with, with labels below {}; found {learned} and \
         {tested} with labels up to {last}",
        engraft_metrics::CLASSES
    )]
    Classifier {
        /// Images to learn from.
        learned: usize,
        /// Images to be tested with.
        tested: usize,
        /// Largest label.
        last: usize,
    },
    /// A loss is no longer a finite number.
    #[error(
        "training has diverged: a loss of step {step} is not a finite number; a lower learning rate or smaller weights of the terms help"
    )]
    Diverged {
        /// The step.
        step: u64,
    },
    /// Reading or writing failed.
    #[error("{}: {reason}", .path.display())]
    Io {
        /// The file or directory.
        path: std::path::PathBuf,
        /// The reason of the system.
        reason: std::io::Error,
    },
    /// Runs, their checkpoints and settings.
    #[error(transparent)]
    Gan(#[from] engraft_gan::GanError),
    /// Weights and their names.
    #[error(transparent)]
    Layers(#[from] engraft_layers::LayersError),
    /// Features of images, and measures of them.
    #[error(transparent)]
    Metrics(#[from] engraft_metrics::MetricsError),
    /// A text is none of the names or values that it may be.
    #[error("there is no {what} {found:?}; expected {expected}")]
    Unknown {
        /// What was asked for, as `method`.
        what: &'static str,
        /// The text.
        found: String,
        /// What it may be.
        expected: String,
    },
}
