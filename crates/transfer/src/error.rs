//! Errors of transfer, adaptation and semi-supervised learning.

/// Error of a transfer, an adaptation or a semi-supervised training.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// Invalid settings, with all problems at once.
    #[error("invalid settings: {}", .problems.join("; "))]
    Config {
        /// The problems, one entry for each setting.
        problems: Vec<String>,
    },
    /// The settings belong to another source.
    #[error(
        "the transfer started from the source with SHA-256 {expected}, but the given source has {found}; give the run and \
         the checkpoint that it started from"
    )]
    OtherSource {
        /// SHA-256 of the source in the settings.
        expected: String,
        /// SHA-256 of the given source.
        found: String,
    },
    /// The output directory contains a run that is not a transfer.
    #[error("{}: contains a run that is not a transfer; it was left unchanged; give another directory", .path.display())]
    NoTransfer {
        /// The directory.
        path: std::path::PathBuf,
    },
    /// A file is not a valid adapter file.
    #[error("{}: not a valid adapter file: {}", .path.display(), .problems.join("; "))]
    AdapterFile {
        /// The file.
        path: std::path::PathBuf,
        /// The problems, one entry for each part.
        problems: Vec<String>,
    },
    /// Data or settings that do not allow semi-supervised learning, with all problems at once.
    #[error("cannot set up semi-supervised learning: {}", .problems.join("; "))]
    SemiSupervised {
        /// The problems: what was found, what was expected, and what to do.
        problems: Vec<String>,
    },
    /// A checkpoint of a semi-supervised training with other images, labels or settings.
    #[error(
        "{}: the checkpoint belongs to a training with other images, labels or settings; give the same ones, or start again in \
         another directory (generated images can differ between CPUs and versions)",
        .path.display()
    )]
    OtherTraining {
        /// The checkpoint.
        path: std::path::PathBuf,
    },
    /// Too few images for a classifier, or too many classes.
    #[error(
        "a classifier needs at least 2 training images and 1 test image with labels below {}; found {training_images} training \
         images and {test_images} test images with labels up to {largest_label}",
        engraft_metrics::CLASSES
    )]
    Classifier {
        /// Number of training images.
        training_images: usize,
        /// Number of test images.
        test_images: usize,
        /// Largest label of both.
        largest_label: usize,
    },
    /// A loss is no longer a finite number.
    #[error(
        "training has diverged: a loss of step {step} is not finite; try a lower learning rate or smaller loss weights"
    )]
    Diverged {
        /// The training step.
        step: u64,
    },
    /// Reading or writing failed.
    #[error("{}: reading or writing failed: {reason}", .path.display())]
    Io {
        /// The file or directory.
        path: std::path::PathBuf,
        /// The reason that the operating system gives.
        reason: std::io::Error,
    },
    /// An error of a run, its checkpoints or its settings.
    #[error(transparent)]
    Gan(#[from] engraft_gan::GanError),
    /// An error of weights or their names.
    #[error(transparent)]
    Layers(#[from] engraft_layers::LayersError),
    /// An error of features or metrics.
    #[error(transparent)]
    Metrics(#[from] engraft_metrics::MetricsError),
    /// A text that does not name a valid value.
    #[error("unknown {what} {found:?}; expected {expected}")]
    Unknown {
        /// Kind of value, such as `validator`.
        what: &'static str,
        /// The text.
        found: String,
        /// The valid values.
        expected: String,
    },
}
