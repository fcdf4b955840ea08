//! The training loop of a run directory: steps, sample grids, checkpoints, exact resume.

mod directory;
mod opening;
mod outputs;
mod watching;

use crate::checkpoint::CheckpointStore;
use crate::config::TrainConfig;
use crate::error::GanError;
use crate::finite::first_not_finite;
use crate::gan::{Gan, StepReport};
use crate::log::{Line, Log};
use crate::plan::Plan;
use crate::watch::{Alarm, Measurement, Watch};
use engraft_data::Dataset;
use engraft_layers::Sequential;
use engraft_tensor::Tensor;
use opening::Progress;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

/// Images on a sample grid, and columns of it.
const SAMPLES: usize = 64;
/// Latent vectors in a batch for standing statistics.
const STANDING: usize = 64;
const COLUMNS: usize = 8;
const METRICS: &str = "metrics.jsonl";
const CURVES: &str = "losses.svg";
const SAMPLE_FOLDER: &str = "samples";
const MEASURES: &str = "measures.jsonl";

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
        /// Step that it goes on from.
        step: u64,
        /// Why it went back.
        reason: String,
        /// How often it has done so, this time included.
        times: u32,
    },
    /// Something went wrong that does not stop the run.
    Warning(String),
}

/// What the caller wants after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// Go on.
    Continue,
    /// Save a checkpoint and stop after this step.
    Stop,
}

/// How training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All steps are done.
    Finished,
    /// The caller asked to stop; the state is saved.
    Stopped,
    /// The last phase of the run's plan was over.
    Complete,
    /// The measurements had not got better for as long as [`WatchConfig::patience`](crate::WatchConfig::patience)
    /// allows; the best checkpoint is kept.
    Plateau,
}

/// A run: networks, data, and the directory that everything is written to.
///
/// ```no_run
/// use engraft_data::{DatasetName, LoadOptions, Split, load};
/// use engraft_gan::{Control, Event, TrainConfig, Trainer};
///
/// let data = load(DatasetName::Mnist, Split::Train, &LoadOptions::new())?;
/// let config = TrainConfig::standard(&data);
/// let mut trainer = Trainer::open(config, data, "runs/mnist".as_ref())?;
/// trainer.train(&mut |event| {
///     if let Event::Samples { step, path } = event {
///         println!("step {step}: look at {}", path.display());
///     }
///     Control::Continue
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Trainer {
    config: TrainConfig,
    directory: PathBuf,
    data: Dataset,
    /// Indices of the images kept out of training.
    held_out: Vec<usize>,
    /// Indices of all others.
    trained_on: Vec<usize>,
    plan: Arc<dyn Plan>,
    progress: Progress,
    /// Made when it is first needed.
    watch: Option<Watch>,
    /// Step for whose averaged weights the standing statistics have been taken.
    standing: Option<u64>,
    /// Step of the newest checkpoint.
    saved: u64,
    /// Why the networks are of no more use, once that is so.
    diverged: Option<(u64, String)>,
    log: Log,
    store: CheckpointStore,
    warnings: Vec<String>,
}

impl Trainer {
    /// The settings.
    pub fn config(&self) -> &TrainConfig {
        &self.config
    }

    /// Steps done so far.
    pub fn step(&self) -> u64 {
        self.progress.step
    }

    /// The two networks and their optimisers.
    pub fn gan(&self) -> &Gan {
        &self.progress.gan
    }

    /// The measurements so far, in the order of their steps.
    pub fn measurements(&self) -> &[Measurement] {
        &self.progress.state.measurements
    }

    /// The generator that samples are drawn from: the averaged one if the run keeps it, else the live one. Where
    /// running statistics are taken anew, they are those of the last grid or checkpoint.
    pub fn sampler(&self) -> &Sequential {
        let progress = &self.progress;
        progress
            .average
            .as_ref()
            .map_or(&progress.gan.generator, |(_, average)| average)
    }

    /// Trains until all steps are done, the measurements no longer get better, or the caller says stop; the last
    /// state is always saved.
    ///
    /// Sample grids and curves that cannot be written, and measures that cannot be taken, are an [`Event::Warning`] and
    /// stop nothing.
    ///
    /// # Errors
    /// [`GanError::Diverged`] if a loss, a weight, a running statistic or, when it is to be saved, a moment is not finite
    /// and the run has gone back as often as [`WatchConfig::rollbacks`](crate::WatchConfig::rollbacks) allows (the last
    /// checkpoint stays as it is), and whatever prevents writing the record or a checkpoint.
    pub fn train(&mut self, on_event: &mut dyn FnMut(Event) -> Control) -> Result<Outcome, GanError> {
        let mut stop = false;
        let mut tell = |event: Event| {
            stop |= on_event(event) == Control::Stop;
            stop
        };
        let mut stopping = self.tell_warnings(&mut tell);
        let output = self.config.output;
        // A grid comes after the checkpoint of its step, so a kill in between leaves it to be done now.
        let due = self.step().is_multiple_of(output.sample_every) || self.step() == self.config.steps;
        if self.step() == 0 || due && !self.samples_path().exists() {
            stopping |= tell(self.samples());
        }
        while self.step() < self.config.steps && !stopping && !self.ends_early() {
            stopping = match self.advance() {
                Err(GanError::Diverged { reason, .. }) if self.may_roll_back() => {
                    stopping = tell(self.roll_back(reason)?);
                    continue;
                }
                result => tell(result?),
            };
            stopping |= self.change_phase().is_some_and(&mut tell);
            let mut is_best = false;
            if self.measures_now() {
                for event in self.measure() {
                    is_best |= matches!(event, Event::Measured { is_best: true, .. });
                    stopping |= tell(event);
                }
            }
            let mut last = stopping || self.step() == self.config.steps || self.ends_early();
            if last || is_best || self.step().is_multiple_of(output.checkpoint_every) {
                let event = self.save_or_roll_back()?;
                let went_back = matches!(event, Event::RolledBack { .. });
                stopping = tell(event);
                stopping |= self.tell_warnings(&mut tell);
                if went_back {
                    continue;
                }
                last |= stopping;
            }
            if last || self.step().is_multiple_of(output.sample_every) {
                stopping = tell(self.samples());
            }
            if stopping && self.saved < self.step() {
                tell(self.save_or_roll_back()?);
                self.tell_warnings(&mut tell);
            }
        }
        Ok(if self.step() >= self.config.steps {
            Outcome::Finished
        } else if self.is_complete() {
            Outcome::Complete
        } else if self.is_on_plateau() {
            Outcome::Plateau
        } else {
            Outcome::Stopped
        })
    }

    /// Whether the run ends before its steps are done.
    fn ends_early(&self) -> bool {
        self.is_complete() || self.is_on_plateau()
    }

    /// Passes the warnings on; whether the caller wants to stop.
    fn tell_warnings(&mut self, tell: &mut dyn FnMut(Event) -> bool) -> bool {
        let warnings = std::mem::take(&mut self.warnings);
        warnings
            .into_iter()
            .fold(false, |_, warning| tell(Event::Warning(warning)))
    }

    /// One training step and its line in the record.
    fn advance(&mut self) -> Result<Event, GanError> {
        if let Some((step, reason)) = &self.diverged {
            return Err(GanError::Diverged {
                step: *step,
                reason: reason.clone(),
            });
        }
        let start = Instant::now();
        let progress = &mut self.progress;
        let critic_steps = self.config.objective.critic_steps;
        let indices: Vec<usize> = (0..critic_steps)
            .flat_map(|_| progress.batches.next_batch())
            .map(|i| self.trained_on[i])
            .collect();
        let [h, w, c] = self.data.image_size();
        let real = Tensor::from_vec([indices.len(), h, w, c], self.data.batch_f32(&indices));
        let labels: Option<Vec<usize>> =
            (self.config.classes > 0).then(|| indices.iter().map(|&i| self.data.label(i).into()).collect());
        let report = progress.gan.step(&real, labels.as_deref(), &mut progress.latent);
        if let Some(reason) = not_finite(&report, &progress.gan) {
            let step = progress.step + 1;
            self.diverged = Some((step, reason.clone()));
            return Err(GanError::Diverged { step, reason });
        }
        if let Some((average, copy)) = &mut progress.average {
            let seen = progress.step * indices.len() as u64;
            average.update(copy, &progress.gan.generator, indices.len(), seen);
        }
        progress.step += 1;
        let milliseconds = start.elapsed().as_secs_f64() * 1e3;
        let step = progress.step;
        let epoch = (step as f64 * indices.len() as f64) / self.trained_on.len() as f64;
        self.log.push(&Line::new(step, epoch, &report, milliseconds))?;
        Ok(Event::Step {
            step,
            report,
            milliseconds,
        })
    }
}

/// What is not finite after a step, or `None` if all is.
fn not_finite(report: &StepReport, gan: &Gan) -> Option<String> {
    if !report.is_finite() {
        return Some(format!(
            "the generator's loss is {}, the discriminator's {} and its penalties {}",
            report.generator_loss, report.discriminator_loss, report.penalty
        ));
    }
    [
        ("generator", &gan.generator),
        ("discriminator", &gan.discriminator),
    ]
    .into_iter()
    .find_map(|(network, module)| first_not_finite(module).map(|what| format!("of the {network}, {what}")))
}

#[cfg(test)]
mod tests;
