//! Transfer experiments: train a generator for the target by one method, and evaluate its images.

use crate::adapter_file::AdapterFile;
use crate::bootstrap::BootstrapComparison;
use crate::error::TransferError;
use crate::open::open_run;
use crate::pretrained_gan::{FOLDER, PretrainedGan, SETTINGS};
use crate::recipe::{Recipe, from_scratch_config};
use crate::transfer_plan::Transfer;
use engraft_base::batches;
use engraft_data::Dataset;
use engraft_gan::checkpoint::refuse_links;
use engraft_gan::{
    CheckpointChoice, Event, GanError, Sampler, TrainConfig, Trainer, TrainingOutcome, dataset_tensor,
};
use engraft_metrics::{
    FeatureExtractor, Features, balanced_coverage, copied_share, frechet_distance, intra_cluster_diversity,
    kernel_distance, read_fitted, sliced_wasserstein,
};
use engraft_tensor::no_grad;
use rand::SeedableRng;
use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

/// Number of images per batch.
const BATCH: usize = 250;
/// How a generator for the target is obtained.
#[derive(Clone, Debug)]
pub enum TransferMethod {
    /// The source's generator without further training (zero-shot).
    Untuned,
    /// The source's networks with random initial weights, trained on the target only.
    FromScratch,
    /// The source's networks, fine-tuned by a recipe.
    Recipe(Box<Recipe>),
}

impl TransferMethod {
    /// The name in tables, result files and directories; of a recipe [`Recipe::name`].
    pub fn name(&self) -> &str {
        match self {
            Self::Untuned => "source-as-is",
            Self::FromScratch => "from-scratch",
            Self::Recipe(recipe) => &recipe.name,
        }
    }
}

/// Settings that all methods of a comparison share.
///
/// ```no_run
/// use engraft_data::{Split, drawn_digits};
/// use engraft_gan::CheckpointChoice;
/// use engraft_transfer::{Experiment, Recipe, TransferMethod, open_source};
/// use std::ops::ControlFlow;
///
/// let source = open_source("runs/mnist".as_ref(), CheckpointChoice::Best)?;
/// let target = drawn_digits(Split::Train, 100, 1);
/// let experiment = Experiment { source: &source, target: &target, steps: 500, seed: 1 };
/// let method = TransferMethod::Recipe(Box::new(Recipe::fine_tune(&source)?));
/// let found = experiment.train(&method, "runs/mine".as_ref(), &mut |_| ControlFlow::Continue(()))?;
/// if let Some((_sampler, step)) = found {
///     println!("the generator of step {step}");
/// }
/// # Ok::<(), engraft_transfer::TransferError>(())
/// ```
pub struct Experiment<'a> {
    /// The pretrained GAN.
    pub source: &'a PretrainedGan,
    /// Training images of the target.
    pub target: &'a Dataset,
    /// Number of training steps.
    pub steps: u64,
    /// Seed of training and of the generated images.
    pub seed: u64,
}

/// Metrics of the images that a method's generator produces.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ExperimentResult {
    /// Name of the method.
    pub method: String,
    /// Kernel distance (KID) to the real images; lower is better.
    pub kid: f64,
    /// Standard error of [`ExperimentResult::kid`].
    pub kid_se: f64,
    /// Fréchet distance (FID) to the real images; lower is better.
    pub fid: f64,
    /// Sliced Wasserstein distance to the real images; lower is better. `None` in results of an earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sliced_wasserstein: Option<f64>,
    /// Coverage: share of the real images with a generated image in their neighborhood, from 0 to 1.
    pub coverage: f64,
    /// [Intra-cluster diversity](intra_cluster_diversity) of the generated images around the training images.
    pub diversity: f64,
    /// [Share](engraft_metrics::copied_share) of generated images that are near-copies of training images, from 0 to 1.
    pub copies: f64,
    /// Training step of the evaluated checkpoint.
    pub steps: u64,
}

impl Experiment<'_> {
    /// Number of the target's images that a run keeps for validation. Without any, the training images themselves are the reference.
    pub fn validation_images(&self) -> u32 {
        from_scratch_config(self.source, self.target, self.steps, self.seed).validation_images
    }

    /// Trains with a method in `directory`, or resumes the run there.
    ///
    /// Returns a sampler and the step of its checkpoint. It is the best checkpoint if the run is evaluated, which it is from 20 images
    /// on, otherwise the last one. If only [few parameters](crate::TransferConfig::is_parameter_efficient) of the generator trained, the
    /// directory also gets an [`AdapterFile`]. `None` if `on_event` stopped the run.
    ///
    /// # Errors
    /// Those of [`Trainer::train`]. [`TransferError::NoTransfer`] if the directory contains a run that is not a transfer.
    pub fn train(
        &self,
        method: &TransferMethod,
        directory: &Path,
        on_event: &mut dyn FnMut(Event) -> ControlFlow<()>,
    ) -> Result<Option<(Sampler, u64)>, TransferError> {
        self.train_adjusted(method, directory, &|_| Ok(()), on_event)
    }

    /// As [`Experiment::train`], with training settings that `adjust` changes, such as the batch size or the learning rates.
    ///
    /// `adjust` receives the settings of the recipe or of the training from scratch. All methods of a comparison should get the
    /// same changes. The settings in `plan` must stay the same.
    ///
    /// # Errors
    /// Those of [`Experiment::train`] and of `adjust`, also for invalid settings.
    pub fn train_adjusted(
        &self,
        method: &TransferMethod,
        directory: &Path,
        adjust: &dyn Fn(&mut TrainConfig) -> Result<(), GanError>,
        on_event: &mut dyn FnMut(Event) -> ControlFlow<()>,
    ) -> Result<Option<(Sampler, u64)>, TransferError> {
        self.train_with(method, directory, adjust, false, on_event)
    }

    /// As [`Experiment::train_adjusted`], but a run continues although its images have changed since it began. See
    /// [`TrainerBuilder::accept_changed_data`](engraft_gan::TrainerBuilder::accept_changed_data).
    ///
    /// # Errors
    /// Those of [`Experiment::train_adjusted`].
    pub fn train_on_changed_data(
        &self,
        method: &TransferMethod,
        directory: &Path,
        adjust: &dyn Fn(&mut TrainConfig) -> Result<(), GanError>,
        on_event: &mut dyn FnMut(Event) -> ControlFlow<()>,
    ) -> Result<Option<(Sampler, u64)>, TransferError> {
        self.train_with(method, directory, adjust, true, on_event)
    }

    fn train_with(
        &self,
        method: &TransferMethod,
        directory: &Path,
        adjust: &dyn Fn(&mut TrainConfig) -> Result<(), GanError>,
        accept_changed_data: bool,
        on_event: &mut dyn FnMut(Event) -> ControlFlow<()>,
    ) -> Result<Option<(Sampler, u64)>, TransferError> {
        let data = self.target.clone();
        let mut trainer = match method {
            TransferMethod::Untuned => {
                return Ok(Some((self.source.sampler()?, 0)));
            }
            TransferMethod::FromScratch => {
                let mut config = from_scratch_config(self.source, self.target, self.steps, self.seed);
                adjust(&mut config)?;
                Trainer::builder(config, data)
                    .accept_changed_data(accept_changed_data)
                    .open(directory)?
            }
            TransferMethod::Recipe(recipe) => {
                let plan = Transfer::new(self.source.clone(), recipe.plan.clone())?;
                let mut config = recipe.train_config(self.source, self.target, self.steps, self.seed);
                adjust(&mut config)?;
                self.save_source(directory)?;
                Trainer::builder(config, data)
                    .plan(Arc::new(plan))
                    .accept_changed_data(accept_changed_data)
                    .open(directory)?
            }
        };
        if trainer.train(on_event)? == TrainingOutcome::Stopped {
            return Ok(None);
        }
        drop(trainer);
        if let TransferMethod::Recipe(recipe) = method
            && recipe.plan.is_parameter_efficient()
        {
            AdapterFile::from_run(directory, CheckpointChoice::Best)?
                .save(&directory.join(AdapterFile::NAME))?;
        }
        let run = open_run(directory, CheckpointChoice::Best)?;
        Ok(Some((run.sampler, run.step)))
    }

    /// Saves the source in the directory of a new run.
    ///
    /// Nothing is written if a run has already started there: neither over another source, nor over a damaged one. A run that is
    /// not a transfer must not get a source either, because it would be read as a transfer from then on.
    fn save_source(&self, directory: &Path) -> Result<(), TransferError> {
        refuse_links(directory)?;
        let folder = directory.join(FOLDER);
        // A run that was killed at its start has no settings yet.
        let run_files = [SETTINGS, "checkpoints", "metrics.jsonl"];
        let has_started = run_files.iter().any(|name| directory.join(name).exists());
        if has_started && !folder.exists() {
            return Err(TransferError::NoTransfer {
                path: directory.into(),
            });
        }
        match PretrainedGan::read(&folder) {
            Ok(existing) if existing.sha256()? != self.source.sha256()? => Err(TransferError::OtherSource {
                expected: existing.sha256()?,
                found: self.source.sha256()?,
            }),
            Ok(_) => Ok(()),
            Err(damage) if has_started => Err(damage),
            Err(_) => self.source.save(&folder),
        }
    }

    /// Generates `count` images with the experiment's seed and returns their features.
    ///
    /// # Errors
    /// If an image or a feature is not finite.
    pub fn generate_features(
        &self,
        network: &dyn FeatureExtractor,
        sampler: &Sampler,
        count: usize,
    ) -> Result<Features, TransferError> {
        let mut rng = Pcg64::seed_from_u64(self.seed);
        let parts: Result<Vec<Features>, TransferError> = batches(count, BATCH)
            .map(|part| {
                let images = no_grad(|| sampler.try_generate(part.len(), &mut rng))?;
                Ok(read_fitted(network, &images)?.0.features)
            })
            .collect();
        Ok(Features::stack(parts?)?)
    }
}

/// Features of all images of a data set.
///
/// # Errors
/// If a feature is not finite.
pub fn dataset_features(network: &dyn FeatureExtractor, data: &Dataset) -> Result<Features, TransferError> {
    let indices: Vec<usize> = (0..data.len()).collect();
    let parts: Result<Vec<Features>, TransferError> = indices
        .chunks(BATCH)
        .map(|part| {
            let images = dataset_tensor(data, part);
            Ok(read_fitted(network, &images)?.0.features)
        })
        .collect();
    Ok(Features::stack(parts?)?)
}

/// Features of the three sets of images that [`evaluate`] needs, all from the same feature extractor.
#[derive(Clone, Copy, Debug)]
pub struct FeatureSets<'a> {
    /// Real images of the target, if possible images that were not trained on.
    pub real: &'a Features,
    /// The training images.
    pub training: &'a Features,
    /// Generated images.
    pub generated: &'a Features,
}

/// Computes all metrics of generated images against real images and training images.
///
/// # Errors
/// If there are too few images for one of the metrics.
pub fn evaluate(
    method: &str,
    steps: u64,
    features: FeatureSets<'_>,
) -> Result<ExperimentResult, TransferError> {
    let FeatureSets {
        real,
        training,
        generated,
    } = features;
    let distance = kernel_distance(real, generated)?;
    Ok(ExperimentResult {
        method: method.into(),
        kid: distance.value,
        kid_se: distance.standard_error,
        fid: frechet_distance(real, generated)?,
        sliced_wasserstein: Some(sliced_wasserstein(real, generated)?),
        coverage: balanced_coverage(real, generated)?,
        diversity: intra_cluster_diversity(training, generated)?,
        copies: copied_share(training, generated),
        steps,
    })
}

/// Compares generators by KID with 200 bootstrap resamples, see [`BootstrapComparison::new`].
pub fn compare(real: &Features, generated: &[&Features], seed: u64) -> BootstrapComparison {
    const RESAMPLES: usize = 200;
    BootstrapComparison::new(real, generated, RESAMPLES, seed)
}
