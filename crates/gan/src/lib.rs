#![doc = include_str!("../README.md")]

pub mod augment;
pub mod checkpoint;
pub mod networks;
pub mod penalty;

mod average;
mod balance;
mod combination;
mod config;
mod curves;
mod error;
mod film;
mod finite;
mod game;
mod gan;
mod grid;
mod lecam;
mod log;
mod objective;
mod packing;
mod page;
mod plan;
mod report;
mod rng;
mod sampler;
mod saved;
mod snapshot;
mod standing;
mod trainer;
mod watch;

pub use augment::AugmentConfig;
pub use average::Average;
pub use config::{
    AdamConfig, FeatureMatching, ObjectiveConfig, OutputConfig, RegulariseConfig, SpectralNorm, TrainConfig,
    WatchConfig,
};
pub use error::GanError;
pub use gan::{Gan, StepOrder, StepReport};
pub use grid::{image_png, sample_grid};
pub use lecam::LeCam;
pub use networks::{Network, dcgan};
pub use objective::Objective;
pub use packing::pack;
pub use plan::{Pair, PhaseSeen, Plan, Term};
pub use sampler::Sampler;
pub use saved::{SavedRun, Which, read_settings};
pub use standing::standing_statistics;
pub use trainer::pair::networks_of as random_networks;
pub use trainer::{Control, Event, Outcome, Trainer};
pub use watch::{Alarm, Measurement, feature_view};

/// The examples of the project's README, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
