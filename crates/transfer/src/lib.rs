#![doc = include_str!("../README.md")]

pub mod adapt;
pub mod regularizers;
pub mod semi_supervised;

mod adapter_file;
mod bootstrap;
mod classification_score;
mod config;
mod domain_distance;
mod earlier_names;
mod equilibrium;
mod error;
mod experiment;
mod gradual_unfreezing;
mod miner;
mod open;
mod parse;
mod patch_discriminator;
mod pretrained_gan;
mod recipe;
mod shipped;
mod source_regularizers;
mod trainable_summary;
mod transfer_plan;

pub use adapter_file::AdapterFile;
pub use bootstrap::BootstrapComparison;
pub use classification_score::LabeledImages;
pub use config::{LearningRateFactor, Phase, Trainable, TransferConfig};
pub use domain_distance::{DomainDistance, domain_distance};
/// Crates whose types appear in the public signatures of this crate.
pub use engraft_gan::{rand, toml};
pub use engraft_layers::{PatchHead, Selection, freeze, train_only, unfreeze};
pub use engraft_metrics::copied_share;
pub use equilibrium::{Equilibrium, equilibrium};
pub use error::TransferError;
pub use experiment::{
    Experiment, ExperimentResult, FeatureSets, TransferMethod, compare, dataset_features, evaluate,
};
pub use gradual_unfreezing::gradual_unfreezing;
pub use miner::Miner;
pub use open::{open_run, open_source};
pub use pretrained_gan::PretrainedGan;
pub use recipe::{Recipe, from_scratch_config};
pub use shipped::ShippedSource;
pub use source_regularizers::{SourceRegularizer, SourceRegularizers};
pub use trainable_summary::{TrainableRow, TrainableSummary, trainable_summary};
pub use transfer_plan::Transfer;

// Names from an earlier version, until the first release.
#[doc(hidden)]
pub use bootstrap::BootstrapComparison as Comparison;
#[doc(hidden)]
pub use classification_score::LabeledImages as Labelled;
#[doc(hidden)]
pub use config::{LearningRateFactor as Rate, Trainable as Trained};
#[doc(hidden)]
pub use domain_distance::{DomainDistance as Proximity, domain_distance as proximity};
#[doc(hidden)]
pub use earlier_names::measure;
#[doc(hidden)]
pub use engraft_metrics::copied_share as copies;
#[doc(hidden)]
pub use equilibrium::{Equilibrium as Balance, equilibrium as balance};
#[doc(hidden)]
pub use experiment::{
    Experiment as Trial, ExperimentResult as Row, TransferMethod as Method, dataset_features as features_of,
};
#[doc(hidden)]
pub use gradual_unfreezing::gradual_unfreezing as gradual;
#[doc(hidden)]
pub use pretrained_gan::PretrainedGan as Source;
#[doc(hidden)]
pub use recipe::from_scratch_config as from_scratch;
#[doc(hidden)]
pub use regularizers as preserve;
#[doc(hidden)]
pub use source_regularizers::SourceRegularizer as Preserve;
#[doc(hidden)]
pub use trainable_summary::{
    TrainableRow as TrainingRow, TrainableSummary as TrainingTable, trainable_summary as training_table,
};
