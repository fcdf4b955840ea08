//! What can be said to `engraft train`.

use std::path::PathBuf;

/// Train a GAN, and watch it learn.
///
/// Running the same command again goes on where the last one stopped; a larger --steps goes further.
///
/// Exit codes: 0 done, 1 error, 2 wrong arguments, 3 no usable data, 4 diverged, 5 disk full, 130 interrupted
/// and saved.
#[derive(clap::Args)]
pub struct Train {
    /// Settings to start from
    #[arg(long, value_enum, default_value_t = Preset::Default)]
    pub(crate) preset: Preset,
    /// Train again by the run.toml of another run instead of a preset
    #[arg(long, value_name = "FILE", conflicts_with_all = ["preset", "network", "conditional", "batch", "seed", "epochs"])]
    pub(crate) config: Option<PathBuf>,
    /// The pair of networks [default: the preset's]
    #[arg(long, value_name = "NAME", value_parser = network_names())]
    pub(crate) network: Option<String>,
    /// Tell both networks the class of each image, from the labels of the data
    #[arg(long)]
    pub(crate) conditional: bool,
    /// Training steps in all, those of earlier runs in the same directory included
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) steps: Option<u64>,
    /// Passes over the images in all, instead of --steps
    #[arg(long, value_name = "N", conflicts_with = "steps", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) epochs: Option<u64>,
    /// Real images in each step
    #[arg(long, value_name = "N")]
    pub(crate) batch: Option<usize>,
    /// Seed of weights, noise and data order
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Steps between two sample grids
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) sample_every: Option<u64>,
    /// Steps between two measurements on held-out images; 0 takes none
    #[arg(long, value_name = "N")]
    pub(crate) measure_every: Option<u64>,
    /// Stop after so many measurements without a better one [default: train all steps]
    #[arg(long, value_name = "N")]
    pub(crate) patience: Option<u32>,
    /// Steps between two checkpoints
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) checkpoint_every: Option<u64>,
    /// Change a setting by its name in run.toml, as objective.packing=2; may be given several times
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub(crate) changes: Vec<String>,
    /// Threads; the result does not depend on it [default: one for each core]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,
    /// Run directory [default: runs/ and the name of the data and the preset]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// mnist, fashion-mnist, drawn-digits, mnist-0-4, mnist-5-9, stacked-mnist (three digits as red, green and blue), or a
    /// directory with the idx files of MNIST [default: mnist from $ENGRAFT_DATA, the cache directory or the network; without it drawn-digits]
    #[arg(long, value_name = "NAME|DIR")]
    pub(crate) data: Option<String>,
    /// Never use the network
    #[arg(long)]
    pub(crate) offline: bool,
    /// Print the plan, and neither train nor write
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Start anew; an earlier run in the directory is moved aside, not deleted
    #[arg(long)]
    pub(crate) fresh: bool,
    /// Print nothing but warnings and errors
    #[arg(long, conflicts_with = "json")]
    pub(crate) quiet: bool,
    /// Print events as lines of JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Preset {
    /// Shows digits within minutes on two cores
    Default,
    /// As TensorFlow's DCGAN tutorial: Adam 1e-4, batches of 256, 50 epochs
    Tutorial,
    /// Residual networks, the relativistic objective and gradient penalties
    R3gan,
}

/// The names of the networks there are.
fn network_names() -> clap::builder::PossibleValuesParser {
    engraft_gan::networks::names().into()
}
