//! Reading untrusted files: no symbolic links, no devices, no more bytes than expected.

use crate::GanError;
use engraft_base::files::{FileError, kind, open_unlinked, read_open};
use engraft_base::hex;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// Maximum size of a checkpoint in bytes, all files together: 4 GiB.
pub const MAX_CHECKPOINT_BYTES: u64 = 4 << 30;

/// The error for a path that is not a regular file or directory.
pub(super) fn not_regular(path: &Path, found: &fs::Metadata) -> GanError {
    FileError::NotRegular {
        path: path.to_path_buf(),
        found: kind(found),
    }
    .into()
}

/// Fails unless the file is regular and `size` bytes long.
pub(super) fn check_size(path: &Path, size: u64) -> Result<File, GanError> {
    let (file, length) = open_unlinked(path)?;
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
        expected: format!("{size} bytes, as in the manifest"),
        found: format!("{length} bytes"),
        advice: GanError::DAMAGED,
    }
}

/// Reads a file of at most `cap` bytes.
pub(super) fn read_capped(path: &Path, cap: u64) -> Result<Vec<u8>, GanError> {
    let (file, length) = open_unlinked(path)?;
    Ok(read_open(path, file, length, cap)?)
}

/// Reads a file that must have this size and SHA-256.
pub(super) fn read_verified(path: &Path, size: u64, sha256: &str) -> Result<Vec<u8>, GanError> {
    let bytes = read_open(path, check_size(path, size)?, size, size)?;
    if bytes.len() as u64 != size {
        return Err(wrong_size(path, size, bytes.len() as u64));
    }
    check_sum(path, &Sha256::digest(&bytes), sha256)?;
    Ok(bytes)
}

/// Like [`read_verified`], without keeping the bytes.
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
        advice: GanError::DAMAGED,
    })
}
