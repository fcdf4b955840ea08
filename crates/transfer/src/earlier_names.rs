//! Names from an earlier version. They keep working until the first release and are hidden from the documentation.

use crate::adapt::{
    AdaptationMethod, AdaptationProtocol, AdaptationResult, DomainClassifier, PixelStats, ValidatorScores,
};
use crate::adapter_file::AdapterFile;
use crate::classification_score::LabeledImages;
use crate::config::{Trainable, TransferConfig};
use crate::domain_distance::DomainDistance;
use crate::error::TransferError;
use crate::experiment::{Experiment, ExperimentResult, FeatureSets, TransferMethod, evaluate};
use crate::pretrained_gan::PretrainedGan;
use crate::recipe::Recipe;
use crate::semi_supervised::SemiSupervised;
use crate::transfer_plan::Transfer;
use engraft_data::Dataset;
use engraft_gan::networks::NetworkRoles;
use engraft_gan::{CheckpointChoice, Networks, Sampler, TrainConfig};
use engraft_layers::{Adapter, ParamFilter, Sequential};
use engraft_metrics::{FeatureExtractor, Features, Training};
use engraft_tensor::Tensor;
use rand::Rng;
use std::collections::BTreeMap;
use std::path::Path;

/// See [`evaluate`].
#[doc(hidden)]
pub fn measure(
    method: &str,
    steps: u64,
    [real, training, generated]: [&Features; 3],
) -> Result<ExperimentResult, TransferError> {
    let features = FeatureSets {
        real,
        training,
        generated,
    };
    evaluate(method, steps, features)
}

#[doc(hidden)]
impl TransferMethod {
    #[allow(non_upper_case_globals)] // the name of the variant that it replaces
    pub const SourceAsIs: Self = Self::Untuned;
}

#[doc(hidden)]
impl Experiment<'_> {
    pub fn draw(
        &self,
        network: &dyn FeatureExtractor,
        sampler: &Sampler,
        count: usize,
    ) -> Result<Features, TransferError> {
        self.generate_features(network, sampler, count)
    }
}

#[doc(hidden)]
impl Recipe {
    pub fn choose(
        source: &PretrainedGan,
        images: usize,
        found: &DomainDistance,
        steps: u64,
    ) -> Result<Self, TransferError> {
        Self::recommended(source, images, found, steps)
    }

    pub fn warm_up(steps: u64) -> u64 {
        Self::discriminator_warmup(steps)
    }

    pub fn settings(&self, source: &PretrainedGan, target: &Dataset, steps: u64, seed: u64) -> TrainConfig {
        self.train_config(source, target, steps, seed)
    }
}

#[doc(hidden)]
impl Transfer {
    pub fn begin(&self) -> Result<Networks, TransferError> {
        self.initial_networks()
    }
}

#[doc(hidden)]
impl TransferConfig {
    pub fn trains_little(&self) -> bool {
        self.is_parameter_efficient()
    }
}

#[doc(hidden)]
impl Trainable {
    pub fn names(&self, adapter: Option<Adapter>, roles: &NetworkRoles) -> ParamFilter {
        self.param_filter(adapter, roles)
    }
}

#[doc(hidden)]
impl AdapterFile {
    pub fn of(transfer: &Transfer, generator: &Sequential) -> Result<Self, TransferError> {
        Self::from_transfer(transfer, generator)
    }

    pub fn of_run(directory: &Path, which: CheckpointChoice) -> Result<Self, TransferError> {
        Self::from_run(directory, which)
    }
}

#[doc(hidden)]
impl LabeledImages {
    pub fn of(data: &Dataset, indices: &[usize]) -> Self {
        Self::from_dataset(data, indices)
    }

    pub fn drawn(sampler: &Sampler, count: usize, classes: &[usize], rng: &mut impl Rng) -> Option<Self> {
        Self::generate(sampler, count, classes, rng)
    }

    pub fn score(
        &self,
        test: &Self,
        training: &Training,
        on_epoch: &mut dyn FnMut(usize, f64),
    ) -> Result<f64, TransferError> {
        self.classification_accuracy(test, training, on_epoch)
    }
}

#[doc(hidden)]
impl AdaptationMethod {
    pub fn is_control(self) -> bool {
        self.is_baseline()
    }

    pub fn about(self) -> &'static str {
        self.description()
    }
}

#[doc(hidden)]
impl AdaptationProtocol {
    pub fn count(self, name: &str) -> usize {
        self.max_images(name)
    }

    pub fn choose(self, train: &Dataset, seed: u64) -> Dataset {
        self.select(train, seed)
    }

    pub fn rest(self, train: &Dataset, seed: u64) -> Option<Dataset> {
        self.unselected(train, seed)
    }
}

#[doc(hidden)]
impl AdaptationResult {
    pub fn last(&self) -> Option<f64> {
        self.last_accuracy()
    }

    pub fn oracle(&self) -> Option<f64> {
        self.oracle_accuracy()
    }
}

#[doc(hidden)]
impl DomainClassifier {
    pub fn image(&self) -> [usize; 3] {
        self.image_size()
    }

    pub fn width(&self) -> usize {
        self.feature_dim()
    }
}

#[doc(hidden)]
impl PixelStats {
    pub fn of(data: &Dataset) -> Self {
        Self::from_dataset(data)
    }
}

#[doc(hidden)]
impl ValidatorScores {
    pub fn of(target_logits: &Tensor, source: f64) -> Self {
        Self::from_logits(target_logits, source)
    }
}

#[doc(hidden)]
impl SemiSupervised<'_> {
    pub fn wrong(&self, data: &Dataset) -> usize {
        self.error_count(data)
    }

    pub fn save(&self) -> Result<BTreeMap<String, Vec<u8>>, TransferError> {
        self.checkpoint_files()
    }
}
