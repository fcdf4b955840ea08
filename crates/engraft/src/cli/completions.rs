//! `engraft completions` and `engraft manual`: what shells and `man` read, generated from the options.

use super::options::{Cli, Completions, Manual};
use anyhow::Context;
use clap::CommandFactory;
use engraft_base::write_atomically;
use std::fs;

/// The name that the files are for, however this process was called.
const PROGRAM: &str = "engraft";

/// Prints the completions.
///
/// # Errors
/// If they are no text, which cannot happen.
pub(super) fn run(options: &Completions) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut Cli::command(), PROGRAM, &mut script);
    out!("{}", String::from_utf8(script)?.trim_end());
    Ok(())
}

/// Writes the manual pages: `engraft.1`, and `engraft-COMMAND.1` for each command.
///
/// # Errors
/// If a file cannot be written.
pub(super) fn write_manual(options: &Manual) -> anyhow::Result<()> {
    fs::create_dir_all(&options.out)
        .with_context(|| format!("--out {}: creating it", options.out.display()))?;
    let program = Cli::command().disable_help_subcommand(true);
    let mut pages = vec![(PROGRAM.to_string(), program.clone())];
    for command in program.get_subcommands() {
        let name = format!("{PROGRAM}-{}", command.get_name());
        pages.push((name.clone(), command.clone()));
        // The commands of `sweep`.
        for inner in command.get_subcommands() {
            pages.push((format!("{name}-{}", inner.get_name()), inner.clone()));
        }
    }
    let count = pages.len();
    for (name, command) in pages {
        let title = name.to_uppercase();
        let mut page = Vec::new();
        clap_mangen::Man::new(command.name(name.clone()).version(env!("CARGO_PKG_VERSION")))
            .title(title)
            .render(&mut page)?;
        write_atomically(&options.out.join(format!("{name}.1")), &page)?;
    }
    out!("{count} pages in {}", options.out.display());
    Ok(())
}
