//! What can be said to `engraft transfer`.

use engraft_layers::Adapter;
use engraft_metrics::features::NAMES;
use engraft_transfer::SourceRegularizer;
use std::path::PathBuf;
use std::str::FromStr;

/// Adapt a trained GAN to a new domain with few images.
///
/// Measures how far the source is from the target, chooses a recipe and gives its reasons; then trains and evaluates the
/// result, with baselines if asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Transfer {
    /// Run directory of the source, which may itself be a transfer
    #[arg(long, value_name = "RUN")]
    pub(crate) from: PathBuf,
    /// Target: images as for train, of any size: they are brought to that of the source
    #[arg(long, value_name = "NAME|DIR|ZIP|NPY")]
    pub(crate) data: String,
    /// Images of the target to train on [default: all]. Of pictures without a part named test, at least 100, every fifth is kept for
    /// measuring and not among them
    #[arg(long, alias = "shots", value_name = "N")]
    pub(crate) train_images: Option<usize>,
    /// Invert the target's pixel values (255 - v) before training: where the source is light on dark and the target dark on light
    #[arg(long)]
    pub(crate) invert: bool,
    /// auto: chosen by the number of images and the distance; fine-tune: all of both networks trains
    #[arg(long, value_enum, default_value_t = RecipeName::Auto)]
    pub(crate) recipe: RecipeName,
    #[command(flatten)]
    pub(crate) plan: PlanOptions,
    /// Training steps
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) steps: u64,
    /// Seed of the choice of images, of training and of the generated images
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Features to measure by [default: those of a classifier for grey images of 28x28, else random]
    #[arg(long, value_name = "NAME", value_parser = NAMES)]
    pub(crate) features: Option<String>,
    /// Directory of the runs [default: runs/transfer-DATA]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Also train and evaluate the baselines: untuned source, from scratch, plain fine-tuning
    #[arg(long, alias = "controls")]
    pub(crate) baselines: bool,
    /// Print the plan, and train nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// End with one line of JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum RecipeName {
    Auto,
    FineTune,
}

/// What is changed of a recipe.
#[derive(Debug, Default, PartialEq, clap::Args)]
pub(crate) struct PlanOptions {
    /// Layers of the generator that are frozen, as stem,block1
    #[arg(long, value_name = "LAYERS", value_delimiter = ',')]
    pub(crate) freeze_g: Vec<String>,
    /// Layers of the discriminator that are frozen
    #[arg(long, value_name = "LAYERS", value_delimiter = ',')]
    pub(crate) freeze_d: Vec<String>,
    /// Train only the scales and shifts of the generator's batch norms
    #[arg(long, conflicts_with = "freeze_g")]
    pub(crate) batch_norm_only: bool,
    /// Train only a small adapter: one on the generator's weights (singular-values, output-scale, or low-rank or
    /// modulation with a rank, as low-rank=4; 4 and 1 without), or a network that maps its latent space (miner, or miner=WIDTH)
    #[arg(long, value_name = "KIND", conflicts_with_all = ["freeze_g", "batch_norm_only"])]
    pub(crate) adapter: Option<Small>,
    /// Steps in which only the discriminator trains, at the beginning [default: the recipe's]
    #[arg(long, alias = "warm-up", value_name = "N")]
    pub(crate) discriminator_warmup: Option<u64>,
    /// Unfreeze the generator gradually from its output: the last layer trains first, after N steps the last two, and so on
    #[arg(long, alias = "unfreeze-every", value_name = "N", conflicts_with_all = ["freeze_g", "batch_norm_only", "adapter"])]
    pub(crate) gradual_unfreezing: Option<u64>,
    /// Regularization towards the source: nothing, or l2-sp, ewc or cdc with a weight, as ewc=10
    #[arg(long, alias = "preserve", value_name = "TERM=WEIGHT")]
    pub(crate) regularize: Option<SourceRegularizer>,
    /// Weight of feature distillation in the discriminator
    #[arg(long, alias = "distil", value_name = "WEIGHT")]
    pub(crate) distill: Option<f64>,
    /// Use a patch discriminator (PatchGAN)
    #[arg(long, alias = "patches")]
    pub(crate) patch_discriminator: bool,
    /// Stop when generator and discriminator are in balance
    #[arg(long, alias = "until-balance")]
    pub(crate) stop_at_equilibrium: bool,
}

/// What is small enough to lie beside a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Small {
    Adapter(Adapter),
    /// With the width of its hidden layer; without, that of the latent vector.
    Miner(Option<usize>),
}

impl FromStr for Small {
    type Err = String;

    /// Reads `low-rank=4`, `miner` and the like.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            None if text == "miner" => Ok(Self::Miner(None)),
            Some(("miner", width)) => match width.parse() {
                Ok(width) if width > 0 => Ok(Self::Miner(Some(width))),
                _ => Err(format!("expected miner or miner=WIDTH, got {text:?}")),
            },
            None if text == "low-rank" => Ok(Self::Adapter(Adapter::LowRank { rank: 4 })),
            None if text == "modulation" => Ok(Self::Adapter(Adapter::Modulation { rank: 1 })),
            _ => match text.parse() {
                Ok(adapter) => Ok(Self::Adapter(adapter)),
                Err(error) => Err(format!("{error}; or miner, or miner=WIDTH")),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_parts_by_name() {
        let small = |text: &str| text.parse::<Small>();
        let low_rank = |rank| Ok(Small::Adapter(Adapter::LowRank { rank }));
        assert_eq!(
            (small("low-rank=3"), small("low-rank")),
            (low_rank(3), low_rank(4))
        );
        assert_eq!(small("miner"), Ok(Small::Miner(None)));
        assert_eq!(small("miner=64"), Ok(Small::Miner(Some(64))));
        assert_eq!(
            small("singular-values"),
            Ok(Small::Adapter(Adapter::SingularValues))
        );
        for wrong in ["low-rank=0", "lora", "miner=0", "singular-values=2"] {
            assert!(small(wrong).unwrap_err().contains("miner=WIDTH"), "{wrong}");
        }
    }
}
