//! Reading a finished or running run from disk.

use crate::build::{DefaultPlan, planned_networks};
use crate::checkpoint::{Checkpoint, CheckpointReader, Loaded};
use crate::checkpoint_state;
use crate::config::TrainConfig;
use crate::error::GanError;
use crate::networks::Networks;
use crate::pseudo_labels::PseudoLabels;
use crate::run_layout::RunLayout;
use crate::sampler::Sampler;
use crate::training_plan::TrainingPlan;
use engraft_base::open_regular;
use std::fmt;
use std::io::Read;
use std::path::Path;
use std::str::FromStr;

/// Largest `run.toml` that is read.
const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// Reads the settings of a run directory.
pub(crate) fn read_config(directory: &Path) -> Result<TrainConfig, GanError> {
    read_settings(&RunLayout::new(directory).settings())
}

/// Reads settings from a `run.toml`.
///
/// # Errors
/// If the path is not a regular file, cannot be read, or does not contain valid settings. Only the first MiB is
/// read.
pub fn read_settings(path: &Path) -> Result<TrainConfig, GanError> {
    let (file, _) = open_regular(path)?;
    let mut text = String::new();
    file.take(MAX_CONFIG_BYTES)
        .read_to_string(&mut text)
        .map_err(|e| GanError::io(path, "reading", e))?;
    TrainConfig::from_toml(&text, path)
}

/// Which checkpoint of a run to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CheckpointChoice {
    /// The newest checkpoint.
    #[default]
    Last,
    /// The checkpoint with the best [validation score](crate::Measurement::score).
    ///
    /// Checkpoints whose generator memorizes training images are chosen only if all do. Falls back to the newest
    /// checkpoint if nothing was measured, or if the newest is worse by no more than the standard errors.
    Best,
    /// The checkpoint of this step. A run keeps the last ones and the best one.
    Step(u64),
}

impl CheckpointChoice {
    #[doc(hidden)] // from an earlier version, without steps
    pub const ALL: [Self; 2] = [Self::Last, Self::Best];
}

impl fmt::Display for CheckpointChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Last => f.pad("last"),
            Self::Best => f.pad("best"),
            Self::Step(step) => step.fmt(f),
        }
    }
}

impl FromStr for CheckpointChoice {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match (name, name.parse()) {
            ("last", _) => Ok(Self::Last),
            ("best", _) => Ok(Self::Best),
            (_, Ok(step)) => Ok(Self::Step(step)),
            _ => Err(format!(
                "unknown checkpoint {name:?}: expected last, best or the number of a step"
            )),
        }
    }
}

/// Settings and generator of a run, read from a checkpoint. The run may continue to train meanwhile.
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
    /// Training step of the checkpoint.
    pub step: u64,
    /// Samples from the EMA generator, or from the live one if the run keeps no EMA.
    pub sampler: Sampler,
    /// One warning for each newer checkpoint that is damaged; show them to the user.
    pub warnings: Vec<String>,
}

impl SavedRun {
    /// Opens a run directory for reading, at its newest intact checkpoint.
    ///
    /// # Errors
    /// [`GanError::NoCheckpoint`] without a checkpoint, [`GanError::OtherSettings`] if `run.toml` was edited, and
    /// errors of damaged files.
    pub fn open(directory: &Path) -> Result<Self, GanError> {
        Self::open_planned(directory, &DefaultPlan, CheckpointChoice::Last)
    }

    /// Like [`SavedRun::open`], for a chosen checkpoint.
    ///
    /// # Errors
    /// Those of [`SavedRun::open`], and if that checkpoint is damaged.
    pub fn open_at(directory: &Path, choice: CheckpointChoice) -> Result<Self, GanError> {
        Self::open_planned(directory, &DefaultPlan, choice)
    }

    /// Like [`SavedRun::open_at`], for a run with a [training plan](TrainingPlan).
    ///
    /// # Errors
    /// Those of [`SavedRun::open_at`] and of the plan.
    pub fn open_planned(
        directory: &Path,
        plan: &dyn TrainingPlan,
        choice: CheckpointChoice,
    ) -> Result<Self, GanError> {
        let Loaded { checkpoint, warnings } = load_choice(directory, choice)?;
        let config = load_settings(directory, &checkpoint)?;
        let Networks {
            mut generator,
            latent_dim,
            ..
        } = planned_networks(&config, plan)?;
        checkpoint_state::restore_ema_generator(&checkpoint, &config, &mut generator)?;
        let clusters = checkpoint_state::pseudo_labels(&checkpoint, &config)?;
        Ok(Self {
            step: checkpoint.step,
            sampler: Sampler::new(generator, latent_dim)
                .classes(config.network_classes() as usize)
                .prior(clusters.as_ref().map(PseudoLabels::prior)),
            warnings,
            config,
        })
    }

    /// Settings, generator and discriminator of a run, to initialize another run. The generator is the EMA
    /// generator if the run keeps one.
    ///
    /// # Errors
    /// Those of [`SavedRun::open_at`]. A run with a [training plan](TrainingPlan) needs
    /// [`SavedRun::planned_networks`].
    pub fn networks(directory: &Path, choice: CheckpointChoice) -> Result<(TrainConfig, Networks), GanError> {
        Self::planned_networks(directory, &DefaultPlan, choice)
    }

    /// The clusters of a run with [pseudo-labels](TrainConfig::pseudo_labels), also of a run with a plan; `None` for other runs.
    ///
    /// # Errors
    /// Those of [`SavedRun::open_at`].
    pub fn pseudo_labels(
        directory: &Path,
        choice: CheckpointChoice,
    ) -> Result<Option<PseudoLabels>, GanError> {
        let Loaded { checkpoint, .. } = load_choice(directory, choice)?;
        let config = load_settings(directory, &checkpoint)?;
        checkpoint_state::pseudo_labels(&checkpoint, &config)
    }

    /// Like [`SavedRun::networks`], for a run with a [training plan](TrainingPlan).
    ///
    /// # Errors
    /// Those of [`SavedRun::open_planned`].
    pub fn planned_networks(
        directory: &Path,
        plan: &dyn TrainingPlan,
        choice: CheckpointChoice,
    ) -> Result<(TrainConfig, Networks), GanError> {
        let Loaded { checkpoint, .. } = load_choice(directory, choice)?;
        let config = load_settings(directory, &checkpoint)?;
        let mut networks = planned_networks(&config, plan)?;
        checkpoint_state::restore_discriminator(&checkpoint, &mut networks.discriminator)?;
        checkpoint_state::restore_ema_generator(&checkpoint, &config, &mut networks.generator)?;
        Ok((config, networks))
    }
}

/// The settings of a checkpoint, checked against its hash.
fn load_settings(directory: &Path, checkpoint: &Checkpoint) -> Result<TrainConfig, GanError> {
    let config = read_config(directory)?;
    if !config.accepts(&checkpoint.options_hash) {
        return Err(GanError::OtherSettings {
            path: directory.into(),
            differences: vec!["run.toml was edited after the run started".into()],
        });
    }
    let path = RunLayout::new(directory).settings();
    let problems = config.problems_of_networks().into_iter();
    let problems: Vec<String> = problems.map(|p| format!("{}: {p}", path.display())).collect();
    if problems.is_empty() {
        Ok(config)
    } else {
        Err(GanError::Config { problems })
    }
}

/// Loads the chosen checkpoint.
fn load_choice(directory: &Path, choice: CheckpointChoice) -> Result<Loaded, GanError> {
    let reader = CheckpointReader::new(directory);
    let newest = reader.latest()?.ok_or_else(|| GanError::NoCheckpoint {
        path: directory.into(),
    })?;
    let best = match choice {
        CheckpointChoice::Last => None,
        CheckpointChoice::Step(step) => Some(step),
        CheckpointChoice::Best => {
            let mut state = checkpoint_state::monitor_state(&newest.checkpoint)?;
            state.keep(&reader.steps()?);
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
    use crate::build::{planned_gan, untrained_networks};
    use crate::checkpoint::CheckpointStore;
    use crate::dcgan;
    use crate::monitor::{Measurement, MonitorState};
    use crate::trainer::Trainer;
    use engraft_data::{Dataset, Provenance};
    use engraft_layers::{Mode, Module};
    use rand::SeedableRng;
    use rand_pcg::Pcg64;
    use std::ops::ControlFlow;

    #[test]
    fn the_images_are_those_of_the_trainer() {
        let pixels = (0..8 * 784).map(|i| (i % 251) as u8).collect();
        let data = Dataset::new("dots", Provenance::Memory, pixels, dcgan::IMAGE, vec![0; 8]).unwrap();
        let mut config = TrainConfig::standard(&data);
        (config.batch, config.steps) = (4, 2);
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        let mut trainer = Trainer::open(config, data, &run).unwrap();
        trainer.train(&mut |_| ControlFlow::Continue(())).unwrap();

        let saved = SavedRun::open(&run).unwrap();
        assert_eq!((saved.step, &saved.config), (2, trainer.config()));
        let rng = || Pcg64::seed_from_u64(3);
        let noise = trainer.gan().noise(4, &mut rng());
        let expected = trainer.ema_generator().forward(&noise, Mode::Eval);
        let found = saved.sampler.generate(4, &mut rng());
        assert!((expected - found).abs().sum().item() < 1e-2);
    }

    #[test]
    fn a_folder_without_checkpoints_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let error = SavedRun::open(folder.path()).err().unwrap();
        assert!(matches!(error, GanError::NoCheckpoint { .. }), "{error}");
    }

    /// Settings with values that would exhaust memory, with a matching hash.
    #[test]
    fn settings_of_networks_that_cannot_be_built_are_refused() {
        for (change, part) in [
            (
                (|c| c.objective.packing = 0) as fn(&mut TrainConfig),
                "objective.packing",
            ),
            (|c| c.objective.packing = 4_000_000_000, "334"),
            (|c| c.classes = 4_000_000_000, "256"),
            (|c| c.image = [1 << 40; 3], "image"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let data = Dataset::new(
                "dots",
                Provenance::Memory,
                vec![7; 8 * 784],
                dcgan::IMAGE,
                vec![0; 8],
            )
            .unwrap();
            let mut config = TrainConfig::standard(&data);
            change(&mut config);
            std::fs::write(folder.path().join(RunLayout::SETTINGS), config.to_toml()).unwrap();
            let mut store = CheckpointStore::open(folder.path(), 1).unwrap();
            let files = [("state.bin".to_string(), vec![1])].into();
            store.save(3, &config.fixed_hash(), &files).unwrap();
            for error in [
                SavedRun::open(folder.path()).err(),
                SavedRun::open_at(folder.path(), CheckpointChoice::Best).err(),
                SavedRun::networks(folder.path(), CheckpointChoice::Last).err(),
            ] {
                match error.unwrap() {
                    GanError::ImageSize { found, .. } => assert_eq!((found, part), ([1 << 40; 3], "image")),
                    GanError::Config { problems } => {
                        let text = problems.join("; ");
                        assert!(text.contains(part) && text.contains("run.toml"), "{text}");
                    }
                    other => panic!("{other}"),
                }
            }
            assert!(untrained_networks(&config).is_err());
        }
    }

    /// Settings that training refuses can still be read: such runs exist from earlier versions.
    #[test]
    fn a_run_that_training_would_refuse_opens_as_of_its_best_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let data = Dataset::new(
            "dots",
            Provenance::Memory,
            vec![7; 64 * 784],
            dcgan::IMAGE,
            vec![0; 64],
        )
        .unwrap();
        let mut config = TrainConfig::standard(&data);
        (config.network, config.classes, config.steps) = ("mlp".into(), 2, 1);
        config.objective = crate::Objective::Wasserstein.into();
        config.regularize.spectral_norm = crate::SpectralNorm::Discriminator;
        assert!(!config.problems().is_empty());
        let gan = planned_gan(&config, &DefaultPlan).unwrap();
        let measured = |step, kid| Measurement {
            step,
            kid,
            kid_se: 0.0,
            coverage: 1.0,
            spread: 1.0,
            memorized: 0.0,
            overfitting: 0.0,
            second_kid: None,
        };
        let state = MonitorState {
            measurements: vec![measured(2, 0.1), measured(3, 0.2)],
            ..MonitorState::default()
        };
        let files = checkpoint_state::to_files(
            3,
            &gan,
            Some(&gan.generator),
            &Pcg64::seed_from_u64(1),
            engraft_data::Batches::new(64, 64, 1).unwrap().state(),
            &state,
            None,
        )
        .unwrap();
        let mut store = CheckpointStore::open(folder.path(), 3).unwrap();
        for step in [2, 3] {
            store.save(step, &config.fixed_hash(), &files).unwrap();
        }
        std::fs::write(folder.path().join(RunLayout::SETTINGS), config.to_toml()).unwrap();
        assert_eq!(SavedRun::open(folder.path()).unwrap().step, 3);
        assert_eq!(
            SavedRun::open_at(folder.path(), CheckpointChoice::Best)
                .unwrap()
                .step,
            2
        );
    }
}
