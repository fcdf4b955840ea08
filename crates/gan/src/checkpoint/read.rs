//! Reading files of which nothing is known: no symbolic links, no devices, no byte more than was promised.

use super::manifest::hex;
use crate::GanError;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// Largest checkpoint in bytes, all files together: 4 GiB.
pub const MAX_CHECKPOINT_BYTES: u64 = 4 << 30;

const DAMAGED: &str = "the checkpoint is damaged: resume from an older one or copy it again";

/// Opens a regular file and returns its length.
///
/// The type is checked before opening, since opening a named pipe would wait for ever, and the opened file is
/// compared with the checked one, since a link may have taken its place in between.
fn open(path: &Path) -> Result<(File, u64), GanError> {
    let before = fs::symlink_metadata(path).map_err(|error| GanError::io(path, "opening", error))?;
    if !before.is_file() {
        return Err(not_regular(path, &before));
    }
    let file = File::open(path).map_err(|error| GanError::io(path, "opening", error))?;
    let after = file
        .metadata()
        .map_err(|error| GanError::io(path, "opening", error))?;
    if !same_file(&before, &after) {
        let error = io::Error::other("the file was replaced meanwhile");
        return Err(GanError::io(path, "opening", error));
    }
    Ok((file, after.len()))
}

/// Opens a file of the user, through links, with its length. Anything but a regular file is refused before it
/// is opened: a named pipe would wait for ever.
pub(crate) fn open_regular(path: &Path, options: &fs::OpenOptions) -> Result<(File, u64), GanError> {
    match fs::metadata(path) {
        Ok(found) if !found.is_file() => return Err(not_regular(path, &found)),
        // What does not exist is for the options to decide on.
        _ => {}
    }
    let opened = options.open(path).and_then(|file| {
        let length = file.metadata()?.len();
        Ok((file, length))
    });
    opened.map_err(|error| GanError::io(path, "opening", error))
}

/// The error for something that is not a file or directory of its own.
pub(super) fn not_regular(path: &Path, found: &fs::Metadata) -> GanError {
    let found = match found.file_type() {
        kind if kind.is_symlink() => "a symbolic link",
        kind if kind.is_dir() => "a directory",
        kind if kind.is_file() => "a file",
        _ => "a device, pipe or socket",
    };
    GanError::Format {
        path: path.to_path_buf(),
        offset: None,
        expected: "a regular file or directory".to_string(),
        found: found.to_string(),
        advice: "links and special files are not followed: put the file itself there",
    }
}

#[cfg(unix)]
fn same_file(a: &fs::Metadata, b: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

#[cfg(not(unix))]
fn same_file(_: &fs::Metadata, b: &fs::Metadata) -> bool {
    b.is_file()
}

/// Fails unless the file is regular and `size` bytes long.
pub(super) fn check_size(path: &Path, size: u64) -> Result<File, GanError> {
    let (file, length) = open(path)?;
    if length == size {
        Ok(file)
    } else {
        Err(wrong_size(path, size, length))
    }
}

fn wrong_size(path: &Path, size: u64, length: u64) -> GanError {
    GanError::Format {
        path: path.to_path_buf(),
        offset: Some(size.min(length)),
        expected: format!("{size} bytes as the manifest says"),
        found: format!("{length} bytes"),
        advice: DAMAGED,
    }
}

/// Reads a file of at most `cap` bytes.
pub(super) fn read_capped(path: &Path, cap: u64) -> Result<Vec<u8>, GanError> {
    let (file, length) = open(path)?;
    if length > cap {
        return Err(GanError::Format {
            path: path.to_path_buf(),
            offset: None,
            expected: format!("at most {cap} bytes"),
            found: format!("{length} bytes"),
            advice: DAMAGED,
        });
    }
    read(path, file, length)
}

/// Reads a file that must be `size` bytes long and have this SHA-256.
pub(super) fn read_verified(path: &Path, size: u64, sha256: &str) -> Result<Vec<u8>, GanError> {
    let bytes = read(path, check_size(path, size)?, size)?;
    check_sum(path, &Sha256::digest(&bytes), sha256)?;
    Ok(bytes)
}

/// As [`read_verified`], without keeping the bytes.
pub(super) fn verify(path: &Path, size: u64, sha256: &str) -> Result<(), GanError> {
    let mut file = check_size(path, size)?.take(size);
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => hasher.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(GanError::io(path, "reading", error)),
        }
    }
    check_sum(path, &hasher.finalize(), sha256)
}

/// Reads exactly `size` bytes, the length that the open file has.
fn read(path: &Path, file: File, size: u64) -> Result<Vec<u8>, GanError> {
    let io = |error| GanError::io(path, format!("reading {size} bytes"), error);
    let mut bytes = Vec::new();
    let capacity = usize::try_from(size).map_err(|_| io(io::ErrorKind::OutOfMemory.into()))?;
    bytes
        .try_reserve_exact(capacity)
        .map_err(|_| io(io::ErrorKind::OutOfMemory.into()))?;
    file.take(size).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 == size {
        Ok(bytes)
    } else {
        Err(wrong_size(path, size, bytes.len() as u64))
    }
}

fn check_sum(path: &Path, found: &[u8], expected: &str) -> Result<(), GanError> {
    let found = hex(found);
    if found == expected {
        return Ok(());
    }
    Err(GanError::Format {
        path: path.to_path_buf(),
        offset: None,
        expected: format!("SHA-256 {}", super::manifest::printable(expected)),
        found,
        advice: DAMAGED,
    })
}
