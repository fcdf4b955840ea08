//! The commands of the program `engraft`, for other programs that offer them too.

mod classifier;
mod evaluate;
mod features;
mod images;
mod samples;
mod stacked;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

pub use evaluate::Evaluate;
pub use features::WriteFeatures;

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
}

/// Runs the command that the arguments of the process ask for.
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Evaluate(command) => command.run(),
        Command::Features(command) => command.run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
