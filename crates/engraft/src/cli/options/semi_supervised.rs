//! What can be said to `engraft semi-supervised`.

use super::at_least_one;
use engraft_transfer::semi_supervised::Term;
use std::path::PathBuf;

/// Train classifiers on a few labels, with and without the images that have none, and print their test errors.
///
/// Three rows are always there: the labelled images alone, feature matching with a generator and all images, and all labels;
/// with --generator also the labelled images together with generated ones. All rows have the same network, the same number of
/// steps and the same seeds. The errors are those at the end: nothing is selected on the test images. The same command goes on
/// where it was interrupted, but for the last minute.
#[derive(Debug, clap::Args)]
pub(crate) struct SemiSupervised {
    /// Labelled images: a known data set, or a folder or ZIP file with a folder of pictures for each class
    #[arg(long, value_name = "NAME|DIR|ZIP")]
    pub(crate) data: String,
    /// Training images to take, with labels or without, the same for all seeds [default: all]: those that transfer takes with
    /// --shots N and, as its --seed, the --first-seed. The steps of a budget stay those for all images
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) shots: Option<usize>,
    /// Labels, as many of each class; a multiple of the number of classes
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) labels: usize,
    /// Subsets of labels, each with a seed of its own
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub(crate) seeds: u64,
    /// The first seed; the others follow. A long run can be cut into several with it, but with --shots it also says which images
    /// are taken
    #[arg(long, value_name = "SEED", default_value_t = 1, value_parser = clap::value_parser!(u64).range(..=1_000_000))]
    pub(crate) first_seed: u64,
    /// fast: for a quarter of an hour on two cores, with five seeds; paper: the authors' 300 passes, hours for each seed
    #[arg(long, value_enum, default_value_t = Budget::Fast)]
    pub(crate) budget: Budget,
    /// Passes over the images without labels, instead of the budget's
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub(crate) epochs: Option<u64>,
    /// Terms beside feature matching, each with a weight if it is not 1: pull-away, conditional-entropy, as
    /// pull-away=0.5,conditional-entropy
    #[arg(long, value_name = "TERM", value_delimiter = ',', value_parser = clap::value_parser!(Term))]
    pub(crate) terms: Vec<Term>,
    /// Run directory, of a transfer too: a row with its images as further training images, under the labels that the
    /// classifier of the labelled images alone gives them. Images of another size than its own are scaled to that, for all rows
    #[arg(long, value_name = "RUN")]
    pub(crate) generator: Option<PathBuf>,
    /// Images that the generator draws; those are kept of which the classifier is sure
    #[arg(long, value_name = "N", default_value_t = 10_000, requires = "generator", value_parser = at_least_one)]
    pub(crate) generated: usize,
    /// Directory for the subsets of labels and the results [default: runs/semi-supervised-DATA-LABELS, with -of-N for --shots,
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
