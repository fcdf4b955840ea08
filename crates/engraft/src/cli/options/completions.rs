//! Options of `engraft completions` and `engraft manual`.

use clap_complete::Shell;
use std::path::PathBuf;

/// Print the completions of commands and options for a shell
///
/// For instance `engraft completions bash > ~/.local/share/bash-completion/completions/engraft`.
#[derive(Debug, clap::Args)]
pub(crate) struct Completions {
    /// The shell
    pub(crate) shell: Shell,
}

/// Write a manual page for each command, for `man`
///
/// For instance `engraft manual --out ~/.local/share/man/man1`, and then `man engraft-train`.
#[derive(Debug, clap::Args)]
pub(crate) struct Manual {
    /// Directory of the pages
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
}
