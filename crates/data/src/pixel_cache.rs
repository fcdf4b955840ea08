//! Decoded and scaled pictures on disk, so that a second start does not decode them again.
//!
//! A file is found by a hash of its inputs: the settings, and the path, size and modification time of every picture (in an
//! archive its size and CRC-32). The contents themselves are not hashed, because reading them takes a large part of the time of
//! decoding. Pictures that were modified in the last seconds are not stored, because a further change might keep size and time.
//!
//! Pictures of less than a mebibyte are not stored.
//!
//! A file has a magic number, the pixels, a JSON description, its length (8 bytes, little-endian), and the SHA-256 of all of
//! that, which is verified before anything is used.

use std::fs::{self, File};
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use engraft_base::{AtomicFile, hex, open_regular};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::listing::Listing;
use crate::picture::Wanted;

const MAGIC: &[u8; 16] = b"engraft pixels 1";
/// Length of the SHA-256 and of the length of the description.
const END: u64 = 32 + 8;
/// Maximum bytes of a file, and of all files together.
const MAX_FILE: u64 = 2 << 30;
const MAX_ALL: u64 = 4 << 30;
/// Maximum bytes of a description.
const MAX_DESCRIPTION: u64 = 256 << 20;
/// Fewest bytes of pictures that are worth a file.
const SMALLEST: u64 = if cfg!(test) { 1 } else { 1 << 20 };
/// Ending of the files.
const EXTENSION: &str = "pixels";
/// Age from which a modification time identifies the contents.
const SETTLED: Duration = Duration::from_secs(2);

/// What a file says about its pixels.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Description {
    /// Positions of the decoded pictures among the requested files.
    pub(crate) files: Vec<usize>,
    /// Size `[h, w, c]` of the stored pixels.
    pub(crate) stored: [usize; 3],
    /// Whether a picture is in color.
    pub(crate) is_in_color: bool,
    /// The files with notes.
    pub(crate) notes: Vec<FileNotes>,
}

/// Position of a file, whether it is used, and the kind and text of each note.
pub(crate) type FileNotes = (usize, bool, Vec<(String, String)>);

/// The file for the pictures of one request.
#[derive(Debug)]
pub(crate) struct PixelCache {
    path: PathBuf,
    /// Number of requested pictures.
    count: usize,
}

impl PixelCache {
    /// The file in `directory`; `None` if the pictures cannot be identified.
    pub(crate) fn new(directory: &Path, listing: &Listing, files: &[usize], wanted: &Wanted) -> Option<Self> {
        let mut hash = Sha256::new();
        hash.update(MAGIC);
        hash.update(concat!(env!("CARGO_PKG_VERSION"), "\n"));
        hash.update(format!("{wanted:?}\n"));
        let mut bytes = 0_u64;
        for &file in files {
            let path = listing.path(file).as_os_str().as_encoded_bytes();
            hash.update((path.len() as u64).to_le_bytes());
            hash.update(path);
            let [size, stamp] = listing.stamp(file, SETTLED)?;
            bytes = bytes.saturating_add(size);
            hash.update(size.to_le_bytes());
            hash.update(stamp.to_le_bytes());
        }
        if bytes < SMALLEST {
            return None;
        }
        let name = format!("{}.{EXTENSION}", hex(&hash.finalize()));
        Some(Self {
            path: directory.join(name),
            count: files.len(),
        })
    }

    /// The description, and the pixels in order. `None` if there is no intact file.
    pub(crate) fn read(&self, mut take: impl FnMut(&Description, &[u8])) -> Option<Description> {
        let (mut file, length) = open_regular(&self.path).ok()?;
        let description = verified(&mut file, length, self.count)?;
        let size = description.stored.iter().product::<usize>();
        let mut pixels = vec![0; size];
        file.seek(SeekFrom::Start(MAGIC.len() as u64)).ok()?;
        let mut reader = BufReader::with_capacity(1 << 20, file);
        for _ in &description.files {
            reader.read_exact(&mut pixels).ok()?;
            take(&description, &pixels);
        }
        // The files used last are kept.
        let _ = File::options()
            .append(true)
            .open(&self.path)
            .and_then(|file| file.set_modified(SystemTime::now()));
        Some(description)
    }

    /// A new file, or `None` if it cannot be written.
    pub(crate) fn create(&self) -> Option<CacheWriter> {
        fs::create_dir_all(self.path.parent()?).ok()?;
        let mut writer = CacheWriter {
            file: AtomicFile::create(&self.path).ok()?,
            path: self.path.clone(),
            hash: Sha256::new(),
            written: 0,
            failed: false,
        };
        writer.write(MAGIC);
        Some(writer)
    }
}

/// The description of a file of `length` bytes about `count` pictures whose SHA-256 is right.
fn verified(file: &mut File, length: u64, count: usize) -> Option<Description> {
    let shortest = MAGIC.len() as u64 + END;
    if !(shortest..=MAX_FILE).contains(&length) {
        return None;
    }
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    let mut hashed = Read::by_ref(file).take(length - 32);
    let mut total = 0;
    loop {
        let count = hashed.read(&mut buffer).ok()?;
        if count == 0 {
            break;
        }
        hash.update(&buffer[..count]);
        total += count as u64;
    }
    let mut expected = [0; 32];
    file.read_exact(&mut expected).ok()?;
    if total != length - 32 || hash.finalize()[..] != expected {
        return None;
    }
    file.seek(SeekFrom::Start(length - END)).ok()?;
    let mut size = [0; 8];
    file.read_exact(&mut size).ok()?;
    let size = u64::from_le_bytes(size);
    if size > (length - shortest).min(MAX_DESCRIPTION) {
        return None;
    }
    file.seek(SeekFrom::Start(length - END - size)).ok()?;
    let mut text = vec![0; size as usize];
    file.read_exact(&mut text).ok()?;
    let description: Description = serde_json::from_slice(&text).ok()?;
    let pixels = description
        .stored
        .iter()
        .try_fold(description.files.len(), |n, &d| n.checked_mul(d))?;
    let positions = description.files.iter();
    let positions = positions.chain(description.notes.iter().map(|(position, ..)| position));
    if positions.max().is_some_and(|&position| position >= count) {
        return None;
    }
    (pixels as u64 == length - shortest - size).then_some(description)
}

/// A file of pixels that is being written. Errors are ignored: the pictures are then decoded again the next time.
pub(crate) struct CacheWriter {
    file: AtomicFile,
    path: PathBuf,
    hash: Sha256,
    written: u64,
    failed: bool,
}

impl CacheWriter {
    /// Appends bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.written += bytes.len() as u64;
        if self.failed || self.written > MAX_FILE - END - MAX_DESCRIPTION {
            self.failed = true;
            return;
        }
        self.hash.update(bytes);
        self.failed = self.file.write_all(bytes).is_err();
    }

    /// Completes the file, and deletes the files that were used longest ago if all are too large together.
    pub(crate) fn finish(mut self, description: &Description) {
        let Ok(text) = serde_json::to_vec(description) else {
            return;
        };
        self.write(&text);
        self.write(&(text.len() as u64).to_le_bytes());
        if self.failed {
            return;
        }
        let sum = self.hash.finalize();
        if self.file.write_all(&sum).is_ok() && self.file.commit().is_ok() {
            shrink(&self.path, MAX_ALL);
        }
    }
}

/// Deletes the files beside `newest` that were used longest ago, until all together have at most `most` bytes.
fn shrink(newest: &Path, most: u64) {
    let Some(Ok(entries)) = newest.parent().map(fs::read_dir) else {
        return;
    };
    let mut files: Vec<(SystemTime, u64, PathBuf)> = entries
        .flatten()
        .filter(|entry| entry.path().extension().is_some_and(|ending| ending == EXTENSION))
        .filter_map(|entry| {
            let about = entry.metadata().ok()?;
            Some((about.modified().ok()?, about.len(), entry.path()))
        })
        .collect();
    files.sort();
    let mut all: u64 = files.iter().map(|(_, size, _)| size).sum();
    for (_, size, path) in files {
        if all > most && path != newest && fs::remove_file(&path).is_ok() {
            all -= size;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_verified_and_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let cache = |name: &str| PixelCache {
            path: folder.path().join(name).with_extension(EXTENSION),
            count: 3,
        };
        let description = Description {
            files: vec![0, 2],
            stored: [1, 2, 1],
            is_in_color: false,
            notes: vec![(1, false, vec![("damaged".into(), "no end".into())])],
        };
        for name in ["a", "b"] {
            let mut writer = cache(name).create().unwrap();
            writer.write(&[1, 2, 3, 4]);
            writer.finish(&description);
        }
        let read = |name: &str| {
            let mut pixels = Vec::new();
            let found = cache(name).read(|_, image| pixels.push(image.to_vec()));
            found.map(|found| (found.files, found.notes, pixels))
        };
        let expected = (
            vec![0, 2],
            description.notes.clone(),
            vec![vec![1, 2], vec![3, 4]],
        );
        assert_eq!(read("a"), Some(expected.clone()));
        let path = cache("a").path;
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            fs::write(&path, damaged).unwrap();
            assert_eq!(read("a"), None, "byte {at}");
            fs::write(&path, &whole[..at]).unwrap();
            assert_eq!(read("a"), None, "{at} bytes");
        }
        assert_eq!((read("none"), read("b")), (None, Some(expected)));
        shrink(&cache("b").path, whole.len() as u64);
        assert!(!path.exists() && cache("b").path.exists());
    }
}
