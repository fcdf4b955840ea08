#![doc = include_str!("../README.md")]

mod classes;
mod error;
mod evaluation;
mod features;
mod frechet;
mod kernel_distance;
mod memory;
mod neighbours;
mod network;
mod rows;
mod spread;
#[cfg(test)]
mod testing;
mod training;

pub use classes::ClassCounts;
pub use error::MetricsError;
pub use evaluation::{Compared, Evaluation, Protocol, RealImages, Scores, evaluate};
pub use features::Features;
pub use frechet::frechet_distance;
pub use kernel_distance::{KernelDistance, kernel_distance};
pub use memory::{intra_cluster_diversity, memorised_share};
pub use neighbours::{Overlap, overlap};
pub use network::{CLASSES, Classifier, FEATURES, FeatureNetwork, IMAGE, Reading};
pub use spread::Spread;
pub use training::{Training, Variation, accuracy, train_classifier};
