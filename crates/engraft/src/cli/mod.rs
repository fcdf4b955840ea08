//! The commands of the program `engraft`, for other programs that offer them too.

mod classifier;
mod evaluate;
mod features;
mod generate;
mod images;
mod samples;
mod semi_supervised;
mod sources;
mod stacked;
mod target;
mod transfer;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

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
    SemiSupervised(SemiSupervised),
}

/// Runs the command that the arguments of the process ask for.
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Evaluate(command) => command.run(),
        Command::Features(command) => command.run(),
        Command::Transfer(command) => command.run(),
        Command::Generate(command) => command.run(),
        Command::Sources(command) => command.run(),
        Command::SemiSupervised(command) => command.run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
