//! A run on disk, opened for drawing images from it.

use crate::checkpoint::{Checkpoint, CheckpointReader, Loaded, open_regular};
use crate::config::TrainConfig;
use crate::error::GanError;
use crate::sampler::Sampler;
use crate::snapshot;
use crate::trainer::pair::{networks_of, new_gan};
use std::fs::OpenOptions;
use std::io::Read;
use std::path::Path;

/// The file of a run directory that holds its settings.
pub(crate) const CONFIG: &str = "run.toml";
/// Size above which a `run.toml` is not read.
const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// Reads the settings of a run directory.
pub(crate) fn read_config(directory: &Path) -> Result<TrainConfig, GanError> {
    let path = directory.join(CONFIG);
    let (file, _) = open_regular(&path, OpenOptions::new().read(true))?;
    let mut text = String::new();
    file.take(MAX_CONFIG_BYTES)
        .read_to_string(&mut text)
        .map_err(|e| GanError::io(&path, "reading", e))?;
    TrainConfig::from_toml(&text, &path)
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
        let Loaded { checkpoint, warnings } = newest(directory)?;
        Self::of(directory, &checkpoint, warnings)
    }

    /// As [`SavedRun::open`], as of the checkpoint with the lowest kernel distance to the run's held-out images. Of a
    /// run that has not been measured, that is the newest.
    ///
    /// # Errors
    /// Those of [`SavedRun::open`], and if that checkpoint is damaged.
    pub fn open_best(directory: &Path) -> Result<Self, GanError> {
        let Loaded { checkpoint, warnings } = newest(directory)?;
        match snapshot::watch_state(&checkpoint)?.best() {
            Some(best) if best.step != checkpoint.step => {
                let best = CheckpointReader::new(directory).load(best.step)?;
                Self::of(directory, &best, warnings)
            }
            _ => Self::of(directory, &checkpoint, warnings),
        }
    }

    fn of(directory: &Path, checkpoint: &Checkpoint, warnings: Vec<String>) -> Result<Self, GanError> {
        let config = read_config(directory)?;
        if checkpoint.options_hash != config.fixed_hash() {
            return Err(GanError::OtherSettings {
                path: directory.into(),
                differences: vec!["run.toml was changed after the run had begun".into()],
            });
        }
        let mut generator = new_gan(&config, networks_of(&config)?).generator;
        snapshot::restore_sampled(checkpoint, &config, &mut generator)?;
        Ok(Self {
            step: checkpoint.step,
            sampler: Sampler::new(generator, config.network.latent()).classes(config.classes as usize),
            warnings,
            config,
        })
    }
}

fn newest(directory: &Path) -> Result<Loaded, GanError> {
    let found = CheckpointReader::new(directory).latest()?;
    found.ok_or_else(|| GanError::NoCheckpoint {
        path: directory.into(),
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
