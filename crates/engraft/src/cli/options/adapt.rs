//! What can be said to `engraft adapt`.

use super::{Seeds, one_of, one_of_described};
use clap::builder::TypedValueParser;
use engraft_transfer::adapt::{AdaptationMethod, AdaptationProtocol, Validator};
use std::path::PathBuf;

/// Learn a classifier for a target domain without labels, from a source domain with labels.
///
/// The baselines source-only, target-statistics and, where the target has labels, target-supervised are always there.
/// Checkpoints are selected without labels of the target; the last one is shown too and, for reference only, as oracle the
/// best by the test labels.
#[derive(Debug, clap::Args)]
pub(crate) struct Adapt {
    /// Labeled images of the source domain: as --data of train
    #[arg(long, alias = "source", value_name = "NAME|DIR|ZIP")]
    pub(crate) source_data: String,

    /// Images of the target domain: as --data of train. Labels are optional and only used for testing
    #[arg(long, alias = "target", value_name = "NAME|DIR|ZIP")]
    pub(crate) target_data: String,

    /// Methods
    #[arg(
        long,
        value_parser = methods(),
        value_delimiter = ',',
        default_value = "mcd",
        value_name = "METHOD,.."
    )]
    pub(crate) method: Vec<AdaptationMethod>,

    /// How many images of each domain: 2000 (of USPS 1800), or all
    #[arg(long, value_parser = one_of(&AdaptationProtocol::ALL), default_value_t = AdaptationProtocol::Small)]
    pub(crate) protocol: AdaptationProtocol,

    /// Seeds of weights, noise, order and choice of images: a number N (seeds 1 to N), a range such as 3-7, or a list such as
    /// 2,5,9
    #[arg(long, value_name = "SEEDS", default_value = "5")]
    pub(crate) seeds: Seeds,

    /// Training steps
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) steps: u64,

    /// Images of each domain in a step
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub(crate) batch: usize,

    /// How the checkpoint is selected, without labels of the target
    #[arg(long, value_parser = one_of(&Validator::ALL), default_value_t = Validator::Information)]
    pub(crate) validator: Validator,

    /// Directory for the results and classifiers of every method and seed, the predicted classes of unlabelled pictures, and
    /// grids of pairs; the same command again reuses what is there
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,

    /// Invert the target's pixel values (255 - v) first
    #[arg(long)]
    pub(crate) invert: bool,

    /// Train even if source and target images seem to be preprocessed differently
    #[arg(long, alias = "mismatch-is-meant")]
    pub(crate) allow_domain_mismatch: bool,

    /// Methods and seeds that run at a time; the result does not depend on it [default: one for each core]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,

    /// Print one line of JSON instead of the table
    #[arg(long)]
    pub(crate) json: bool,
}

/// The methods that adapt; baselines are always there.
fn methods() -> impl TypedValueParser<Value = AdaptationMethod> {
    let adapting = AdaptationMethod::ALL
        .into_iter()
        .filter(|method| !method.is_baseline());
    one_of_described(adapting.map(|method| (method, method.description())).collect())
}
