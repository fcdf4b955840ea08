//! Options of `engraft export`.

use super::one_of_described;
use engraft_export::onnx::OPSETS;
use engraft_gan::CheckpointChoice;
use std::fmt;
use std::path::PathBuf;

/// Most examples.
const MOST_EXAMPLES: i64 = 256;

/// Write a trained network for other programs: ONNX, PyTorch, or a folder for the Hugging Face hub.
///
/// Images are [N, channels, height, width] with values from -1 to 1. The guide's page export.md describes the files.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("input").required(true))]
pub(crate) struct Export {
    /// Run directory of a training or a transfer, or a source that is part of the program
    #[arg(long, value_name = "RUN", group = "input")]
    pub(crate) from: Option<PathBuf>,
    /// Adapter file of a transfer; --from is then its source
    #[arg(long, value_name = "FILE", requires = "from")]
    pub(crate) adapter: Option<PathBuf>,
    /// Network of the run
    #[arg(long, value_parser = networks(), default_value_t = ExportNetwork::Generator, requires = "from")]
    pub(crate) network: ExportNetwork,
    /// Checkpoint of the run: last; best, by KID times (2 - coverage) on validation images, or the last one if it is worse by less than
    /// the standard error (checkpoints that copy training images are avoided); or the number of a step
    #[arg(long, value_name = "last|best|STEP", default_value_t = CheckpointChoice::Last, requires = "from")]
    pub(crate) checkpoint: CheckpointChoice,
    /// Classifier of adapt --out, a safetensors file
    #[arg(long, value_name = "FILE", group = "input")]
    pub(crate) classifier: Option<PathBuf>,
    /// Feature network: mnist, fashion-mnist, cifar10 (32x32), random-rgb-N for N of 32, 64, 128, 256, and with --weights
    /// mobilenet-v2 (224x224) and inception (299x299)
    #[arg(long, value_name = "NAME", group = "input")]
    pub(crate) features: Option<String>,
    /// Weights of a feature network, a safetensors file
    #[arg(long, value_name = "FILE", requires = "features")]
    pub(crate) weights: Option<PathBuf>,
    /// Format of the files
    #[arg(long, value_parser = formats(), default_value_t = ExportFormat::Onnx)]
    pub(crate) format: ExportFormat,
    /// Version of the operators of ONNX, 13 to 24 [default: 17]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(OPSETS))]
    pub(crate) opset: Option<i64>,
    /// Output: a file .onnx, a file .py with the weights beside it, or a folder [default: NETWORK.onnx, NETWORK.py or hub]
    #[arg(long, value_name = "FILE|DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Replace existing files
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// License of the training images, for the metadata and the model card
    #[arg(long, value_name = "TEXT")]
    pub(crate) data_license: Option<String>,
    /// License of the weights, for the metadata and the model card; for the hub one of its names, such as cc-by-4.0
    #[arg(long, value_name = "NAME")]
    pub(crate) license: Option<String>,
    /// Result of engraft evaluate --json, for the model card; without it the card has the measures of the training
    #[arg(long, value_name = "FILE", requires = "from")]
    pub(crate) evaluation: Option<PathBuf>,
    /// Also write the inputs and outputs of N examples as NPY files, to check other programs; for generators
    #[arg(long, value_name = "N", requires = "from", value_parser = clap::value_parser!(i64).range(1..=MOST_EXAMPLES))]
    pub(crate) examples: Option<i64>,
}

/// A network of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExportNetwork {
    Generator,
    Discriminator,
}

impl fmt::Display for ExportNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Generator => "generator",
            Self::Discriminator => "discriminator",
        })
    }
}

/// A format of `--format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExportFormat {
    Onnx,
    PyTorch,
    Hub,
}

impl fmt::Display for ExportFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Onnx => "onnx",
            Self::PyTorch => "pytorch",
            Self::Hub => "hub",
        })
    }
}

fn networks() -> impl clap::builder::TypedValueParser<Value = ExportNetwork> {
    one_of_described(vec![
        (
            ExportNetwork::Generator,
            "Latent vectors to images, with averaged weights",
        ),
        (ExportNetwork::Discriminator, "Images to logits"),
    ])
}

fn formats() -> impl clap::builder::TypedValueParser<Value = ExportFormat> {
    one_of_described(vec![
        (ExportFormat::Onnx, "One ONNX file"),
        (
            ExportFormat::PyTorch,
            "A Python file that defines the network, and its weights in safetensors",
        ),
        (
            ExportFormat::Hub,
            "A folder for the Hugging Face hub: weights, Python file, configuration and model card",
        ),
    ])
}
