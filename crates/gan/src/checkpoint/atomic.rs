//! Writing so that a crash leaves the old file or the new one, never a part.

use super::fault;
use crate::GanError;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

/// Temporary files of [`write_atomically`] begin and end so; leftovers are removed when the run is opened.
const PREFIX: &str = ".engraft-";
const SUFFIX: &str = ".tmp";

/// Writes `bytes` to `path`: into a temporary file beside it, synced, then renamed over it.
///
/// A reader sees the old content or the new, whole, at any moment. A symbolic link at `path` is replaced, not followed.
///
/// # Errors
/// [`GanError::Io`] with the path and the step that failed; the old file is then untouched, unless the message
/// says that only syncing the directory failed.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), GanError> {
    let Some(name) = path.file_name() else {
        return Err(GanError::io(path, "writing", ErrorKind::IsADirectory.into()));
    };
    let dir = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut prefix = std::ffi::OsString::from(PREFIX);
    prefix.push(name);
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix).suffix(SUFFIX);
    // Temporary files are private by default; this one becomes an ordinary file, subject to the umask.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));

    let fail = |error| GanError::io(path, format!("writing {} bytes", bytes.len()), error);
    let mut file = builder.tempfile_in(dir).map_err(fail)?;
    file.write_all(bytes)
        .and_then(|()| fault::point())
        .map_err(fail)?;
    file.as_file()
        .sync_all()
        .and_then(|()| fault::point())
        .map_err(fail)?;
    file.persist(path).map_err(|error| fail(error.error))?;
    sync_directory(dir).map_err(|error| {
        let action = "syncing the directory (the file was written, but may not survive a power loss)";
        GanError::io(path, action, error)
    })
}

/// Creates a file that must not exist yet, writes it and syncs it.
pub(super) fn write_new(path: &Path, bytes: &[u8]) -> Result<(), GanError> {
    let fail = |error| GanError::io(path, format!("writing {} bytes", bytes.len()), error);
    let mut file = File::create_new(path)
        .and_then(|file| fault::point().map(|()| file))
        .map_err(fail)?;
    file.write_all(bytes)
        .and_then(|()| fault::point())
        .map_err(fail)?;
    file.sync_all().and_then(|()| fault::point()).map_err(fail)
}

/// Makes the names in a directory durable: creations, renames and removals.
///
/// File systems that cannot sync a directory count as done, since there is nothing better to do on them.
pub(crate) fn sync_directory(dir: &Path) -> io::Result<()> {
    fault::point()?;
    #[cfg(unix)]
    match File::open(dir)?.sync_all() {
        Err(error) if !matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => {
            return Err(error);
        }
        _ => {}
    }
    #[cfg(not(unix))]
    let _ = dir;
    fault::point()
}

/// A name for a file that is on its way; what a kill leaves under it is removed when the run is opened.
pub(crate) fn leftover_name(name: &str) -> String {
    format!("{PREFIX}{name}{SUFFIX}")
}

/// Removes what a killed [`write_atomically`] left in `dir`. Only the owner of the run may call it.
pub(super) fn remove_leftovers(dir: &Path) -> Result<(), GanError> {
    let list = |error| GanError::io(dir, "listing", error);
    for entry in fs::read_dir(dir).map_err(list)? {
        let entry = entry.map_err(list)?;
        let is_ours = entry
            .file_name()
            .to_str()
            .is_some_and(|n| n.starts_with(PREFIX) && n.ends_with(SUFFIX));
        if is_ours && entry.file_type().map_err(list)?.is_file() {
            fs::remove_file(entry.path()).map_err(|error| GanError::io(&entry.path(), "removing", error))?;
        }
    }
    Ok(())
}

/// Fails now, not after an hour of training, when nothing can be written to `dir`.
pub(super) fn probe(dir: &Path) -> Result<(), GanError> {
    let fail = |error| GanError::io(dir, "writing a first byte into the directory", error);
    let mut file = tempfile::Builder::new()
        .prefix(PREFIX)
        .suffix(SUFFIX)
        .tempfile_in(dir)
        .map_err(fail)?;
    file.write_all(b"?").map_err(fail)
}

#[cfg(test)]
mod tests {
    use super::super::fault::{Fault, injected};
    use super::*;

    #[test]
    fn replaces_the_whole_file_and_leaves_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run.toml");
        write_atomically(&path, b"a long first content").unwrap();
        write_atomically(&path, b"second").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

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
        assert!(message.contains("report.md: writing 1 bytes failed"), "{message}");
    }

    #[cfg(unix)]
    #[test]
    fn the_file_is_as_readable_as_any_other() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let (ours, plain) = (dir.path().join("a"), dir.path().join("b"));
        write_atomically(&ours, b"x").unwrap();
        fs::write(&plain, b"x").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&ours), mode(&plain));
    }
}
