//! Names of the entries in the folder of checkpoints.
//!
//! | name in `RUN/checkpoints/` | meaning |
//! |---|---|
//! | `step-000100` | the checkpoint of step 100 (more digits from a million on) |
//! | `.step-000100.PID.tmp` | being written or removed by process PID; removed once that process has ended |
//! | `.step-000100.PID.old` | being replaced; used while `step-000100` is missing |

use crate::GanError;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Folder of the checkpoints in a run directory.
pub(crate) const FOLDER: &str = "checkpoints";

/// An entry that may be a checkpoint.
#[derive(Debug, PartialEq)]
pub(super) struct Candidate {
    pub(super) step: u64,
    pub(super) path: PathBuf,
    /// Whether it is an `.old` entry that was being replaced.
    pub(super) aside: bool,
}

/// Name of the checkpoint of `step`.
pub(crate) fn name(step: u64) -> String {
    format!("step-{step:06}")
}

/// Name while it is being written or removed.
pub(super) fn temporary(step: u64, purpose: &str) -> String {
    format!(".{}.{}{purpose}.tmp", name(step), std::process::id())
}

/// Name while it is being replaced.
pub(super) fn aside(step: u64) -> String {
    format!(".{}.{}.old", name(step), std::process::id())
}

/// Whether an entry is a temporary one, to remove once its process has ended.
pub(super) fn is_temporary(name: &str) -> bool {
    name.starts_with(".step-") && name.ends_with(".tmp")
}

/// The step in a checkpoint's name, which must be in canonical form.
fn step_of(text: &str) -> Option<u64> {
    let step = text.strip_prefix("step-")?.parse().ok()?;
    (name(step) == text).then_some(step)
}

/// The step in the name of an `.old` entry.
fn step_of_aside(text: &str) -> Option<u64> {
    let (step, pid) = text.strip_prefix('.')?.strip_suffix(".old")?.split_once('.')?;
    pid.parse::<u32>().ok()?;
    step_of(step)
}

/// All entries in `folder` that may be checkpoints, newest first, `.old` ones after those that replace them.
pub(super) fn candidates(folder: &Path) -> Result<Vec<Candidate>, GanError> {
    let fail = |error| GanError::io(folder, "listing", error);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let (step, aside) = match (step_of(name), step_of_aside(name)) {
            (Some(step), _) => (step, false),
            (None, Some(step)) => (step, true),
            (None, None) => continue,
        };
        found.push(Candidate {
            step,
            path: entry.path(),
            aside,
        });
    }
    found.sort_by_key(|candidate| (std::cmp::Reverse(candidate.step), candidate.aside));
    Ok(found)
}

/// Removes a file, a link (not its target) or a directory with its content. Nothing happens if it does not exist.
pub(super) fn remove(path: &Path) -> Result<(), GanError> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(GanError::io(path, "removing", error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_canonical_names_are_steps() {
        assert_eq!(step_of("step-000007"), Some(7));
        assert_eq!(step_of("step-1234567"), Some(1_234_567));
        assert_eq!(step_of("step-18446744073709551615"), Some(u64::MAX));
        for other in [
            "step-7",
            "step-0000007",
            "step-",
            "step-+00007",
            "step--00007",
            "step-00000x",
            "step-000007 ",
            "Step-000007",
            "step-18446744073709551616",
            "step-000007.tmp",
        ] {
            assert_eq!(step_of(other), None, "{other}");
        }
        assert_eq!(step_of_aside(".step-000007.12.old"), Some(7));
        for other in [
            ".step-000007.old",
            ".step-000007.x.old",
            ".step-7.12.old",
            "step-000007.12.old",
        ] {
            assert_eq!(step_of_aside(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn names_read_back(step: u64) {
            prop_assert_eq!(step_of(&name(step)), Some(step));
            prop_assert_eq!(step_of_aside(&aside(step)), Some(step));
            prop_assert_eq!(step_of(&temporary(step, "")), None);
            prop_assert!(is_temporary(&temporary(step, "")) && !is_temporary(&aside(step)));
        }
    }
}
