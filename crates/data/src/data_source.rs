//! Data as a user names it (`--data`), and its images for training and testing.

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::channels::Channels;
use crate::copies::Copies;
use crate::damaged::Damaged;
use crate::dataset::Dataset;
use crate::decoder::format_of;
use crate::error::DataError;
use crate::held_out::ENOUGH_TO_HOLD_OUT;
use crate::layout::{Classes, Parts};
use crate::lazy_pictures::LazyPictures;
use crate::levels::{Levels, WHOLE};
use crate::listing::{Listing, START};
use crate::loader::{LoadOptions, has_idx_files, load};
use crate::npy_images;
use crate::picture::{Fit, WHITE, Wanted};
use crate::pictures::{self, Reading};
use crate::plain_name::plain_name;
use crate::provenance::Provenance;
use crate::registry::DatasetName;
use crate::report::{FileReport, Report, left_out};
use crate::split::Split;
use crate::survey::Survey;
use crate::unknown_name;

#[cfg(test)]
mod tests;

/// A source of images, as a user names it.
///
/// | text | meaning |
/// |---|---|
/// | `mnist` or another [`DatasetName`] | a known data set, found by [`load`] |
/// | a directory with IDX files, or its parent | the user's own data set in that format, read by [`load`] |
/// | another directory | a folder of pictures |
/// | a ZIP archive | the same, packed |
/// | an NPY file | images `[n, h, w]` or `[n, h, w, c]`: bytes, or floating-point numbers from -1 or 0 to 1 |
///
/// Pictures are the PNG, JPEG, WebP, BMP, TIFF and GIF files of a folder and its subfolders, whatever their names are. Of
/// several frames or pages the first is used. If every picture is in a subfolder, and there are
/// at least two, the subfolders are the classes, in alphabetical order. Top-level folders called `train` and `test` (or
/// `training`; `testing`, `val`, `valid`, `validation`) are the two parts. A single folder around everything is skipped.
///
/// ```
/// use engraft_data::{DataOptions, DataSource};
///
/// let source = DataSource::parse("drawn-digits")?;
/// let mut options = DataOptions::new();
/// options.load = options.load.drawn_count(20);
/// options.size = Some([32, 32]);
/// let loaded = source.open(&options)?;
/// assert_eq!((loaded.train.len(), loaded.train.image_size()), (20, [32, 32, 1]));
/// assert!(DataSource::parse("no such thing").is_err());
/// # Ok::<(), engraft_data::DataError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DataSource {
    /// A known data set.
    Known(DatasetName),
    /// A directory with IDX files, or with a subdirectory of a known name that has them.
    Idx(PathBuf),
    /// A folder of pictures.
    Folder(PathBuf),
    /// A ZIP archive of pictures.
    Zip(PathBuf),
    /// An NPY file.
    Npy(PathBuf),
}

/// Options for opening data.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DataOptions {
    /// Height and width of every image. `None` keeps the size; pictures must then have the same size.
    pub size: Option<[usize; 2]>,
    /// Channels of every image.
    pub channels: Channels,
    /// How pictures with another aspect ratio are fitted to the size.
    pub fit: Fit,
    /// Background of transparent pictures, by default [`WHITE`].
    pub background: [u8; 3],
    /// How values of more than 8 bits are scaled.
    pub levels: Levels,
    /// What is done with damaged pictures.
    pub damaged: Damaged,
    /// Whether to hold out images for testing: the data's own test part, or every fifth of at least 100 images. If `false`,
    /// all images are for training, except the data's own test part.
    pub held_out: bool,
    /// Name of the data set in IDX files of a directory without a known name. `None` uses the name of the directory.
    pub idx_name: Option<DatasetName>,
    /// Directory that keeps decoded pictures, so that a second start is quick. `None` (the default) keeps none.
    pub cache: Option<PathBuf>,
    /// Called with the number of pictures that are read, and of all, while a folder or archive is read.
    pub progress: Option<fn(usize, usize)>,
    /// Options for known data sets: where to search, whether to download, and how to notify.
    pub load: LoadOptions,
}

impl Default for DataOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl DataOptions {
    /// Unchanged images, white background, no test images.
    pub fn new() -> Self {
        Self {
            size: None,
            channels: Channels::Keep,
            fit: Fit::Crop,
            background: WHITE,
            levels: Levels::Auto,
            damaged: Damaged::Skip,
            held_out: false,
            idx_name: None,
            cache: None,
            progress: None,
            load: LoadOptions::new(),
        }
    }

    pub(crate) fn wanted(&self) -> Wanted {
        Wanted {
            size: self.size,
            channels: self.channels,
            fit: self.fit,
            background: self.background,
            white: WHOLE,
            damaged: self.damaged,
        }
    }

    /// How pictures are read in the format `wanted`.
    fn reading<'a>(&'a self, wanted: &'a Wanted) -> Reading<'a> {
        Reading {
            wanted,
            cache: self.cache.as_deref(),
            progress: self.progress,
        }
    }

    /// The same for the pictures of a listing, with their white.
    pub(crate) fn wanted_of(&self, listing: &Listing, survey: &Survey) -> Wanted {
        let wanted = self.wanted();
        Wanted {
            white: survey.white(listing, self.levels, wanted.is_strict()),
            ..wanted
        }
    }
}

/// Images for training and testing.
#[derive(Debug)]
#[non_exhaustive]
pub struct Loaded {
    /// Training images, with labels if the data have classes.
    pub train: Dataset,
    /// [Held-out](DataOptions::held_out) images, of the same size and with the same classes.
    pub test: Option<Dataset>,
    /// Whether `test` is the data's own test part instead of every fifth image.
    pub has_own_test: bool,
    /// The files of `train` in the same order, if it consists of pictures. For an archive, the paths inside it.
    pub files: Vec<PathBuf>,
    /// What was found, and how it was changed.
    pub report: Report,
}

impl DataSource {
    /// Parses a name or path: first as a known data set, then as a path.
    ///
    /// # Errors
    /// [`DataError::Unusable`] with all possibilities, if it is neither.
    pub fn parse(text: &str) -> Result<Self, DataError> {
        if let Ok(known) = text.parse() {
            return Ok(Self::Known(known));
        }
        let path = Path::new(text);
        if path.is_dir() {
            let is_idx =
                [None]
                    .into_iter()
                    .chain(DatasetName::ALL.map(Some))
                    .any(|name: Option<DatasetName>| {
                        has_idx_files(&name.map_or(path.into(), |name| path.join(name.as_str())))
                    });
            return Ok(if is_idx {
                Self::Idx(path.into())
            } else {
                Self::Folder(path.into())
            });
        }
        let mut start = Vec::new();
        let found = match File::open(path).and_then(|file| file.take(START).read_to_end(&mut start)) {
            Ok(_) if start.starts_with(b"PK") => return Ok(Self::Zip(path.into())),
            Ok(_) if start.starts_with(b"\x93NUMPY") => return Ok(Self::Npy(path.into())),
            Ok(_) if format_of(&start).is_some() => "a single picture; give its folder".into(),
            Ok(_) => "a file of another kind".into(),
            Err(error) => match unknown_name::closest(text, DatasetName::ALL.map(DatasetName::as_str)) {
                Some(name) => format!("nothing of this name (did you mean {name}?)"),
                None if error.kind() == ErrorKind::NotFound => "nothing of this name".into(),
                None => error.to_string(),
            },
        };
        Err(DataError::Unusable {
            place: path.into(),
            expected: format!(
                "one of {}, a directory of pictures or of IDX files, a ZIP archive of pictures, or an NPY file",
                DatasetName::ALL.map(DatasetName::as_str).join(", ")
            ),
            found,
            advice: "check the spelling and the path",
        })
    }

    /// Name of the data: that of the known data set, or the [plain name](plain_name) of the directory or the file.
    pub fn name(&self) -> String {
        let file = match self {
            Self::Known(name) => return name.to_string(),
            Self::Idx(path) | Self::Folder(path) => {
                // `.` and `..` have a name too.
                let whole = std::fs::canonicalize(path).unwrap_or(path.clone());
                whole.file_name().map(OsStr::to_os_string)
            }
            Self::Zip(path) | Self::Npy(path) => path.file_stem().map(OsStr::to_os_string),
        };
        plain_name(&file.unwrap_or_default().to_string_lossy())
    }

    /// The sizes `[h, w]` of the pictures in a folder or an archive, each once and in ascending order; see
    /// [`picture_size_counts`](Self::picture_size_counts).
    ///
    /// # Errors
    /// If the folder or archive cannot be read.
    pub fn picture_sizes(&self) -> Result<Vec<[usize; 2]>, DataError> {
        let counts = self.picture_size_counts()?;
        Ok(counts.into_iter().map(|(size, _)| size).collect())
    }

    /// The sizes `[h, w]` of the pictures in a folder or an archive, in ascending order, each with its number of pictures. Reads
    /// only their headers, so that [`DataOptions::size`] can be chosen before decoding. Empty for other data, whose images all have
    /// one size.
    ///
    /// # Errors
    /// If the folder or archive cannot be read.
    pub fn picture_size_counts(&self) -> Result<Vec<([usize; 2], usize)>, DataError> {
        let (Self::Folder(path) | Self::Zip(path)) = self else {
            return Ok(Vec::new());
        };
        let listing = self.listing(path)?;
        Ok(Survey::of(&listing).sizes())
    }

    /// Loads the images as bytes in memory.
    ///
    /// # Errors
    /// Those of [`load`] for a known data set and IDX files. [`DataError::NoPictures`] if no picture is usable.
    /// [`DataError::Unusable`] if pictures have several sizes and [`DataOptions::size`] is `None`. Also if an archive is
    /// damaged or dangerous, or an array does not hold images. Single damaged pictures are skipped and reported.
    pub fn open(&self, options: &DataOptions) -> Result<Loaded, DataError> {
        match self {
            Self::Known(name) => {
                let part = |split| load(*name, split, &options.load);
                let test = if options.held_out {
                    Some(part(Split::Test)?)
                } else {
                    None
                };
                arranged(part(Split::Train)?, test, Vec::new(), options)
            }
            Self::Idx(path) => self.open_idx(path, options),
            Self::Npy(path) => {
                let (data, how) = npy_images::images(path)?;
                arranged(data, None, vec![how], options)
            }
            Self::Folder(path) | Self::Zip(path) => self.open_pictures(path, options),
        }
    }

    /// Opens pictures without loading them. They are decoded on demand. Examples and fingerprint equal those of the
    /// [`Loaded::train`] of [`open`](Self::open) with the same options.
    ///
    /// # Errors
    /// Those of [`open`](Self::open). [`DataError::Unusable`] if the source is not a folder or archive of pictures.
    pub fn open_lazily(&self, options: &DataOptions) -> Result<LazyPictures, DataError> {
        match self {
            Self::Folder(path) | Self::Zip(path) => {
                let listing = self.listing(path)?;
                let survey = Survey::of(&listing);
                LazyPictures::new(
                    self.name(),
                    self.provenance(path),
                    path,
                    options.reading(&options.wanted_of(&listing, &survey)),
                    listing,
                    &survey,
                    options.held_out,
                )
            }
            Self::Known(_) | Self::Idx(_) | Self::Npy(_) => Err(DataError::Unusable {
                place: self.to_string().into(),
                expected: "a folder or a ZIP archive of pictures".into(),
                found: "data of another kind".into(),
                advice: "load them into memory (`DataSource::open`)",
            }),
        }
    }

    fn open_idx(&self, path: &Path, options: &DataOptions) -> Result<Loaded, DataError> {
        let own = self.name();
        let below = DatasetName::ALL
            .into_iter()
            .find(|name| has_idx_files(&path.join(name.as_str())));
        let known = options
            .idx_name
            .or(own.parse().ok())
            .or(below)
            .filter(|name| name.has_files());
        let load_options = options.load.clone().directory(path);
        let part = |split| {
            let data = load(known.unwrap_or(DatasetName::Mnist), split, &load_options)?;
            Ok(if known.is_some() {
                data
            } else {
                data.with_name(&own)
            })
        };
        let test = match options.held_out.then(|| part(Split::Test)) {
            Some(Err(DataError::NotFound { .. })) | None => None,
            Some(test) => Some(test?),
        };
        arranged(part(Split::Train)?, test, Vec::new(), options)
    }

    fn open_pictures(&self, path: &Path, options: &DataOptions) -> Result<Loaded, DataError> {
        let listing = self.listing(path)?;
        let parts = Parts::of(&listing.paths());
        let survey = Survey::of(&listing);
        let wanted = options.wanted_of(&listing, &survey);
        let mut pixels = Vec::new();
        let train = pictures::decode(
            path,
            &listing,
            &parts.train,
            options.reading(&wanted),
            |_, image| pixels.extend_from_slice(image),
        )?;
        let classes = Classes::new(
            &parts,
            train.files.iter().map(|&file| listing.path(file)),
            listing.labels.as_ref(),
        );
        let mut reports = [listing.left_out.clone(), train.reports].concat();
        let set = |pixels: Vec<u8>, files: &[usize]| -> Result<Dataset, DataError> {
            let (name, from) = (self.name(), self.provenance(path));
            if classes.names.is_empty() {
                return Dataset::unlabeled(name, from, pixels, train.size);
            }
            let labels = pictures::labels(&listing, files, &classes);
            Ok(Dataset::new(name, from, pixels, train.size, labels)?.with_class_names(classes.names.clone()))
        };
        let [h, w, c] = train.size;
        if (wanted.channels, c) == (Channels::Keep, 1) {
            pixels = pictures::gray(&pixels).collect();
        }
        let all = set(pixels, &train.files)?;
        let (known, unknown): (Vec<usize>, Vec<usize>) = (parts.test.into_iter().flatten())
            .filter(|_| options.held_out)
            .partition(|&file| classes.label(listing.path(file)).is_some());
        reports.extend(unknown.into_iter().map(|file| {
            let text = "its folder is not a class of the training pictures";
            FileReport::left_out(listing.full_path(file), "of an unknown class", text)
        }));
        let mut test = None;
        if !known.is_empty() {
            let wanted = Wanted {
                size: Some([h, w]),
                channels: if c == 1 { Channels::Gray } else { Channels::Rgb },
                ..wanted
            };
            let mut pixels = Vec::new();
            let take = |_, image: &[u8]| pixels.extend_from_slice(image);
            let decoded = pictures::decode(path, &listing, &known, options.reading(&wanted), take)?;
            reports.extend(decoded.reports);
            test = Some(set(pixels, &decoded.files)?);
        }
        let notes = [
            survey.lines(&train.files, left_out(&reports), &wanted),
            parts.notes,
            classes.notes,
        ]
        .concat();
        let (mut loaded, copies) = arranged_with_copies(all, test, notes, options, true)?;
        reports.extend(pictures::copies(&listing, &train.files, &copies));
        loaded.files = train.files.iter().map(|&file| listing.full_path(file)).collect();
        if loaded.test.is_some() && !loaded.has_own_test {
            let [kept, _] = copies.split();
            loaded.files = kept.into_iter().map(|i| loaded.files[i].clone()).collect();
        }
        loaded.report = Report::new(loaded.report.totals, reports);
        Ok(loaded)
    }

    fn listing(&self, path: &Path) -> Result<Listing, DataError> {
        match self {
            Self::Zip(_) => Listing::of_archive(path),
            _ => Listing::of_folder(path),
        }
    }

    fn provenance(&self, path: &Path) -> Provenance {
        match self {
            Self::Zip(_) | Self::Npy(_) => Provenance::File(path.into()),
            _ => Provenance::Directory(path.into()),
        }
    }
}

impl fmt::Display for DataSource {
    /// Examples of what [`parse`](DataSource::parse) accepts.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(name) => write!(f, "{name}"),
            Self::Idx(path) | Self::Folder(path) | Self::Zip(path) | Self::Npy(path) => {
                write!(f, "{}", path.display())
            }
        }
    }
}

impl FromStr for DataSource {
    type Err = DataError;

    /// See [`DataSource::parse`].
    fn from_str(text: &str) -> Result<Self, DataError> {
        Self::parse(text)
    }
}

/// Applies the options to images, and holds some of them out if requested and if there are enough.
///
/// # Errors
/// If they do not fit into memory.
fn arranged(
    train: Dataset,
    test: Option<Dataset>,
    notes: Vec<String>,
    options: &DataOptions,
) -> Result<Loaded, DataError> {
    let needs_copies = options.held_out;
    Ok(arranged_with_copies(train, test, notes, options, needs_copies)?.0)
}

/// The same, with the copies among the images if they are needed.
fn arranged_with_copies(
    train: Dataset,
    test: Option<Dataset>,
    notes: Vec<String>,
    options: &DataOptions,
    needs_copies: bool,
) -> Result<(Loaded, Copies), DataError> {
    let came = train.image_size();
    let fitted = |data: Dataset| {
        let [h, w] = options.size.unwrap_or([data.height(), data.width()]);
        let data = data.with_channels(options.channels);
        pictures::ensure_possible(Path::new(data.name()), data.len(), [h, w, data.channels()])?;
        Ok::<_, DataError>(data.resized(h, w))
    };
    let (all, own) = (fitted(train)?, test.map(fitted).transpose()?);
    let [h, w, c] = all.image_size();
    let color = if c == 1 { "gray" } else { "color" };
    let classes = match all.classes() {
        0 => String::new(),
        n => format!(", {n} classes"),
    };
    let mut totals = vec![format!(
        "{}: {} images, {w}x{h}, {color}{classes}; {}",
        all.name(),
        all.len(),
        all.provenance()
    )];
    if came != [h, w, c] {
        totals.push(format!(
            "resized from {}x{}x{} to {w}x{h}x{c}",
            came[1], came[0], came[2]
        ));
    }
    totals.extend(notes);
    let has_own_test = own.is_some();
    let copies = match needs_copies {
        true => Copies::of(all.images(), h * w * c),
        false => Copies::default(),
    };
    if let Some(test) = &own {
        totals.extend(seen(&copies, test));
    }
    let (train, test) = match own {
        Some(test) => (all, Some(test)),
        None if options.held_out && all.len() >= ENOUGH_TO_HOLD_OUT => {
            let [train, test] = copies.split().map(|indices| all.subset(&indices));
            match test.is_empty() {
                true => (train, None),
                false => (train, Some(test)),
            }
        }
        None => (all, None),
    };
    if options.held_out {
        totals.push(match &test {
            Some(test) if has_own_test => format!("for testing: {} images, a part of their own", test.len()),
            Some(test) => format!(
                "for training: {}; for testing: {}, every fifth",
                train.len(),
                test.len()
            ),
            None => format!(
                "no images held out: {} are fewer than {ENOUGH_TO_HOLD_OUT}",
                train.len()
            ),
        });
    }
    let loaded = Loaded {
        train,
        test,
        has_own_test,
        files: Vec::new(),
        report: Report::new(totals, Vec::new()),
    };
    Ok((loaded, copies))
}

/// A line if test images equal training images.
fn seen(copies: &Copies, test: &Dataset) -> Option<String> {
    let equal = (0..test.len())
        .filter(|&i| copies.contains(test.image(i)))
        .count();
    (equal > 0).then(|| {
        format!(
            "{equal} of {} test images equal a training image, so measures favor a generator that copies them",
            test.len()
        )
    })
}
