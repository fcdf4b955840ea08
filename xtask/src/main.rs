//! The project's commands: `cargo xtask COMMAND`.

mod conformance;
mod drawn_digits;

use clap::{Parser, Subcommand};

/// Commands of the engraft project.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check every case of a directory of reference values through the public API.
    Conformance(conformance::Args),
    /// Train a classifier on drawn digits and print how many real MNIST digits it reads.
    DrawnDigits(drawn_digits::Args),
}

fn main() -> std::process::ExitCode {
    let result = match Cli::parse().command {
        Command::Conformance(args) => conformance::run(&args),
        Command::DrawnDigits(args) => drawn_digits::run(&args),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            std::process::ExitCode::from(1)
        }
    }
}
