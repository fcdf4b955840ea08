//! Options of `engraft adapt`.

use super::learning_rates::above_zero;
use super::{PictureOptions, Seeds, batch, one_of, one_of_described, threads};
use clap::builder::TypedValueParser;
use engraft_transfer::adapt::{AdaptationMethod, AdaptationProtocol, Validator};
use std::path::PathBuf;

/// Train a classifier on a labeled source domain and adapt it to an unlabeled target domain.
///
/// The table always has the baselines source-only and target-statistics, and target-supervised if the target has labels.
/// Checkpoints are selected without target labels. The columns `last checkpoint` and `oracle` (best test accuracy) are for
/// reference only.
///
/// With --out, finished trainings are kept, and the same command trains the others. There are no checkpoints within a training:
/// Ctrl-C finishes those that have begun, and a second one or a kill loses them.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Adapt {
    /// Labeled images of the source domain: as --data of train
    #[arg(long, alias = "source", value_name = "NAME|DIR|ZIP")]
    pub(crate) source_data: String,

    /// Images of the target domain: as --data of train. Labels are optional and only used for testing
    #[arg(long, alias = "target", value_name = "NAME|DIR|ZIP")]
    pub(crate) target_data: String,

    /// Adaptation methods to compare
    #[arg(
        long,
        value_parser = methods(),
        value_delimiter = ',',
        default_value = "mcd",
        value_name = "METHOD,.."
    )]
    pub(crate) method: Vec<AdaptationMethod>,

    /// Number of training images of each domain: small is 2000 (USPS: 1800), full is all
    #[arg(long, value_parser = one_of(&AdaptationProtocol::ALL), default_value_t = AdaptationProtocol::Small)]
    pub(crate) protocol: AdaptationProtocol,

    /// Seeds of weights, noise, order and choice of images: a number N (seeds 1 to N), a range such as 3-7, or a list such as
    /// 2,5,9
    #[arg(long, value_name = "SEEDS", default_value = "5")]
    pub(crate) seeds: Seeds,

    /// Training steps
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) steps: u64,

    /// Images of each domain per step
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = batch)]
    pub(crate) batch: usize,

    /// Multiply all learning rates of the methods by this; baselines keep theirs
    #[arg(long, value_name = "F", default_value_t = 1.0, value_parser = factor)]
    pub(crate) learning_rate_factor: f64,

    /// Criterion that selects the checkpoint; none uses target labels. information: highest mutual information of the predictions
    /// for the target; entropy: their lowest entropy; density: highest soft neighborhood density; source: highest accuracy on the
    /// source
    #[arg(long, value_parser = one_of(&Validator::ALL), default_value_t = Validator::Information)]
    pub(crate) validator: Validator,

    /// Directory for results and classifiers, predictions for unlabeled images, and grids of image pairs. The same command
    /// reuses the results in it
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,

    /// Invert the target's pixel values (255 - v) first
    #[arg(long)]
    pub(crate) invert: bool,

    /// Scale the content of each image of both domains to 20 of 28 pixels and center it by its mass, as in MNIST; uses no label
    #[arg(long)]
    pub(crate) even_frames: bool,

    /// Train even if source and target images seem to be preprocessed differently
    #[arg(long, alias = "mismatch-is-meant")]
    pub(crate) allow_domain_mismatch: bool,

    /// Number of threads; results do not depend on it [default: number of cores]
    #[arg(long, value_name = "N", value_parser = threads)]
    pub(crate) threads: Option<usize>,

    #[command(flatten)]
    pub(crate) pictures: PictureOptions,
    /// Print one line of JSON instead of the table
    #[arg(long)]
    pub(crate) json: bool,
}

/// A factor: a finite number above 0.
fn factor(text: &str) -> Result<f64, String> {
    above_zero(text, "0.2")
}

/// The methods that adapt; baselines are always there.
fn methods() -> impl TypedValueParser<Value = AdaptationMethod> {
    let adapting = AdaptationMethod::ALL
        .into_iter()
        .filter(|method| !method.is_baseline());
    let about = |method: AdaptationMethod| match method {
        AdaptationMethod::Cogan => "Coupled GANs; with --out also a grid of image pairs for each seed",
        other => other.description(),
    };
    one_of_described(adapting.map(|method| (method, about(method))).collect())
}
