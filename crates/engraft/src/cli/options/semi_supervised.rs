//! Options of `engraft semi-supervised`.

use super::learning_rates::learning_rate;
use super::{PictureOptions, Seeds, at_least_one, batch, image_count, threads};
use engraft_transfer::semi_supervised::ExtraLoss;
use std::path::PathBuf;

/// Train classifiers on few labels, with and without unlabeled images, and print their test errors.
///
/// The table has three rows: labeled images only; feature matching, a GAN that also uses the unlabeled images; and all labels.
/// With --from there is a fourth: labeled and generated images. All rows have the same network, steps and seeds. Errors are
/// those of the last step; nothing is selected on the test images. After an interruption, the same command resumes and
/// repeats at most a minute of work.
#[derive(Debug, clap::Args)]
pub(crate) struct SemiSupervised {
    /// Labeled images: a known data set, or a folder or ZIP file with one folder of images per class
    #[arg(long, value_name = "NAME|DIR|ZIP")]
    pub(crate) data: String,
    /// Use only N training images [default: all]. The subset is the same for every seed: that of
    /// `transfer --train-images N --seed S`, where S is the first of --seeds. The steps of a budget do not change
    #[arg(long, alias = "shots", value_name = "N", value_parser = at_least_one)]
    pub(crate) train_images: Option<usize>,
    /// Number of labeled images; with --label-choice random a multiple of the number of classes
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) labels: usize,
    /// Which images are labeled. random: the same number of each class, by chance; clusters: the image nearest to the centroid of
    /// each of N k-means clusters. The second is another protocol: it does not know the classes beforehand, and they may have
    /// different numbers of labels
    #[arg(long, value_enum, default_value_t = LabelChoice::Random)]
    pub(crate) label_choice: LabelChoice,
    /// Seed of the choice of labeled images, the same for all --seeds [default: each of --seeds its own]. The seeds then share
    /// their labels, and the error of their mean prediction is printed too
    #[arg(long, value_name = "SEED")]
    pub(crate) label_seed: Option<u64>,
    /// Seeds of weights, noise, order and choice of labeled images: a number N (seeds 1 to N), a range such as 3-7, or a list
    /// such as 2,5,9
    #[arg(long, value_name = "SEEDS", default_value = "5")]
    pub(crate) seeds: Seeds,
    /// First seed, if --seeds is a number
    #[arg(long, value_name = "SEED", hide = true)]
    pub(crate) first_seed: Option<u64>,
    /// Training length. fast: 6 epochs, about 15 minutes for five seeds on two cores; paper: 300 epochs, hours per seed
    #[arg(long, value_enum, default_value_t = Budget::Fast)]
    pub(crate) budget: Budget,
    /// Epochs over the unlabeled images, instead of --budget
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub(crate) epochs: Option<u64>,
    /// Extra losses of feature matching: pull-away or conditional-entropy, optionally with a weight:
    /// pull-away=0.5 [default weight: 1]
    #[arg(long, alias = "terms", value_name = "LOSS,..", value_delimiter = ',', value_parser = clap::value_parser!(ExtraLoss))]
    pub(crate) extra_losses: Vec<ExtraLoss>,
    /// Augmentation of all rows: shift each training image by up to N pixels in both directions, chosen anew in each step
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) shift: usize,
    /// Number of images of each kind in a step [default: 100]. The epochs do not change, so smaller batches mean more steps
    #[arg(long, value_name = "N", value_parser = step_images)]
    pub(crate) batch: Option<usize>,
    /// Learning rate of both networks [default: 0.003]
    #[arg(long, value_name = "RATE", value_parser = learning_rate)]
    pub(crate) learning_rate: Option<f64>,
    /// Run directory of a training or a transfer, for the fourth row. The classifier of the first row labels the generated
    /// images. All images are resized to the size of the run, for every row
    #[arg(long, alias = "generator", value_name = "RUN")]
    pub(crate) from: Option<PathBuf>,
    /// Number of images to generate; only those with a confident label are used
    #[arg(long, value_name = "N", default_value_t = 10_000, requires = "from", value_parser = image_count)]
    pub(crate) generated: usize,
    /// Directory for results and label subsets [default: runs/semi-supervised-DATA-LABELS, with -of-N for --train-images,
    /// -N-epochs for --epochs, -paper for that budget, and so on for the other settings of the training]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Number of threads; results do not depend on it [default: number of cores]
    #[arg(long, value_name = "N", value_parser = threads)]
    pub(crate) threads: Option<usize>,
    #[command(flatten)]
    pub(crate) pictures: PictureOptions,
    /// Also print one line of JSON at the end
    #[arg(long)]
    pub(crate) json: bool,
}

/// A number of images of each kind in a step: at least 2, because the generator's batch norm compares images.
fn step_images(text: &str) -> Result<usize, String> {
    match batch(text)? {
        1 => Err("expected at least 2 images".into()),
        count => Ok(count),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LabelChoice {
    Random,
    Clusters,
}

impl LabelChoice {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Clusters => "clusters",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Budget {
    Fast,
    Paper,
}

impl Budget {
    /// Epochs over the unlabeled images.
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
