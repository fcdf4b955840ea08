//! The training loop of a run directory: steps, sample grids, checkpoints, exact resume.

use crate::average::Average;
use crate::checkpoint::{CheckpointStore, LOCK_FILE, RunLock, write_atomically};
use crate::config::TrainConfig;
use crate::curves::loss_curves;
use crate::dcgan;
use crate::error::GanError;
use crate::gan::{Gan, StepReport};
use crate::grid::sample_grid;
use crate::log::{Line, Log};
use crate::rng::{self, Purpose};
use crate::snapshot;
use engraft_data::{Batches, Dataset};
use engraft_layers::{Init, Mode, Module, Sequential};
use engraft_tensor::{Tensor, no_grad};
use rand_pcg::Pcg64;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Images on a sample grid, and columns of it.
const SAMPLES: usize = 64;
const COLUMNS: usize = 8;
/// Size above which a `run.toml` is not read.
const MAX_CONFIG_BYTES: u64 = 1 << 20;

const CONFIG: &str = "run.toml";
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
    batches: Batches,
    latent: Pcg64,
    step: u64,
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
    /// a directory that cannot be written or belongs to a run in progress, damaged checkpoints.
    pub fn open(config: TrainConfig, data: Dataset, directory: &Path) -> Result<Self, GanError> {
        config.check()?;
        config.check_data(&data)?;
        let store = CheckpointStore::open(directory, config.output.keep_checkpoints)?;
        let init = &mut |purpose| Init::glorot(rng::seed(config.seed, purpose));
        let mut gan = Gan::new(
            dcgan::generator(&mut init(Purpose::Generator)),
            dcgan::discriminator(&mut init(Purpose::Discriminator)),
            dcgan::LATENT,
        )
        .objective(config.objective)
        .order(config.order)
        .optimizers(config.generator.build(), config.discriminator.build());
        let mut average = (config.average_half_life > 0).then(|| {
            let start = dcgan::generator(&mut init(Purpose::Generator));
            (Average::new(config.average_half_life), start)
        });
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
        }
        write_atomically(&directory.join(CONFIG), config.to_toml().as_bytes())?;
        let samples = directory.join(SAMPLE_FOLDER);
        std::fs::create_dir_all(&samples).map_err(|e| GanError::io(&samples, "creating", e))?;
        let log = Log::open(&directory.join(METRICS), step)?;
        let mut trainer = Self {
            directory: directory.into(),
            data,
            gan,
            average,
            batches,
            latent,
            step,
            log,
            store,
            warnings,
            config,
        };
        if found.is_none() {
            // From the first moment on there is a checkpoint to go back to.
            trainer.save()?;
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

    /// The generator that samples are drawn from: the averaged one if the run keeps it, else the live one.
    pub fn sampler(&self) -> &Sequential {
        self.average
            .as_ref()
            .map_or(&self.gan.generator, |(_, average)| average)
    }

    /// Trains until all steps are done or the caller says stop; the last state is always saved.
    ///
    /// # Errors
    /// [`GanError::Diverged`] if a loss is not finite (the last checkpoint stays as it is), and whatever
    /// prevents writing.
    pub fn train(&mut self, on_event: &mut dyn FnMut(Event) -> Control) -> Result<Outcome, GanError> {
        let mut control = Control::Continue;
        for warning in std::mem::take(&mut self.warnings) {
            on_event(Event::Warning(warning));
        }
        if self.step == 0 {
            control = on_event(self.write_samples()?);
        }
        while self.step < self.config.steps && control == Control::Continue {
            control = on_event(self.advance()?);
            let last = self.step == self.config.steps || control == Control::Stop;
            if last || self.step.is_multiple_of(self.config.output.sample_every) {
                on_event(self.write_samples()?);
            }
            if last || self.step.is_multiple_of(self.config.output.checkpoint_every) {
                let saved = self.save()?;
                on_event(saved);
                for warning in std::mem::take(&mut self.warnings) {
                    on_event(Event::Warning(warning));
                }
            }
        }
        Ok(if self.step < self.config.steps {
            Outcome::Stopped
        } else {
            Outcome::Finished
        })
    }

    /// One training step and its line in the record.
    fn advance(&mut self) -> Result<Event, GanError> {
        let start = Instant::now();
        let indices = self.batches.next_batch();
        let [h, w, c] = self.data.image_size();
        let real = Tensor::from_vec([indices.len(), h, w, c], self.data.batch_f32(&indices));
        let report = self.gan.step(&real, &mut self.latent);
        self.step += 1;
        if !report.is_finite() {
            return Err(GanError::Diverged {
                step: self.step,
                generator_loss: report.generator_loss,
                discriminator_loss: report.discriminator_loss,
            });
        }
        if let Some((average, copy)) = &mut self.average {
            let seen = (self.step - 1) * self.config.batch as u64;
            average.update(copy, &self.gan.generator, self.config.batch, seen);
        }
        let milliseconds = start.elapsed().as_secs_f64() * 1e3;
        let epoch = (self.step as f64 * self.config.batch as f64) / self.config.images as f64;
        self.log
            .push(&Line::new(self.step, epoch, &report, milliseconds))?;
        Ok(Event::Step {
            step: self.step,
            report,
            milliseconds,
        })
    }

    /// Writes the sample grid, of the same noise every time, and the loss curves.
    fn write_samples(&self) -> Result<Event, GanError> {
        let noise = self
            .gan
            .noise(SAMPLES, &mut rng::stream(self.config.seed, Purpose::Samples));
        let images = no_grad(|| self.sampler().forward(&noise, Mode::Eval));
        let name = format!("step-{:06}.png", self.step);
        let path = self.directory.join(SAMPLE_FOLDER).join(name);
        write_atomically(&path, &sample_grid(&images, COLUMNS))?;
        let curves = loss_curves(self.log.losses());
        write_atomically(&self.directory.join(CURVES), curves.as_bytes())?;
        Ok(Event::Samples {
            step: self.step,
            path,
        })
    }

    fn save(&mut self) -> Result<Event, GanError> {
        self.log.sync()?;
        let average = self.average.as_ref().map(|(_, average)| average);
        let files = snapshot::to_files(self.step, &self.gan, average, &self.latent, self.batches.state())?;
        let saved = self.store.save(self.step, &self.config.fixed_hash(), &files)?;
        self.warnings.extend(saved.warnings);
        Ok(Event::Checkpoint {
            step: self.step,
            path: saved.path,
        })
    }
}

/// The error for a run that was begun with other settings, with the differences if its `run.toml` tells them.
fn other_settings(config: &TrainConfig, directory: &Path) -> GanError {
    let path = directory.join(CONFIG);
    let mut text = String::new();
    let read =
        std::fs::File::open(&path).and_then(|file| file.take(MAX_CONFIG_BYTES).read_to_string(&mut text));
    let differences = match read.map(|_| TrainConfig::from_toml(&text, &path)) {
        Ok(Ok(saved)) => saved.fixed_differences(config),
        Ok(Err(e)) => vec![e.to_string()],
        Err(e) => vec![format!("{}: {e}", path.display())],
    };
    GanError::OtherSettings {
        path: directory.into(),
        differences,
    }
}
