//! Options of `engraft train`.

use super::{FeatureOptions, LearningRates, PictureOptions, cluster_count, side, threads};
use clap::builder::PossibleValuesParser;
use engraft_tensor::Precision;
use std::path::PathBuf;

/// Train a GAN on images.
///
/// Prints the plan, then trains and writes samples, a report and checkpoints to the run directory. The same command resumes an
/// interrupted run; a larger --steps continues a finished one.
///
/// Exit codes: 0 done, 1 error, 2 invalid arguments or settings, 3 no usable data, 4 diverged, 5 disk full, 130 interrupted
/// and saved (143 for SIGTERM, 129 for SIGHUP).
#[derive(Clone, Debug, clap::Args)]
pub struct Train {
    /// Training images: mnist, fashion-mnist, usps, cifar10, drawn-digits, mnist-0-4, mnist-5-9 or stacked-mnist; a folder or ZIP file of
    /// images (subfolders are classes); a folder of IDX files; or an NPY file [default: mnist, downloaded if necessary;
    /// drawn-digits if that fails]
    #[arg(long, value_name = "NAME|DIR|ZIP|NPY", help_heading = "Data")]
    pub(crate) data: Option<String>,
    /// Resize images to N x N pixels [default: unchanged if the network supports it, otherwise at most 64; 64 for images of at
    /// least 64 pixels]
    #[arg(long, value_name = "N", value_parser = side, conflicts_with = "config", help_heading = "Data")]
    pub(crate) size: Option<usize>,
    #[command(flatten)]
    pub(crate) pictures: PictureOptions,
    /// Mirror each training image (left and right) with probability 1/2 whenever it is trained on. Not for digits or letters
    #[arg(long, help_heading = "Pictures")]
    pub(crate) mirror: bool,
    /// Train on all images. Otherwise, without a test set, every fifth image is held out for evaluate if there are at least 100
    #[arg(long, help_heading = "Data")]
    pub(crate) train_on_all: bool,
    /// Do not download data
    #[arg(long, help_heading = "Data")]
    pub(crate) offline: bool,
    /// Settings to start from
    #[arg(long, value_enum, default_value_t = Preset::Default, help_heading = "Model")]
    pub(crate) preset: Preset,
    /// Family of the two networks. dcgan, residual and mlp: small images; light: 16 to 256 pixels; dcgan64: PyTorch's DCGAN
    /// tutorial, 64x64 [default: the preset's; light for sizes other than 28x28 and 32x32]
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::from(engraft_gan::networks::names()), help_heading = "Model")]
    pub(crate) network: Option<String>,
    /// Train a class-conditional GAN; the images need labels
    #[arg(long, alias = "classes", help_heading = "Model")]
    pub(crate) conditional: bool,
    /// Train a GAN that is conditioned on K clusters of the training images (k-means on principal components of the pixels).
    /// Needs no labels; from 500 images on. 0 means none, and is the only number beside --conditional [default: the preset's; 100
    /// for default with DCGAN and at least 10000 gray training images, otherwise none]
    #[arg(long, value_name = "K", help_heading = "Model", value_parser = cluster_count)]
    pub(crate) pseudo_labels: Option<u32>,
    /// Use the settings in the run.toml of another run, instead of a preset
    #[arg(long, value_name = "FILE", conflicts_with_all = ["preset", "network", "conditional", "batch", "seed", "epochs"], help_heading = "Model")]
    pub(crate) config: Option<PathBuf>,
    /// Change a setting of run.toml, such as objective.packing=2; repeatable. docs/guide/run-toml.md lists the settings
    #[arg(long = "set", value_name = "NAME=VALUE", help_heading = "Model")]
    pub(crate) changes: Vec<String>,
    /// Training steps in total, including those of earlier runs in the same directory [default: the preset's; 4000 for default,
    /// 10000 for light]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Training")]
    pub(crate) steps: Option<u64>,
    /// Epochs in total, instead of --steps
    #[arg(long, value_name = "N", conflicts_with = "steps", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Training")]
    pub(crate) epochs: Option<u64>,
    /// Training images per step [default: the preset's; 64 for default, 32 for light]
    #[arg(long, value_name = "N", help_heading = "Training")]
    pub(crate) batch: Option<usize>,
    /// Cut each batch into N equal parts that compute in parallel. The results depend on N, but not on the machines that the parts
    /// are divided among (docs/guide/several-machines.md) [default: 1; 8 in engraft-mpi]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024), help_heading = "Training")]
    pub(crate) micro_batches: Option<u32>,
    #[command(flatten)]
    pub(crate) learning_rates: LearningRates,
    /// Seed of weights, noise and data order [default: 1]
    #[arg(long, help_heading = "Training")]
    pub(crate) seed: Option<u64>,
    /// Operands of convolutions and matrix products: f32, or bf16 (rounded to 8 bits of precision; saves time with AMX, or on
    /// an AMD CPU with AVX512-BF16) [default: f32]
    #[arg(long, value_name = "NAME", help_heading = "Training")]
    pub(crate) precision: Option<Precision>,
    /// Stop early after N evaluations without improvement [default: never]
    #[arg(long, value_name = "N", help_heading = "Training")]
    pub(crate) patience: Option<u32>,
    /// Number of threads; results do not depend on it [default: number of cores]
    #[arg(long, value_name = "N", value_parser = threads, help_heading = "Training")]
    pub(crate) threads: Option<usize>,
    /// Run directory [default: runs/DATA, with the preset's name; with a number from 2 on if runs of other settings are there]
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    pub(crate) out: Option<PathBuf>,
    /// Steps between two sample grids [default: 100]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Output")]
    pub(crate) sample_every: Option<u64>,
    /// Steps between two evaluations on validation images; 0 means none [default: 500]
    #[arg(long, alias = "measure-every", value_name = "N", help_heading = "Output")]
    pub(crate) eval_every: Option<u64>,
    #[command(flatten, next_help_heading = "Output")]
    pub(crate) features: FeatureOptions,
    /// Steps between two checkpoints [default: 250]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Output")]
    pub(crate) checkpoint_every: Option<u64>,
    /// Print the plan only, with the time that the training takes; train and write nothing
    #[arg(long, help_heading = "Output")]
    pub(crate) dry_run: bool,
    /// Start from scratch; an earlier run in the directory is moved aside, not deleted
    #[arg(long, help_heading = "Output")]
    pub(crate) fresh: bool,
    /// Continue the run although images were added, removed or changed since. The run records the earlier ones
    #[arg(long, conflicts_with = "fresh", help_heading = "Data")]
    pub(crate) accept_changed_data: bool,
    /// Print warnings and errors only
    #[arg(long, conflicts_with = "json", help_heading = "Output")]
    pub(crate) quiet: bool,
    /// Print events as lines of JSON
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
    /// Also write losses, measures and sample grids for TensorBoard into the run directory
    #[arg(long, help_heading = "Output")]
    pub(crate) tensorboard: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Preset {
    /// DCGAN; recognizable digits within minutes on two cores
    Default,
    /// TensorFlow's DCGAN tutorial: Adam 1e-4, batches of 256, 50 epochs
    Tutorial,
    /// R3GAN: residual networks, relativistic objective, gradient penalties R1 and R2
    R3gan,
    /// Images of 16 to 256 pixels: light networks, R1, augmentation that depends on the number of images
    Light,
}
