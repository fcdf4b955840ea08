#![doc = include_str!("../README.md")]

pub mod augment;
pub mod checkpoint;
pub mod networks;
pub mod penalty;

mod adversarial_loss;
mod average;
mod balance;
mod build;
mod config;
mod curves;
mod error;
mod film;
mod finite;
mod gan;
mod grid;
mod latent;
mod lecam;
mod log;
mod loss_term;
mod objective;
mod packing;
mod page;
mod plan;
mod regularization;
mod report;
mod rng;
mod sampler;
mod saved;
mod snapshot;
mod standing;
mod trainer;
mod validation;
mod watch;

pub use augment::AugmentConfig;
pub use average::Average;
pub use build::untrained_networks;
pub use config::{AdamConfig, OutputConfig, TrainConfig, WatchConfig};
pub use error::GanError;
pub use gan::{Gan, StepReport};
pub use grid::{image_png, sample_grid};
pub use lecam::LeCam;
pub use loss_term::Term;
pub use networks::{Network, Networks, dcgan};
pub use objective::{FeatureMatching, Objective, ObjectiveConfig, StepOrder};
pub use packing::pack;
pub use plan::{PhaseSeen, Plan};
pub use regularization::{RegularizeConfig, SpectralNorm};
pub use sampler::Sampler;
pub use saved::{SavedRun, Which, read_settings};
pub use standing::standing_statistics;
pub use trainer::{Control, Event, Outcome, Trainer};
pub use watch::{Alarm, Measurement, feature_view};

/// The examples of the project's README, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
