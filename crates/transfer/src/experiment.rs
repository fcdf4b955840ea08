//! One way to a generator of the target, trained and measured: a recipe, or a control beside it.

use crate::adapter_file::AdapterFile;
use crate::bootstrap::BootstrapComparison;
use crate::error::TransferError;
use crate::open::open_run;
use crate::pretrained_gan::{FOLDER, PretrainedGan, SETTINGS};
use crate::recipe::{Recipe, from_scratch_config};
use crate::transfer_plan::Transfer;
use engraft_base::batches;
use engraft_data::Dataset;
use engraft_gan::{CheckpointChoice, Event, Sampler, Trainer, TrainingOutcome, dataset_tensor};
use engraft_metrics::{
    FeatureExtractor, Features, frechet_distance, intra_cluster_diversity, kernel_distance, prdc, read_fitted,
};
use engraft_tensor::no_grad;
use rand::SeedableRng;
use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

/// Images that are generated at once.
const BATCH: usize = 250;
/// Squared distances up to this share of the training images' variance are zero up to rounding.
const ROUNDING: f64 = 1e-12;

/// How a generator of the target comes about.
#[derive(Clone, Debug)]
pub enum TransferMethod {
    /// The source's generator without further training (zero-shot).
    Untuned,
    /// The source's networks with random weights, trained on the target alone.
    FromScratch,
    /// The source's networks, trained on by a recipe.
    Recipe(Box<Recipe>),
}

impl TransferMethod {
    /// Its name in tables and directories.
    pub fn name(&self) -> &str {
        match self {
            Self::Untuned => "source-as-is",
            Self::FromScratch => "from-scratch",
            Self::Recipe(recipe) => &recipe.name,
        }
    }
}

/// What all methods of a comparison have in common.
pub struct Experiment<'a> {
    /// The source.
    pub source: &'a PretrainedGan,
    /// Images of the target to train on.
    pub target: &'a Dataset,
    /// Training steps.
    pub steps: u64,
    /// Seed of training and of the generated images.
    pub seed: u64,
}

/// Measures of the images that a method's generator draws.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ExperimentResult {
    /// The method.
    pub method: String,
    /// Kernel distance to the real images.
    pub kid: f64,
    /// Its standard error.
    pub kid_se: f64,
    /// Fréchet distance to them.
    pub fid: f64,
    /// Share of the real images with a generated one in their neighborhood.
    pub coverage: f64,
    /// Diversity of the generated images around the training images.
    pub diversity: f64,
    /// [Share](copied_share) of generated images closer to a training image than training images are to each other.
    pub copies: f64,
    /// Training steps of the checkpoint that was measured.
    pub steps: u64,
}

impl Experiment<'_> {
    /// Trains by a method in `directory`, or goes on where that stopped, and gives the generator: of the best checkpoint
    /// if the run could hold out images to choose it with, else of the last one. Where [little](crate::TransferConfig::trains_little)
    /// of the generator trained, what it learned is also in an [`AdapterFile`] in the directory.
    ///
    /// # Errors
    /// What stops a run, see [`Trainer::train`]; `None` if the caller stopped it.
    pub fn train(
        &self,
        method: &TransferMethod,
        directory: &Path,
        on_event: &mut dyn FnMut(Event) -> ControlFlow<()>,
    ) -> Result<Option<(Sampler, u64)>, TransferError> {
        let data = self.target.clone();
        let mut trainer = match method {
            TransferMethod::Untuned => {
                return Ok(Some((self.source.sampler()?, 0)));
            }
            TransferMethod::FromScratch => {
                let config = from_scratch_config(self.source, self.target, self.steps, self.seed);
                Trainer::open(config, data, directory)?
            }
            TransferMethod::Recipe(recipe) => {
                let plan = Transfer::new(self.source.clone(), recipe.plan.clone())?;
                let config = recipe.train_config(self.source, self.target, self.steps, self.seed);
                self.save_source(directory)?;
                Trainer::builder(config, data)
                    .plan(Arc::new(plan))
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

    /// Puts the source beside a run that has not begun. Nothing is written beside one that has: neither to another source, nor to
    /// one that is damaged, nor to a run that is no transfer and would be taken for one from then on.
    fn save_source(&self, directory: &Path) -> Result<(), TransferError> {
        let folder = directory.join(FOLDER);
        // A run that was killed as it began has no settings yet.
        let of_a_run = [SETTINGS, "checkpoints", "metrics.jsonl"];
        let has_begun = of_a_run.iter().any(|name| directory.join(name).exists());
        if has_begun && !folder.exists() {
            return Err(TransferError::NoTransfer {
                path: directory.into(),
            });
        }
        match PretrainedGan::read(&folder) {
            Ok(there) if there.sha256()? != self.source.sha256()? => Err(TransferError::OtherSource {
                expected: there.sha256()?,
                found: self.source.sha256()?,
            }),
            Ok(_) => Ok(()),
            Err(damage) if has_begun => Err(damage),
            Err(_) => self.source.save(&folder),
        }
    }

    /// Features of `count` images that a generator draws.
    ///
    /// # Errors
    /// If they are not finite.
    pub fn generate_features(
        &self,
        network: &dyn FeatureExtractor,
        sampler: &Sampler,
        count: usize,
    ) -> Result<Features, TransferError> {
        let mut rng = Pcg64::seed_from_u64(self.seed);
        let parts: Result<Vec<Features>, TransferError> = batches(count, BATCH)
            .map(|part| {
                let images = no_grad(|| sampler.generate(part.len(), &mut rng));
                Ok(read_fitted(network, &images)?.0.features)
            })
            .collect();
        Ok(Features::stack(parts?)?)
    }
}

/// Features of a data set's images.
///
/// # Errors
/// If they are not finite.
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

/// Features of the images that [`evaluate`] compares, all from one feature extractor.
#[derive(Clone, Copy, Debug)]
pub struct FeatureSets<'a> {
    /// Real images of the target, best ones that were not trained on.
    pub real: &'a Features,
    /// The training images.
    pub training: &'a Features,
    /// Generated images.
    pub generated: &'a Features,
}

/// Measures generated images against real ones, and against those that were trained on.
///
/// # Errors
/// If there are too few images for one of the measures.
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
        coverage: prdc(real, generated)?.coverage,
        diversity: intra_cluster_diversity(training, generated)?,
        copies: copied_share(training, generated),
        steps,
    })
}

/// Share of generated images that lie closer to a training image than one in twenty training images lies to its nearest
/// other one: 0.05 or less where the generator does not copy. The distances of training images that are the same are left out,
/// for nothing is closer than they are; what is the same as a training image is a copy whatever the distances are.
///
/// It is [`memorized_share`](engraft_metrics::memorized_share) with the training images themselves in the place of
/// held-out ones, of which a few dozen images leave none.
pub fn copied_share(training: &Features, generated: &Features) -> f64 {
    let train = training.view();
    let nearest = |point: ndarray::ArrayView1<'_, f64>, but: Option<usize>| {
        let distances = train.outer_iter().enumerate().filter(|(i, _)| Some(*i) != but);
        distances
            .map(|(_, other)| (&point - &other).mapv(|x| x * x).sum())
            .fold(f64::INFINITY, f64::min)
    };
    let mut usual: Vec<f64> = train
        .outer_iter()
        .enumerate()
        .map(|(i, point)| nearest(point, Some(i)))
        .collect();
    let same = ROUNDING * training.variance();
    usual.retain(|&distance| distance > same);
    usual.sort_unstable_by(f64::total_cmp);
    let close = usual.get(usual.len() / 20).copied().unwrap_or(0.0);
    let points = generated.view();
    let copied = points.outer_iter().filter(|point| {
        let distance = nearest(*point, None);
        distance < close || distance <= same
    });
    copied.count() as f64 / generated.len().max(1) as f64
}

/// Compares the distances of methods, see [`BootstrapComparison`].
pub fn compare(real: &Features, generated: &[&Features], seed: u64) -> BootstrapComparison {
    const RESAMPLES: usize = 200;
    BootstrapComparison::new(real, generated, RESAMPLES, seed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn copied_share_by_hand() {
        let train = Features::new(array![[0.0], [1.0], [3.0], [6.0]]).unwrap();
        // The closest two are 1 apart: what is closer to one of them is a copy.
        let generated = Features::new(array![[0.2], [1.9], [4.5], [6.0]]).unwrap();
        assert_eq!(copied_share(&train, &generated), 0.75);
        assert_eq!(
            copied_share(&train, &Features::new(array![[4.5], [8.0]]).unwrap()),
            0.0
        );
        // Two of the training images are the same: the closest others are still 1 apart.
        let twice = Features::new(array![[0.0], [0.0], [1.0], [3.0], [6.0]]).unwrap();
        assert_eq!(copied_share(&twice, &generated), 0.75);
        assert_eq!(copied_share(&twice, &twice), 1.0);
        let one = Features::new(array![[2.0], [2.0]]).unwrap();
        assert_eq!(
            copied_share(&one, &Features::new(array![[2.0], [2.1]]).unwrap()),
            0.5
        );
    }
}
