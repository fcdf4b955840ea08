//! The training loop of a run directory: steps, sample grids, checkpoints, exact resume.

mod directory;
pub(crate) mod pair;

use crate::average::Average;
use crate::checkpoint::{CheckpointReader, CheckpointStore, LOCK_FILE, RunLock, write_atomically};
use crate::config::TrainConfig;
use crate::curves::loss_curves;
use crate::error::GanError;
use crate::finite::first_not_finite;
use crate::gan::{Gan, StepReport};
use crate::grid::sample_grid;
use crate::log::{Line, Log};
use crate::report::{REPORT, report};
use crate::rng::{self, Purpose};
use crate::saved::CONFIG;
use crate::snapshot;
use crate::standing::standing_statistics;
use directory::{check_unoccupied, other_settings};
use engraft_data::{Batches, Dataset};
use engraft_layers::{Mode, Module, Sequential};
use engraft_tensor::{Tensor, no_grad};
use pair::{Pair, networks_of, new_gan};
use rand_pcg::Pcg64;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Images on a sample grid, and columns of it.
const SAMPLES: usize = 64;
/// Latent vectors in a batch for standing statistics.
const STANDING: usize = 64;
const COLUMNS: usize = 8;
const METRICS: &str = "metrics.jsonl";
const CURVES: &str = "losses.svg";
const SAMPLE_FOLDER: &str = "samples";

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
    gan: Gan,
    average: Option<(Average, Sequential)>,
    /// Step for whose averaged weights the standing statistics have been taken.
    standing: Option<u64>,
    batches: Batches,
    latent: Pcg64,
    step: u64,
    /// Step of the newest checkpoint.
    saved: u64,
    /// Why the networks are of no more use, once that is so.
    diverged: Option<(u64, String)>,
    log: Log,
    store: CheckpointStore,
    warnings: Vec<String>,
}

impl Trainer {
    /// Opens a run directory: goes on from its newest intact checkpoint, or begins if it has none.
    ///
    /// The directory is locked until the trainer is dropped. A run that is gone on with must have the same
    /// settings, except for the number of steps and what is written.
    ///
    /// # Errors
    /// Settings that make no sense or differ from the run's, images of another size than the networks make,
    /// a directory that cannot be written or belongs to a run in progress, damaged checkpoints, a directory
    /// without checkpoints that holds a `run.toml` or a record of steps ([`GanError::Occupied`]).
    pub fn open(config: TrainConfig, data: Dataset, directory: &Path) -> Result<Self, GanError> {
        config.check()?;
        Self::open_with(config, data, directory, &networks_of)
    }

    /// As [`Trainer::open`], with networks of the caller's make.
    fn open_with(
        config: TrainConfig,
        data: Dataset,
        directory: &Path,
        pair: &dyn Fn(&TrainConfig) -> Result<Pair, GanError>,
    ) -> Result<Self, GanError> {
        config.check_data(&data)?;
        let has_checkpoint = || {
            CheckpointReader::new(directory)
                .steps()
                .is_ok_and(|s| !s.is_empty())
        };
        if !directory.join(LOCK_FILE).exists() && !has_checkpoint() {
            // Nobody's run: not even a lock is to be left in it.
            check_unoccupied(directory)?;
        }
        let store = CheckpointStore::open(directory, config.output.keep_checkpoints)?;
        let mut gan = new_gan(&config, pair(&config)?);
        gan.check()?;
        let mut average = match config.average_half_life {
            0 => None,
            half_life => {
                let start = new_gan(&config, pair(&config)?).generator;
                Some((Average::new(half_life), start))
            }
        };
        let order = rng::seed(config.seed, Purpose::Order);
        let mut batches = Batches::new(data.len(), config.batch, order)?;
        let mut latent = rng::stream(config.seed, Purpose::Latent);
        let mut step = 0;
        let mut warnings = Vec::new();
        let found = store.latest()?;
        if let Some(loaded) = &found {
            let checkpoint = &loaded.checkpoint;
            warnings.extend(loaded.warnings.iter().cloned());
            if checkpoint.options_hash != config.fixed_hash() {
                return Err(other_settings(&config, directory));
            }
            let state = snapshot::restore(checkpoint, &mut gan, average.as_mut().map(|a| &mut a.1))?;
            batches = Batches::resume(data.len(), config.batch, state.batches)?;
            (latent, step) = (state.latent, state.step);
            write_atomically(&directory.join(CONFIG), config.to_toml().as_bytes())?;
        } else {
            check_unoccupied(directory)?;
        }
        let samples = directory.join(SAMPLE_FOLDER);
        std::fs::create_dir_all(&samples).map_err(|e| GanError::io(&samples, "creating", e))?;
        let (log, warning) = Log::open(&directory.join(METRICS), step)?;
        warnings.extend(warning);
        let mut trainer = Self {
            directory: directory.into(),
            data,
            gan,
            average,
            standing: None,
            batches,
            latent,
            step,
            saved: step,
            diverged: None,
            log,
            store,
            warnings,
            config,
        };
        if found.is_none() {
            // From the first moment on there is a checkpoint to go back to. The settings come after it: where
            // they stand without one, a run has lost its checkpoints.
            trainer.save()?;
            write_atomically(&directory.join(CONFIG), trainer.config.to_toml().as_bytes())?;
        }
        Ok(trainer)
    }

    /// Moves an earlier run out of the way, so that a new one can begin in `directory`; gives its new place,
    /// or `None` if there was none.
    ///
    /// # Errors
    /// If the run is in progress, the directory is not a run's, or it cannot be renamed.
    pub fn set_aside(directory: &Path) -> Result<Option<PathBuf>, GanError> {
        let is_empty = match std::fs::read_dir(directory) {
            Ok(mut entries) => entries.next().is_none(),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => true,
            Err(e) => return Err(GanError::io(directory, "listing", e)),
        };
        if is_empty {
            return Ok(None);
        }
        // A run that was killed before it wrote its settings has its lock already.
        if ![CONFIG, LOCK_FILE]
            .iter()
            .any(|name| directory.join(name).is_file())
        {
            return Err(GanError::NotARun {
                path: directory.into(),
            });
        }
        // Held until the directory has its new name, so that no other run begins in it meanwhile.
        let _lock = RunLock::acquire(directory)?;
        let target = (1..)
            .map(|i| {
                let mut name = directory.file_name().unwrap_or_default().to_os_string();
                name.push(format!(".old-{i}"));
                directory.with_file_name(name)
            })
            .find(|path| !path.exists())
            .expect("some number is free");
        std::fs::rename(directory, &target).map_err(|e| GanError::io(directory, "renaming", e))?;
        Ok(Some(target))
    }

    /// The settings.
    pub fn config(&self) -> &TrainConfig {
        &self.config
    }

    /// Steps done so far.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// The two networks and their optimisers.
    pub fn gan(&self) -> &Gan {
        &self.gan
    }

    /// The generator that samples are drawn from: the averaged one if the run keeps it, else the live one. Where
    /// running statistics are taken anew, they are those of the last grid or checkpoint.
    pub fn sampler(&self) -> &Sequential {
        self.average
            .as_ref()
            .map_or(&self.gan.generator, |(_, average)| average)
    }

    /// Trains until all steps are done or the caller says stop; the last state is always saved.
    ///
    /// Sample grids and curves that cannot be written are an [`Event::Warning`] and stop nothing.
    ///
    /// # Errors
    /// [`GanError::Diverged`] if a loss, a weight or a running statistic is not finite (the last checkpoint
    /// stays as it is), and whatever prevents writing the record or a checkpoint.
    pub fn train(&mut self, on_event: &mut dyn FnMut(Event) -> Control) -> Result<Outcome, GanError> {
        let mut stop = false;
        let mut tell = |event: Event| {
            stop |= on_event(event) == Control::Stop;
            stop
        };
        let mut stopping = self.tell_warnings(&mut tell);
        let output = self.config.output;
        // A grid comes after the checkpoint of its step, so a kill in between leaves it to be done now.
        let due = self.step.is_multiple_of(output.sample_every) || self.step == self.config.steps;
        if self.step == 0 || due && !self.samples_path().exists() {
            stopping |= tell(self.samples());
        }
        while self.step < self.config.steps && !stopping {
            stopping = tell(self.advance()?);
            let mut last = stopping || self.step == self.config.steps;
            if last || self.step.is_multiple_of(output.checkpoint_every) {
                stopping = tell(self.save()?);
                stopping |= self.tell_warnings(&mut tell);
                last |= stopping;
            }
            if last || self.step.is_multiple_of(output.sample_every) {
                stopping = tell(self.samples());
            }
            if stopping && self.saved < self.step {
                tell(self.save()?);
                self.tell_warnings(&mut tell);
            }
        }
        Ok(if self.step < self.config.steps {
            Outcome::Stopped
        } else {
            Outcome::Finished
        })
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
        let critic_steps = self.config.objective.critic_steps;
        let indices: Vec<usize> = (0..critic_steps)
            .flat_map(|_| self.batches.next_batch())
            .collect();
        let [h, w, c] = self.data.image_size();
        let real = Tensor::from_vec([indices.len(), h, w, c], self.data.batch_f32(&indices));
        let report = self.gan.step(&real, &mut self.latent);
        if let Some(reason) = self.not_finite(&report) {
            let step = self.step + 1;
            self.diverged = Some((step, reason.clone()));
            return Err(GanError::Diverged { step, reason });
        }
        if let Some((average, copy)) = &mut self.average {
            let seen = self.step * indices.len() as u64;
            average.update(copy, &self.gan.generator, indices.len(), seen);
        }
        self.step += 1;
        let milliseconds = start.elapsed().as_secs_f64() * 1e3;
        let epoch = (self.step as f64 * indices.len() as f64) / self.config.images as f64;
        self.log
            .push(&Line::new(self.step, epoch, &report, milliseconds))?;
        Ok(Event::Step {
            step: self.step,
            report,
            milliseconds,
        })
    }

    /// What is not finite after a step, or `None` if all is.
    fn not_finite(&self, report: &StepReport) -> Option<String> {
        if !report.is_finite() {
            return Some(format!(
                "the generator's loss is {}, the discriminator's {} and its penalties {}",
                report.generator_loss, report.discriminator_loss, report.penalty
            ));
        }
        [
            ("generator", &self.gan.generator),
            ("discriminator", &self.gan.discriminator),
        ]
        .into_iter()
        .find_map(|(network, module)| {
            first_not_finite(module).map(|what| format!("of the {network}, {what}"))
        })
    }

    /// The sample grid and the curves; a warning if they cannot be written.
    fn samples(&mut self) -> Event {
        self.take_standing_statistics();
        self.write_samples().unwrap_or_else(|error| {
            Event::Warning(format!("step {}: no samples or curves: {error}", self.step))
        })
    }

    fn samples_path(&self) -> PathBuf {
        let name = format!("step-{:06}.png", self.step);
        self.directory.join(SAMPLE_FOLDER).join(name)
    }

    /// Writes the sample grid, of the same noise every time, the loss curves, and the page that shows it all.
    fn write_samples(&self) -> Result<Event, GanError> {
        let noise = self
            .gan
            .noise(SAMPLES, &mut rng::stream(self.config.seed, Purpose::Samples));
        let images = no_grad(|| self.sampler().forward(&noise, Mode::Eval));
        let path = self.samples_path();
        let folder = self.directory.join(SAMPLE_FOLDER);
        std::fs::create_dir_all(&folder).map_err(|e| GanError::io(&folder, "creating", e))?;
        write_atomically(&path, &sample_grid(&images, COLUMNS))?;
        let curves = loss_curves(self.log.losses());
        write_atomically(&self.directory.join(CURVES), curves.as_bytes())?;
        let page = report(&self.config, self.log.losses(), &folder)?;
        write_atomically(&self.directory.join(REPORT), page.as_bytes())?;
        Ok(Event::Samples {
            step: self.step,
            path,
        })
    }

    /// Takes the averaged generator's running statistics anew, of the same noise every time, if that is asked for and
    /// not done for these weights. The next step of the average puts those of the live one in their place.
    fn take_standing_statistics(&mut self) {
        let batches = self.config.standing_batches;
        let Some((_, average)) = self.average.as_mut().filter(|_| batches > 0) else {
            return;
        };
        if self.standing != Some(self.step) {
            let mut noise = rng::stream(self.config.seed, Purpose::Standing);
            let gan = &self.gan;
            standing_statistics(average, (0..batches).map(|_| gan.noise(STANDING, &mut noise)));
            self.standing = Some(self.step);
        }
    }

    fn save(&mut self) -> Result<Event, GanError> {
        self.take_standing_statistics();
        self.log.sync()?;
        let average = self.average.as_ref().map(|(_, average)| average);
        let files = snapshot::to_files(self.step, &self.gan, average, &self.latent, self.batches.state())
            .inspect_err(|error| {
                if let GanError::Diverged { step, reason } = error {
                    self.diverged = Some((*step, reason.clone()));
                }
            })?;
        let saved = self.store.save(self.step, &self.config.fixed_hash(), &files)?;
        self.saved = self.step;
        self.warnings.extend(saved.warnings);
        Ok(Event::Checkpoint {
            step: self.step,
            path: saved.path,
        })
    }
}

#[cfg(test)]
mod tests;
