//! The files of a folder or ZIP archive, sorted by path and read on demand.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use engraft_base::open_regular;
use rayon::prelude::*;
use zip::read::{ZipArchiveMetadata, ZipReadOptions};
use zip::result::ZipError;
use zip::{CompressionMethod, ZipArchive};

use crate::decoder::{Header, format_of, other_kind};
use crate::error::{DataError, io_error};
use crate::given_labels::GivenLabels;
use crate::report::{FileReport, Note, Treatment};

/// Maximum number of files.
const MAX_FILES: usize = 1_000_000;
/// Maximum bytes per file.
const MAX_BYTES: u64 = 256 << 20;
/// Unpacked size of an archive that is always allowed, in bytes.
const ALWAYS_ALLOWED: u64 = 64 << 20;
/// Number of bytes in which most pictures have their header.
const HEADER: u64 = 64 << 10;
/// Number of bytes that identify the kind of a file.
pub(crate) const START: u64 = 32;
/// Maximum unpacked size of an archive as a multiple of its own. Pictures are already compressed and reach 2.
const MAX_RATIO: u64 = 100;
/// The kind of left-out files of an archive that have the name of a later one.
const REPEATED: &str = "of a repeated name";
/// A folder with this file is a run, which has grids of generated images.
const RUN: &str = "run.toml";
/// Maximum depth of nested folders.
const MAX_DEPTH: usize = 64;

/// Files that may be pictures.
#[derive(Debug)]
pub(crate) struct Listing {
    root: PathBuf,
    /// Path of the folder or archive.
    archive: Option<Arc<ZipArchiveMetadata>>,
    /// Paths below the root. For an archive, with the number of the entry.
    files: Vec<(PathBuf, usize)>,
    /// Labels in a file `dataset.json`, if there is one.
    pub(crate) labels: Option<GivenLabels>,
    /// Files that are skipped without being read.
    pub(crate) left_out: Vec<FileReport>,
}

impl Listing {
    /// All files of a folder and its subfolders, except those whose names begin with a dot, and except [runs](Self::without_runs).
    ///
    /// # Errors
    /// [`DataError::File`] if a folder cannot be listed.
    pub(crate) fn of_folder(root: &Path) -> Result<Self, DataError> {
        Self::of_folder_with_at_most(MAX_FILES, root)
    }

    fn of_folder_with_at_most(most: usize, root: &Path) -> Result<Self, DataError> {
        let mut listing = Self {
            root: root.into(),
            archive: None,
            files: Vec::new(),
            labels: None,
            left_out: Vec::new(),
        };
        let mut entered = HashSet::new();
        // Folders to visit, used as a stack.
        let mut folders = vec![PathBuf::new()];
        while let Some(folder) = folders.pop() {
            let whole = root.join(&folder);
            let fault = |reason| io_error(&whole, "listing", reason);
            // A link may point to a parent folder.
            if !entered.insert(fs::canonicalize(&whole).map_err(fault)?) {
                continue;
            }
            let mut names = Vec::new();
            for entry in fs::read_dir(&whole).map_err(fault)? {
                if listing.files.len() + names.len() == most {
                    let text =
                        format!("all but {most} of its files, in the order of the system; split the folder");
                    listing
                        .left_out
                        .push(FileReport::left_out(root, "too many files", text));
                    folders.clear();
                    break;
                }
                names.push(entry.map_err(fault)?.file_name());
            }
            names.sort_unstable_by(|a, b| b.cmp(a));
            for name in names {
                let path = folder.join(name);
                if is_hidden(&path) {
                    continue;
                }
                if !root.join(&path).is_dir() {
                    listing.files.push((path, 0));
                } else if path.components().count() <= MAX_DEPTH {
                    folders.push(path);
                } else {
                    let text = format!("a folder in more than {MAX_DEPTH} others");
                    let whole = root.join(path);
                    listing
                        .left_out
                        .push(FileReport::left_out(whole, "nested too deeply", text));
                }
            }
        }
        listing.files.sort_unstable();
        listing.without_runs();
        Ok(listing.of_pictures())
    }

    /// All files of a ZIP archive, except those whose names begin with a dot and those that macOS adds. Nothing is unpacked
    /// to disk. An entry whose path leads out of the archive is skipped. Of several entries with one path the last is used.
    ///
    /// # Errors
    /// [`DataError::File`] if it cannot be read. [`DataError::Unusable`] if it is not a valid archive, has more than a
    /// million entries, or claims to unpack to more than 100 times its size.
    pub(crate) fn of_archive(root: &Path) -> Result<Self, DataError> {
        let (mut file, size) = open_regular(root)?;
        let unusable = |expected: &str, found: String, advice| DataError::Unusable {
            place: root.into(),
            expected: expected.into(),
            found,
            advice,
        };
        let archive = ZipArchive::new(&mut file).map_err(|error| match error {
            ZipError::Io(reason) if reason.raw_os_error().is_some() => io_error(root, "reading", reason),
            other => unusable(
                "a valid ZIP archive",
                other.to_string(),
                "create or download the archive again",
            ),
        })?;
        if archive.len() > MAX_FILES {
            let expected = format!("at most {MAX_FILES} files");
            return Err(unusable(
                &expected,
                archive.len().to_string(),
                "split the archive",
            ));
        }
        let archive = archive.metadata();
        let mut listing = Self {
            root: root.into(),
            files: Vec::new(),
            labels: None,
            left_out: Vec::new(),
            archive: None,
        };
        let mut unpacked = 0_u64;
        for index in 0..archive.len() {
            let Ok(entry) = archive.entry(index) else { continue };
            unpacked = unpacked.saturating_add(entry.size());
            if entry.is_dir() {
                continue;
            }
            let shown = String::from_utf8_lossy(entry.name_raw()).into_owned();
            let name = entry.name().map(|name| name.into_owned());
            let path = name.ok().map(|name| without_dots(&name.replace('\\', "/")));
            let is_inside =
                |path: &PathBuf| path.components().all(|part| matches!(part, Component::Normal(_)));
            let Some(path) = path.filter(is_inside) else {
                let text = "its path leads out of the archive";
                listing
                    .left_out
                    .push(FileReport::left_out(shown, "outside the archive", text));
                continue;
            };
            if is_hidden(&path) || path.starts_with("__MACOSX") {
                continue;
            }
            let reason = if entry.encrypted() {
                Some((
                    "encrypted",
                    "encrypted; create the archive without a password".into(),
                ))
            } else if entry.is_symlink() {
                Some(("links", "a link".into()))
            } else if !matches!(
                entry.compression(),
                CompressionMethod::Stored | CompressionMethod::DEFLATE
            ) {
                let text = format!("compressed by {}, expected deflate or none", entry.compression());
                Some(("of unsupported compression", text))
            } else {
                None
            };
            match reason {
                Some((kind, text)) => listing.left_out.push(FileReport::left_out(path, kind, text)),
                None => listing.files.push((path, index)),
            }
        }
        if unpacked > MAX_RATIO.saturating_mul(size).max(ALWAYS_ALLOWED) {
            let expected = format!("files of at most {MAX_RATIO} times the {size} bytes of the archive");
            let found = format!("{unpacked} bytes");
            return Err(unusable(
                &expected,
                found,
                "archives of pictures do not compress this much; unpack the archive elsewhere",
            ));
        }
        listing.use_last_of_each_path();
        if archive.has_duplicate_names() {
            let text =
                "earlier files of the archive whose names occur again; the last file of each name is used";
            let report = FileReport::left_out(root, REPEATED, text);
            listing.left_out.push(report);
        }
        listing.archive = Some(archive);
        listing.without_runs();
        Ok(listing.of_pictures())
    }

    /// Skips subfolders that are runs.
    fn without_runs(&mut self) {
        let of_run = |(path, _): &(PathBuf, usize)| match path.file_name() {
            Some(name) if name == RUN => path.parent().map(Path::to_path_buf),
            _ => None,
        };
        let mut runs: Vec<PathBuf> = self.files.iter().filter_map(of_run).collect();
        runs.retain(|run| !run.as_os_str().is_empty());
        if runs.is_empty() {
            return;
        }
        self.files
            .retain(|(path, _)| !runs.iter().any(|run| path.starts_with(run)));
        for run in runs {
            let text = format!("a folder with a file {RUN}, whose images are generated");
            let report = FileReport::left_out(self.shown_path(&run), "of runs", text);
            self.left_out.push(report);
        }
    }

    /// Sorts the files. Of those with one path only the last in the archive is left, as after unpacking.
    fn use_last_of_each_path(&mut self) {
        self.files.sort_unstable();
        let all = std::mem::take(&mut self.files);
        for files in all.chunk_by(|(a, _), (b, _)| a == b) {
            let [earlier @ .., last] = files else { continue };
            self.files.push(last.clone());
            self.left_out.extend(earlier.iter().map(|(path, _)| {
                let text = "a later file of the archive has the same path";
                FileReport::left_out(path, REPEATED, text)
            }));
        }
    }

    /// Skips files that do not begin like a picture, whatever their names are.
    fn of_pictures(mut self) -> Self {
        let starts: Vec<_> = (0..self.len())
            .into_par_iter()
            .map(|file| self.read_at_most(file, START))
            .collect();
        let all = std::mem::take(&mut self.files);
        for (file, start) in all.into_iter().zip(starts) {
            let what = match start {
                Ok(bytes) if format_of(&bytes).is_some() => {
                    self.files.push(file);
                    continue;
                }
                Ok(_) if self.labels.is_none() && self.take_labels(&file) => continue,
                Ok(bytes) => other_kind(&bytes),
                Err(note) => note,
            };
            let path = self.shown_path(&file.0);
            self.left_out.push(FileReport {
                path,
                what: Treatment::LeftOut(what),
            });
        }
        self
    }

    /// Reads a file with labels. `false` if it is none.
    fn take_labels(&mut self, file: &(PathBuf, usize)) -> bool {
        if file.0.file_name().is_none_or(|name| name != GivenLabels::FILE) {
            return false;
        }
        let bytes = self.read_entry(file, MAX_BYTES).unwrap_or_default();
        self.labels = GivenLabels::parse(&bytes, file.0.parent().unwrap_or(Path::new("")));
        self.labels.is_some()
    }

    /// Number of files.
    pub(crate) fn len(&self) -> usize {
        self.files.len()
    }

    /// Paths of the files inside the folder or archive.
    pub(crate) fn paths(&self) -> Vec<&Path> {
        self.files.iter().map(|(path, _)| &**path).collect()
    }

    /// Path of a file inside the folder or archive.
    pub(crate) fn path(&self, file: usize) -> &Path {
        &self.files[file].0
    }

    /// The path for messages: including the folder; for an archive, the path inside it.
    pub(crate) fn full_path(&self, file: usize) -> PathBuf {
        self.shown_path(self.path(file))
    }

    fn shown_path(&self, path: &Path) -> PathBuf {
        match self.archive {
            Some(_) => path.into(),
            None => self.root.join(path),
        }
    }

    /// The contents of a file, or why it cannot be read.
    pub(crate) fn read(&self, file: usize) -> Result<Vec<u8>, Note> {
        let bytes = self.read_at_most(file, MAX_BYTES + 1)?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(Note::new(
                "too large",
                format!("a file of more than {} MiB", MAX_BYTES >> 20),
            ));
        }
        Ok(bytes)
    }

    /// Numbers that change with the contents of a file: its size, and its modification time in nanoseconds or the CRC-32 of an
    /// archive's entry. `None` if they are unknown, or the file was modified less than `settled` ago.
    pub(crate) fn stamp(&self, file: usize, settled: Duration) -> Option<[u64; 2]> {
        let (path, index) = &self.files[file];
        if let Some(archive) = &self.archive {
            let entry = archive.entry(*index).ok()?;
            return Some([entry.size(), entry.crc32().into()]);
        }
        let about = fs::metadata(self.root.join(path)).ok()?;
        let modified = about.modified().ok()?;
        let age = SystemTime::now().duration_since(modified).ok()?;
        let since = modified.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        (age >= settled).then_some([about.len(), since.as_nanos() as u64])
    }

    /// The header of a picture, or `None` if it is damaged.
    pub(crate) fn header(&self, file: usize) -> Option<Header> {
        let start = self.read_at_most(file, HEADER).ok()?;
        let is_whole = (start.len() as u64) < HEADER;
        match Header::read(&start) {
            // A preview or a color profile may precede the header.
            None if !is_whole => Header::read(&self.read(file).ok()?),
            header => header,
        }
    }

    /// The first `most` bytes of a file.
    fn read_at_most(&self, file: usize, most: u64) -> Result<Vec<u8>, Note> {
        self.read_entry(&self.files[file], most)
    }

    fn read_entry(&self, (path, index): &(PathBuf, usize), most: u64) -> Result<Vec<u8>, Note> {
        let unreadable = |text: String| Note::new("unreadable", text);
        let damaged = |text: String| Note::new("damaged", format!("damaged in the archive: {text}"));
        let mut bytes = Vec::new();
        let Some(archive) = &self.archive else {
            let (opened, _) = open_regular(&self.root.join(path)).map_err(|e| unreadable(e.to_string()))?;
            let read = opened.take(most).read_to_end(&mut bytes);
            return read.map(|_| bytes).map_err(|e| unreadable(e.to_string()));
        };
        let mut opened = File::open(&self.root).map_err(|e| unreadable(e.to_string()))?;
        let reader = archive
            .entry(*index)
            .and_then(|entry| entry.with_reader(&mut opened, ZipReadOptions::new()));
        let reader = reader.map_err(|e| damaged(e.to_string()))?;
        // The checksum is verified at the end of the contents.
        let read = reader.take(most).read_to_end(&mut bytes);
        read.map(|_| bytes).map_err(|e| damaged(e.to_string()))
    }
}

/// A path without the folders `.`, with which some programs begin every path of an archive.
fn without_dots(path: &str) -> PathBuf {
    let parts = Path::new(path).components();
    parts.filter(|part| *part != Component::CurDir).collect()
}

fn is_hidden(path: &Path) -> bool {
    path.components()
        .any(|part| part.as_os_str().as_encoded_bytes().starts_with(b"."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_beyond_the_limit_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.png", "b.png", "c.png"] {
            fs::write(folder.path().join(name), b"\x89PNG\r\n\x1a\n").unwrap();
        }
        let all = Listing::of_folder_with_at_most(3, folder.path()).unwrap();
        assert_eq!((all.len(), all.left_out.len()), (3, 0));
        let some = Listing::of_folder_with_at_most(2, folder.path()).unwrap();
        assert_eq!((some.len(), some.left_out.len()), (2, 1));
        let text = some.left_out[0].to_string();
        assert!(text.contains("left out: all but 2 of its files"), "{text}");
    }
}
