#![doc = include_str!("../README.md")]

pub mod augment;
pub mod checkpoint;
pub mod networks;
pub mod penalty;
pub mod report;

mod adversarial_loss;
mod batch;
mod build;
mod checkpoint_state;
mod class_prior;
mod config;
mod discriminator_stats;
mod ema;
mod error;
mod finite;
mod gan;
mod latent;
mod lecam;
mod log;
mod loss_term;
mod memory;
mod micro_batches;
mod monitor;
mod objective;
mod packing;
mod principal_directions;
mod pseudo_labels;
mod regularization;
mod rng;
mod run_data;
mod run_layout;
mod sample_writer;
mod sampler;
mod saved_run;
mod standing_statistics;
mod step_time;
mod tensorboard;
mod trainer;
mod training_plan;
mod update;
mod validation;

pub use augment::AugmentConfig;
pub use batch::{batch_tensor, dataset_tensor};
pub use build::{check_planned, untrained_networks};
pub use class_prior::ClassPrior;
pub use config::{
    AdamConfig, EarlierData, EvaluationConfig, FEW_IMAGES, NetworkConfig, OutputConfig, PictureConfig,
    PseudoLabelConfig, TrainConfig,
};
pub use ema::Ema;
pub use error::GanError;
pub use gan::{Gan, StepReport};
pub use lecam::LeCam;
pub use loss_term::LossTerm;
pub use memory::training_memory;
pub use monitor::{Alarm, Measurement, extractor_name, read_measurements};
pub use networks::{Networks, dcgan};
pub use objective::{FeatureMatching, Objective, ObjectiveConfig, StepOrder};
pub use packing::pack;
pub use principal_directions::principal_directions;
pub use pseudo_labels::{PseudoLabels, representative_images};
pub use regularization::{RegularizeConfig, SpectralNorm};
pub use report::animated_png;
pub use report::image_grid::{image_png, sample_grid};
pub use run_data::{class_names, training_image_hashes};
pub use run_layout::RunLayout;
pub use sample_writer::{NpySamples, PngGrid, SampleWriter};
pub use sampler::{Sampler, slerp};
pub use saved_run::{CheckpointChoice, SavedRun, read_settings};
pub use standing_statistics::standing_statistics;
pub use step_time::step_time;
pub use tensorboard::TensorBoard;
pub use trainer::{Event, Trainer, TrainerBuilder, TrainingOutcome};
pub use training_plan::{PhaseProgress, TrainingPlan};
#[doc(hidden)] // names of earlier versions
pub use {
    config::EvaluationConfig as WatchConfig, loss_term::LossTerm as Term,
    trainer::TrainingOutcome as Outcome, training_plan::PhaseProgress as PhaseSeen,
    training_plan::TrainingPlan as Plan,
};
/// Crates whose types appear in the public signatures of this crate.
pub use {engraft_layers::rand, engraft_layers::rand_pcg, toml};
