//! Checks of the directory of `--out`, before any work.

use anyhow::Context;
use engraft_base::files::ensure_writable;
use std::path::Path;

/// Directory of all runs, if `--out` is not given.
const RUNS: &str = "runs";

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
