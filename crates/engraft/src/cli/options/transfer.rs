//! Options of `engraft transfer`.

use super::{FeatureOptions, LearningRates, PictureOptions, at_least_one, compared_images, side, threads};
use engraft_gan::{GanError, TrainConfig};
use engraft_layers::Adapter;
use engraft_tensor::Precision;
use engraft_transfer::{SourceRegularizer, SourceRegularizers, TransferError};
use std::path::PathBuf;
use std::str::FromStr;

/// Adapt a trained GAN to a new domain with few images.
///
/// Measures the distance between source and target, chooses a recipe and explains it, then trains and evaluates. The same
/// command resumes an interrupted run.
///
/// Exit codes are those of train: 0 done, 1 error, 2 invalid arguments or settings, 3 no usable data, 4 diverged, 5 disk full,
/// 130 interrupted and saved (143 for SIGTERM, 129 for SIGHUP).
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Transfer {
    /// Run directory of the source, which may itself be a transfer, or the name of a shipped source [default: the shipped source
    /// that engraft sources ranks first]
    #[arg(long, value_name = "RUN")]
    pub(crate) from: Option<PathBuf>,
    /// Target images: as --data of train. They are converted to the source's size and color
    #[arg(long, value_name = "NAME|DIR|ZIP|NPY")]
    pub(crate) data: String,
    /// Number of training images [default: all]. Without a test set, every fifth image is held out for evaluation if there are at
    /// least 100
    #[arg(long, alias = "shots", value_name = "N")]
    pub(crate) train_images: Option<usize>,
    /// Side of the images, which must be the source's; images are always resized to it
    #[arg(long, value_name = "N", value_parser = side, help_heading = "Pictures")]
    pub(crate) size: Option<usize>,
    #[command(flatten)]
    pub(crate) pictures: PictureOptions,
    /// Mirror each training image (left and right) with probability 1/2 whenever it is trained on. Not for digits or letters
    #[arg(long, help_heading = "Pictures")]
    pub(crate) mirror: bool,
    /// Invert the target's pixel values (255 - v), if the source is light on dark and the target dark on light
    #[arg(long)]
    pub(crate) invert: bool,
    /// auto: chosen by the number of images and the distance; fine-tune: train all weights of both networks
    #[arg(long, value_enum, default_value_t = RecipeName::Auto)]
    pub(crate) recipe: RecipeName,
    #[command(flatten)]
    pub(crate) plan: PlanOptions,
    /// Training steps
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..), help_heading = "Training")]
    pub(crate) steps: u64,
    #[command(flatten)]
    pub(crate) training: TrainingOptions,
    /// Seed of the subset of images, of training and of the generated images
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Number of images that each method generates for the evaluation, and the source for the choice of the recipe
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = compared_images)]
    pub(crate) count: usize,
    #[command(flatten)]
    pub(crate) features: FeatureOptions,
    /// Run directory [default: runs/transfer-DATA; with a number from 2 on if runs of other settings are there]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Also train and evaluate the baselines: untuned source, from scratch, plain fine-tuning
    #[arg(long, alias = "controls")]
    pub(crate) baselines: bool,
    /// Print the plan only, with the time that the training takes; train and write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Start from scratch; an earlier run in the directory is moved aside, not deleted
    #[arg(long)]
    pub(crate) fresh: bool,
    /// Continue the run in --out although images were added, removed or changed since. The run records the earlier ones
    #[arg(long, conflicts_with = "fresh", requires = "out")]
    pub(crate) accept_changed_data: bool,
    /// Also print one line of JSON at the end
    #[arg(long)]
    pub(crate) json: bool,
    /// Also write losses, measures and sample grids for TensorBoard into the run directory
    #[arg(long)]
    pub(crate) tensorboard: bool,
}

/// Options of the training itself, the same for the recipe and for all baselines.
#[derive(Clone, Debug, Default, PartialEq, clap::Args)]
pub(crate) struct TrainingOptions {
    /// Training images per step [default: as the source, at most 64 and at most the number of training images]
    #[arg(long, value_name = "N", value_parser = at_least_one, help_heading = "Training")]
    pub(crate) batch: Option<usize>,
    #[command(flatten)]
    pub(crate) learning_rates: LearningRates,
    /// Change a setting of the training, such as regularize.r1_gamma=1; repeatable. docs/guide/run-toml.md lists the settings.
    /// Not those of images and networks, which are the source's
    #[arg(long = "set", value_name = "NAME=VALUE", help_heading = "Training")]
    pub(crate) changes: Vec<String>,
    /// Operands of convolutions and matrix products: f32, or bf16 (rounded to 8 bits of precision; saves time with AMX, or on
    /// an AMD CPU with AVX512-BF16) [default: f32]
    #[arg(long, value_name = "NAME", help_heading = "Training")]
    pub(crate) precision: Option<Precision>,
    /// Stop early after N evaluations without improvement, which are at every tenth of --steps; from 20 training images on
    /// [default: never]
    #[arg(long, value_name = "N", help_heading = "Training")]
    pub(crate) patience: Option<u32>,
    /// Number of threads; results do not depend on it [default: number of cores]
    #[arg(long, value_name = "N", value_parser = threads, help_heading = "Training")]
    pub(crate) threads: Option<usize>,
    /// Steps between two checkpoints [default: a quarter of --steps]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Training")]
    pub(crate) checkpoint_every: Option<u64>,
}

impl TrainingOptions {
    /// Changes the settings of a run.
    ///
    /// # Errors
    /// If a setting does not exist, has another type, or must be the source's.
    pub(crate) fn apply(&self, config: &mut TrainConfig) -> Result<(), GanError> {
        if let Some(batch) = self.batch {
            config.batch = batch;
        }
        self.learning_rates.apply(config);
        if let Some(precision) = self.precision {
            config.precision = precision;
        }
        if let Some(patience) = self.patience {
            config.evaluation.patience = patience;
        }
        if let Some(every) = self.checkpoint_every {
            config.output.checkpoint_every = every;
        }
        let before = config.clone();
        for change in &self.changes {
            *config = config.changed(change)?;
            if fixed(config) != fixed(&before) {
                let problems = vec![format!(
                    "--set {change}: a transfer has the networks, packing, reconstruction head, labels and kind of images of its \
                     source, and options for steps and seed"
                )];
                return Err(GanError::Config { problems });
            }
        }
        Ok(())
    }
}

/// The settings that a transfer takes from its source, its images or its own options.
fn fixed(config: &TrainConfig) -> impl PartialEq {
    let images = (
        &config.data,
        config.images,
        config.image,
        &config.fingerprint,
        &config.pictures,
        config.validation_images,
        config.keep_copies_together,
    );
    let networks = (
        &config.network,
        config.classes,
        &config.labels,
        &config.pseudo_labels,
        config.objective.packing,
        config.objective.reconstruction > 0.0,
    );
    (images, networks, &config.plan, config.steps, config.seed)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum RecipeName {
    Auto,
    FineTune,
}

/// Options that change a recipe.
#[derive(Clone, Debug, Default, PartialEq, clap::Args)]
pub(crate) struct PlanOptions {
    /// Freeze layers of the generator, such as stem,block1. --dry-run lists the layers
    #[arg(long, value_name = "LAYERS", value_delimiter = ',')]
    pub(crate) freeze_g: Vec<String>,
    /// Freeze layers of the discriminator, such as block1. --dry-run lists the layers
    #[arg(long, value_name = "LAYERS", value_delimiter = ',')]
    pub(crate) freeze_d: Vec<String>,
    /// Train only the scales and shifts of the generator's batch norm layers
    #[arg(long, conflicts_with = "freeze_g")]
    pub(crate) batch_norm_only: bool,
    /// Train only an adapter of the generator: low-rank=RANK [default rank: 4], modulation=RANK [default rank: 1],
    /// singular-values, output-scale, or a network that maps the latent vectors: miner or miner=WIDTH
    #[arg(long, value_name = "KIND", conflicts_with_all = ["freeze_g", "batch_norm_only"])]
    pub(crate) adapter: Option<Small>,
    /// Train only the discriminator for the first N steps [default: the recipe's]
    #[arg(long, alias = "warm-up", value_name = "N")]
    pub(crate) discriminator_warmup: Option<u64>,
    /// Unfreeze the generator's layers one by one, from the output: one more layer every N steps
    #[arg(long, alias = "unfreeze-every", value_name = "N", conflicts_with_all = ["freeze_g", "batch_norm_only", "adapter"])]
    pub(crate) gradual_unfreezing: Option<u64>,
    /// Regularization towards the source, such as ewc=10, or several terms that add up, such as ewc=10,dcl=0.5; repeatable.
    /// l2-sp: distance of the weights; ewc: the same, weighted by Fisher information; cdc: cross-domain correspondence; dcl:
    /// dual contrastive learning; nothing: none [default: the recipe's]
    #[arg(
        long,
        alias = "preserve",
        value_name = "TERM=WEIGHT,..",
        value_delimiter = ','
    )]
    pub(crate) regularize: Vec<SourceRegularizer>,
    /// Weight of feature distillation from the source's discriminator
    #[arg(long, alias = "distil", value_name = "WEIGHT")]
    pub(crate) distill: Option<f64>,
    /// Use a patch discriminator (PatchGAN)
    #[arg(long, alias = "patches")]
    pub(crate) patch_discriminator: bool,
    /// Stop when generator and discriminator reach an equilibrium
    #[arg(long, alias = "until-balance")]
    pub(crate) stop_at_equilibrium: bool,
}

impl PlanOptions {
    /// The regularizers of `--regularize`; `None` without the option.
    ///
    /// # Errors
    /// If one of them is there twice, or `nothing` has others beside it.
    pub(crate) fn regularizers(&self) -> Result<Option<SourceRegularizers>, TransferError> {
        match &self.regularize[..] {
            [] => Ok(None),
            given => SourceRegularizers::new(given.iter().copied()).map(Some),
        }
    }
}

/// A small part that is trained instead of the generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Small {
    Adapter(Adapter),
    /// A latent mapping network, with the width of its hidden layer; `None` is the length of the latent vector.
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
    fn options_of_the_training_change_the_settings() {
        let digits = engraft_data::drawn_digits(engraft_data::Split::Train, 20, 1);
        let before = TrainConfig::standard(&digits);
        let mut config = before.clone();
        TrainingOptions::default().apply(&mut config).unwrap();
        assert_eq!(config, before);
        let options = TrainingOptions {
            batch: Some(4),
            checkpoint_every: Some(7),
            ..TrainingOptions::default()
        };
        options.apply(&mut config).unwrap();
        assert_eq!((config.batch, config.output.checkpoint_every), (4, 7));
        let mut set = |changes: &[&str]| {
            let changes = changes.iter().map(ToString::to_string).collect();
            let options = TrainingOptions {
                changes,
                patience: Some(3),
                ..TrainingOptions::default()
            };
            options.apply(&mut config).map(|()| config.clone())
        };
        let changed = set(&["regularize.r1_gamma=2", "objective.kind=hinge"]).unwrap();
        assert_eq!(
            (changed.regularize.r1_gamma, changed.evaluation.patience),
            (2.0, 3)
        );
        for wrong in [
            "objective={kind=\"hinge\", packing=2}",
            "held_out=20",
            "steps=3",
            "network=mlp",
            "no.such=1",
        ] {
            assert!(set(&[wrong]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn regularizers_are_a_list_and_repeatable() {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            plan: PlanOptions,
        }
        let parsed = |line: &str| {
            let words = ["engraft"].into_iter().chain(line.split_terminator(' '));
            <Line as clap::Parser>::try_parse_from(words).map(|line| line.plan)
        };
        let both = Some("ewc=10,dcl=0.5".parse().unwrap());
        for line in [
            "--regularize ewc=10,dcl=0.5",
            "--regularize ewc=10 --regularize dcl=0.5",
            "--preserve dcl=0.5 --regularize ewc=10",
        ] {
            assert_eq!(parsed(line).unwrap().regularizers().unwrap(), both, "{line}");
        }
        assert_eq!(parsed("").unwrap().regularizers().unwrap(), None);
        let nothing = parsed("--regularize nothing").unwrap();
        assert_eq!(
            nothing.regularizers().unwrap(),
            Some(SourceRegularizers::default())
        );
        for (wrong, named) in [
            ("--regularize ewc=1 --regularize ewc=2", "ewc"),
            ("--regularize nothing,cdc=1", "cdc"),
        ] {
            let error = parsed(wrong).unwrap().regularizers().unwrap_err();
            assert!(matches!(&error, TransferError::Config { problems } if problems[0].contains(named)));
        }
        assert!(parsed("--regularize ewc=1,ewd=2").is_err());
    }

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
