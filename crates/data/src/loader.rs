//! Loading a data set by name: from a given directory, the user's directory, the cache, or a mirror.

use std::path::{Path, PathBuf};

use crate::cifar10::{self, load_cifar10};
use crate::data_dirs::DataDirs;
use crate::dataset::Dataset;
use crate::download::{FetchError, Patience, fetch, read_pinned};
use crate::drawn::drawn_digits;
use crate::error::{DataError, Tried};
use crate::idx::Idx;
use crate::provenance::Provenance;
use crate::registry::{DatasetName, Pair, Pinned, Release};
use crate::shown::shown;
use crate::split::Split;
use crate::stacked::stacked_digits;

#[cfg(test)]
mod tests;

/// Seed that combines the digits of [`DatasetName::StackedMnist`].
const STACKED_SEED: u64 = 1;

/// Options of [`load`].
///
/// ```no_run
/// use engraft_data::{DatasetName, LoadOptions, Split, load};
///
/// let options = LoadOptions::new().offline().notify(|line| eprintln!("{line}"));
/// let mnist = load(DatasetName::Mnist, Split::Train, &options)?;
/// # Ok::<(), engraft_data::DataError>(())
/// ```
#[derive(Debug, Clone)]
pub struct LoadOptions {
    directory: Option<PathBuf>,
    data_dirs: DataDirs,
    offline: bool,
    mirrors: Vec<String>,
    patience: Patience,
    notify: Option<fn(&str)>,
    drawn_count: Option<usize>,
    drawn_seed: u64,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl LoadOptions {
    /// Searches the directories of the environment, and allows downloads.
    pub fn new() -> Self {
        Self {
            directory: None,
            data_dirs: DataDirs::from_env(),
            offline: false,
            mirrors: Vec::new(),
            patience: Patience::default(),
            notify: None,
            drawn_count: None,
            drawn_seed: 0,
        }
    }

    /// Searches only `directory`. It contains the files, or a subdirectory with the name of the data set does.
    ///
    /// The files may differ from the published ones, but must be valid.
    #[must_use]
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// Searches these directories instead of those of the environment.
    #[must_use]
    pub fn data_dirs(mut self, data_dirs: DataDirs) -> Self {
        self.data_dirs = data_dirs;
        self
    }

    /// Name of [`data_dirs`](Self::data_dirs) in earlier versions.
    #[doc(hidden)]
    #[must_use]
    pub fn places(self, places: DataDirs) -> Self {
        self.data_dirs(places)
    }

    /// Disables downloads.
    #[must_use]
    pub fn offline(mut self) -> Self {
        self.offline = true;
        self
    }

    /// Tries the mirror at `url` before the published ones. The name of a file is appended to `url`.
    ///
    /// The mirror must support plain HTTP. Files must match the pinned SHA-256, as from any mirror.
    #[must_use]
    pub fn mirror(mut self, url: impl Into<String>) -> Self {
        self.mirrors.push(url.into());
        self
    }

    /// Calls `notify` with a line of text before slow steps and for important notes.
    #[must_use]
    pub fn notify(mut self, notify: fn(&str)) -> Self {
        self.notify = Some(notify);
        self
    }

    /// Number of images of [`DatasetName::DrawnDigits`], by default that of MNIST.
    #[must_use]
    pub fn drawn_count(mut self, count: usize) -> Self {
        self.drawn_count = Some(count);
        self
    }

    /// Seed of [`DatasetName::DrawnDigits`], by default 0.
    #[must_use]
    pub fn drawn_seed(mut self, seed: u64) -> Self {
        self.drawn_seed = seed;
        self
    }

    /// The directories that may contain a data set without mirrors: the given one and its subdirectory with this name,
    /// or the subdirectories of the user's directory and of the cache.
    pub(crate) fn directories(&self, name: &str) -> Vec<PathBuf> {
        match &self.directory {
            Some(directory) => vec![directory.join(name), directory.clone()],
            None => [&self.data_dirs.data_dir, &self.data_dirs.cache_dir]
                .into_iter()
                .flatten()
                .map(|directory| directory.join(name))
                .collect(),
        }
    }

    fn tell(&self, line: &str) {
        if let Some(notify) = self.notify {
            notify(line);
        }
    }
}

/// Loads one split of a data set.
///
/// With an explicit [`directory`](LoadOptions::directory), only that is searched. Otherwise the search goes
/// through `$ENGRAFT_DATA/<name>` and the cache directory, and ends with a download into the cache. The
/// user's own files may be any valid IDX files, raw or gzip, named `train-images-idx3-ubyte` or
/// `train-images.idx3-ubyte` with or without `.gz`. Files in the cache and from mirrors must be the published
/// ones, by SHA-256. The halves of MNIST's digits are loaded from MNIST's files.
///
/// # Errors
/// [`DataError::NotFound`] lists every place and why it was not used. An invalid file of the
/// user is an error at once ([`DataError::Format`], [`DataError::Rank`], [`DataError::CountMismatch`],
/// [`DataError::File`]), and so is a missing one of the two ([`DataError::HalfMissing`]). The search does not continue,
/// because training would silently use other data.
pub fn load(name: DatasetName, split: Split, options: &LoadOptions) -> Result<Dataset, DataError> {
    if let Some((whole, labels)) = name.part() {
        let whole = load(whole, split, options)?;
        let wanted = |i: &usize| labels.contains(&whole.label(*i));
        let indices: Vec<usize> = (0..whole.len()).filter(wanted).collect();
        return Ok(whole.subset(&indices).with_name(name.as_str()));
    }
    if name == DatasetName::StackedMnist {
        let digits = load(DatasetName::Mnist, split, options)?;
        return stacked_digits(&digits, as_many_as_mnist(split), STACKED_SEED);
    }
    if name == DatasetName::Cifar10 {
        return load_cifar10(split, &options.directories(cifar10::NAME));
    }
    match name.release() {
        Some(release) => Search {
            name: name.as_str(),
            split,
            release,
            options,
            tried: Vec::new(),
        }
        .run(),
        None => {
            let count = options.drawn_count.unwrap_or(as_many_as_mnist(split));
            Ok(drawn_digits(split, count, options.drawn_seed))
        }
    }
}

fn as_many_as_mnist(split: Split) -> usize {
    match split {
        Split::Train => 60000,
        Split::Test => 10000,
    }
}

struct Search<'a> {
    name: &'static str,
    split: Split,
    release: &'a Release<'a>,
    options: &'a LoadOptions,
    tried: Vec<Tried>,
}

impl Search<'_> {
    fn run(mut self) -> Result<Dataset, DataError> {
        if let Some(directory) = &self.options.directory {
            for candidate in [directory.join(self.name), directory.clone()] {
                if let Some(found) = self.users_files(&candidate)? {
                    return Ok(found);
                }
            }
            return Err(self.not_found("name the directory of the two files, or its parent"));
        }
        match &self.options.data_dirs.data_dir {
            Some(directory) => {
                if let Some(found) = self.users_files(&directory.join(self.name))? {
                    return Ok(found);
                }
            }
            None => self.failed("ENGRAFT_DATA", "not set"),
        }
        let Some(cache) = self
            .options
            .data_dirs
            .cache_dir
            .as_ref()
            .map(|cache| cache.join(self.name))
        else {
            self.failed("cache directory", "the environment names no cache directory");
            return Err(self.not_found("set HOME, or set ENGRAFT_DATA to a directory of data sets"));
        };
        match self.cached(&cache) {
            Ok(found) => return Ok(found),
            Err(reasons) => self.tried.extend(reasons),
        }
        if self.downloaded(&cache)? {
            let pair = self.release.pair(self.split);
            let images = read_pinned(&cache.join(pair.images.name), pair.images)?;
            let labels = read_pinned(&cache.join(pair.labels.name), pair.labels)?;
            return self.unpack(&cache, &images, &labels, Provenance::Download(cache.clone()));
        }
        let pair = self.release.pair(self.split);
        let advice = format!(
            "put {} and {} into {}, or into a subdirectory {} of ENGRAFT_DATA; drawn-digits needs no file",
            pair.images.name,
            pair.labels.name,
            shown(&cache),
            self.name,
        );
        Err(self.not_found(&advice))
    }

    /// The user's own files in `directory`, or `None` if both are missing.
    fn users_files(&mut self, directory: &Path) -> Result<Option<Dataset>, DataError> {
        let Pair { images, labels } = self.release.pair(self.split);
        let found = [images, labels].map(|file| find(directory, file));
        if let [Some(images), Some(labels)] = &found {
            let (pixels, kinds) = (Idx::open(images)?, Idx::open(labels)?);
            let source = Provenance::Directory(directory.to_owned());
            return self.assemble([images, labels], pixels, kinds, source).map(Some);
        }
        if let [Some(there), None] | [None, Some(there)] = &found {
            let wanted = if found[0].is_none() { images } else { labels };
            return Err(DataError::HalfMissing {
                found: there.clone(),
                missing: wanted.accepted_names().join(" or "),
            });
        }
        let missing: Vec<String> = [images, labels]
            .iter()
            .zip(found)
            .filter(|(_, found)| found.is_none())
            .map(|(file, _)| file.accepted_names().join(" or "))
            .collect();
        let reason = if directory.is_dir() {
            format!("there is no {}", missing.join("; and no "))
        } else {
            "there is no such directory".to_owned()
        };
        self.failed(&directory.to_string_lossy(), &reason);
        Ok(None)
    }

    /// The published files in the cache, or why they cannot be used.
    fn cached(&self, cache: &Path) -> Result<Dataset, Vec<Tried>> {
        let Pair { images, labels } = self.release.pair(self.split);
        let read = |file: Pinned<'_>| {
            let path = cache.join(file.name);
            read_pinned(&path, file).map_err(|error| {
                if path.exists() {
                    self.options.tell(&format!("not used: {error}"));
                }
                reason_at(&path, &error)
            })
        };
        match (read(images), read(labels)) {
            (Ok(images), Ok(labels)) => self
                .unpack(cache, &images, &labels, Provenance::Cache(cache.to_owned()))
                .map_err(|error| vec![reason_at(cache, &error)]),
            (images, labels) => Err([images.err(), labels.err()].into_iter().flatten().collect()),
        }
    }

    /// Completes the cache from the mirrors. `false` if that is impossible; the reasons are recorded.
    fn downloaded(&mut self, cache: &Path) -> Result<bool, DataError> {
        let mirrors: Vec<String> = self
            .options
            .mirrors
            .iter()
            .cloned()
            .chain(self.release.mirrors.iter().map(|&url| url.into()))
            .collect();
        if self.options.offline {
            self.failed("download", "not allowed (offline)");
            return Ok(false);
        }
        if mirrors.is_empty() {
            self.failed("download", "no mirror is known for this data set");
            return Ok(false);
        }
        let Pair { images, labels } = self.release.pair(self.split);
        for file in [labels, images] {
            if read_pinned(&cache.join(file.name), file).is_ok() {
                continue;
            }
            match fetch(file, &mirrors, cache, self.options.patience, self.options.notify) {
                Ok(()) => {}
                Err(FetchError::Local(error)) => {
                    self.tried.push(reason_at(cache, &error));
                    return Ok(false);
                }
                Err(FetchError::Mirrors(tried)) => {
                    self.tried.extend(tried);
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn unpack(
        &self,
        dir: &Path,
        images: &[u8],
        labels: &[u8],
        source: Provenance,
    ) -> Result<Dataset, DataError> {
        let pair = self.release.pair(self.split);
        let paths = [dir.join(pair.images.name), dir.join(pair.labels.name)];
        let (pixels, kinds) = (
            Idx::from_bytes(images, &paths[0])?,
            Idx::from_bytes(labels, &paths[1])?,
        );
        self.assemble([&paths[0], &paths[1]], pixels, kinds, source)
    }

    fn assemble(
        &self,
        paths: [&PathBuf; 2],
        images: Idx,
        labels: Idx,
        source: Provenance,
    ) -> Result<Dataset, DataError> {
        let rank = |path: &PathBuf, expected, found: &[usize]| DataError::Rank {
            path: path.clone(),
            expected,
            found: found.len(),
        };
        let &[_, height, width] = images.shape() else {
            return Err(rank(paths[0], "images, an array of rank 3", images.shape()));
        };
        if labels.shape().len() != 1 {
            return Err(rank(paths[1], "labels, an array of rank 1", labels.shape()));
        }
        Dataset::new(
            self.name,
            source,
            images.into_elements(),
            [height, width, 1],
            labels.into_elements(),
        )
    }

    fn failed(&mut self, place: &str, reason: &str) {
        self.tried.push(Tried {
            place: place.to_owned(),
            reason: reason.to_owned(),
        });
    }

    fn not_found(self, advice: &str) -> DataError {
        DataError::NotFound {
            name: self.name,
            split: self.split,
            tried: self.tried,
            advice: advice.to_owned(),
        }
    }
}

/// Whether a directory has a file with one of the known names of IDX files.
pub(crate) fn has_idx_files(directory: &Path) -> bool {
    let Some(release) = DatasetName::Mnist.release() else {
        return false;
    };
    let pairs = Split::ALL.map(|split| release.pair(split));
    let mut files = pairs.into_iter().flat_map(|pair| [pair.images, pair.labels]);
    files.any(|file| find(directory, file).is_some())
}

/// The first accepted name of `file` that exists in `directory`. A dangling link counts as existing, so that the user
/// gets an error.
fn find(directory: &Path, file: Pinned<'_>) -> Option<PathBuf> {
    file.accepted_names()
        .iter()
        .map(|name| directory.join(name))
        .find(|path| path.symlink_metadata().is_ok())
}

/// `error` as a line of the list, without the path at its start.
fn reason_at(path: &Path, error: &DataError) -> Tried {
    let message = error.to_string();
    let reason = message
        .strip_prefix(&format!("{}: ", shown(path)))
        .unwrap_or(&message)
        .to_owned();
    Tried {
        place: path.to_string_lossy().into_owned(),
        reason,
    }
}
