//! The training loop of a run directory: steps, sample grids, evaluation, checkpoints, exact resume.

mod bound_data;
mod builder;
mod conditioned;
mod event;
mod image_grids;
mod pictures;
mod progress;
mod ranks;
mod run_files;
mod split;

pub use builder::TrainerBuilder;
pub use event::{Event, TrainingOutcome};

use crate::config::TrainConfig;
use crate::error::GanError;
use crate::gan::Gan;
use crate::log::Line;
use crate::monitor::{Measurement, Monitor};
use crate::pseudo_labels::PseudoLabels;
use crate::rng::{self, Purpose};
use crate::sample_writer::SampleWriter;
use crate::training_plan::{MAX_PHASE_HISTORY, PhaseProgress, TrainingPlan};
use engraft_data::TrainingData;
use engraft_layers::{Mode, Module, Sequential};
use engraft_tensor::no_grad;
use pictures::write_pictures;
use progress::Progress;
use ranks::{Leader, Order};
use run_files::RunFiles;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// A training run: networks, data, and the directory with everything it writes.
///
/// [`Trainer::open`] starts a run or resumes it from its newest checkpoint. [`Trainer::train`] runs the loop. A run
/// that was stopped or killed resumes to the same weights, bit for bit.
///
/// The directory contains `run.toml` (settings), `metrics.jsonl` (one line for each step), `measures.jsonl`
/// (evaluations), `samples/`, `checkpoints/` and `report.html`; see [`RunLayout`](crate::RunLayout).
///
/// ```no_run
/// use engraft_data::{DatasetName, LoadOptions, Split, load};
/// use engraft_gan::{Event, TrainConfig, Trainer};
/// use std::ops::ControlFlow;
///
/// let data = load(DatasetName::Mnist, Split::Train, &LoadOptions::new())?;
/// let config = TrainConfig::standard(&data);
/// let mut trainer = Trainer::open(config, data, "runs/mnist".as_ref())?;
/// trainer.train(&mut |event| {
///     if let Event::Samples { step, path } = event {
///         println!("step {step}: samples in {}", path.display());
///     }
///     ControlFlow::Continue(())
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Trainer {
    config: TrainConfig,
    data: Arc<dyn TrainingData>,
    /// Indices of the training images, without the validation images.
    trained_on: Vec<usize>,
    plan: Arc<dyn TrainingPlan>,
    progress: Progress,
    files: RunFiles,
    samples: Box<dyn SampleWriter>,
    /// Evaluation on validation images; `None` if it is off.
    monitor: Option<Monitor>,
    /// Warnings to emit with the next event.
    warnings: Vec<String>,
    /// Connection to the other ranks of a distributed run.
    leader: Option<Leader>,
}

/// Result of a step or a save.
#[derive(PartialEq, Eq)]
enum Attempt {
    /// It succeeded.
    Done,
    /// The run diverged and was rolled back to its newest checkpoint.
    RolledBack,
}

/// Passes events to the caller of [`Trainer::train`] and records whether it asked to stop.
struct EventSink<'a> {
    on_event: &'a mut dyn FnMut(Event) -> ControlFlow<()>,
    wants_stop: bool,
}

impl EventSink<'_> {
    fn emit(&mut self, event: Event) {
        self.wants_stop |= (self.on_event)(event).is_break();
    }
}

impl Trainer {
    /// Opens a run directory: resumes from its newest intact checkpoint, or starts a new run.
    ///
    /// - `config`: settings, usually [`TrainConfig::standard`] with changes.
    /// - `data`: images `[h, w, c]` of the shape in `config`, with labels for class-conditional training.
    /// - `directory`: created if it does not exist. It stays locked until the trainer is dropped.
    ///
    /// A resumed run must have the same settings, except for the number of steps, the outputs and the evaluation.
    ///
    /// # Errors
    /// - [`GanError::Config`], [`GanError::ImageSize`]: invalid settings, or images that the networks do not
    ///   support.
    /// - [`GanError::OtherSettings`], [`GanError::OtherData`], [`GanError::OtherLabels`]: the run was started
    ///   differently.
    /// - [`GanError::Locked`]: another process is writing to the directory.
    /// - [`GanError::Occupied`]: the directory has a `run.toml` or `metrics.jsonl` but no checkpoint.
    /// - [`GanError::NoIntactCheckpoint`], [`GanError::Io`]: damaged checkpoints, or a directory that cannot be
    ///   written.
    pub fn open(
        config: TrainConfig,
        data: impl Into<Arc<dyn TrainingData>>,
        directory: &Path,
    ) -> Result<Self, GanError> {
        Self::builder(config, data).open(directory)
    }

    /// A builder, to set a [training plan](crate::TrainingPlan), a feature extractor or a sample writer before
    /// opening.
    pub fn builder(config: TrainConfig, data: impl Into<Arc<dyn TrainingData>>) -> TrainerBuilder {
        TrainerBuilder::new(config, data.into())
    }

    /// Renames an earlier run to `DIRECTORY.old-N`, so that a new run can start in `directory`. Returns the new
    /// path, or `None` if the directory is empty or missing.
    ///
    /// # Errors
    /// If the run is in progress, the directory is not a run directory, or renaming fails.
    pub fn set_aside(directory: &Path) -> Result<Option<PathBuf>, GanError> {
        run_files::set_aside(directory)
    }

    /// The settings of the run.
    pub fn config(&self) -> &TrainConfig {
        &self.config
    }

    /// A sentence if the second features of the evaluation prefer another checkpoint than the best one
    /// ([`Measurement::second_kid`](crate::Measurement::second_kid)).
    pub fn second_opinion(&self) -> Option<String> {
        let state = &self.progress.state;
        let name = self.monitor.as_ref()?.second()?;
        let (best, other) = (state.best()?, state.disagreement()?);
        Some(format!(
            "the features disagree about the best checkpoint: step {} has the best score, but with {name} that of step {} is \
             better (KID {:.4} instead of {:.4}); compare the sample grids of both steps",
            best.step, other.step, other.second_kid?, best.second_kid?
        ))
    }

    /// The clusters, if they are the classes of the run.
    pub fn pseudo_labels(&self) -> Option<&PseudoLabels> {
        self.progress.pseudo_labels().map(Arc::as_ref)
    }

    /// Steps done so far.
    pub fn step(&self) -> u64 {
        self.progress.step
    }

    /// The networks and their optimizers.
    pub fn gan(&self) -> &Gan {
        &self.progress.gan
    }

    /// All evaluations so far, oldest first.
    pub fn measurements(&self) -> &[Measurement] {
        &self.progress.state.measurements
    }

    /// The generator that samples come from: the EMA generator, or the live one without EMA.
    ///
    /// With [`TrainConfig::standing_batches`] its running statistics are those of the last grid or checkpoint.
    pub fn ema_generator(&self) -> &Sequential {
        self.progress.ema_generator()
    }

    /// Trains until all steps are done, the plan is complete, early stopping ends the run, or the caller stops it.
    /// The final state is always saved.
    ///
    /// `on_event` receives each [`Event`]. If it returns [`ControlFlow::Break`], training stops after the current
    /// step.
    ///
    /// Failures to write sample grids, plots or reports, and failed evaluations, are [`Event::Warning`]s and do not
    /// stop the run.
    ///
    /// # Errors
    /// - [`GanError::Diverged`] if a loss, a weight, a running statistic or a saved optimizer moment is not finite,
    ///   and the run has already used all its [rollbacks](crate::EvaluationConfig::rollbacks). The last checkpoint
    ///   stays intact.
    /// - [`GanError::Io`] if `metrics.jsonl` or a checkpoint cannot be written.
    pub fn train(
        &mut self,
        on_event: &mut dyn FnMut(Event) -> ControlFlow<()>,
    ) -> Result<TrainingOutcome, GanError> {
        let sink = &mut EventSink {
            on_event,
            wants_stop: false,
        };
        let output = self.config.output;
        self.emit_warnings(sink);
        let (reals, augmented) = (self.files.layout().reals(), self.files.layout().augmented());
        if self.step() == 0 && reals.exists() {
            let augmented = Some(augmented).filter(|path| path.exists());
            sink.emit(Event::Images { reals, augmented });
        }
        if self.is_missing_samples() {
            self.write_samples(sink);
        }
        if self.is_missing_pictures() {
            self.write_pictures(sink);
        }
        self.write_report(sink);
        while !self.is_over() && !sink.wants_stop {
            let trained = self.train_step();
            if self.emit_or_roll_back(trained, sink)? == Attempt::RolledBack {
                continue;
            }
            self.advance_phase(sink);
            let is_best = self.is_evaluation_due() && self.measure(sink);
            if is_best || self.is_due(output.checkpoint_every, sink) {
                let saved = self.save();
                if self.emit_or_roll_back(saved, sink)? == Attempt::RolledBack {
                    continue;
                }
            }
            if self.is_due(output.sample_every, sink) {
                self.write_samples(sink);
            }
            if sink.wants_stop && self.files.saved() < self.step() {
                // The caller stopped in response to the sample grid.
                let saved = self.save();
                self.emit_or_roll_back(saved, sink)?;
            }
            if self.files.saved() == self.step() {
                if sink.wants_stop || self.is_over() {
                    self.write_pictures(sink);
                }
                self.write_report(sink);
            }
        }
        Ok(self.outcome())
    }

    /// The current outcome; `Stopped` while there are steps left.
    fn outcome(&self) -> TrainingOutcome {
        if self.step() >= self.config.steps {
            TrainingOutcome::Finished
        } else if self.is_complete() {
            TrainingOutcome::Complete
        } else if self.is_on_plateau() {
            TrainingOutcome::Plateau
        } else {
            TrainingOutcome::Stopped
        }
    }

    /// Whether the run has ended by itself.
    fn is_over(&self) -> bool {
        self.outcome() != TrainingOutcome::Stopped
    }

    /// Whether the last phase of the plan has ended.
    fn is_complete(&self) -> bool {
        self.progress.state.phase >= self.plan.phases()
    }

    /// Whether early stopping ends the run.
    fn is_on_plateau(&self) -> bool {
        self.progress.state.is_on_plateau(self.config.evaluation.patience)
    }

    /// Whether an action with this interval is due after the current step, or because the run ends.
    fn is_due(&self, every: u64, sink: &EventSink<'_>) -> bool {
        self.step().is_multiple_of(every) || sink.wants_stop || self.is_over()
    }

    /// Whether the sample grid of the current step is missing. A run killed between a checkpoint and its grid
    /// writes it on resume.
    fn is_missing_samples(&self) -> bool {
        let step = self.step();
        let is_due = step.is_multiple_of(self.config.output.sample_every) || step == self.config.steps;
        step == 0 || is_due && !self.files.samples_path(step, self.samples.as_ref()).exists()
    }

    /// Whether the pictures of a run at its end are missing or older than its last checkpoint: it was killed between the two.
    fn is_missing_pictures(&self) -> bool {
        let modified = |path: &Path| std::fs::metadata(path).and_then(|about| about.modified()).ok();
        let layout = self.files.layout();
        // The last one that is written.
        let pictures = modified(&layout.interpolation());
        self.is_over() && self.step() > 0 && pictures < modified(&layout.checkpoint(self.step()))
    }

    fn emit_warnings(&mut self, sink: &mut EventSink<'_>) {
        for warning in self.warnings.drain(..) {
            sink.emit(Event::Warning(warning));
        }
    }

    /// Emits the event, or rolls the run back if it diverged and has rollbacks left.
    fn emit_or_roll_back(
        &mut self,
        done: Result<Event, GanError>,
        sink: &mut EventSink<'_>,
    ) -> Result<Attempt, GanError> {
        let may_roll_back = self.progress.state.rollbacks < self.config.evaluation.rollbacks;
        let (event, attempt) = match done {
            Err(GanError::Diverged { reason, .. }) if may_roll_back => {
                (self.roll_back(reason)?, Attempt::RolledBack)
            }
            event => (event?, Attempt::Done),
        };
        sink.emit(event);
        self.emit_warnings(sink);
        Ok(attempt)
    }

    /// One training step, with its line in `metrics.jsonl`.
    fn train_step(&mut self) -> Result<Event, GanError> {
        self.progress.check_finite()?;
        let start = Instant::now();
        let batches = self.progress.next_batches(self.config.objective.n_critic);
        let indices: Vec<usize> = batches.iter().map(|&i| self.trained_on[i]).collect();
        let (real, condition) = self.progress.inputs(self.data.as_ref(), &indices, &self.config)?;
        if let Some(leader) = &self.leader {
            leader.tell(Order::Step);
        }
        let report = self.progress.train(&real, condition)?;
        let milliseconds = start.elapsed().as_secs_f64() * 1e3;
        let step = self.step();
        let epoch = (step as f64 * indices.len() as f64) / self.trained_on.len() as f64;
        self.files.push(&Line::new(step, epoch, &report, milliseconds))?;
        Ok(Event::Step {
            step,
            report,
            milliseconds,
        })
    }

    /// Starts the next phase of the plan, if the current one has ended.
    fn advance_phase(&mut self, sink: &mut EventSink<'_>) {
        let state = &self.progress.state;
        let (step, steps) = (self.step(), self.step() - state.phase_start);
        let record = self.files.log().losses();
        let shown = record.len().min(steps as usize).min(MAX_PHASE_HISTORY);
        let record = &record[record.len() - shown..];
        let accuracy: Vec<f64> = record.iter().map(|l| l.accuracy).collect();
        let real_sign: Vec<f64> = record.iter().map(|l| l.real_sign).collect();
        let first = state
            .measurements
            .partition_point(|m| m.step <= state.phase_start);
        let over = self.plan.phase_end(&PhaseProgress {
            phase: state.phase,
            steps,
            accuracy: &accuracy,
            real_sign: &real_sign,
            measurements: &state.measurements[first..],
        });
        let Some(reason) = over else { return };
        let progress = &mut self.progress;
        let phase = progress.state.phase + 1;
        (progress.state.phase, progress.state.phase_start) = (phase, step);
        self.plan.begin_phase(phase, &mut progress.gan);
        if let Some(leader) = &self.leader {
            leader.tell(Order::Phase(phase));
        }
        sink.emit(Event::Phase { step, phase, reason });
    }

    /// Whether an evaluation is due after the current step.
    fn is_evaluation_due(&self) -> bool {
        let (step, every) = (self.step(), self.config.evaluation.every);
        every > 0 && (step.is_multiple_of(every) || step == self.config.steps && step > every)
    }

    /// Evaluates the run and stores the result. Returns whether it is the best so far.
    fn measure(&mut self, sink: &mut EventSink<'_>) -> bool {
        let Some(monitor) = &mut self.monitor else {
            return false;
        };
        self.progress.take_standing_statistics(&self.config);
        let (step, progress) = (self.progress.step, &self.progress);
        let mut stream = rng::stream(self.config.seed, Purpose::Evaluation);
        let noise = progress
            .gan
            .noise(self.config.evaluation.images as usize, &mut stream);
        let found = monitor.measure(step, &progress.gan, progress.ema_generator(), &noise);
        let measurement = match found {
            Ok(measurement) => measurement,
            Err(error) => {
                sink.emit(Event::Warning(format!(
                    "step {step}: the evaluation failed: {error}"
                )));
                return false;
            }
        };
        let (is_best, alarms) = self.progress.state.add(measurement, &self.config);
        let written = self.files.write_measurements(&self.progress.state);
        sink.emit(Event::Measured { measurement, is_best });
        for alarm in alarms {
            let message = measurement.alarm_message(alarm);
            sink.emit(Event::Alarm { step, alarm, message });
        }
        if let Err(error) = written {
            sink.emit(Event::Warning(format!("step {step}: {error}")));
        }
        is_best
    }

    /// Saves a checkpoint.
    ///
    /// [`GanError::Diverged`] if an optimizer moment is not finite. This is checked only here, because each check
    /// copies the moments.
    fn save(&mut self) -> Result<Event, GanError> {
        self.progress.take_standing_statistics(&self.config);
        self.files.sync()?;
        let files = self.progress.checkpoint_files()?;
        let step = self.step();
        if let Some(leader) = &self.leader {
            leader.compare(&self.progress.gan, step)?;
        }
        let (path, warnings) = self.files.save(step, &self.config, &files)?;
        self.warnings.extend(warnings);
        Ok(Event::Checkpoint { step, path })
    }

    /// Rolls back to the newest checkpoint, with half the learning rates and different noise.
    fn roll_back(&mut self, reason: String) -> Result<Event, GanError> {
        let times = self.progress.state.rollbacks + 1;
        let loaded = self.files.latest()?;
        let images = self.trained_on.len();
        let lines = self.progress.state.to_lines();
        let clusters = self.progress.pseudo_labels().cloned();
        self.progress = Progress::at(
            &loaded.checkpoint,
            &self.config,
            images,
            self.plan.as_ref(),
            times,
        )?;
        if let Some(leader) = &self.leader {
            leader.restore(&self.config, &loaded.checkpoint, times);
            let micro_batches = self.config.micro_batches as usize;
            self.progress.gan.distribute(micro_batches, leader.communicator());
        }
        self.progress.set_pseudo_labels(clusters);
        self.progress.state.read_second(&lines);
        let step = self.step();
        self.warnings.extend(loaded.warnings);
        let warning = self.files.roll_back(step, self.progress.state.best_step())?;
        self.warnings.extend(warning);
        Ok(Event::RolledBack { step, reason, times })
    }

    /// Writes the sample grid, always from the same latent vectors, and the loss plots.
    fn write_samples(&mut self, sink: &mut EventSink<'_>) {
        self.progress.take_standing_statistics(&self.config);
        let step = self.step();
        let mut stream = rng::stream(self.config.seed, Purpose::Samples);
        let noise = self.progress.gan.noise(self.samples.count(), &mut stream);
        let condition = self.gan().cyclic_labels(self.samples.count());
        let images = no_grad(|| self.ema_generator().forward_with(&noise, &condition, Mode::Eval));
        sink.emit(
            match self.files.write_samples(step, &images, self.samples.as_ref()) {
                Ok(path) => Event::Samples { step, path },
                Err(error) => Event::Warning(format!(
                    "step {step}: the samples or loss plots were not written: {error}"
                )),
            },
        );
    }

    /// Writes the pictures of a finished or stopped run, which `report.html` shows.
    fn write_pictures(&mut self, sink: &mut EventSink<'_>) {
        self.progress.take_standing_statistics(&self.config);
        let layout = self.files.layout();
        let data = self.data.as_ref();
        let written = write_pictures(layout, &self.config, data, &self.trained_on, &self.progress);
        if let Err(error) = written {
            sink.emit(Event::Warning(format!(
                "step {}: nearest.png or interpolation.png was not written: {error}",
                self.step()
            )));
        }
    }

    /// Writes `report.html`. It contains all grids so far, so it is not written with every grid.
    fn write_report(&mut self, sink: &mut EventSink<'_>) {
        let step = self.step();
        let extractor = self.monitor.as_ref().map(Monitor::extractor);
        let written = self
            .files
            .write_report(step, &self.config, &self.progress.state, extractor.as_deref());
        if let Err(error) = written {
            sink.emit(Event::Warning(format!(
                "step {step}: report.html was not written: {error}"
            )));
        }
    }
}

#[cfg(test)]
mod monitoring_tests;
#[cfg(test)]
mod rank_tests;
#[cfg(test)]
mod report_tests;
#[cfg(test)]
mod seam_tests;
#[cfg(test)]
mod tests;
