//! Commands for the development of engraft: `cargo xtask COMMAND`.

// Lines are printed with `out!` and `note!`: these macros panic on a closed stream.
#![deny(clippy::print_stdout, clippy::print_stderr)]

#[macro_use]
mod output;

mod bench_compare;
mod bench_step;
mod benchmark_digits;
mod benchmark_transfer;
mod conformance;
mod drawn_digits;
mod run_toml;
mod save_source;
mod system;
mod train_features;
mod wasm;

use clap::{Parser, Subcommand};
use engraft::cli::Ranks;
use std::process::ExitCode;

/// Commands for the development of engraft: tests against references, benchmarks, training of shipped weights.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The same as `engraft train`; its earlier name
    TrainMnist(Box<engraft::cli::Train>),
    /// Compare operations, layers, optimizers and losses with reference values of PyTorch
    Conformance(conformance::Args),
    BenchStep(bench_step::Args),
    BenchCompare(bench_compare::Args),
    TrainFeatures(train_features::Args),
    BenchmarkTransfer(benchmark_transfer::Args),
    BenchmarkDigits(benchmark_digits::Args),
    /// Train a classifier on drawn (synthetic) digits and print its accuracy on MNIST
    DrawnDigits(drawn_digits::Args),
    SaveSource(save_source::Args),
    Docs(run_toml::Args),
    Wasm(wasm::Args),
}

/// Runs the command in the arguments of the process.
pub fn main() -> ExitCode {
    engraft::cli::exit(match Cli::parse().command {
        Command::TrainMnist(options) => engraft::cli::train(&options),
        Command::Conformance(args) => conformance::run(&args),
        Command::BenchStep(args) => bench_step::run(&args),
        Command::BenchCompare(args) => bench_compare::run(&args),
        Command::TrainFeatures(args) => train_features::run(&args),
        Command::BenchmarkTransfer(args) => benchmark_transfer::run(args, None),
        Command::BenchmarkDigits(args) => benchmark_digits::run(&args),
        Command::DrawnDigits(args) => drawn_digits::run(&args),
        Command::SaveSource(args) => save_source::run(&args),
        Command::Docs(args) => run_toml::run(&args),
        Command::Wasm(args) => wasm::run(&args),
    })
}

/// Runs `benchmark-transfer` with the arguments of the process on the ranks of a distributed run, each of which calls this. Returns
/// the exit code, as [`engraft::cli::run_on`] does.
pub fn benchmark_transfer_on(ranks: &Ranks) -> u8 {
    let result = match Cli::try_parse() {
        Ok(Cli {
            command: Command::BenchmarkTransfer(args),
        }) => benchmark_transfer::run(args, Some(ranks)),
        Ok(_) => return USAGE,
        Err(error) => {
            if ranks.is_first() {
                // A closed pipe is no failure.
                let _ = error.print();
            }
            return u8::try_from(error.exit_code()).unwrap_or(USAGE);
        }
    };
    ranks.code(result)
}

/// Exit code of invalid arguments.
const USAGE: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_an_earlier_version_are_parsed_to_the_same() {
        let parsed = |line: &str| {
            let words = ["xtask"].into_iter().chain(line.split(' '));
            let cli = Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{line}: {error}"));
            format!("{:?}", cli.command)
        };
        assert_eq!(
            parsed("benchmark-transfer --source a,b --shots 5,10"),
            parsed("benchmark-transfer --from a,b --train-images 5,10")
        );
        assert_eq!(
            parsed("train-mnist --classes --measure-every 5"),
            parsed("train-mnist --conditional --eval-every 5")
        );
        let shifted = parsed("benchmark-transfer --seeds 2 --first-seed 3");
        assert!(shifted.contains("first_seed: Some(3)"), "{shifted}");
    }
}
