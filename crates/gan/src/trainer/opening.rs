//! Opening a run directory: a new run, one to go on with, one to move aside.

use super::directory::{check_unoccupied, other_settings};
use super::{METRICS, SAMPLE_FOLDER, Trainer};
use crate::average::Average;
use crate::build::{DefaultPlan, planned_gan, planned_networks};
use crate::checkpoint::{
    Checkpoint, CheckpointReader, CheckpointStore, LOCK_FILE, RunLock, write_atomically,
};
use crate::config::TrainConfig;
use crate::error::GanError;
use crate::gan::Gan;
use crate::log::Log;
use crate::plan::Plan;
use crate::rng::{self, Purpose};
use crate::saved::CONFIG;
use crate::snapshot;
use crate::watch::{WatchState, spread_out};
use engraft_data::{Batches, Dataset};
use engraft_layers::Sequential;
use rand_pcg::Pcg64;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Everything that training changes.
pub(super) struct Progress {
    pub(super) gan: Gan,
    pub(super) average: Option<(Average, Sequential)>,
    pub(super) batches: Batches,
    /// Stream of training noise.
    pub(super) latent: Pcg64,
    pub(super) step: u64,
    pub(super) state: WatchState,
}

impl Progress {
    /// The beginning of a run on `images` training images.
    fn new(config: &TrainConfig, images: usize, plan: &dyn Plan) -> Result<Self, GanError> {
        let mut gan = planned_gan(config, plan)?;
        plan.enter(0, &mut gan);
        gan.check()?;
        let average = match config.average_half_life {
            0 => None,
            half_life => Some((Average::new(half_life), planned_networks(config, plan)?.generator)),
        };
        let order = rng::seed(config.seed, Purpose::Order);
        Ok(Self {
            gan,
            average,
            batches: Batches::new(images, config.batch, order)?,
            latent: rng::stream(config.seed, Purpose::Latent),
            step: 0,
            state: WatchState::default(),
        })
    }

    /// The state of a checkpoint, gone back to `rollbacks` times if that is more often than it knows of.
    ///
    /// Each time halves the learning rates, and the noise is another one from there on: the same steps again would
    /// end the same way.
    pub(super) fn at(
        checkpoint: &Checkpoint,
        config: &TrainConfig,
        images: usize,
        plan: &dyn Plan,
        rollbacks: u32,
    ) -> Result<Self, GanError> {
        let mut state = snapshot::watch_state(checkpoint)?;
        let again = rollbacks > state.rollbacks;
        state.rollbacks = state.rollbacks.max(rollbacks);
        let mut progress = Self::new(&config.after_rollbacks(state.rollbacks), images, plan)?;
        let average = progress.average.as_mut().map(|(_, average)| average);
        let saved = snapshot::restore(checkpoint, &mut progress.gan, average)?;
        plan.enter(state.phase, &mut progress.gan);
        progress.batches = Batches::resume(images, config.batch, saved.batches)?;
        progress.latent = if again {
            rng::stream(
                config.seed.wrapping_add(u64::from(rollbacks)),
                Purpose::LatentAgain,
            )
        } else {
            saved.latent
        };
        (progress.step, progress.state) = (saved.step, state);
        Ok(progress)
    }
}

/// Indices of the images that are held out, and of those that are trained on.
fn parts(config: &TrainConfig) -> [Vec<usize>; 2] {
    let held_out = spread_out(config.held_out as usize, config.images);
    let rest = (0..config.images).filter(|i| held_out.binary_search(i).is_err());
    let rest = rest.collect();
    [held_out, rest]
}

impl Trainer {
    /// Opens a run directory: goes on from its newest intact checkpoint, or begins if it has none.
    ///
    /// The directory is locked until the trainer is dropped. A run that is gone on with must have the same
    /// settings, except for the number of steps, what is written, and how it is watched.
    ///
    /// # Errors
    /// Settings that make no sense or differ from the run's, images of another size than the networks make,
    /// a directory that cannot be written or belongs to a run in progress, damaged checkpoints, a directory
    /// without checkpoints that holds a `run.toml` or a record of steps ([`GanError::Occupied`]).
    pub fn open(config: TrainConfig, data: Dataset, directory: &Path) -> Result<Self, GanError> {
        config.check()?;
        Self::open_planned(config, data, directory, Arc::new(DefaultPlan))
    }

    /// As [`Trainer::open`], by a plan of the caller's make. Whether the settings make sense with its networks is found
    /// when they are made.
    ///
    /// # Errors
    /// Those of [`Trainer::open`] and of the plan.
    pub fn open_planned(
        config: TrainConfig,
        data: Dataset,
        directory: &Path,
        plan: Arc<dyn Plan>,
    ) -> Result<Self, GanError> {
        let problems = config.problems();
        if !problems.is_empty() {
            return Err(GanError::Config { problems });
        }
        config.check_data(&data)?;
        let mut config = config.with_labels_of(&data);
        let has_checkpoint = || {
            CheckpointReader::new(directory)
                .steps()
                .is_ok_and(|s| !s.is_empty())
        };
        if !directory.join(LOCK_FILE).exists() && !has_checkpoint() {
            // Nobody's run: not even a lock is to be left in it.
            check_unoccupied(directory)?;
        }
        let mut store = CheckpointStore::open(directory, config.output.keep_checkpoints)?;
        let [held_out, trained_on] = parts(&config);
        let mut warnings = Vec::new();
        let found = store.latest()?;
        let progress = if let Some(loaded) = &found {
            warnings.extend(loaded.warnings.iter().cloned());
            let of_old = config.without_labels();
            if config != of_old && loaded.checkpoint.options_hash == of_old.fixed_hash() {
                warnings.push(
                    "the run has no record of its labels, which must be those that it began with".into(),
                );
                config = of_old;
            }
            if loaded.checkpoint.options_hash != config.fixed_hash() {
                return Err(other_settings(&config, directory));
            }
            let progress = Progress::at(&loaded.checkpoint, &config, trained_on.len(), plan.as_ref(), 0)?;
            write_atomically(&directory.join(CONFIG), config.to_toml().as_bytes())?;
            progress
        } else {
            check_unoccupied(directory)?;
            Progress::new(&config, trained_on.len(), plan.as_ref())?
        };
        let samples = directory.join(SAMPLE_FOLDER);
        std::fs::create_dir_all(&samples).map_err(|e| GanError::io(&samples, "creating", e))?;
        let (log, warning) = Log::open(&directory.join(METRICS), progress.step)?;
        warnings.extend(warning);
        store.protect(progress.state.best().map(|best| best.step));
        let mut trainer = Self {
            directory: directory.into(),
            data,
            held_out,
            trained_on,
            plan,
            saved: progress.step,
            progress,
            watch: None,
            standing: None,
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
}
