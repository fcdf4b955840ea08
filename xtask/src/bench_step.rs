//! `cargo xtask bench-step`: times one training step of the reference DCGAN on random data.

use anyhow::{Context, ensure};
use engraft_gan::{Gan, dcgan};
use engraft_layers::Init;
use engraft_tensor::Tensor;
use rand::SeedableRng;
use rand_pcg::Pcg64;
use std::process::ExitCode;
use std::time::Instant;

/// Time the training step of the tutorial's DCGAN on random images; prints one line of JSON.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Images in a step
    #[arg(long, default_value_t = 64)]
    batch: usize,
    /// Threads
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Steps that are timed
    #[arg(long, default_value_t = 15)]
    steps: usize,
    /// Steps before the clock starts
    #[arg(long, default_value_t = 5)]
    warmup: usize,
    /// Networks
    #[arg(long, value_enum, default_value_t = Network::Dcgan)]
    network: Network,
    /// Seed of weights, images and noise
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Network {
    /// The reference networks for 28x28 images
    Dcgan,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    ensure!(args.steps > 0, "--steps must be at least 1");
    ensure!(
        args.batch > 1,
        "--batch must be at least 2: batch norm needs two images"
    );
    let pool = crate::pool(Some(args.threads))?;
    let line = pool.install(|| measure(args))?;
    println!("{line}");
    Ok(ExitCode::SUCCESS)
}

fn measure(args: &Args) -> anyhow::Result<serde_json::Value> {
    let init = &mut Init::glorot(args.seed);
    let Network::Dcgan = args.network;
    let mut gan = Gan::<f32>::new(dcgan::generator(init), dcgan::discriminator(init), dcgan::LATENT);
    let rng = &mut Pcg64::seed_from_u64(args.seed);
    let [h, w, c] = dcgan::IMAGE;
    let real = Tensor::uniform([args.batch, h, w, c], -1.0, 1.0, rng);
    let mut times = Vec::with_capacity(args.steps);
    let mut last = None;
    for step in 0..args.warmup + args.steps {
        let start = Instant::now();
        last = Some(gan.step(&real, rng));
        if step >= args.warmup {
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    let last = last.context("no step was run")?;
    times.sort_by(f64::total_cmp);
    let middle = times.len() / 2;
    let median = if times.len().is_multiple_of(2) {
        (times[middle - 1] + times[middle]) / 2.0
    } else {
        times[middle]
    };
    let rounded = |x: f64| (x * 1e3).round() / 1e3;
    Ok(serde_json::json!({
        "peer": "engraft",
        "variant": "simultaneous",
        "mode": "train",
        "batch": args.batch,
        "threads": args.threads,
        "steps": args.steps,
        "ms_median": rounded(median),
        "ms_min": rounded(times[0]),
        "ms_max": rounded(times[times.len() - 1]),
        "images_per_s": rounded(args.batch as f64 / median * 1e3),
        "peak_rss_mb": peak_rss_mb(),
        "loss_g": last.generator_loss,
        "loss_d": last.discriminator_loss,
        "version": env!("CARGO_PKG_VERSION"),
    }))
}

/// Largest resident memory of this process so far, in MB of 2^20 bytes; only Linux tells.
fn peak_rss_mb() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kilobytes: u64 = line.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes / 1024)
}
