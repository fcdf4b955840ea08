//! The directory of a run: checks of `--out` before any work, and the default.

use anyhow::Context;
use engraft_base::files::ensure_writable;
use std::path::{Path, PathBuf};

/// Directory of all runs, if `--out` is not given.
const RUNS: &str = "runs";
/// Most runs that are looked at for a free default directory.
const MOST_RUNS: u32 = 10_000;

/// The directory of a run without `--out`: that of this name, or with the first number from 2 on that `fits`, which has no run
/// or the one that is resumed.
pub(super) fn free_directory(name: &str, fits: impl Fn(&Path) -> bool) -> PathBuf {
    let numbered = |number: u32| match number {
        1 => Path::new(RUNS).join(name),
        _ => Path::new(RUNS).join(format!("{name}-{number}")),
    };
    let found = (1..MOST_RUNS).map(numbered).find(|directory| fits(directory));
    found.unwrap_or_else(|| numbered(MOST_RUNS))
}

/// Refuses a directory that no file can be written to. Without `--out` it is that of all runs.
///
/// # Errors
/// If it is read-only, or a file is in its place.
pub(super) fn ensure_usable(out: Option<&Path>) -> anyhow::Result<()> {
    let out = out.unwrap_or(Path::new(RUNS));
    ensure_writable(out).with_context(|| format!("--out {}", out.display()))
}

/// Refuses a file whose directory no file can be written to.
///
/// # Errors
/// As [`ensure_usable`].
pub(super) fn ensure_usable_for(file: &Path) -> anyhow::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    ensure_usable(Some(folder.unwrap_or(Path::new("."))))
}
