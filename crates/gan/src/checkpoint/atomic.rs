//! Atomic writes: a crash leaves the old file or the new one, never a part.

use super::failpoint;
use crate::GanError;
use engraft_base::AtomicFile;
use engraft_base::files::{TEMPORARY_PREFIX, TEMPORARY_SUFFIX};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Checks that there is room for `needed` bytes at `path`, before they are written.
pub(super) fn ensure_space(path: &Path, needed: u64) -> Result<(), GanError> {
    let needed = needed.saturating_add(failpoint::taken());
    Ok(engraft_base::files::ensure_space(path, needed)?)
}

/// Writes `bytes` to `path` atomically, like [`engraft_base::write_atomically`].
///
/// # Errors
/// [`GanError::Io`] with the path and the failed operation.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), GanError> {
    ensure_space(path, bytes.len() as u64)?;
    let mut file = AtomicFile::create(path)?.with_fault_point(failpoint::point);
    file.write_all(bytes)
        .map_err(|error| GanError::io(path, format!("writing {} bytes", bytes.len()), error))?;
    Ok(file.commit()?)
}

/// Creates a file, which must not exist, writes and syncs it.
pub(super) fn write_new(path: &Path, bytes: &[u8]) -> Result<(), GanError> {
    let fail = |error| GanError::io(path, format!("writing {} bytes", bytes.len()), error);
    let mut file = File::create_new(path)
        .and_then(|file| failpoint::point().map(|()| file))
        .map_err(fail)?;
    file.write_all(bytes)
        .and_then(|()| failpoint::point())
        .map_err(fail)?;
    file.sync_all().and_then(|()| failpoint::point()).map_err(fail)
}

/// Like [`engraft_base::files::sync_directory`], with fail points.
pub(super) fn sync_directory(dir: &Path) -> io::Result<()> {
    failpoint::point()?;
    engraft_base::files::sync_directory(dir)?;
    failpoint::point()
}

/// Removes temporary files of a killed [`write_atomically`] in `dir`. Only the owner of the run may call this.
pub(super) fn remove_leftovers(dir: &Path) -> Result<(), GanError> {
    let list = |error| GanError::io(dir, "listing", error);
    for entry in fs::read_dir(dir).map_err(list)? {
        let entry = entry.map_err(list)?;
        let is_ours = entry
            .file_name()
            .to_str()
            .is_some_and(|n| n.starts_with(TEMPORARY_PREFIX) && n.ends_with(TEMPORARY_SUFFIX));
        if is_ours && entry.file_type().map_err(list)?.is_file() {
            fs::remove_file(entry.path()).map_err(|error| GanError::io(&entry.path(), "removing", error))?;
        }
    }
    Ok(())
}

/// Checks that `dir` is writable, so that a run fails at once and not after an hour.
pub(super) fn probe(dir: &Path) -> Result<(), GanError> {
    let fail = |error| GanError::io(dir, "writing a test file into the directory", error);
    let mut file = tempfile::Builder::new()
        .prefix(TEMPORARY_PREFIX)
        .suffix(TEMPORARY_SUFFIX)
        .tempfile_in(dir)
        .map_err(fail)?;
    file.write_all(b"?").map_err(fail)
}

#[cfg(test)]
mod tests {
    use super::super::failpoint::{Fault, injected, without_room};
    use super::*;

    #[test]
    fn a_fault_at_any_point_leaves_the_old_file_or_the_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("report.md");
        for fault in [Fault::Full, Fault::Crash] {
            for n in 0.. {
                write_atomically(&path, b"old").unwrap();
                let (result, reached) = injected(n, fault, || write_atomically(&path, b"the new one"));
                let content = fs::read(&path).unwrap();
                assert!(content == b"old" || content == b"the new one", "point {n}");
                if !reached {
                    result.unwrap().unwrap();
                    assert_eq!(n, 4);
                    break;
                }
                assert!(
                    !matches!(result, Some(Ok(()))),
                    "point {n}: the fault went unnoticed"
                );
            }
        }
    }

    #[cfg(unix)]
    #[test]
    fn fault_15_a_file_without_room_is_refused_before_it_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("report.md");
        fs::write(&path, "old").unwrap();
        let written = without_room(|| write_atomically(&path, b"the new one"));
        let error = written.expect("refused before the disk is touched").unwrap_err();
        assert!(
            matches!(&error, GanError::Io { path: found, reason, .. }
                if *found == path && reason.kind() == io::ErrorKind::StorageFull),
            "{error}"
        );
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file");
        write_atomically(&path, b"the new one").unwrap();
    }

    #[test]
    fn leftovers_are_removed_and_other_files_are_not() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(".engraft-run.tomlAbC.tmp"), "part").unwrap();
        fs::write(dir.path().join("notes.tmp"), "mine").unwrap();
        remove_leftovers(dir.path()).unwrap();
        assert!(!dir.path().join(".engraft-run.tomlAbC.tmp").exists());
        assert!(dir.path().join("notes.tmp").exists());
    }

    #[test]
    fn a_missing_directory_is_an_error_that_names_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("no/such/report.md");
        let message = write_atomically(&path, b"x").unwrap_err().to_string();
        assert!(message.contains("report.md: "), "{message}");
    }
}
