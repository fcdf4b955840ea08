//! The directory of a run: checks of `--out` before any work, and the default.

use anyhow::{Context, bail};
use engraft_base::files::ensure_writable;
use engraft_data::DataSource;
use std::path::{Path, PathBuf};

/// Directory of all runs, if `--out` is not given.
const RUNS: &str = "runs";
/// Most runs that are looked at for a free default directory.
const MOST_RUNS: u32 = 10_000;

/// The directory of a run without `--out`, of this name or with a number from 2 on: the first that exists and `fits`, which has
/// the run that is resumed, or none. Otherwise the first that does not exist.
pub(super) fn free_directory(name: &str, fits: impl Fn(&Path) -> bool) -> PathBuf {
    let numbered = |number: u32| match number {
        1 => Path::new(RUNS).join(name),
        _ => Path::new(RUNS).join(format!("{name}-{number}")),
    };
    let all = || (1..MOST_RUNS).map(numbered);
    let resumed = all().find(|directory| directory.exists() && fits(directory));
    let free = || all().find(|directory| !directory.exists());
    resumed.or_else(free).unwrap_or_else(|| numbered(MOST_RUNS))
}

/// Refuses a directory that no file can be written to. Without `--out` it is that of all runs.
///
/// # Errors
/// If it is read-only, or a file is in its place.
pub(super) fn ensure_usable(out: Option<&Path>) -> anyhow::Result<()> {
    let out = out.unwrap_or(Path::new(RUNS));
    ensure_writable(out).with_context(|| format!("--out {}", out.display()))
}

/// Refuses the folder of `--data` as the directory of a run, whose grids would be read as pictures later.
///
/// # Errors
/// If both are the same.
pub(super) fn ensure_not_data(out: Option<&Path>, data: &str) -> anyhow::Result<()> {
    // A known name is no folder, even if there is one of this name.
    let Ok(DataSource::Folder(folder)) = DataSource::parse(data) else {
        return Ok(());
    };
    let same = |out: &Path| matches!((out.canonicalize(), folder.canonicalize()), (Ok(out), Ok(data)) if out == data);
    if let Some(out) = out.filter(|out| same(out)) {
        bail!(
            "--out {}: this is the folder of --data, and pictures of the run would later count as training images; choose another \
             directory",
            out.display()
        );
    }
    Ok(())
}

/// Refuses a file whose directory no file can be written to.
///
/// # Errors
/// As [`ensure_usable`].
pub(super) fn ensure_usable_for(file: &Path) -> anyhow::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    ensure_usable(Some(folder.unwrap_or(Path::new("."))))
}
