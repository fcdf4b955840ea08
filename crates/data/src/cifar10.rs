//! CIFAR-10: from its official binary files or from two ZIP files of pictures.

use crate::channels::Channels;
use crate::damaged::Damaged;
use crate::dataset::Dataset;
use crate::error::{DataError, Tried};
use crate::layout::{Classes, Parts};
use crate::levels::WHOLE;
use crate::listing::Listing;
use crate::picture::{Fit, WHITE, Wanted};
use crate::pictures::{self, Reading};
use crate::provenance::Provenance;
use crate::registry::DatasetName;
use crate::split::Split;
use std::path::{Path, PathBuf};

pub(crate) const NAME: &str = "cifar10";
const SIDE: usize = 32;
/// Bytes of an image: the red, the green and the blue plane.
const IMAGE: usize = 3 * SIDE * SIDE;
/// A record is a label and an image.
const RECORD: usize = 1 + IMAGE;
/// Largest file, in bytes: twice the official 10 000 records.
const LARGEST: u64 = 20_000 * RECORD as u64;

/// The files of a split in the official binary version.
fn official_files(split: Split) -> Vec<String> {
    match split {
        Split::Train => (1..=5).map(|i| format!("data_batch_{i}.bin")).collect(),
        Split::Test => vec!["test_batch.bin".into()],
    }
}

/// Loads a split from the first of these directories that has its files.
///
/// # Errors
/// [`DataError::NotFound`] with all places. A file that is found and damaged is an error at once.
pub(crate) fn load_cifar10(split: Split, directories: &[PathBuf]) -> Result<Dataset, DataError> {
    let mut tried = Vec::new();
    for directory in directories {
        for place in [directory.clone(), directory.join("cifar-10-batches-bin")] {
            if place.join(&official_files(split)[0]).is_file() {
                return official(&place, split);
            }
        }
        let archive = directory.join(format!("{}.zip", split.as_str()));
        if archive.is_file() {
            return pictures(&archive);
        }
        tried.push(Tried {
            place: directory.display().to_string(),
            reason: format!(
                "there is no {}, and no {}.zip",
                official_files(split)[0],
                split.as_str()
            ),
        });
    }
    Err(DataError::NotFound {
        name: NAME,
        split,
        tried,
        advice: format!(
            "put the official binary version (cifar-10-batches-bin), or train.zip and test.zip with a folder of pictures per \
             class, into a directory {NAME}, and set ENGRAFT_DATA to the directory that contains it"
        ),
    })
}

/// The binary version: records of a label and three planes of pixels.
fn official(directory: &Path, split: Split) -> Result<Dataset, DataError> {
    let classes = DatasetName::Cifar10.class_names();
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for name in official_files(split) {
        let path = directory.join(name);
        let bytes = engraft_base::read_bounded(&path, LARGEST)?;
        let (records, rest) = bytes.as_chunks::<RECORD>();
        let wrong = records
            .iter()
            .find(|record| usize::from(record[0]) >= classes.len());
        if !rest.is_empty() || records.is_empty() || wrong.is_some() {
            return Err(DataError::Unusable {
                place: path,
                expected: format!("records of {RECORD} bytes, each with a label from 0 to 9 and an image"),
                found: match wrong {
                    Some(record) => format!("a label {}", record[0]),
                    None => format!("{} bytes", bytes.len()),
                },
                advice: "download the binary version of CIFAR-10 again",
            });
        }
        for record in records {
            labels.push(record[0]);
            let plane = SIDE * SIDE;
            let image = &record[1..];
            pixels.extend((0..plane).flat_map(|i| [image[i], image[plane + i], image[2 * plane + i]]));
        }
    }
    let source = Provenance::Directory(directory.to_owned());
    let data = Dataset::new(NAME, source, pixels, [SIDE, SIDE, 3], labels)?;
    Ok(data.with_class_names(classes.iter().map(|class| class.to_string()).collect::<Vec<_>>()))
}

/// A ZIP file with a folder of pictures per class.
fn pictures(archive: &Path) -> Result<Dataset, DataError> {
    let listing = Listing::of_archive(archive)?;
    let wanted = Wanted {
        size: Some([SIDE; 2]),
        channels: Channels::Rgb,
        fit: Fit::default(),
        background: WHITE,
        white: WHOLE,
        damaged: Damaged::default(),
    };
    let reading = Reading {
        wanted: &wanted,
        cache: None,
        progress: None,
    };
    let parts = Parts::of(&listing.paths());
    let mut pixels = Vec::new();
    let take = |_, image: &[u8]| pixels.extend_from_slice(image);
    let decoded = pictures::decode(archive, &listing, &parts.train, reading, take)?;
    let classes = Classes::new(
        &parts,
        decoded.files.iter().map(|&file| listing.path(file)),
        listing.labels.as_ref(),
    );
    let labels = pictures::labels(&listing, &decoded.files, &classes);
    let source = Provenance::File(archive.to_owned());
    let data = Dataset::new(NAME, source, pixels, [SIDE, SIDE, 3], labels)?;
    Ok(data.with_class_names(classes.names))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record whose image has one value in each plane.
    fn record(label: u8, planes: [u8; 3]) -> Vec<u8> {
        let values = planes.iter().flat_map(|&value| [value; SIDE * SIDE]);
        std::iter::once(label).chain(values).collect()
    }

    #[test]
    fn the_binary_version_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("cifar10").join("cifar-10-batches-bin");
        std::fs::create_dir_all(&place).unwrap();
        for i in 1..=5 {
            let bytes = [record(i, [i, 20, 30]), record(0, [0; 3])].concat();
            std::fs::write(place.join(format!("data_batch_{i}.bin")), bytes).unwrap();
        }
        let directories = [folder.path().join("cifar10")];
        let data = load_cifar10(Split::Train, &directories).unwrap();
        assert_eq!(
            (data.len(), data.image_size(), data.name()),
            (10, [32, 32, 3], NAME)
        );
        assert_eq!(&data.image(6)[..6], [4, 20, 30, 4, 20, 30]);
        assert_eq!((data.label(6), data.class_names()[4].as_str()), (4, "deer"));
        let error = load_cifar10(Split::Test, &directories).unwrap_err();
        assert!(matches!(error, DataError::NotFound { name: NAME, .. }), "{error}");
        for damaged in [record(10, [0; 3]), record(1, [0; 3])[1..].to_vec(), Vec::new()] {
            std::fs::write(place.join("test_batch.bin"), damaged).unwrap();
            let error = load_cifar10(Split::Test, &directories).unwrap_err();
            assert!(matches!(error, DataError::Unusable { .. }), "{error}");
        }
    }
}
