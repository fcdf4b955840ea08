//! Generated images of other programs (`--samples`): an NPY file, or a folder or ZIP file of images.

use super::data_source::{self, load_options, some};
use super::extract::Reader;
use super::options::PictureOptions;
use anyhow::{Context, bail};
use engraft_base::{choose, from_byte};
use engraft_data::{DataOptions, Dataset, Npy, Numbers};
use engraft_gan::{PictureConfig, dataset_tensor};
use engraft_metrics::FeatureOutput;
use engraft_tensor::Tensor;
use std::path::Path;

/// A subset of the images.
pub(super) enum Samples {
    /// `[n, h, w, c]` from -1 to 1, with the precision of the file.
    Array(Tensor),
    Pictures(Dataset),
}

impl Samples {
    /// A random subset of `count` images, or all if there are fewer. Pictures are read as the real ones are.
    ///
    /// # Errors
    /// If there are none, or they have different sizes.
    pub(super) fn open(
        path: &Path,
        pictures: &PictureOptions,
        count: usize,
        seed: u64,
    ) -> anyhow::Result<Self> {
        if path.extension().is_some_and(|e| e == "npy") {
            let array = Npy::open(path)?;
            let images = from_npy(&array, count, seed).with_context(|| format!("{}", path.display()))?;
            return Ok(Self::Array(images));
        }
        let mut options = DataOptions::new();
        options.load = load_options();
        pictures.apply(PictureConfig::default(), &mut options);
        let loaded = data_source::open("samples", &path.to_string_lossy(), &options)?;
        Ok(Self::Pictures(some(loaded.train, count, seed)))
    }

    /// Height, width and channels.
    pub(super) fn image(&self) -> [usize; 3] {
        match self {
            Self::Array(images) => [images.shape()[1], images.shape()[2], images.shape()[3]],
            Self::Pictures(data) => data.image_size(),
        }
    }

    /// Number of images.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Array(images) => images.shape()[0],
            Self::Pictures(data) => data.len(),
        }
    }

    /// The images `start..end`, `[n, h, w, c]`.
    pub(super) fn images(&self, start: usize, end: usize) -> Tensor {
        match self {
            Self::Array(images) => images.narrow(0, start, end - start),
            Self::Pictures(data) => dataset_tensor(data, &(start..end).collect::<Vec<_>>()),
        }
    }

    /// Their features.
    ///
    /// # Errors
    /// Those of [`Reader::read`].
    pub(super) fn read(&self, reader: &Reader) -> anyhow::Result<FeatureOutput> {
        match self {
            Self::Array(images) => reader.read("samples", images.shape()[0], |start, end| {
                Ok(images.narrow(0, start, end - start))
            }),
            Self::Pictures(data) => reader.read_data("samples", data),
        }
    }
}

/// A random subset of at most `count` images from an array `[n, h, w]`, `[n, h, w, c]` or `[n, c, h, w]` of 1 or 3
/// channels: bytes from 0 to 255, or floats from -1 to 1. The result is `[count, h, w, c]`.
fn from_npy(array: &Npy, count: usize, seed: u64) -> anyhow::Result<Tensor> {
    let (n, [height, width, channels], channels_first) = match *array.shape() {
        [n, h, w] => (n, [h, w, 1], false),
        [n, h, w, c @ (1 | 3)] => (n, [h, w, c], false),
        [n, c @ (1 | 3), h, w] => (n, [h, w, c], true),
        ref other => bail!(
            "expected an array [n, h, w], [n, h, w, c] or [n, c, h, w] with 1 or 3 channels, found the shape {other:?}"
        ),
    };
    let rows = choose(n, count, seed);
    let pixels = height * width * channels;
    let places = rows.iter().flat_map(|&row| row * pixels..(row + 1) * pixels);
    let values: Vec<f32> = match array.numbers() {
        Numbers::U8(bytes) => places.map(|i| from_byte(bytes[i])).collect(),
        Numbers::F32(values) => places.map(|i| values[i]).collect(),
        Numbers::F64(values) => places.map(|i| values[i] as f32).collect(),
        _ => bail!("expected float32, float64 or uint8"),
    };
    if let Some(at) = values.iter().position(|x| !(-1.001..=1.001).contains(x)) {
        bail!(
            "pixel {} of image {} is {}; expected floats from -1 to 1, or bytes from 0 to 255",
            at % pixels,
            rows[at / pixels],
            values[at]
        );
    }
    let floats = !matches!(array.numbers(), Numbers::U8(_));
    if floats && values.iter().all(|&x| x >= 0.0) {
        bail!(
            "no pixel is below 0; expected floats from -1 (black) to 1 (white): save 2 x - 1 if x is from 0 to 1"
        );
    }
    if channels_first {
        let images = Tensor::from_vec([rows.len(), channels, height, width], values);
        return Ok(images.permute(&[0, 2, 3, 1]));
    }
    Ok(Tensor::from_vec([rows.len(), height, width, channels], values))
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_data::write_npy;

    #[test]
    fn arrays_as_images() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        let read = |shape: &[usize], values: &[f32]| {
            write_npy(&path, shape, values).unwrap();
            from_npy(&Npy::open(&path).unwrap(), 2, 1)
        };
        for shape in [&[2, 28, 28][..], &[2, 28, 28, 1], &[2, 1, 28, 28]] {
            assert_eq!(read(shape, &[-0.5; 1568]).unwrap().shape(), [2, 28, 28, 1]);
        }
        let planes = [[-1.0; 4], [0.0; 4], [1.0; 4]].concat();
        let images = read(&[1, 3, 2, 2], &planes).unwrap();
        assert_eq!(images.shape(), [1, 2, 2, 3]);
        assert_eq!(images.as_slice(), [-1.0, 0.0, 1.0].repeat(4));
        let error = read(&[2, 784], &[0.5; 1568]).unwrap_err().to_string();
        assert!(error.contains("[2, 784]"), "{error}");
        let error = read(&[2, 28, 28], &[0.5; 1568]).unwrap_err().to_string();
        assert!(error.contains("-1"), "{error}");
        let mut values = [0.0; 1568];
        values[784 + 3] = 255.0;
        let error = read(&[2, 28, 28], &values).unwrap_err().to_string();
        assert!(error.contains("pixel 3 of image 1 is 255"), "{error}");
    }

    #[test]
    fn samples_are_chosen_by_the_seed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        let values: Vec<f32> = (0..40 * 784).map(|i| (i / 784) as f32 / 40.0 - 1.0).collect();
        write_npy(&path, &[40, 28, 28], &values).unwrap();
        let array = Npy::open(&path).unwrap();
        let choice = |count, seed| -> Vec<usize> {
            let images = from_npy(&array, count, seed).unwrap();
            let images = images.as_slice().chunks_exact(784);
            images
                .map(|image| (40.0 * (image[783] + 1.0)).round() as usize)
                .collect()
        };
        let [a, b, c] = [1, 1, 2].map(|seed| choice(10, seed));
        assert!(a == b && a != c && a.len() == 10, "{a:?} {c:?}");
        assert_ne!(a, (0..10).collect::<Vec<_>>());
        assert_eq!(choice(50, 1), (0..40).collect::<Vec<_>>());
    }
}
