#![doc = include_str!("../README.md")]

pub mod adapt;
pub mod regularizers;
pub mod semi_supervised;

mod adapter_file;
mod bootstrap;
mod classification_score;
mod config;
mod domain_distance;
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
mod trainable_summary;
mod transfer_plan;

pub use adapter_file::AdapterFile;
pub use bootstrap::Comparison;
pub use classification_score::LabeledImages;
pub use config::{Phase, Rate, SourceRegularizer, Trainable, TransferConfig};
pub use domain_distance::{DomainDistance, domain_distance};
/// Crates whose types appear in the public signatures of this crate.
pub use engraft_gan::{rand, toml};
pub use engraft_layers::{Selection, freeze, train_only, unfreeze};
pub use equilibrium::{Equilibrium, equilibrium};
pub use error::TransferError;
pub use experiment::{Experiment, ExperimentResult, TransferMethod, compare, copies, features_of, measure};
pub use gradual_unfreezing::gradual_unfreezing;
pub use miner::Miner;
pub use open::{open_run, open_source};
pub use patch_discriminator::PatchHead;
pub use pretrained_gan::PretrainedGan;
pub use recipe::{Recipe, from_scratch};
pub use trainable_summary::{TrainableRow, TrainableSummary, trainable_summary};
pub use transfer_plan::Transfer;
