//! `cargo xtask bench-step`: times one training step of a pair of networks on random data.

mod arithmetic;
mod frozen;

use crate::system;
use anyhow::ensure;
use clap::ValueEnum as _;
use engraft_gan::networks::{self, NetworkSpec};
use engraft_gan::{Gan, StepReport, dcgan};
use engraft_layers::{Condition, Init, Module, SlotMut, summary, visit_mut};
use engraft_tensor::{Precision, Tensor};
use rand::SeedableRng;
use rand_pcg::Pcg64;
use std::hint::black_box;
use std::time::Instant;

/// Most steps: the time of each is stored.
const MAX_STEPS: usize = 1_000_000;

/// Time the training step of a pair of networks on random images, and print one line of JSON.
///
/// The objective is non-saturating, with simultaneous updates by Adam, without penalties, augmentation and averages.
///
/// Page faults and CPU time (`cpu_ms`) are means per step, or null if the system does not report them.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Images per step
    #[arg(long, default_value_t = 64)]
    batch: usize,
    /// Number of threads
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Number of timed steps
    #[arg(long, default_value_t = 15)]
    steps: usize,
    /// Untimed steps before
    #[arg(long, default_value_t = 5)]
    warmup: usize,
    /// Time the generator in evaluation mode instead of a training step
    #[arg(long)]
    infer: bool,
    /// Trained part; `multiply_adds` in the output is its number of multiply-adds per image
    #[arg(long, value_enum, default_value_t = Train::All, conflicts_with = "infer")]
    train: Train,
    /// Print a table of steps with 0, 1, 2 and all but the last block of either network frozen from the input on, with the
    /// expected time
    #[arg(long, conflicts_with_all = ["infer", "train"])]
    frozen: bool,
    /// Networks
    #[arg(long, value_enum, default_value_t = Network::Dcgan)]
    network: Network,
    /// Precision of the operands of convolutions and matrix products: f32 or bf16
    #[arg(long, default_value_t = Precision::F32, conflicts_with_all = ["infer", "frozen"])]
    precision: Precision,
    /// Seed of weights, images and noise
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Network {
    /// The reference networks, 28x28x1
    Dcgan,
    /// PyTorch's DCGAN tutorial, 64x64x3
    Dcgan64,
    /// The light networks, 32x32x3
    Light32,
    /// The light networks, 64x64x3
    Light64,
    /// The light networks, 128x128x3
    Light128,
    /// The light networks, 256x256x3
    Light256,
}

impl Network {
    /// Family and image size.
    fn family(self) -> (&'static str, [usize; 3]) {
        match self {
            Self::Dcgan => ("dcgan", dcgan::IMAGE),
            Self::Dcgan64 => ("dcgan64", [64, 64, 3]),
            Self::Light32 => ("light", [32, 32, 3]),
            Self::Light64 => ("light", [64, 64, 3]),
            Self::Light128 => ("light", [128, 128, 3]),
            Self::Light256 => ("light", [256, 256, 3]),
        }
    }

    /// An untrained pair with its image size and the length of its latent vectors.
    fn build(self, seed: u64) -> anyhow::Result<(Gan, [usize; 3], usize)> {
        let (name, image) = self.family();
        let spec = NetworkSpec::new(image);
        let family = networks::find(name)?;
        let init = &mut Init::glorot(seed);
        let latent = family.latent_dim(&spec);
        let gan = Gan::new(
            family.generator(&spec, init),
            family.discriminator(&spec, init),
            latent,
        );
        Ok((gan, image, latent))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, clap::ValueEnum)]
enum Train {
    /// Both networks
    All,
    /// The discriminator; the generator is frozen
    Discriminator,
    /// The last layer of the discriminator; everything else is frozen
    Head,
}

/// Freezes the parameters of a module, except those of the child with the given name.
fn freeze_all_but(module: &mut dyn Module<f32>, child: Option<&str>) {
    visit_mut(module, |path, slot| {
        let first = path.to_string();
        let first = first.split('.').next();
        if let SlotMut::Parameter(parameter) = slot
            && (child.is_none() || first != child)
        {
            parameter.freeze();
        }
    });
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    ensure!(
        (1..=MAX_STEPS).contains(&args.steps) && args.warmup <= MAX_STEPS,
        "--steps must be from 1 to {MAX_STEPS}, and --warmup at most that"
    );
    ensure!(
        args.batch > 1 || args.infer && args.batch > 0,
        "--batch must be at least 2 for batch norm, or at least 1 with --infer"
    );
    ensure!(
        matches!(args.network, Network::Dcgan) || !args.frozen && args.train != Train::Head,
        "--frozen and --train head are for --network dcgan"
    );
    let pool = engraft::cli::pool(Some(args.threads))?;
    if args.frozen {
        let table = pool.install(|| frozen::table(args));
        out!("{table}");
        return Ok(());
    }
    let line = pool.install(|| measure(args))?;
    out!("{line}");
    Ok(())
}

/// A timed step; a training step returns a report.
type TimedStep<'a> = Box<dyn FnMut(&mut Pcg64) -> Option<StepReport> + 'a>;

fn measure(args: &Args) -> anyhow::Result<serde_json::Value> {
    let (gan, image, latent) = args.network.build(args.seed)?;
    let mut gan = gan.precision(args.precision);
    if args.train != Train::All {
        freeze_all_but(&mut gan.generator, None);
    }
    if args.train == Train::Head {
        freeze_all_but(&mut gan.discriminator, Some("head"));
    }
    let multiply_adds = (!args.infer).then(|| {
        let generator = summary(&gan.generator, &[latent]);
        let discriminator = summary(&gan.discriminator, &image);
        arithmetic::multiply_adds((&generator, &[latent]), (&discriminator, &image))
    });
    let rng = &mut Pcg64::seed_from_u64(args.seed);
    let [h, w, c] = image;
    let real = Tensor::uniform([args.batch, h, w, c], -1.0, 1.0, rng);
    let mut step: TimedStep<'_> = if args.infer {
        let sampler = gan.into_sampler();
        Box::new(move |rng| {
            black_box(sampler.generate(args.batch, rng));
            None
        })
    } else {
        Box::new(move |rng| Some(gan.step(&real, Condition::None, rng)))
    };
    let mut times = Vec::with_capacity(args.steps);
    let mut last = None;
    let mut before = None;
    for number in 0..args.warmup + args.steps {
        if number == args.warmup {
            before = system::usage();
        }
        let start = Instant::now();
        last = step(rng);
        if number >= args.warmup {
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    let used = before.zip(system::usage());
    let median = median(&mut times);
    let rounded = |x: f64| (x * 1e3).round() / 1e3;
    let per_step = |used: u64| rounded(used as f64 / args.steps as f64);
    Ok(serde_json::json!({
        "peer": "engraft",
        "network": args.network.to_possible_value().map(|name| name.get_name().to_owned()),
        "precision": args.precision.name(),
        "variant": match (args.infer, args.train) {
            (true, _) => "generate",
            (false, Train::All) => "simultaneous",
            (false, Train::Discriminator) => "discriminator",
            (false, Train::Head) => "head",
        },
        "mode": if args.infer { "infer" } else { "train" },
        "batch": args.batch,
        "threads": args.threads,
        "steps": args.steps,
        "ms_median": rounded(median),
        "ms_min": rounded(times[0]),
        "ms_max": rounded(times[times.len() - 1]),
        "images_per_s": rounded(args.batch as f64 / median * 1e3),
        "peak_rss_mb": system::peak_rss_mb(),
        "page_faults": used.map(|(before, after)| per_step(after.page_faults - before.page_faults)),
        "cpu_ms": used.map(|(before, after)| per_step(after.cpu_ms - before.cpu_ms)),
        "multiply_adds": multiply_adds,
        "loss_g": last.as_ref().map(|report| report.generator_loss),
        "loss_d": last.as_ref().map(|report| report.discriminator_loss),
        "version": env!("CARGO_PKG_VERSION"),
    }))
}

/// Middle value, or the mean of the two middle ones; sorts the values, of which there must be one.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) {
        (values[middle - 1] + values[middle]) / 2.0
    } else {
        values[middle]
    }
}
