//! Names and paths that are safe to print on a terminal.

pub(crate) use engraft_base::escaped;
use std::path::Path;

/// A path for messages: control characters are escaped, bytes that are not UTF-8 are replaced.
pub(crate) fn shown(path: &Path) -> String {
    escaped(&path.to_string_lossy())
}
