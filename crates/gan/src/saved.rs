//! A run on disk, opened for drawing images from it.

use crate::checkpoint::{CheckpointReader, Loaded, open_regular};
use crate::config::TrainConfig;
use crate::error::GanError;
use crate::plan::{Pair, Plan};
use crate::sampler::Sampler;
use crate::snapshot;
use crate::trainer::pair::{Usual, planned_gan};
use std::fs::OpenOptions;
use std::io::Read;
use std::path::Path;

/// The file of a run directory that holds its settings.
pub(crate) const CONFIG: &str = "run.toml";
/// Size above which a `run.toml` is not read.
const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// Reads the settings of a run directory.
pub(crate) fn read_config(directory: &Path) -> Result<TrainConfig, GanError> {
    read_settings(&directory.join(CONFIG))
}

/// Reads settings from a file, the `run.toml` of a run.
///
/// # Errors
/// If it is no ordinary file, cannot be read, or does not hold settings. What lies beyond its first MiB is not read.
pub fn read_settings(path: &Path) -> Result<TrainConfig, GanError> {
    let (file, _) = open_regular(path, OpenOptions::new().read(true))?;
    let mut text = String::new();
    file.take(MAX_CONFIG_BYTES)
        .read_to_string(&mut text)
        .map_err(|e| GanError::io(path, "reading", e))?;
    TrainConfig::from_toml(&text, path)
}

/// Which checkpoint of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The newest.
    Last,
    /// The one with the best [score](crate::Measurement::score) on the images that the run held out; the newest, where
    /// that is not worse by more than the measurements' standard errors, or nothing was measured.
    Best,
}

/// Settings and generator of a run directory, as of its newest intact checkpoint. The run may go on meanwhile.
///
/// ```no_run
/// use engraft_gan::SavedRun;
/// use rand::SeedableRng;
/// let run = SavedRun::open("runs/mnist-default".as_ref())?;
/// println!("step {} of {}", run.step, run.config.steps);
/// let images = run.sampler.generate(64, &mut rand_pcg::Pcg64::seed_from_u64(1));
/// # Ok::<(), engraft_gan::GanError>(())
/// ```
pub struct SavedRun {
    /// The settings.
    pub config: TrainConfig,
    /// Training steps of the checkpoint.
    pub step: u64,
    /// Draws from the averaged generator, or from the live one if the run keeps no average.
    pub sampler: Sampler,
    /// What was wrong with each newer checkpoint; show them to the user.
    pub warnings: Vec<String>,
}

impl SavedRun {
    /// Opens a run directory for reading, as of its newest intact checkpoint.
    ///
    /// # Errors
    /// [`GanError::NoCheckpoint`] if it has none; settings or checkpoints that are damaged or do not belong
    /// together.
    pub fn open(directory: &Path) -> Result<Self, GanError> {
        Self::open_planned(directory, &Usual, Which::Last)
    }

    /// As [`SavedRun::open`], as of one of the run's checkpoints.
    ///
    /// # Errors
    /// Those of [`SavedRun::open`], and if that checkpoint is damaged.
    pub fn open_at(directory: &Path, which: Which) -> Result<Self, GanError> {
        Self::open_planned(directory, &Usual, which)
    }

    /// As [`SavedRun::open_at`], with networks of a plan's make.
    ///
    /// # Errors
    /// Those of [`SavedRun::open_at`] and of the plan.
    pub fn open_planned(directory: &Path, plan: &dyn Plan, which: Which) -> Result<Self, GanError> {
        let Loaded { checkpoint, warnings } = chosen(directory, which)?;
        let config = read_config(directory)?;
        if checkpoint.options_hash != config.fixed_hash() {
            return Err(changed_settings(directory));
        }
        let mut generator = planned_gan(&config, plan)?.generator;
        snapshot::restore_sampled(&checkpoint, &config, &mut generator)?;
        Ok(Self {
            step: checkpoint.step,
            sampler: Sampler::new(generator, config.network.latent()).classes(config.classes as usize),
            warnings,
            config,
        })
    }

    /// Settings, generator and discriminator of a run, for another run to begin with. The generator is the averaged one
    /// if the run keeps an average.
    ///
    /// # Errors
    /// Those of [`SavedRun::open_at`], and if the run had a [plan](Plan): its networks are known to its maker only.
    pub fn networks(directory: &Path, which: Which) -> Result<(TrainConfig, Pair), GanError> {
        Self::planned_networks(directory, &Usual, which)
    }

    /// As [`SavedRun::networks`], with networks of a plan's make.
    ///
    /// # Errors
    /// Those of [`SavedRun::open_planned`].
    pub fn planned_networks(
        directory: &Path,
        plan: &dyn Plan,
        which: Which,
    ) -> Result<(TrainConfig, Pair), GanError> {
        let Loaded { checkpoint, .. } = chosen(directory, which)?;
        let config = read_config(directory)?;
        if checkpoint.options_hash != config.fixed_hash() {
            return Err(changed_settings(directory));
        }
        let mut gan = planned_gan(&config, plan)?;
        snapshot::restore_discriminator(&checkpoint, &mut gan.discriminator)?;
        snapshot::restore_sampled(&checkpoint, &config, &mut gan.generator)?;
        Ok((config, (gan.generator, gan.discriminator, gan.latent)))
    }
}

fn changed_settings(directory: &Path) -> GanError {
    GanError::OtherSettings {
        path: directory.into(),
        differences: vec!["run.toml was changed after the run had begun".into()],
    }
}

/// The checkpoint that is asked for.
fn chosen(directory: &Path, which: Which) -> Result<Loaded, GanError> {
    let reader = CheckpointReader::new(directory);
    let newest = reader.latest()?.ok_or_else(|| GanError::NoCheckpoint {
        path: directory.into(),
    })?;
    let best = match which {
        Which::Last => None,
        Which::Best => {
            let state = snapshot::watch_state(&newest.checkpoint)?;
            state.better_than_last().map(|best| best.step)
        }
    };
    Ok(match best {
        Some(step) if step != newest.checkpoint.step => Loaded {
            checkpoint: reader.load(step)?,
            warnings: newest.warnings,
        },
        _ => newest,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dcgan;
    use crate::trainer::{Control, Trainer};
    use engraft_data::{Dataset, Source};
    use engraft_layers::{Mode, Module};
    use rand::SeedableRng;
    use rand_pcg::Pcg64;

    #[test]
    fn the_images_are_those_of_the_trainer() {
        let pixels = (0..8 * 784).map(|i| (i % 251) as u8).collect();
        let data = Dataset::new("dots", Source::Memory, pixels, dcgan::IMAGE, vec![0; 8]).unwrap();
        let mut config = TrainConfig::standard(&data);
        (config.batch, config.steps) = (4, 2);
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        let mut trainer = Trainer::open(config.clone(), data, &run).unwrap();
        trainer.train(&mut |_| Control::Continue).unwrap();

        let saved = SavedRun::open(&run).unwrap();
        assert_eq!((saved.step, &saved.config), (2, &config));
        let rng = || Pcg64::seed_from_u64(3);
        let noise = trainer.gan().noise(4, &mut rng());
        let expected = trainer.sampler().forward(&noise, Mode::Eval);
        let found = saved.sampler.generate(4, &mut rng());
        assert!((expected - found).abs().sum().item() < 1e-2);
    }

    #[test]
    fn what_is_no_run() {
        let folder = tempfile::tempdir().unwrap();
        let error = SavedRun::open(folder.path()).err().unwrap().to_string();
        assert!(error.contains("holds no checkpoint"), "{error}");
    }
}
