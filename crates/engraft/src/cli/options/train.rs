//! What can be said to `engraft train`.

use super::at_least_one;
use clap::builder::PossibleValuesParser;
use engraft_metrics::features::NAMES;
use std::path::PathBuf;

/// Train a GAN on images.
///
/// The plan comes first; then samples, a report and checkpoints are written into the run directory while it trains. The same
/// command again resumes where the last one stopped; a larger --steps goes further.
///
/// Exit codes: 0 done, 1 error, 2 wrong arguments, 3 no usable data, 4 diverged, 5 disk full, 130 interrupted
/// and saved.
#[derive(Debug, clap::Args)]
pub struct Train {
    /// Training images: mnist, fashion-mnist, usps, drawn-digits, mnist-0-4, mnist-5-9 or stacked-mnist; a folder or ZIP file of
    /// pictures (folders in it are the classes); a directory with idx files; or an NPY file [default: mnist, downloaded if need
    /// be, or drawn-digits without a network]
    #[arg(long, value_name = "NAME|DIR|ZIP|NPY", help_heading = "Data")]
    pub(crate) data: Option<String>,
    /// Height and width that the images are brought to [default: their own, or the largest that the network makes; 64 for
    /// pictures of at least 64 pixels]
    #[arg(long, value_name = "N", value_parser = at_least_one, conflicts_with = "config", help_heading = "Data")]
    pub(crate) size: Option<usize>,
    /// Train on all pictures. Else, of at least 100 without a part named test, every fifth is kept for evaluate to compare with
    #[arg(long, help_heading = "Data")]
    pub(crate) train_on_all: bool,
    /// Never download anything
    #[arg(long, help_heading = "Data")]
    pub(crate) offline: bool,
    /// Settings to start from
    #[arg(long, value_enum, default_value_t = Preset::Default, help_heading = "Model")]
    pub(crate) preset: Preset,
    /// Generator and discriminator [default: the preset's; light for images above 32x32]
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::from(engraft_gan::networks::names()), help_heading = "Model")]
    pub(crate) network: Option<String>,
    /// Train a class-conditional GAN, by the labels of the images
    #[arg(long, alias = "classes", help_heading = "Model")]
    pub(crate) conditional: bool,
    /// Settings of another run, its run.toml, instead of a preset
    #[arg(long, value_name = "FILE", conflicts_with_all = ["preset", "network", "conditional", "batch", "seed", "epochs"], help_heading = "Model")]
    pub(crate) config: Option<PathBuf>,
    /// Change a setting by its name in run.toml, as objective.packing=2; may be given several times
    #[arg(long = "set", value_name = "NAME=VALUE", help_heading = "Model")]
    pub(crate) changes: Vec<String>,
    /// Training steps in all, those of earlier runs in the same directory included
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Training")]
    pub(crate) steps: Option<u64>,
    /// Passes over the images in all, instead of --steps
    #[arg(long, value_name = "N", conflicts_with = "steps", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Training")]
    pub(crate) epochs: Option<u64>,
    /// Training images in each step
    #[arg(long, value_name = "N", help_heading = "Training")]
    pub(crate) batch: Option<usize>,
    /// Seed of weights, noise and data order
    #[arg(long, help_heading = "Training")]
    pub(crate) seed: Option<u64>,
    /// Stop after so many measurements without a better one [default: train all steps]
    #[arg(long, value_name = "N", help_heading = "Training")]
    pub(crate) patience: Option<u32>,
    /// Threads; the result does not depend on it [default: one for each core]
    #[arg(long, value_name = "N", help_heading = "Training")]
    pub(crate) threads: Option<usize>,
    /// Run directory [default: runs/ and the name of the data and the preset]
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    pub(crate) out: Option<PathBuf>,
    /// Steps between two sample grids
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Output")]
    pub(crate) sample_every: Option<u64>,
    /// Steps between two measurements on held-out images; 0 takes none
    #[arg(long, alias = "measure-every", value_name = "N", help_heading = "Output")]
    pub(crate) eval_every: Option<u64>,
    /// Features that the measurements compare images by [default: those of a classifier for grey images of 28x28, else random]
    #[arg(long, value_name = "NAME", value_parser = NAMES, help_heading = "Output")]
    pub(crate) features: Option<String>,
    /// Steps between two checkpoints
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Output")]
    pub(crate) checkpoint_every: Option<u64>,
    /// Print the plan, and neither train nor write
    #[arg(long, help_heading = "Output")]
    pub(crate) dry_run: bool,
    /// Begin anew; an earlier run in the directory is moved aside, not deleted
    #[arg(long, help_heading = "Output")]
    pub(crate) fresh: bool,
    /// Print nothing but warnings and errors
    #[arg(long, conflicts_with = "json", help_heading = "Output")]
    pub(crate) quiet: bool,
    /// Print events as lines of JSON
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Preset {
    /// Shows digits within minutes on two cores
    Default,
    /// As TensorFlow's DCGAN tutorial: Adam 1e-4, batches of 256, 50 epochs
    Tutorial,
    /// Residual networks, the relativistic objective and gradient penalties
    R3gan,
    /// Pictures of 16 to 256 pixels: light networks, R1, augmentation by the number of images
    Light,
}
