//! Files: atomic writing, and bounded reading of untrusted files.
//!
//! The readers here never wait for a named pipe. They reserve no memory for bytes that do not exist.
//! [`open_unlinked`] also refuses symbolic links.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// Prefix of the names of [`AtomicFile`]'s temporary files. A killed program can leave such a file.
pub const TEMPORARY_PREFIX: &str = ".engraft-";
/// Suffix of these names.
pub const TEMPORARY_SUFFIX: &str = ".tmp";

/// Errors of file operations.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// An operation of the operating system failed.
    #[error("{}: {action} failed: {reason}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The operation, for example `opening`.
        action: &'static str,
        /// The error of the operating system.
        reason: io::Error,
    },
    /// The path is a directory, device, pipe or socket instead of a file.
    #[error("{}: expected a regular file, found {found}", path.display())]
    NotRegular {
        /// The path.
        path: PathBuf,
        /// What the path is, for example `a directory`.
        found: &'static str,
    },
    /// The file is longer than the limit of the caller.
    #[error("{}: expected at most {limit} bytes, found {size} or more", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Length that was found, in bytes.
        size: u64,
        /// The limit, in bytes.
        limit: u64,
    },
}

impl FileError {
    /// The path of the file.
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

/// The kind of a file in words: `a directory`, `a symbolic link`, `a device, pipe or socket` or `a file`.
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

/// Opens a regular file for reading and returns it with its length in bytes. Symbolic links are followed.
///
/// # Errors
/// [`FileError::NotRegular`] for a directory, named pipe, device or socket. These are not opened, because opening a
/// pipe can block forever. [`FileError::Io`] if the file cannot be opened.
pub fn open_regular(path: &Path) -> Result<(File, u64), FileError> {
    open_regular_with(path, OpenOptions::new().read(true))
}

/// [`open_regular`] with options. They decide what happens if the path does not exist.
///
/// # Errors
/// See [`open_regular`].
pub fn open_regular_with(path: &Path, options: &OpenOptions) -> Result<(File, u64), FileError> {
    if let Ok(found) = fs::metadata(path)
        && !found.is_file()
    {
        return Err(not_regular(path, &found));
    }
    let failed = FileError::io(path, "opening");
    let file = options.open(path).map_err(&failed)?;
    // The path may have been replaced since the check.
    let found = file.metadata().map_err(&failed)?;
    if !found.is_file() {
        return Err(not_regular(path, &found));
    }
    Ok((file, found.len()))
}

/// [`open_regular`] that also refuses symbolic links.
///
/// # Errors
/// See [`open_regular`]. [`FileError::NotRegular`] for a symbolic link.
pub fn open_unlinked(path: &Path) -> Result<(File, u64), FileError> {
    let failed = FileError::io(path, "opening");
    let before = fs::symlink_metadata(path).map_err(&failed)?;
    if !before.is_file() {
        return Err(not_regular(path, &before));
    }
    let file = File::open(path).map_err(&failed)?;
    let after = file.metadata().map_err(&failed)?;
    // A link may have replaced the file since the check.
    if !same_file(&before, &after) {
        return Err(failed(io::Error::other(
            "the file was replaced while it was opened",
        )));
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
/// Memory use is bounded by the length of the file. The limit also holds for a file that grows while it is read.
///
/// # Errors
/// See [`open_regular`]. [`FileError::TooLong`] if the file is longer than `limit`.
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

/// [`read_bounded`] for an open file of `size` bytes. `path` only appears in errors.
///
/// # Errors
/// [`FileError::TooLong`] if the file is longer than `limit` bytes. [`FileError::Io`] if reading fails.
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

/// Free bytes on the file system of `dir` for this user. `None` if the system does not tell.
pub fn free_space(dir: &Path) -> Option<u64> {
    #[cfg(test)]
    if let Some(free) = tests::FREE.get() {
        return Some(free);
    }
    #[cfg(unix)]
    {
        let found = rustix::fs::statvfs(dir).ok()?;
        // File systems without blocks, such as some network ones, tell nothing.
        (found.f_blocks > 0).then(|| found.f_bavail.saturating_mul(found.f_frsize))
    }
    #[cfg(not(unix))]
    {
        let _ = dir;
        None
    }
}

/// Checks that there is room for a file of `needed` bytes at `path`, before it is written.
///
/// # Errors
/// [`FileError::Io`] of the kind [`StorageFull`](ErrorKind::StorageFull), with the needed and the free bytes.
///
/// ```
/// use engraft_base::files::ensure_space;
/// assert!(ensure_space("a.bin".as_ref(), 1).is_ok());
/// # #[cfg(unix)]
/// assert!(ensure_space("a.bin".as_ref(), u64::MAX).is_err());
/// ```
pub fn ensure_space(path: &Path, needed: u64) -> Result<(), FileError> {
    match free_space(directory_of(path)) {
        Some(free) if free < needed => {
            let reason = format!("the disk is full: {needed} bytes are needed, {free} bytes are free");
            Err(FileError::io(path, "writing")(io::Error::new(
                ErrorKind::StorageFull,
                reason,
            )))
        }
        _ => Ok(()),
    }
}

/// Checks that files can be written into `dir`. If it does not exist, the nearest existing directory above it is checked.
/// Nothing is left behind.
///
/// # Errors
/// [`FileError::Io`] if a file cannot be created there, or a file is in the place of a directory.
pub fn ensure_writable(dir: &Path) -> Result<(), FileError> {
    let mut nearest = dir;
    while let Err(error) = fs::metadata(nearest)
        && matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
    {
        nearest = directory_of(nearest);
        if nearest == Path::new(".") {
            break;
        }
    }
    let failed = FileError::io(dir, "writing into the directory");
    match fs::metadata(nearest) {
        Ok(found) if !found.is_dir() => {
            return Err(failed(io::Error::new(
                ErrorKind::NotADirectory,
                format!("{} is {}", nearest.display(), kind(&found)),
            )));
        }
        _ => {}
    }
    tempfile::Builder::new()
        .prefix(TEMPORARY_PREFIX)
        .suffix(TEMPORARY_SUFFIX)
        .tempfile_in(nearest)
        .map(drop)
        .map_err(failed)
}

/// Writes `bytes` to `path` atomically. After a crash, the file has either its old content or the new one.
///
/// A symbolic link at `path` is replaced, not followed. When this returns, the file and its name are synced to disk.
///
/// # Errors
/// [`FileError::Io`] with the step that failed, also if there is not enough space. The old file is then unchanged, with one
/// exception: if syncing the directory fails, the new file is in place but may not survive a power loss.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    ensure_space(path, bytes.len() as u64)?;
    let mut file = AtomicFile::create(path)?;
    file.write_all(bytes).map_err(FileError::io(path, "writing"))?;
    file.commit()
}

/// A file that is written under a temporary name and renamed by [`commit`](Self::commit).
///
/// If it is dropped before that, the temporary file is removed.
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
    /// Creates the temporary file in the directory of `path`, which must exist.
    ///
    /// # Errors
    /// [`FileError::Io`] if `path` has no file name or its directory is not writable.
    pub fn create(path: &Path) -> Result<Self, FileError> {
        let failed = FileError::io(path, "creating a temporary file in its directory");
        let Some(name) = path.file_name() else {
            return Err(failed(ErrorKind::IsADirectory.into()));
        };
        let mut prefix = std::ffi::OsString::from(TEMPORARY_PREFIX);
        prefix.push(name);
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix).suffix(TEMPORARY_SUFFIX);
        // Temporary files are private by default. This one becomes an ordinary file, so the umask applies.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let file = builder.tempfile_in(directory_of(path)).map_err(failed)?;
        Ok(Self {
            path: path.to_path_buf(),
            file,
            step: || Ok(()),
        })
    }

    /// Calls `step` between the steps of [`commit`](Self::commit). Tests use this to simulate a failing disk.
    #[must_use]
    pub fn with_fault_point(mut self, step: fn() -> io::Result<()>) -> Self {
        self.step = step;
        self
    }

    /// The temporary file, for reading and seeking.
    pub fn as_file_mut(&mut self) -> &mut File {
        self.file.as_file_mut()
    }

    /// Syncs the file, renames it to its final name and syncs the directory.
    ///
    /// # Errors
    /// See [`write_atomically`].
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

/// Syncs a directory, so that created, renamed and removed names survive a power loss.
///
/// Does nothing on file systems that cannot sync a directory.
///
/// # Errors
/// The error of the operating system.
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
    use std::cell::Cell;

    thread_local! {
        /// Free bytes that this thread finds on every disk, instead of the real ones.
        pub(super) static FREE: Cell<Option<u64>> = const { Cell::new(None) };
    }

    /// Runs `work` on disks with this number of free bytes.
    fn with_free<R>(free: u64, work: impl FnOnce() -> R) -> R {
        FREE.set(Some(free));
        let result = work();
        FREE.set(None);
        result
    }

    /// The text of an error of a full disk at `path`.
    fn full(path: &Path, result: Result<(), FileError>) -> String {
        match result.unwrap_err() {
            FileError::Io {
                path: found, reason, ..
            } => {
                assert_eq!(found, path);
                assert_eq!(reason.kind(), ErrorKind::StorageFull, "{reason}");
                reason.to_string()
            }
            other => panic!("{other}"),
        }
    }

    #[test]
    #[cfg(unix)]
    fn fault_15_a_file_without_room_is_refused_with_the_needed_and_the_free_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.bin");
        let free = free_space(folder.path()).unwrap();
        ensure_space(&path, free / 2).unwrap();
        let text = full(&path, ensure_space(&path, u64::MAX));
        assert!(text.contains(&format!("{} bytes are needed", u64::MAX)), "{text}");
        with_free(1234, || {
            ensure_space(&path, 1234).unwrap();
            let text = full(&path, ensure_space(&path, 1235));
            for part in ["1235 bytes are needed", "1234 bytes are free"] {
                assert!(text.contains(part), "no {part:?} in {text}");
            }
        });
    }

    #[test]
    fn fault_15_write_atomically_without_room_keeps_the_old_file_and_leaves_no_temporary_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt");
        fs::write(&path, "old").unwrap();
        with_free(4, || full(&path, write_atomically(&path, b"7 bytes")));
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        with_free(7, || write_atomically(&path, b"7 bytes")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"7 bytes");
    }

    #[test]
    fn fault_14_a_directory_that_cannot_be_written_is_found_without_a_trace() {
        let folder = tempfile::tempdir().unwrap();
        let (file, run) = (folder.path().join("file"), folder.path().join("runs/a"));
        fs::write(&file, "").unwrap();
        ensure_writable(&run).unwrap();
        assert!(!run.exists() && !folder.path().join("runs").exists());
        for wrong in [file.clone(), file.join("deeper/still"), "/proc/engraft".into()] {
            assert_eq!(ensure_writable(&wrong).unwrap_err().path(), wrong);
        }
        ensure_writable(Path::new("no-such-directory")).unwrap();
    }

    #[test]
    fn write_atomically_replaces_the_whole_file_and_leaves_no_temporary_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt");
        write_atomically(&path, b"a long first content").unwrap();
        write_atomically(&path, b"second").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn write_atomically_into_a_missing_directory_names_the_file() {
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
