//! The commands of the program `engraft`, as functions that other programs can call.

// Lines are printed with `out!` and `note!`: these macros panic on a closed stream.
#![deny(clippy::print_stdout, clippy::print_stderr)]

#[macro_use]
mod output;

mod adapt;
mod advice;
mod classifier;
mod completions;
mod data_source;
mod doctor;
mod evaluate;
mod export;
mod extract;
mod feature_cache;
mod features;
mod generate;
mod import;
mod latents;
mod memory;
mod options;
mod output_dir;
mod pair_grid;
mod parallel;
mod picture_file;
mod playground;
mod process;
mod program;
mod progress;
mod rank_sources;
mod ranks;
mod readability;
mod result_cache;
mod samples;
mod semi_supervised;
mod spread;
mod stacked;
mod step_time;
mod sweep;
mod target;
mod tensorboard;
mod train;
mod transfer;
mod watch;

use clap::{CommandFactory, FromArgMatches, Parser};
use options::{Cli, Command};
use std::ffi::OsString;
use std::process::ExitCode;

pub use options::{Seeds, Train};
pub use output::{note_line, out_line};
pub use process::{Interrupted, catch_interrupts, cores, exit, interrupt, pool, stop_or_continue};
pub use ranks::Ranks;
pub use train::run as train;

/// Runs the command in the arguments of the process.
pub fn main() -> ExitCode {
    let parsed = Cli::command().bin_name(program::program()).try_get_matches();
    match parsed.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => exit(execute(cli.command, &std::env::args_os().collect::<Vec<_>>())),
        Err(error) => exit_with_usage(&error),
    }
}

/// Runs the command in the arguments of the process on the ranks of a distributed run, each of which calls this. Returns the exit
/// code.
///
/// After an error the other ranks may wait for this one: end them. An interrupted run (a code of 128 or more) has ended on all
/// ranks.
pub fn run_on(ranks: &Ranks) -> u8 {
    output::mute(ranks.communicator.rank() > 0);
    let parsed = Cli::command().bin_name("engraft-mpi").try_get_matches();
    let result = match parsed.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => match cli.command {
            Command::Train(options) => train::run_on(&options, Some(ranks)),
            Command::Adapt(options) => adapt::run_on(&options, Some(ranks)),
            Command::SemiSupervised(options) => semi_supervised::run_on(&options, Some(ranks)),
            _ => Err(ranks::not_on_ranks()),
        },
        Err(error) => {
            if ranks.communicator.rank() == 0 {
                exit_with_usage(&error);
            }
            return u8::try_from(error.exit_code()).unwrap_or(2);
        }
    };
    ranks.code(result)
}

/// Prints the help, or what is wrong with the arguments.
fn exit_with_usage(error: &clap::Error) -> ExitCode {
    let has_control = |argument: OsString| argument.to_string_lossy().contains(char::is_control);
    if error.use_stderr() && std::env::args_os().any(has_control) {
        // An argument must not control the terminal. Colors are lost, because they are control characters too.
        note!("{}", error.render().to_string().trim_end());
    } else {
        // A closed pipe is no failure.
        let _ = error.print();
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

/// Runs one command, given by the arguments after `engraft`.
///
/// # Errors
/// Those of the command, and arguments that it does not accept.
pub fn run(arguments: &[&str]) -> anyhow::Result<()> {
    let all: Vec<OsString> = std::iter::once(&"engraft")
        .chain(arguments)
        .map(OsString::from)
        .collect();
    execute(Cli::try_parse_from(&all)?.command, &all)
}

/// Runs a command, given by these arguments.
fn execute(command: Command, arguments: &[OsString]) -> anyhow::Result<()> {
    match command {
        Command::Train(options) => train::run(&options),
        Command::Generate(options) => generate::run(&options),
        Command::Evaluate(options) => evaluate::run(&options),
        Command::Transfer(options) => transfer::run(&options),
        Command::Sweep(options) => sweep::run(&options, arguments),
        Command::Sources(options) => rank_sources::run(&options),
        Command::Adapt(options) => adapt::run(&options),
        Command::SemiSupervised(options) => semi_supervised::run(&options),
        Command::Features(options) => features::run(&options),
        Command::Watch(options) => watch::run(&options),
        Command::Doctor(options) => doctor::run(&options),
        Command::Completions(options) => completions::run(&options),
        Command::Manual(options) => completions::write_manual(&options),
        Command::Export(options) => export::run(&options),
        Command::Import(options) => import::run(&options),
        Command::Playground(options) => playground::run(&options),
    }
}
