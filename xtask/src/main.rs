//! The project's commands: `cargo xtask COMMAND`.

mod bench_compare;
mod bench_step;
mod benchmark_digits;
mod benchmark_transfer;
mod conformance;
mod drawn_digits;
mod system;
mod train_features;
mod train_mnist;

use anyhow::Context;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Commands of the engraft project.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Train the reference DCGAN on MNIST, or on drawn digits where there is no MNIST
    TrainMnist(train_mnist::Args),
    /// Check every case of a directory of reference values through the public API
    Conformance(conformance::Args),
    BenchStep(bench_step::Args),
    BenchCompare(bench_compare::Args),
    TrainFeatures(train_features::Args),
    BenchmarkTransfer(benchmark_transfer::Args),
    BenchmarkDigits(benchmark_digits::Args),
    Transfer(engraft::cli::Transfer),
    /// Train a classifier on drawn digits and print how many real MNIST digits it reads
    DrawnDigits(drawn_digits::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::TrainMnist(args) => train_mnist::run(args),
        Command::Conformance(args) => conformance::run(&args),
        Command::BenchStep(args) => bench_step::run(&args),
        Command::BenchCompare(args) => bench_compare::run(&args),
        Command::TrainFeatures(args) => train_features::run(&args),
        Command::BenchmarkTransfer(args) => benchmark_transfer::run(args),
        Command::BenchmarkDigits(args) => benchmark_digits::run(&args),
        Command::Transfer(args) => args.run().map(|()| ExitCode::SUCCESS),
        Command::DrawnDigits(args) => drawn_digits::run(&args),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

/// A thread pool of its own for a command; as many threads as the machine has cores if none are asked for.
fn pool(threads: Option<usize>) -> anyhow::Result<rayon::ThreadPool> {
    anyhow::ensure!(threads != Some(0), "--threads must be at least 1");
    let threads = threads.unwrap_or_else(cores);
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .with_context(|| format!("cannot start {threads} threads"))
}

/// Cores that this process may use.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
