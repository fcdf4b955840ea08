//! The run directory of a transfer.

use super::{Domains, adjust, recipe};
use crate::cli::options::Transfer;
use crate::cli::output_dir::free_directory;
use anyhow::{Context, ensure};
use engraft_data::{DataSource, TrainingData, plain_name};
use engraft_gan::{CheckpointChoice, RunLayout, Trainer, read_settings};
use engraft_transfer::open_source;
use std::fs::canonicalize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Refuses the directory of `--from` as that of `--out`.
///
/// # Errors
/// If both are the same.
pub(super) fn ensure_not_source(options: &Transfer) -> anyhow::Result<()> {
    if let Some(out) = &options.out {
        ensure!(
            !is_source(options, out),
            "--out {}: this is the run of --from; choose another directory",
            out.display()
        );
    }
    Ok(())
}

/// The directory of `--out`. Without it, one for each target; if another run is there, the first of the numbers from 2 on with
/// none, or with the run that these settings resume.
///
/// # Errors
/// If the target has no name.
pub(super) fn of(options: &Transfer, domains: &Domains) -> anyhow::Result<PathBuf> {
    if let Some(out) = &options.out {
        return Ok(out.clone());
    }
    let file = Path::new(&options.data).file_name().unwrap_or_default();
    let name = match file.to_string_lossy() {
        name if plain_name(&name) == name => name.into_owned(),
        // Such as `.`: the folder has a name.
        _ => DataSource::parse(&options.data)
            .with_context(|| format!("--data {}", options.data))?
            .name(),
    };
    let images: Arc<dyn TrainingData> = Arc::new(domains.target.train.clone());
    let source = domains.source.sha256()?;
    // The run that `--fresh` replaces is the one that would be resumed without it.
    let mut options = options.clone();
    options.fresh = false;
    Ok(free_directory(&format!("transfer-{name}"), |directory| {
        // Errors of the settings are reported when the transfer is planned.
        let fits = || fits(&options, domains, (&source, &images), directory);
        !is_source(&options, directory) && fits().unwrap_or(true)
    }))
}

fn is_source(options: &Transfer, directory: &Path) -> bool {
    let from = options.from.as_ref().map(canonicalize);
    matches!((canonicalize(directory), from), (Ok(directory), Some(Ok(from))) if directory == from)
}

/// Whether the directory has no run, or one of this source and these images that these settings resume.
fn fits(
    options: &Transfer,
    domains: &Domains,
    (sha256, images): (&str, &Arc<dyn TrainingData>),
    directory: &Path,
) -> anyhow::Result<bool> {
    let source = &domains.source;
    let earlier = open_source(&directory.join("source"), CheckpointChoice::Last);
    if let Ok(earlier) = earlier
        && earlier.sha256()? != sha256
    {
        return Ok(false);
    }
    let saved = read_settings(&RunLayout::new(directory).settings());
    if saved.is_ok_and(|saved| (saved.images, saved.fingerprint) != (images.len(), images.fingerprint())) {
        return Ok(false);
    }
    let recipe = recipe(options, domains, Some(directory))?;
    let mut config = recipe.train_config(source, &domains.target.train, options.steps, options.seed);
    adjust(options, domains, &mut config)?;
    Ok(Trainer::builder(config, images.clone()).fits(directory))
}
