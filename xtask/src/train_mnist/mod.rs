//! `cargo xtask train-mnist`: trains the reference DCGAN, or another pair, and shows how it goes.

mod data;
mod display;
mod plan;

use display::{Display, Style};
use engraft_gan::{Control, Event, GanError, Network, Outcome, TrainConfig, Trainer};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Train the reference DCGAN, and watch it learn digits.
///
/// Running the same command again goes on where the last one stopped; a larger --steps goes further.
///
/// Exit codes: 0 done, 1 error, 2 wrong arguments, 3 no usable data, 4 diverged, 5 disk full, 130 interrupted
/// and saved.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Settings to start from
    #[arg(long, value_enum, default_value_t = Preset::Default)]
    preset: Preset,
    /// Train again by the run.toml of another run instead of a preset
    #[arg(long, value_name = "FILE", conflicts_with_all = ["preset", "network", "conditional", "batch", "seed", "epochs"])]
    config: Option<PathBuf>,
    /// The pair of networks [default: the preset's]
    #[arg(long, value_enum)]
    network: Option<NetworkName>,
    /// Tell both networks the class of each image, from the labels of the data
    #[arg(long)]
    conditional: bool,
    /// Training steps in all, those of earlier runs in the same directory included
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    steps: Option<u64>,
    /// Passes over the images in all, instead of --steps
    #[arg(long, value_name = "N", conflicts_with = "steps", value_parser = clap::value_parser!(u64).range(1..))]
    epochs: Option<u64>,
    /// Real images in each step
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    /// Seed of weights, noise and data order
    #[arg(long)]
    seed: Option<u64>,
    /// Steps between two sample grids
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    sample_every: Option<u64>,
    /// Steps between two measurements on held-out images; 0 takes none
    #[arg(long, value_name = "N")]
    measure_every: Option<u64>,
    /// Stop after so many measurements without a better one [default: train all steps]
    #[arg(long, value_name = "N")]
    patience: Option<u32>,
    /// Steps between two checkpoints
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    checkpoint_every: Option<u64>,
    /// Change a setting by its name in run.toml, as objective.packing=2; may be given several times
    #[arg(long = "set", value_name = "NAME=VALUE")]
    changes: Vec<String>,
    /// Threads; the result does not depend on it [default: one for each core]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Run directory [default: runs/ and the name of the data and the preset]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// mnist, fashion-mnist, drawn-digits, mnist-0-4, mnist-5-9, stacked-mnist (three digits as red, green and blue), or a directory with the idx files of MNIST [default: mnist from
    /// $ENGRAFT_DATA, the cache directory or the network; without it drawn-digits]
    #[arg(long, value_name = "NAME|DIR")]
    data: Option<String>,
    /// Never use the network
    #[arg(long)]
    offline: bool,
    /// Print the plan, and neither train nor write
    #[arg(long)]
    dry_run: bool,
    /// Start anew; an earlier run in the directory is moved aside, not deleted
    #[arg(long)]
    fresh: bool,
    /// Print nothing but warnings and errors
    #[arg(long, conflicts_with = "json")]
    quiet: bool,
    /// Print events as lines of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Preset {
    /// Shows digits within minutes on two cores
    Default,
    /// As TensorFlow's DCGAN tutorial: Adam 1e-4, batches of 256, 50 epochs
    Tutorial,
    /// Residual networks, the relativistic objective and gradient penalties
    R3gan,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum NetworkName {
    /// That of TensorFlow's tutorial, for 28x28 and 32x32 pixels
    Dcgan,
    /// Residual blocks without normalisation, for 28x28 and 32x32 pixels
    Residual,
    /// Fully connected layers, for any size
    Mlp,
}

impl From<NetworkName> for Network {
    fn from(name: NetworkName) -> Self {
        match name {
            NetworkName::Dcgan => Self::Dcgan,
            NetworkName::Residual => Self::Residual,
            NetworkName::Mlp => Self::Mlp,
        }
    }
}

/// Set by a signal; the run then saves and stops after the step it is in.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let style = Style::choose(args.quiet, args.json);
    let pool = crate::pool(args.threads)?;
    ctrlc::set_handler(|| {
        if INTERRUPTED.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
        display::err("\ninterrupted: finishing this step and saving; once more to stop at once");
    })?;
    let mut display = Display::new(style);
    let what = match args.network {
        _ if args.config.is_some() => "by the settings of another run".to_string(),
        Some(other) if other != NetworkName::Dcgan => format!("the network pair {}", Network::from(other)),
        None if args.preset == Preset::R3gan => "R3GAN's residual pair".into(),
        _ => "the reference DCGAN".into(),
    };
    display.say(&format!("engraft: training {what}"));
    Ok(pool.install(|| match train(&args, &mut display) {
        Ok(code) => code,
        Err(error) => {
            display.clear();
            display::err(&format!("error: {error}"));
            exit_code(&error)
        }
    }))
}

/// What stops a run before its end.
#[derive(Debug)]
enum TrainError {
    /// No usable data.
    Data(String),
    Gan(GanError),
    /// A file of settings that cannot be read.
    Config(String),
}

impl std::fmt::Display for TrainError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Data(text) | Self::Config(text) => f.write_str(text),
            Self::Gan(error) => error.fmt(f),
        }
    }
}

impl From<GanError> for TrainError {
    fn from(error: GanError) -> Self {
        Self::Gan(error)
    }
}

fn exit_code(error: &TrainError) -> ExitCode {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    ExitCode::from(match error {
        TrainError::Gan(GanError::Config { .. }) => 2,
        TrainError::Data(_) | TrainError::Gan(GanError::Data(_) | GanError::ImageSize { .. }) => 3,
        TrainError::Gan(GanError::Diverged { .. }) => 4,
        TrainError::Gan(GanError::Io { reason, .. })
            if matches!(reason.kind(), StorageFull | QuotaExceeded) =>
        {
            5
        }
        _ => 1,
    })
}

fn train(args: &Args, display: &mut Display) -> Result<ExitCode, TrainError> {
    let wanted = args.config.as_deref().map(plan::read_config).transpose()?;
    let data = data::find(args, wanted.as_ref(), display)?;
    let config = plan::settings(args, wanted, &data)?;
    config.check()?;
    config.check_data(&data)?;
    let out = args
        .out
        .clone()
        .unwrap_or_else(|| plan::default_directory(args, &config));
    let threads = rayon::current_num_threads();
    display.plan(&config, &data, &out, threads)?;
    if args.dry_run {
        return Ok(ExitCode::SUCCESS);
    }
    if args.fresh
        && let Some(old) = Trainer::set_aside(&out)?
    {
        display.say(&format!("the earlier run is kept in {}", old.display()));
    }
    let mut trainer = Trainer::open(config, data, &out)?;
    let outcome = follow(&mut trainer, display)?;
    display.end(&trainer, &out, outcome);
    Ok(match outcome {
        Outcome::Finished | Outcome::Plateau | Outcome::Complete => ExitCode::SUCCESS,
        Outcome::Stopped => ExitCode::from(130),
    })
}

/// Trains and shows every event.
fn follow(trainer: &mut Trainer, display: &mut Display) -> Result<Outcome, TrainError> {
    let config: TrainConfig = trainer.config().clone();
    display.begin(trainer.step(), &config);
    let start = Instant::now();
    let outcome = trainer.train(&mut |event: Event| {
        display.event(&event, start);
        if INTERRUPTED.load(Ordering::SeqCst) {
            Control::Stop
        } else {
            Control::Continue
        }
    });
    display.clear();
    Ok(outcome?)
}
