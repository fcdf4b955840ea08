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
mod samples;
mod semi_supervised;
mod sources;
mod stacked;
mod target;
mod transfer;
mod workers;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

pub use adapt::Adapt;
pub use evaluate::Evaluate;
pub use features::WriteFeatures;
pub use generate::Generate;
pub use semi_supervised::SemiSupervised;
pub use sources::Sources;
pub use transfer::Transfer;

/// Train generative adversarial networks and graft them onto new domains.
#[derive(Parser)]
#[command(name = "engraft", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
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
    match Cli::parse().command.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
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
