#![doc = include_str!("../README.md")]

mod area;
mod class_counts;
mod color_classifier;
mod color_features;
mod color_training;
mod error;
mod evaluation;
mod extractor;
mod feature_network;
mod feature_set;
pub mod features;
mod frechet;
mod input_fit;
mod kernel_distance;
mod memorization;
mod pairwise;
mod prdc;
pub mod pretrained;
mod random_features;
mod readability;
mod reference_points;
mod resize;
mod sliced_wasserstein;
mod summary;
#[cfg(test)]
mod testing;
mod training;

pub use class_counts::ClassCounts;
pub use color_classifier::ColorClassifier;
pub use color_features::ColorFeatures;
pub use color_training::train_color_classifier;
pub use error::MetricsError;
#[doc(hidden)] // name in earlier versions
pub use evaluation::EvaluationProtocol as Protocol;
pub use evaluation::{
    Evaluation, EvaluationInput, EvaluationProtocol, RealDataInfo, Scores, evaluate, evaluate_few,
};
pub use extractor::{FeatureExtractor, FeatureOutput, InputSpec, RecordedFeatures};
pub use feature_network::{CLASSES, FEATURES, FeatureClassifier, FeatureNetwork, IMAGE};
pub use feature_set::Features;
pub use frechet::frechet_distance;
pub use input_fit::{FitStep, InputFit, read_fitted};
pub use kernel_distance::{KernelDistance, kernel_distance};
pub use memorization::{copied_share, intra_cluster_diversity, memorized_share};
pub use prdc::{Prdc, balanced_coverage, prdc};
pub use random_features::RandomFeatures;
pub use readability::readable_share;
pub use reference_points::{ReferencePoint, ReferencePoints};
pub use sliced_wasserstein::sliced_wasserstein;
pub use summary::SeedSummary;
pub use training::{Training, Variation, accuracy, train_classifier};
