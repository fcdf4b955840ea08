//! A folder of pictures as a data set of one size.

use std::path::{Path, PathBuf};

use crate::channels::Channels;
use crate::data_source::{DataOptions, DataSource};
use crate::dataset::Dataset;
use crate::error::DataError;
use crate::report::FileReport;

/// A folder of pictures, read, and what was done to each of them.
#[derive(Debug)]
#[non_exhaustive]
pub struct Folder {
    /// The pictures in the order of their paths.
    pub data: Dataset,
    /// The files of `data`, in its order.
    pub files: Vec<PathBuf>,
    /// What was changed or left out, one report for each such file.
    pub reports: Vec<FileReport>,
}

/// Reads every picture of a folder as an image of `size` `[h, w, c]`, with 1 channel or 3, as [`DataSource::open`].
///
/// # Errors
/// As [`DataSource::open`].
pub fn load_folder(folder: impl AsRef<Path>, size: [usize; 3]) -> Result<Folder, DataError> {
    let [h, w, c] = size;
    let mut options = DataOptions::new();
    options.size = Some([h, w]);
    options.channels = if c == 1 { Channels::Grey } else { Channels::Rgb };
    let loaded = DataSource::Folder(folder.as_ref().into()).open(&options)?;
    Ok(Folder {
        data: loaded.train,
        files: loaded.files,
        reports: loaded.report.files,
    })
}
