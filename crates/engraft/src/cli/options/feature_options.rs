//! The options that choose a feature extractor, for all commands that measure.

use engraft_metrics::features::NAMES;
use std::path::PathBuf;

/// The choice of a feature extractor.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct FeatureOptions {
    /// Feature extractor [default: mnist or fashion-mnist for 28x28 gray images, otherwise cifar10]. mobilenet-v2 and
    /// inception need --weights
    #[arg(long, value_name = "NAME", value_parser = NAMES)]
    pub(crate) features: Option<String>,
    /// Weights of the feature extractor, converted from PyTorch's file; docs/guide/evaluate.md has the line that converts
    #[arg(long, value_name = "FILE.safetensors", requires = "features")]
    pub(crate) weights: Option<PathBuf>,
}
