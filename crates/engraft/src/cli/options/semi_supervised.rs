//! What can be said to `engraft semi-supervised`.

use super::{Seeds, at_least_one};
use engraft_transfer::semi_supervised::ExtraLoss;
use std::path::PathBuf;

/// Train classifiers on few labels, with and without the unlabelled images, and print their test errors.
///
/// Always three rows: the labelled images alone, feature matching with a generator and all images, and all labels; with
/// --from also the labelled images together with generated ones. All rows have the same network, number of steps and
/// seeds. The errors are those at the end: nothing is selected on the test images. The same command resumes an interrupted
/// one; at most a minute of work is lost.
#[derive(Debug, clap::Args)]
pub(crate) struct SemiSupervised {
    /// Labelled images: a known data set, or a folder or ZIP file with a folder of pictures for each class
    #[arg(long, value_name = "NAME|DIR|ZIP")]
    pub(crate) data: String,
    /// Use only N training images [default: all]. The subset is the same for every seed: that of
    /// `transfer --train-images N --seed S`, where S is the first of --seeds. The steps of a budget do not change
    #[arg(long, alias = "shots", value_name = "N", value_parser = at_least_one)]
    pub(crate) train_images: Option<usize>,
    /// Labelled images, equally many of each class; a multiple of the number of classes
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) labels: usize,
    /// Seeds of weights, noise, order and choice of labeled images: a number N (seeds 1 to N), a range such as 3-7, or a list
    /// such as 2,5,9
    #[arg(long, value_name = "SEEDS", default_value = "5")]
    pub(crate) seeds: Seeds,
    /// First seed, if --seeds is a number
    #[arg(long, value_name = "SEED", hide = true)]
    pub(crate) first_seed: Option<u64>,
    /// fast: 6 passes, a quarter of an hour for five seeds on two cores; paper: the authors' 300 passes, hours for each seed
    #[arg(long, value_enum, default_value_t = Budget::Fast)]
    pub(crate) budget: Budget,
    /// Passes over the unlabelled images, instead of the budget's
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub(crate) epochs: Option<u64>,
    /// Extra losses: pull-away, conditional-entropy, each with a weight if it is not 1, as pull-away=0.5,conditional-entropy
    #[arg(long, alias = "terms", value_name = "LOSS,..", value_delimiter = ',', value_parser = clap::value_parser!(ExtraLoss))]
    pub(crate) extra_losses: Vec<ExtraLoss>,
    /// Run directory, of a transfer too: adds a row with its generated images as further training images, labelled by the
    /// classifier of the labelled images alone. All images are resized to those of the run, for all rows
    #[arg(long, alias = "generator", value_name = "RUN")]
    pub(crate) from: Option<PathBuf>,
    /// Images to generate; those are kept whose class the classifier is sure of
    #[arg(long, value_name = "N", default_value_t = 10_000, requires = "from", value_parser = at_least_one)]
    pub(crate) generated: usize,
    /// Directory for the subsets of labels and the results [default: runs/semi-supervised-DATA-LABELS, with -of-N for --train-images,
    /// -N-epochs for --epochs and -paper for that budget]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Threads [default: all cores]; the numbers do not depend on it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1024))]
    pub(crate) threads: Option<u64>,
    /// End with one line of JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Budget {
    Fast,
    Paper,
}

impl Budget {
    /// Passes over the images without labels.
    pub(crate) fn epochs(self) -> u64 {
        match self {
            Self::Fast => 6,
            Self::Paper => 300,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Paper => "paper",
        }
    }
}
