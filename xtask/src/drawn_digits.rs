//! `cargo xtask drawn-digits`: how similar drawn (synthetic) digits are to real ones.
//!
//! A small classifier is trained on drawn digits only and tested on MNIST. Its accuracy measures how much of the variety of
//! handwriting the drawn digits cover.

use engraft_base::argmax;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, ensure};
use engraft_data::{Batches, DataError, Dataset, DatasetName, LoadOptions, Split, load};
use engraft_gan::{dataset_tensor, sample_grid};
use engraft_layers::{
    Adam, Condition, Conv2d, Dense, Flatten, Init, LeakyReLU, Mode, Module, Optimizer, Reduction, Schedule,
    Sequential, forward_batched, gradients, softmax_cross_entropy,
};

/// Batch size.
const BATCH: usize = 64;
/// Learning rate of the first step; it decays linearly to 0.
const RATE: f64 = 1e-3;
/// Number of MNIST training images that `--validate` uses.
const VALIDATION: usize = 10_000;

/// Most training images: each takes 784 bytes of memory.
const MAX_COUNT: usize = 1_000_000;

/// Arguments of `cargo xtask drawn-digits`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Number of drawn digits to train on
    #[arg(long, default_value_t = 60_000)]
    count: usize,
    /// Seed of the drawn digits, of the classifier's weights and of the order of the images
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Training epochs
    #[arg(long, default_value_t = 3)]
    epochs: usize,
    /// Directory with MNIST, instead of the default locations
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Do not download data
    #[arg(long)]
    offline: bool,
    /// Test on the first 10000 training images of MNIST instead of its test images. Use it while you change the digits, so that
    /// nothing is tuned on the test images
    #[arg(long)]
    validate: bool,
    /// Only write a grid of 200 drawn digits to a PNG file
    #[arg(long, value_name = "FILE")]
    grid: Option<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    if let Some(file) = &args.grid {
        let digits = drawn(Split::Train, 200, args.seed)?;
        let grid = sample_grid(&dataset_tensor(&digits, &by_class(&digits)), 20);
        std::fs::write(file, grid).with_context(|| format!("cannot write {}", file.display()))?;
        out!("wrote 200 drawn digits to {}", file.display());
        return Ok(());
    }
    ensure!(args.count >= BATCH, "--count must be at least {BATCH}, one batch");
    ensure!(args.count <= MAX_COUNT, "--count must be at most {MAX_COUNT}");
    ensure!(args.epochs > 0, "--epochs must be at least 1");
    // Loaded before the training, which needs it afterwards.
    let (real, what) = real_digits(args)?;

    let start = Instant::now();
    let train = drawn(Split::Train, args.count, args.seed)?;
    out!(
        "generated {} drawn digits in {:.2} s",
        train.len(),
        start.elapsed().as_secs_f64()
    );
    let net = fit(&train, args)?;

    let unseen = drawn(Split::Test, VALIDATION, args.seed)?;
    out!(
        "accuracy on drawn digits of the test split: {:.2} %",
        100.0 * accuracy(&net, &unseen)
    );
    out!("accuracy on {what}: {:.2} %", 100.0 * accuracy(&net, &real));
    Ok(())
}

fn drawn(split: Split, count: usize, seed: u64) -> Result<Dataset, DataError> {
    load(
        DatasetName::DrawnDigits,
        split,
        &LoadOptions::new().drawn_count(count).drawn_seed(seed),
    )
}

/// The digits of MNIST to test on, and their description.
fn real_digits(args: &Args) -> anyhow::Result<(Dataset, &'static str)> {
    let mut options = LoadOptions::new().notify(|line| note!("{line}"));
    if let Some(directory) = &args.data {
        options = options.directory(directory);
    }
    if args.offline {
        options = options.offline();
    }
    let (split, what) = match args.validate {
        true => (Split::Train, "the first 10000 training images of MNIST"),
        false => (Split::Test, "test images of MNIST"),
    };
    let digits = load(DatasetName::Mnist, split, &options)
        .context("MNIST is not available, which this command tests on")?;
    if args.validate {
        let first: Vec<usize> = (0..digits.len().min(VALIDATION)).collect();
        return Ok((digits.subset(&first), what));
    }
    Ok((digits, what))
}

/// `[n, 28, 28, 1] -> [n, 10]`.
fn classifier(seed: u64) -> Sequential<f32> {
    let init = &mut Init::he(seed);
    Sequential::new()
        .add("block1", Conv2d::new(1, 16, 5, init).stride(2).same())
        .add("act1", LeakyReLU::new(0.1))
        .add("block2", Conv2d::new(16, 32, 5, init).stride(2).same())
        .add("act2", LeakyReLU::new(0.1))
        .add("flatten", Flatten)
        .add("hidden", Dense::new(7 * 7 * 32, 128, init))
        .add("act3", LeakyReLU::new(0.1))
        .add("logits", Dense::new(128, 10, init))
}

fn fit(train: &Dataset, args: &Args) -> anyhow::Result<Sequential<f32>> {
    let mut net = classifier(args.seed);
    let mut batches = Batches::new(train.len(), BATCH, args.seed)?;
    let steps = args.epochs * batches.batches_per_epoch();
    let mut adam = Adam::new(RATE).schedule(Schedule::LinearDecay {
        from: 0,
        to: steps as u64,
    });
    let start = Instant::now();
    for epoch in 1..=args.epochs {
        let mut total = 0.0;
        for _ in 0..batches.batches_per_epoch() {
            let indices = batches.next_batch();
            let labels: Vec<usize> = indices.iter().map(|&i| usize::from(train.label(i))).collect();
            let logits = net.forward(&dataset_tensor(train, &indices), Mode::Train);
            let loss = softmax_cross_entropy(&logits, &labels, Reduction::Mean);
            let found = gradients(&loss, &net);
            adam.step(&mut net, &found);
            total += f64::from(loss.item());
        }
        let mean = total / batches.batches_per_epoch() as f64;
        out!(
            "epoch {epoch}: loss {mean:.4}, {:.0} s",
            start.elapsed().as_secs_f64()
        );
    }
    Ok(net)
}

/// Accuracy from 0 to 1.
fn accuracy(net: &Sequential<f32>, digits: &Dataset) -> f64 {
    let all: Vec<usize> = (0..digits.len()).collect();
    let logits = forward_batched(net, &dataset_tensor(digits, &all), &Condition::None, 500);
    let rows = logits.as_slice().chunks_exact(10).zip(all);
    let right = rows
        .filter(|(row, i)| argmax(row) == usize::from(digits.label(*i)))
        .count();
    right as f64 / digits.len().max(1) as f64
}

/// All indices, the digit 0 first.
fn by_class(digits: &Dataset) -> Vec<usize> {
    let mut indices: Vec<usize> = (0..digits.len()).collect();
    indices.sort_by_key(|&i| digits.label(i));
    indices
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_training_classifies_unseen_drawn_digits() {
        let args = Args {
            count: 2000,
            seed: 1,
            epochs: 2,
            data: None,
            offline: true,
            validate: false,
            grid: None,
        };
        let net = fit(&drawn(Split::Train, args.count, args.seed).unwrap(), &args).unwrap();
        let share = accuracy(&net, &drawn(Split::Test, 500, args.seed).unwrap());
        assert!(share > 0.6, "{share}");
    }
}
