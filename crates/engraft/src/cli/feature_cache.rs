//! Features of real images in the cache directory, so that a second evaluation does not compute them again.

use engraft_base::{read_bounded, sha256_hex, write_atomically};
use engraft_data::DataDirs;
use engraft_metrics::{FeatureOutput, Features};
use engraft_tensor::ndarray::Array2;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Raised when the format of a file, or the features of the same extractor and images, change.
const MAGIC: &[u8; 8] = b"engraft1";
/// Length of a hash in hexadecimal.
const HASH: usize = 64;
/// Largest file, in bytes.
const LARGEST: u64 = 512 << 20;
/// Most bytes of all files together. The files that were written first are deleted.
const MOST: u64 = 2 << 30;
/// Features of fewer images are computed faster than they are read.
const FEWEST: usize = 200;

/// The features of one set of images in the cache.
pub(super) struct CachedFeatures {
    path: PathBuf,
}

impl CachedFeatures {
    /// The place of the features that an extractor with a hash computes of images with a hash, after a conversion. `None` for
    /// few images and without a cache directory.
    pub(super) fn new(extractor: &str, fit: &str, images: &str, count: usize) -> Option<Self> {
        let cache = DataDirs::from_env().cache_dir?;
        (count >= FEWEST).then(|| Self::below(&cache.join("features"), extractor, fit, images))
    }

    fn below(folder: &Path, extractor: &str, fit: &str, images: &str) -> Self {
        let key = sha256_hex([extractor, fit, images].join("\n").as_bytes());
        Self {
            path: folder.join(format!("{key}.features")),
        }
    }

    /// The features, or `None` if they are not there or damaged.
    pub(super) fn read(&self) -> Option<FeatureOutput> {
        decode(&read_bounded(&self.path, LARGEST).ok()?)
    }

    /// Writes the features atomically. Problems are ignored: the next evaluation computes the features again.
    pub(super) fn write(&self, output: &FeatureOutput) {
        let Some(bytes) = encode(output).filter(|bytes| bytes.len() as u64 <= LARGEST) else {
            return;
        };
        let Some(folder) = self.path.parent() else {
            return;
        };
        if fs::create_dir_all(folder).is_ok() {
            make_room(folder, MOST - bytes.len() as u64);
            let _ = write_atomically(&self.path, &bytes);
        }
    }
}

/// Deletes the oldest files of features until the others have at most `most` bytes.
fn make_room(folder: &Path, most: u64) {
    let Ok(listing) = fs::read_dir(folder) else {
        return;
    };
    let mut files: Vec<(SystemTime, u64, PathBuf)> = listing
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let about = entry.metadata().ok()?;
            let path = entry.path();
            let is_ours = path.extension().is_some_and(|extension| extension == "features");
            (is_ours && about.is_file()).then_some((about.modified().ok()?, about.len(), path))
        })
        .collect();
    files.sort();
    let mut total: u64 = files.iter().map(|file| file.1).sum();
    for (_, length, path) in files {
        if total <= most {
            break;
        }
        if fs::remove_file(path).is_ok() {
            total -= length;
        }
    }
}

/// Magic, SHA-256 of the rest, numbers of images and of features, whether there are classes, features in single precision,
/// classes. `None` if the features need double precision.
fn encode(output: &FeatureOutput) -> Option<Vec<u8>> {
    let points = output.features.view();
    let mut body = Vec::with_capacity(17 + 4 * points.len());
    body.extend((points.nrows() as u64).to_le_bytes());
    body.extend((points.ncols() as u64).to_le_bytes());
    body.push(u8::from(output.classes.is_some()));
    for &value in points.iter() {
        let single = value as f32;
        if f64::from(single) != value {
            return None;
        }
        body.extend(single.to_le_bytes());
    }
    for &class in output.classes.iter().flatten() {
        body.extend(u32::try_from(class).ok()?.to_le_bytes());
    }
    Some([MAGIC.as_slice(), sha256_hex(&body).as_bytes(), &body].concat())
}

fn decode(bytes: &[u8]) -> Option<FeatureOutput> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (hash, body) = rest.split_at_checked(HASH)?;
    if sha256_hex(body).as_bytes() != hash {
        return None;
    }
    let (rows, body) = body.split_first_chunk()?;
    let (columns, body) = body.split_first_chunk()?;
    let (has_classes, body) = body.split_first()?;
    let [rows, columns] = [rows, columns].map(|count| u64::from_le_bytes(*count) as usize);
    let (values, classes) = body.split_at_checked(rows.checked_mul(columns)?.checked_mul(4)?)?;
    let words = |bytes: &[u8]| -> Vec<[u8; 4]> {
        let (words, _) = bytes.as_chunks::<4>();
        words.to_vec()
    };
    let values = words(values)
        .into_iter()
        .map(|word| f64::from(f32::from_le_bytes(word)));
    let classes: Vec<usize> = words(classes)
        .into_iter()
        .map(|word| u32::from_le_bytes(word) as usize)
        .collect();
    let expected = if *has_classes == 1 { rows } else { 0 };
    if classes.len() != expected {
        return None;
    }
    let points = Array2::from_shape_vec((rows, columns), values.collect()).ok()?;
    Some(FeatureOutput {
        features: Features::new(points).ok()?,
        classes: (*has_classes == 1).then_some(classes),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_tensor::ndarray::array;

    fn output(scale: f64) -> FeatureOutput {
        FeatureOutput {
            features: Features::new(array![[0.5, -1.0], [scale, 2.0]]).unwrap(),
            classes: Some(vec![3, 7]),
        }
    }

    #[test]
    fn features_come_back_and_damaged_ones_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let place = CachedFeatures::below(folder.path(), "network", "none", "images");
        assert!(place.read().is_none());
        place.write(&output(1.0));
        let found = place.read().unwrap();
        assert!(found.features == output(1.0).features && found.classes == Some(vec![3, 7]));
        let other = CachedFeatures::below(folder.path(), "network", "none", "other images");
        assert!(other.read().is_none());
        let bytes = fs::read(&place.path).unwrap();
        for i in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[i] ^= 1;
            assert!(decode(&damaged).is_none(), "byte {i}");
            assert!(decode(&bytes[..i]).is_none(), "{i} bytes");
        }
        fs::write(&place.path, &bytes[..50]).unwrap();
        place.write(&output(1.0));
        assert!(place.read().is_some(), "it is written again");
    }

    #[test]
    fn features_in_double_precision_are_not_kept() {
        assert!(encode(&output(0.1)).is_none());
        assert!(encode(&output(f64::from(0.1_f32))).is_some());
    }

    #[test]
    fn the_oldest_files_make_room() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for (i, name) in ["a.features", "b.features", "note.txt"].into_iter().enumerate() {
            fs::write(path(name), [0; 100]).unwrap();
            let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(i as u64 + 1);
            fs::File::options()
                .write(true)
                .open(path(name))
                .unwrap()
                .set_modified(time)
                .unwrap();
        }
        make_room(folder.path(), 200);
        assert!(path("a.features").exists());
        make_room(folder.path(), 150);
        assert!(!path("a.features").exists() && path("b.features").exists() && path("note.txt").exists());
    }
}
