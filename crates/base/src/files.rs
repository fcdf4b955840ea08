//! Files: written whole or not at all, and read without trust.
//!
//! A reader of files that others made must not wait for a named pipe, follow a link into a place of its own, or
//! reserve memory for bytes that are not there.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// How the names of temporary files of [`AtomicFile`] begin; what a killed program left has such a name.
pub const TEMPORARY_PREFIX: &str = ".engraft-";
/// How they end.
pub const TEMPORARY_SUFFIX: &str = ".tmp";

/// What went wrong with a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The operating system refused.
    #[error("{}: {action} failed: {reason}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was being done, as `opening`.
        action: &'static str,
        /// The reason of the operating system.
        reason: io::Error,
    },
    /// A directory, device, pipe or socket stands where a file is needed.
    #[error("{}: expected a regular file, found {found}", path.display())]
    NotRegular {
        /// The path.
        path: PathBuf,
        /// What stands there, as `a directory`.
        found: &'static str,
    },
    /// The file is longer than the caller reads.
    #[error("{}: expected at most {limit} bytes, found {size} or more", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Bytes that were found.
        size: u64,
        /// Bytes that were allowed.
        limit: u64,
    },
}

impl FileError {
    /// The file that it is about.
    pub fn path(&self) -> &Path {
        match self {
            Self::Io { path, .. } | Self::NotRegular { path, .. } | Self::TooLong { path, .. } => path,
        }
    }

    fn io(path: &Path, action: &'static str) -> impl Fn(io::Error) -> Self {
        let path = path.to_path_buf();
        move |reason| Self::Io {
            path: path.clone(),
            action,
            reason,
        }
    }
}

/// What stands at a path, in words: `a directory`, `a symbolic link`, `a device, pipe or socket`, `a file`.
pub fn kind(found: &Metadata) -> &'static str {
    match found.file_type() {
        kind if kind.is_symlink() => "a symbolic link",
        kind if kind.is_dir() => "a directory",
        kind if kind.is_file() => "a file",
        _ => "a device, pipe or socket",
    }
}

fn not_regular(path: &Path, found: &Metadata) -> FileError {
    FileError::NotRegular {
        path: path.to_path_buf(),
        found: kind(found),
    }
}

/// Opens a regular file for reading, through links; also returns its length in bytes.
///
/// # Errors
/// [`FileError::NotRegular`] for a directory, named pipe, device or socket, which is not opened: a pipe would wait for
/// ever. [`FileError::Io`] if the file cannot be opened.
pub fn open_regular(path: &Path) -> Result<(File, u64), FileError> {
    open_regular_with(path, OpenOptions::new().read(true))
}

/// As [`open_regular`], with options; they decide what happens if nothing stands at the path.
///
/// # Errors
/// As [`open_regular`].
pub fn open_regular_with(path: &Path, options: &OpenOptions) -> Result<(File, u64), FileError> {
    if let Ok(found) = fs::metadata(path)
        && !found.is_file()
    {
        return Err(not_regular(path, &found));
    }
    let failed = FileError::io(path, "opening");
    let file = options.open(path).map_err(&failed)?;
    // Something else may have taken its place in between.
    let found = file.metadata().map_err(&failed)?;
    if !found.is_file() {
        return Err(not_regular(path, &found));
    }
    Ok((file, found.len()))
}

/// As [`open_regular`], but a symbolic link is refused as well.
///
/// # Errors
/// As [`open_regular`]; [`FileError::NotRegular`] for a link.
pub fn open_unlinked(path: &Path) -> Result<(File, u64), FileError> {
    let failed = FileError::io(path, "opening");
    let before = fs::symlink_metadata(path).map_err(&failed)?;
    if !before.is_file() {
        return Err(not_regular(path, &before));
    }
    let file = File::open(path).map_err(&failed)?;
    let after = file.metadata().map_err(&failed)?;
    // A link may have taken its place in between.
    if !same_file(&before, &after) {
        return Err(failed(io::Error::other("the file was replaced meanwhile")));
    }
    Ok((file, after.len()))
}

#[cfg(unix)]
fn same_file(a: &Metadata, b: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

#[cfg(not(unix))]
fn same_file(_: &Metadata, b: &Metadata) -> bool {
    b.is_file()
}

/// Reads a regular file of at most `limit` bytes.
///
/// No memory is reserved for bytes that are not there, and a file that grows while it is read cannot pass the limit.
///
/// # Errors
/// As [`open_regular`]; [`FileError::TooLong`] if the file has more bytes.
///
/// ```
/// let path = std::path::Path::new("Cargo.toml");
/// assert!(engraft_base::read_bounded(path, 1 << 20).is_ok());
/// assert!(engraft_base::read_bounded(path, 3).is_err());
/// ```
pub fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    let (file, size) = open_regular(path)?;
    read_open(path, file, size, limit)
}

/// As [`read_bounded`] for a file that is open and `size` bytes long; `path` serves the errors.
///
/// # Errors
/// [`FileError::TooLong`] if the file has more than `limit` bytes; [`FileError::Io`] if reading fails.
pub fn read_open(path: &Path, file: File, size: u64, limit: u64) -> Result<Vec<u8>, FileError> {
    let too_long = |size| FileError::TooLong {
        path: path.to_path_buf(),
        size,
        limit,
    };
    if size > limit {
        return Err(too_long(size));
    }
    let failed = FileError::io(path, "reading");
    let mut bytes = Vec::new();
    usize::try_from(size)
        .ok()
        .and_then(|size| bytes.try_reserve_exact(size).ok())
        .ok_or_else(|| {
            failed(io::Error::new(
                ErrorKind::OutOfMemory,
                format!("no memory for {size} bytes"),
            ))
        })?;
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > limit {
        return Err(too_long(bytes.len() as u64));
    }
    Ok(bytes)
}

/// Writes `bytes` to `path`, whole or not at all: after a crash the old content is there, or the new one.
///
/// A symbolic link at `path` is replaced, not followed. The file and its name are on the disk when this returns.
///
/// # Errors
/// [`FileError::Io`] with the step that failed; the old file is then untouched, unless that step is the syncing of the
/// directory: then the new one is there, but may not survive a power loss.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let mut file = AtomicFile::create(path)?;
    file.write_all(bytes).map_err(FileError::io(path, "writing"))?;
    file.commit()
}

/// A file that appears under its name when it is whole: it is written aside and renamed by [`commit`](Self::commit).
///
/// Dropped before that, it leaves nothing.
///
/// ```
/// use engraft_base::AtomicFile;
/// use std::io::Write;
///
/// let dir = tempfile::tempdir()?;
/// let path = dir.path().join("numbers.txt");
/// let mut file = AtomicFile::create(&path)?;
/// writeln!(file, "1, 2, 3")?;
/// assert!(!path.exists());
/// file.commit()?;
/// assert_eq!(std::fs::read_to_string(path)?, "1, 2, 3\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct AtomicFile {
    path: PathBuf,
    file: NamedTempFile,
    step: fn() -> io::Result<()>,
}

impl AtomicFile {
    /// Begins a file that will have the name `path`, in its directory, which exists.
    ///
    /// # Errors
    /// [`FileError::Io`] if `path` has no file name, or nothing can be written into its directory.
    pub fn create(path: &Path) -> Result<Self, FileError> {
        let failed = FileError::io(path, "creating a temporary file beside it");
        let Some(name) = path.file_name() else {
            return Err(failed(ErrorKind::IsADirectory.into()));
        };
        let mut prefix = std::ffi::OsString::from(TEMPORARY_PREFIX);
        prefix.push(name);
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix).suffix(TEMPORARY_SUFFIX);
        // Temporary files are private by default; this one becomes an ordinary file, subject to the umask.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let file = builder.tempfile_in(directory_of(path)).map_err(failed)?;
        Ok(Self {
            path: path.to_path_buf(),
            file,
            step: || Ok(()),
        })
    }

    /// Calls `step` between the steps of [`commit`](Self::commit): tests let it fail where a disk would.
    #[must_use]
    pub fn with_fault_point(mut self, step: fn() -> io::Result<()>) -> Self {
        self.step = step;
        self
    }

    /// The file under its temporary name, to read or to seek in what was written.
    pub fn as_file_mut(&mut self) -> &mut File {
        self.file.as_file_mut()
    }

    /// Syncs the file, renames it to its name and syncs the directory.
    ///
    /// # Errors
    /// As [`write_atomically`].
    pub fn commit(self) -> Result<(), FileError> {
        let Self { path, file, step } = self;
        step()
            .and_then(|()| file.as_file().sync_all())
            .and_then(|()| step())
            .map_err(FileError::io(&path, "writing"))?;
        file.persist(&path)
            .map_err(|error| FileError::io(&path, "renaming a temporary file to it")(error.error))?;
        let action = "syncing its directory (the file was written, but may not survive a power loss)";
        step()
            .and_then(|()| sync_directory(directory_of(&path)))
            .and_then(|()| step())
            .map_err(FileError::io(&path, action))
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Makes the names in a directory durable: creations, renames and removals.
///
/// A file system that cannot sync a directory counts as done, since there is nothing better to do on it.
///
/// # Errors
/// What the operating system says.
pub fn sync_directory(dir: &Path) -> io::Result<()> {
    #[cfg(unix)]
    match File::open(dir)?.sync_all() {
        Err(error) if !matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => {
            return Err(error);
        }
        _ => {}
    }
    #[cfg(not(unix))]
    let _ = dir;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn write_atomically_replaces_the_whole_file_and_leaves_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt");
        write_atomically(&path, b"a long first content").unwrap();
        write_atomically(&path, b"second").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn write_atomically_into_no_directory_names_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("no/such/report.md");
        let error = write_atomically(&path, b"x").unwrap_err();
        assert_eq!(error.path(), path);
        assert!(matches!(&error, FileError::Io { reason, .. } if reason.kind() == ErrorKind::NotFound));
    }

    #[test]
    fn a_failing_step_leaves_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt");
        fs::write(&path, "old").unwrap();
        let mut file = AtomicFile::create(&path)
            .unwrap()
            .with_fault_point(|| Err(ErrorKind::StorageFull.into()));
        file.write_all(b"new").unwrap();
        assert!(matches!(
            file.commit(),
            Err(FileError::Io {
                action: "writing",
                ..
            })
        ));
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_written_file_is_as_readable_as_any_other() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let (ours, plain) = (dir.path().join("a"), dir.path().join("b"));
        write_atomically(&ours, b"x").unwrap();
        fs::write(&plain, b"x").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&ours), mode(&plain));
    }

    #[test]
    fn read_bounded_reads_up_to_the_limit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt");
        fs::write(&path, "12345").unwrap();
        assert_eq!(read_bounded(&path, 5).unwrap(), b"12345");
        let error = read_bounded(&path, 4).unwrap_err();
        assert!(matches!(
            error,
            FileError::TooLong {
                size: 5,
                limit: 4,
                ..
            }
        ));
    }

    #[test]
    fn directories_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let error = read_bounded(dir.path(), 10).unwrap_err();
        assert!(matches!(
            &error,
            FileError::NotRegular {
                found: "a directory",
                ..
            }
        ));
        assert!(open_unlinked(dir.path()).is_err());
        assert!(open_regular(&dir.path().join("none")).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn named_pipes_and_devices_are_refused_and_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        for path in [&pipe, Path::new("/dev/zero")] {
            let error = read_bounded(path, 10).unwrap_err();
            assert!(matches!(error, FileError::NotRegular { .. }), "{error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_where_the_caller_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        fs::write(&file, "x").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!(read_bounded(&link, 10).unwrap(), b"x");
        let error = open_unlinked(&link).unwrap_err();
        assert!(matches!(
            error,
            FileError::NotRegular {
                found: "a symbolic link",
                ..
            }
        ));
        assert_eq!(open_unlinked(&file).unwrap().1, 1);
    }
}
