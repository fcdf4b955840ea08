//! What a run tells its caller.

use crate::gan::StepReport;
use crate::monitor::{Alarm, Measurement};
use std::path::PathBuf;

/// Something that happened in a run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A training step is done.
    Step {
        /// Steps done so far.
        step: u64,
        /// What it found.
        report: StepReport,
        /// How long it took.
        milliseconds: f64,
    },
    /// A sample grid was written.
    Samples {
        /// Steps done so far.
        step: u64,
        /// The PNG file.
        path: PathBuf,
    },
    /// A checkpoint was saved.
    Checkpoint {
        /// Steps done so far.
        step: u64,
        /// Its directory.
        path: PathBuf,
    },
    /// The run was measured on its held-out images.
    Measured {
        /// What was found.
        measurement: Measurement,
        /// Whether no earlier measurement was better; its checkpoint is kept.
        is_best: bool,
    },
    /// A measurement gave cause for concern.
    Alarm {
        /// Steps done so far.
        step: u64,
        /// What about.
        alarm: Alarm,
    },
    /// A phase of the run's plan is over.
    Phase {
        /// Steps done so far.
        step: u64,
        /// Number of the phase that begins.
        phase: u32,
        /// Why the one before it is over.
        reason: String,
    },
    /// The run had diverged and has gone back to its newest checkpoint.
    RolledBack {
        /// Step that it resumes from.
        step: u64,
        /// Why it went back.
        reason: String,
        /// How often it has done so, this time included.
        times: u32,
    },
    /// Something went wrong that does not stop the run.
    Warning(String),
}

/// How training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrainingOutcome {
    /// All steps are done.
    Finished,
    /// The caller asked to stop; the state is saved.
    Stopped,
    /// The last phase of the run's plan was over.
    Complete,
    /// The measurements had not got better for as long as [`EvaluationConfig::patience`](crate::EvaluationConfig::patience)
    /// allows; the best checkpoint is kept.
    Plateau,
}
