#![doc = include_str!("../README.md")]

mod classes;
mod error;
mod evaluation;
mod extractor;
mod feature_set;
pub mod features;
mod frechet;
mod input_fit;
mod kernel_distance;
mod memory;
mod neighbours;
mod network;
mod random_features;
mod rows;
mod spread;
#[cfg(test)]
mod testing;
mod training;

pub use classes::ClassCounts;
pub use error::MetricsError;
pub use evaluation::{Compared, Evaluation, Protocol, RealImages, Scores, evaluate};
pub use extractor::{FeatureExtractor, FeatureOutput, InputSpec};
pub use feature_set::Features;
pub use frechet::frechet_distance;
pub use input_fit::{FitStep, InputFit, read_fitted};
pub use kernel_distance::{KernelDistance, kernel_distance};
pub use memory::{intra_cluster_diversity, memorised_share};
pub use neighbours::{Overlap, overlap};
pub use network::{CLASSES, Classifier, FEATURES, FeatureNetwork, IMAGE};
pub use random_features::RandomFeatures;
pub use spread::Spread;
pub use training::{Training, Variation, accuracy, train_classifier};
