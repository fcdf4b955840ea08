//! The commands of the program `engraft`, as functions that other programs can call.

mod adapt;
mod advice;
mod classifier;
mod data_source;
mod evaluate;
mod extract;
mod feature_cache;
mod features;
mod generate;
mod latents;
mod options;
mod pair_grid;
mod parallel;
mod picture_file;
mod process;
mod program;
mod progress;
mod rank_sources;
mod result_cache;
mod samples;
mod semi_supervised;
mod stacked;
mod target;
mod train;
mod transfer;

use clap::{CommandFactory, FromArgMatches, Parser};
use options::{Cli, Command};
use std::process::ExitCode;

pub use options::{Seeds, Train};
pub use process::{Interrupted, catch_interrupts, cores, exit, interrupt, pool};
pub use train::run as train;

/// Runs the command in the arguments of the process.
pub fn main() -> ExitCode {
    let matches = Cli::command().bin_name(program::program()).get_matches();
    match Cli::from_arg_matches(&matches) {
        Ok(cli) => exit(execute(cli.command)),
        Err(error) => error.exit(),
    }
}

/// Runs one command, given by the arguments after `engraft`.
///
/// # Errors
/// Those of the command, and arguments that it does not accept.
pub fn run(arguments: &[&str]) -> anyhow::Result<()> {
    let all = ["engraft"].into_iter().chain(arguments.iter().copied());
    execute(Cli::try_parse_from(all)?.command)
}

fn execute(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Train(options) => train::run(&options),
        Command::Generate(options) => generate::run(&options),
        Command::Evaluate(options) => evaluate::run(&options),
        Command::Transfer(options) => transfer::run(&options),
        Command::Sources(options) => rank_sources::run(&options),
        Command::Adapt(options) => adapt::run(&options),
        Command::SemiSupervised(options) => semi_supervised::run(&options),
        Command::Features(options) => features::run(&options),
    }
}
