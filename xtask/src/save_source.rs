//! `cargo xtask save-source`: writes the networks of a run as a source that the transfer crate ships.

use anyhow::{Context, ensure};
use engraft_gan::CheckpointChoice;
use engraft_transfer::{open_run, open_source};
use std::path::PathBuf;

/// Write the networks of a run as a source for `engraft transfer`, with 16-bit weights.
///
/// The generator is the averaged one of the best checkpoint. The weights in crates/source-* were written by this
/// command; each has a README.md with training images, license, command and measures.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run directory
    #[arg(long, value_name = "RUN")]
    from: PathBuf,
    /// Folder to write; it must not exist
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Checkpoint
    #[arg(long, value_enum, default_value_t = Which::Best)]
    checkpoint: Which,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Which {
    /// That with the best validation score
    Best,
    /// The newest
    Last,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    ensure!(
        !args.out.exists(),
        "--out {} exists; choose another folder or remove it",
        args.out.display()
    );
    let which = match args.checkpoint {
        Which::Best => CheckpointChoice::Best,
        Which::Last => CheckpointChoice::Last,
    };
    let from = || format!("--from {}", args.from.display());
    let mut source = open_source(&args.from, which).with_context(from)?;
    // The settings say what was planned; a source says what was done.
    source.config.steps = open_run(&args.from, which).with_context(from)?.step;
    source.save_half(&args.out)?;
    // What was written is what a transfer reads.
    let read = open_source(&args.out, CheckpointChoice::Last)?;
    let mut bytes = 0;
    for entry in std::fs::read_dir(&args.out)? {
        bytes += entry?.metadata()?.len();
    }
    out!(
        "{}: {bytes} bytes, SHA-256 of the weights {}",
        args.out.display(),
        read.sha256()?
    );
    Ok(())
}
