//! Events of a training run, and how it ended.

use crate::gan::StepReport;
use crate::monitor::{Alarm, Measurement};
use std::path::PathBuf;

/// An event of [`Trainer::train`](crate::Trainer::train).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A training step was done.
    Step {
        /// Steps done so far.
        step: u64,
        /// Losses and statistics.
        report: StepReport,
        /// Duration in milliseconds.
        milliseconds: f64,
    },
    /// Before the first step: grids of training images were written.
    Images {
        /// The images as the networks get them: `reals.png`.
        reals: PathBuf,
        /// The same images after augmentation: `augmented.png`. `None` if the run does not augment.
        augmented: Option<PathBuf>,
    },
    /// Samples were written.
    Samples {
        /// Steps done so far.
        step: u64,
        /// The file, a PNG grid unless the run has another [`SampleWriter`](crate::SampleWriter).
        path: PathBuf,
    },
    /// A checkpoint was saved.
    Checkpoint {
        /// Steps done so far.
        step: u64,
        /// Its directory.
        path: PathBuf,
    },
    /// The run was evaluated on its validation images.
    Measured {
        /// The result.
        measurement: Measurement,
        /// Whether it is the best so far. The checkpoint of the best one is kept.
        is_best: bool,
    },
    /// An evaluation raised an alarm that the previous one did not.
    Alarm {
        /// Steps done so far.
        step: u64,
        /// The alarm.
        alarm: Alarm,
        /// The alarm in words: the value with its threshold, and what to try.
        message: String,
    },
    /// A phase of the training plan ended.
    Phase {
        /// Steps done so far.
        step: u64,
        /// Number of the next phase.
        phase: u32,
        /// Why the previous phase ended.
        reason: String,
    },
    /// The run diverged and was rolled back to its newest checkpoint.
    RolledBack {
        /// Step that training continues from.
        step: u64,
        /// Why the run diverged.
        reason: String,
        /// Number of rollbacks so far, including this one.
        times: u32,
    },
    /// A problem that does not stop the run.
    Warning(String),
}

/// How [`Trainer::train`](crate::Trainer::train) ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrainingOutcome {
    /// All steps are done.
    Finished,
    /// The caller stopped the run; its state is saved.
    Stopped,
    /// The last phase of the training plan ended.
    Complete,
    /// Early stopping: the validation score did not improve for
    /// [`EvaluationConfig::patience`](crate::EvaluationConfig::patience) evaluations. The best checkpoint is kept.
    Plateau,
}
