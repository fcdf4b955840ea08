#![doc = include_str!("../README.md")]

pub mod checkpoint;
pub mod networks;

mod average;
mod config;
mod curves;
mod error;
mod film;
mod finite;
mod gan;
mod grid;
mod log;
mod objective;
mod page;
mod report;
mod rng;
mod sampler;
mod saved;
mod snapshot;
mod trainer;

pub use average::Average;
pub use config::{AdamConfig, OutputConfig, TrainConfig};
pub use error::GanError;
pub use gan::{Gan, StepOrder, StepReport};
pub use grid::sample_grid;
pub use networks::{Network, dcgan};
pub use objective::Objective;
pub use sampler::Sampler;
pub use saved::SavedRun;
pub use trainer::{Control, Event, Outcome, Trainer};

/// The examples of the project's README, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
