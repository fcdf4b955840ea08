//! Opening a trainer: starts or resumes a run, or refuses with a reason.

use super::Trainer;
use super::bound_data::{bind, has_copies, is_of_run};
use super::conditioned::conditioned;
use super::image_grids;
use super::progress::Progress;
use super::ranks::{Leader, follow};
use super::run_files::{LockedDirectory, check_no_earlier_run, other_settings, write_settings};
use super::split::split;
use crate::build::DefaultPlan;
use crate::checkpoint::CheckpointReader;
use crate::config::TrainConfig;
use crate::error::GanError;
use crate::monitor::{Monitor, extractor_name, named_extractor};
use crate::pseudo_labels::PseudoLabels;
use crate::run_data;
use crate::sample_writer::{SampleWriter, default_writer};
use crate::saved_run::read_config;
use crate::training_plan::TrainingPlan;
use engraft_data::TrainingData;
use engraft_metrics::FeatureExtractor;
use engraft_tensor::cpu_features;
use engraft_tensor::shards::Communicator;
use std::path::Path;
use std::sync::Arc;

/// Largest `measures.jsonl` that is read, in bytes.
const MAX_MEASUREMENTS: u64 = 64 << 20;

/// Builder of a [`Trainer`].
///
/// ```no_run
/// use engraft_data::{DataOptions, DataSource, TrainingData};
/// use engraft_gan::{NpySamples, TrainConfig, Trainer};
/// use engraft_metrics::RandomFeatures;
/// use std::sync::Arc;
///
/// let mut options = DataOptions::new();
/// options.size = Some([64, 64]);
/// let data: Arc<dyn TrainingData> = Arc::new(DataSource::parse("my-pictures")?.open_lazily(&options)?);
/// let config = TrainConfig::standard(data.as_ref());
/// let trainer = Trainer::builder(config, data)
///     .features(Arc::new(RandomFeatures::for_size(64)))
///     .samples(NpySamples)
///     .open("runs/mine".as_ref())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub struct TrainerBuilder {
    config: TrainConfig,
    data: Arc<dyn TrainingData>,
    plan: Option<Arc<dyn TrainingPlan>>,
    features: Option<Arc<dyn FeatureExtractor>>,
    samples: Box<dyn SampleWriter>,
    accept_changed_data: bool,
    communicator: Option<Arc<dyn Communicator>>,
}

impl TrainerBuilder {
    pub(super) fn new(config: TrainConfig, data: Arc<dyn TrainingData>) -> Self {
        Self {
            samples: default_writer(data.shape()),
            config,
            data,
            plan: None,
            features: None,
            accept_changed_data: false,
            communicator: None,
        }
    }

    /// Sets the training plan. Settings are checked against its networks when the run is opened.
    pub fn plan(mut self, plan: Arc<dyn TrainingPlan>) -> Self {
        self.plan = Some(plan);
        self
    }

    /// Sets the feature extractor of the evaluation, instead of the one that the settings name. Its name is
    /// recorded in the settings; pass the same extractor to resume the run.
    pub fn features(mut self, extractor: Arc<dyn FeatureExtractor>) -> Self {
        self.config.evaluation.features = Some(extractor.name().into());
        self.features = Some(extractor);
        self
    }

    /// Sets the sample writer. The default is [`PngGrid`](crate::PngGrid) for data with 1 to 4 channels, else
    /// [`NpySamples`](crate::NpySamples).
    pub fn samples(mut self, writer: impl SampleWriter + 'static) -> Self {
        self.samples = Box::new(writer);
        self
    }

    /// Continues a run although its images have changed, instead of the error [`GanError::ChangedData`]. The earlier images are
    /// recorded in [`TrainConfig::earlier_data`], and the next epoch begins. The run keeps its batch size, its number of
    /// validation images and its augmentation.
    pub fn accept_changed_data(mut self, accept: bool) -> Self {
        self.accept_changed_data = accept;
        self
    }

    /// Divides the micro-batches of each step among the ranks of a communicator. Rank 0 [opens](Self::open) the run directory and
    /// trains; every other rank [follows](Self::follow). The bytes of the run depend on
    /// [`TrainConfig::micro_batches`], not on the number of ranks: it can resume on another number.
    pub fn communicator(mut self, communicator: Arc<dyn Communicator>) -> Self {
        self.communicator = Some(communicator);
        self
    }

    /// Takes part in the run that rank 0 trains, until it ends. This rank writes nothing. It has the settings and weights of rank
    /// 0, and reads its part of the images from the data and the plan of this builder.
    ///
    /// # Errors
    /// If the data are others than those of rank 0 or cannot be read. The other ranks are told to stop.
    ///
    /// # Panics
    /// If there is no communicator or this is rank 0, and if the other ranks have failed.
    #[track_caller]
    pub fn follow(self) -> Result<(), GanError> {
        let follower = self.communicator.filter(|communicator| communicator.rank() > 0);
        let communicator =
            follower.expect("follow: rank 0 opens the run, the other ranks of a communicator follow");
        let plan = self.plan.unwrap_or_else(|| Arc::new(DefaultPlan));
        let result = follow(&self.data, plan.as_ref(), &communicator);
        if let Err(error) = &result {
            communicator.abort(&error.to_string());
        }
        result
    }

    /// Whether the directory is one for these settings: it has no run, or one that they resume, with the present images or
    /// others. A directory with a damaged `run.toml` is one too, so that [`Self::open`] names the damage.
    pub fn fits(&self, directory: &Path) -> bool {
        let config = || self.config.clone().with_labels_of(self.data.as_ref());
        read_config(directory).map_or(true, |saved| is_of_run(config(), &saved))
    }

    /// Opens a run directory: resumes from its newest intact checkpoint, or starts a new run.
    ///
    /// # Errors
    /// Those of [`Trainer::open`] and of the plan. Also if the feature extractor is unknown or does not support the
    /// data, and if the ranks of a communicator do not divide the micro-batches.
    pub fn open(self, directory: &Path) -> Result<Trainer, GanError> {
        let Self {
            config,
            data,
            plan,
            features,
            samples,
            accept_changed_data,
            communicator,
        } = self;
        // The other ranks wait for it from here on, and stop if opening fails.
        let leader = communicator.map(Leader::new);
        let mut problems = config.problems();
        problems.extend(
            leader
                .as_ref()
                .and_then(|leader| leader.problem(config.micro_batches)),
        );
        if !problems.is_empty() {
            return Err(GanError::Config { problems });
        }
        let plan = match plan {
            Some(plan) => plan,
            None => {
                config.check()?;
                Arc::new(DefaultPlan)
            }
        };
        config.check_data(data.as_ref())?;
        let mut config = config.with_labels_of(data.as_ref());
        let locked = LockedDirectory::lock(directory, &config)?;
        let mut warnings = Vec::new();
        let mut has_changed = false;
        let found = locked.latest()?;
        if found.is_none() {
            config.keep_copies_together |= config.validation_images > 0 && has_copies(data.as_ref());
        }
        if let Some(loaded) = &found
            && let Ok(saved) = read_config(directory)
        {
            let step = loaded.checkpoint.step;
            let bound = bind(
                config,
                &saved,
                data.as_ref(),
                locked.layout(),
                step,
                accept_changed_data,
            )?;
            warnings.extend(bound.warnings);
            (config, has_changed) = (bound.config, bound.has_changed);
        }
        let [validation, trained_on] = split(&config, data.as_ref());
        if let Some(loaded) = &found
            && !config.accepts(&loaded.checkpoint.options_hash)
        {
            return Err(other_settings(&config, directory));
        }
        let (data, clusters) = conditioned(
            &config,
            data,
            &trained_on,
            plan.as_ref(),
            found.as_ref().map(|loaded| &loaded.checkpoint),
        )?;
        warnings.extend(clusters.as_deref().and_then(few_images_warning));
        let mut progress = if let Some(loaded) = &found {
            warnings.extend(loaded.warnings.iter().cloned());
            Progress::at(&loaded.checkpoint, &config, trained_on.len(), plan.as_ref(), 0)?
        } else {
            check_no_earlier_run(locked.layout())?;
            Progress::new(&config, trained_on.len(), plan.as_ref())?
        };
        progress.set_pseudo_labels(clusters);
        if let Ok(lines) = engraft_base::read_bounded(&locked.layout().measurements(), MAX_MEASUREMENTS) {
            progress.state.read_second(&String::from_utf8_lossy(&lines));
        }
        if !progress.state.measurements.is_empty() {
            warnings.extend(keep_recorded_extractor(
                &mut config,
                directory,
                features.is_some(),
            )?);
        }
        let monitor = match config.evaluation.every {
            0 => None,
            _ => {
                let extractor = features.map_or_else(|| named_extractor(&config), Ok)?;
                Some(Monitor::new(data.clone(), extractor, validation, &trained_on)?)
            }
        };
        warnings.extend(monitor.as_ref().and_then(Monitor::input_loss_warning));
        warnings.extend(keep_cpu(&mut config, found.is_some(), directory));
        if found.is_some() {
            write_settings(locked.layout(), &config)?;
        }
        progress.state.keep(&CheckpointReader::new(directory).steps()?);
        let (files, warning) = locked.open(progress.step, progress.state.best_step())?;
        warnings.extend(warning);
        let mut trainer = Trainer {
            config,
            data,
            trained_on,
            plan,
            progress,
            files,
            samples,
            monitor,
            warnings,
            leader: None,
        };
        if found.is_none() {
            // A rollback needs a checkpoint, so one is saved before the first step. The settings follow it:
            // settings without a checkpoint mean that checkpoints were lost.
            trainer.save()?;
            write_settings(trainer.files.layout(), &trainer.config)?;
        }
        if let Some(leader) = leader {
            let newest = match found {
                Some(loaded) => loaded,
                None => trainer.files.latest()?,
            };
            leader.restore(&trainer.config, &newest.checkpoint, 0);
            let micro_batches = trainer.config.micro_batches as usize;
            trainer
                .progress
                .gan
                .distribute(micro_batches, leader.communicator());
            trainer.leader = Some(leader);
        }
        let layout = trainer.files.layout();
        // Training does not need these files.
        if let Err(error) = run_data::write(layout, &trainer.config, trainer.data.as_ref(), has_changed) {
            trainer
                .warnings
                .push(format!("the record of the images was not written: {error}"));
        }
        let layout = trainer.files.layout();
        if trainer.samples.extension() == "png" && (has_changed || !layout.reals().exists()) {
            let written = image_grids::write(
                layout,
                &trainer.config,
                trainer.data.as_ref(),
                &trainer.trained_on,
            );
            if let Err(error) = written {
                trainer
                    .warnings
                    .push(format!("reals.png was not written: {error}"));
            }
        }
        Ok(trainer)
    }
}

/// Training images for each cluster below which a warning is given.
const FEW_FOR_A_CLUSTER: u64 = 50;

/// A warning if the clusters have few images.
fn few_images_warning(clusters: &PseudoLabels) -> Option<String> {
    let prior = clusters.prior();
    let (images, number) = (prior.counts().iter().sum::<u64>(), prior.classes() as u64);
    (images < FEW_FOR_A_CLUSTER * number).then(|| {
        format!(
            "pseudo_labels: {number} clusters of {images} training images have {} images each on average; fewer than \
             {FEW_FOR_A_CLUSTER} may cause mode collapse within clusters; use fewer clusters, or for a transfer a source without \
             pseudo-labels",
            images / number.max(1)
        )
    })
}

/// Records the CPU of a new run. A resumed run keeps its record; returns a warning if that is another CPU.
fn keep_cpu(config: &mut TrainConfig, is_resumed: bool, directory: &Path) -> Option<String> {
    let present = cpu_features();
    if !is_resumed {
        config.cpu = present;
        return None;
    }
    // Runs of an earlier version have no record.
    config.cpu = read_config(directory).map_or_else(|_| String::new(), |saved| saved.cpu);
    let is_other = !config.cpu.is_empty() && config.cpu != present;
    is_other.then(|| {
        format!(
            "the run began on a CPU with {}, this one has {present}: from here on the last bits of the results may differ from \
             those of the first CPU",
            config.cpu
        )
    })
}

/// Keeps the feature extractor that the run was evaluated with, because scores of different extractors are not
/// comparable. Returns a warning if the settings name another one.
fn keep_recorded_extractor(
    config: &mut TrainConfig,
    directory: &Path,
    is_given: bool,
) -> Result<Option<String>, GanError> {
    // Without the saved settings the earlier extractor is unknown.
    let Ok(saved) = read_config(directory) else {
        return Ok(None);
    };
    let (old, new) = (extractor_name(&saved), extractor_name(config));
    if old == new {
        return Ok(None);
    }
    if is_given {
        return Err(GanError::OtherSettings {
            path: directory.into(),
            differences: vec![format!(
                "evaluation.features: the run was evaluated with {old}, now requested: {new}"
            )],
        });
    }
    let warning = format!(
        "the run keeps its features {old} for the evaluation: scores with {new} are not comparable with the earlier ones"
    );
    config.evaluation.features = saved.evaluation.features;
    config.evaluation.weights = saved.evaluation.weights;
    Ok(Some(warning))
}
