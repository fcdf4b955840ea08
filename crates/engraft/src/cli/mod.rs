//! The commands of the program `engraft`, for other programs that offer them too.

mod adapt;
mod adapt_options;
mod classifier;
mod evaluate;
mod features;
mod generate;
mod images;
mod kept;
mod pairs;
mod plan_options;
mod process;
mod samples;
mod semi_supervised;
mod sources;
mod stacked;
mod target;
pub mod train;
mod transfer;
mod workers;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use std::process::ExitCode;

use adapt::Adapt;
use evaluate::Evaluate;
use features::WriteFeatures;
use generate::Generate;
use semi_supervised::SemiSupervised;
use sources::Sources;
use transfer::Transfer;

pub use process::{Interrupted, catch_interrupts, cores, exit, interrupt, pool};

/// Train generative adversarial networks and graft them onto new domains.
#[derive(Parser)]
#[command(name = "engraft", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Train(train::Options),
    Evaluate(Evaluate),
    Features(WriteFeatures),
    Transfer(Transfer),
    Generate(Generate),
    Sources(Sources),
    Adapt(Adapt),
    SemiSupervised(SemiSupervised),
}

/// Runs the command that the arguments of the process ask for.
pub fn main() -> ExitCode {
    let matches = Cli::command().bin_name(process::program()).get_matches();
    match Cli::from_arg_matches(&matches) {
        Ok(cli) => exit(cli.command.run()),
        Err(error) => error.exit(),
    }
}

/// Runs one command, given as the arguments that one would type behind `engraft`.
///
/// # Errors
/// What the command reports, and arguments that it does not take.
pub fn run(arguments: &[&str]) -> anyhow::Result<()> {
    let all = ["engraft"].into_iter().chain(arguments.iter().copied());
    Cli::try_parse_from(all)?.command.run()
}

impl Command {
    fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Train(options) => train::run(&options),
            Self::Evaluate(command) => command.run(),
            Self::Features(command) => command.run(),
            Self::Transfer(command) => command.run(),
            Self::Generate(command) => command.run(),
            Self::Sources(command) => command.run(),
            Self::Adapt(command) => command.run(),
            Self::SemiSupervised(command) => command.run(),
        }
    }
}
