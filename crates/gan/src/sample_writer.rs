//! Writers of a run's samples: an image grid, an array, or a format of your own.

use crate::checkpoint::write_atomically;
use crate::error::GanError;
use crate::report::image_grid::sample_grid;
use engraft_data::write_npy;
use engraft_tensor::Tensor;
use std::path::Path;

/// Writes the samples of a run, which always come from the same latent vectors.
///
/// [`PngGrid`] and [`NpySamples`] are built in. Implement this trait for other kinds of data, such as audio, and
/// pass it to [`TrainerBuilder::samples`](crate::TrainerBuilder::samples):
///
/// ```
/// use engraft_gan::{GanError, SampleWriter};
/// use engraft_tensor::Tensor;
/// use std::path::Path;
///
/// /// Raw signed 8-bit audio without a header, all samples in one file.
/// struct RawSound;
///
/// impl SampleWriter for RawSound {
///     fn extension(&self) -> &str {
///         "raw"
///     }
///     fn count(&self) -> usize {
///         4
///     }
///     fn write(&self, samples: &Tensor, path: &Path) -> Result<(), GanError> {
///         let bytes: Vec<u8> = samples.as_slice().iter().map(|&x| (x * 127.0) as i8 as u8).collect();
///         engraft_gan::checkpoint::write_atomically(path, &bytes)
///     }
/// }
/// # let folder = tempfile::tempdir()?;
/// # RawSound.write(&Tensor::zeros([4, 1, 100, 1]), &folder.path().join("a.raw"))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Values outside `[-1, 1]` are possible for generators without a final `tanh`; the writer clips them if needed.
pub trait SampleWriter: Send + Sync {
    /// File extension without the dot. The samples of step 100 are in `samples/step-000100.EXTENSION`.
    fn extension(&self) -> &str;

    /// Number of samples to generate; the default is 64.
    fn count(&self) -> usize {
        64
    }

    /// Writes samples to `path`, whose folder exists.
    ///
    /// - `samples`: the generator's output `[n, h, w, c]`, with `n` from [`Self::count`] and values in about `[-1,
    ///   1]`.
    ///
    /// # Errors
    /// If the file cannot be written. The run then emits a warning and continues.
    fn write(&self, samples: &Tensor, path: &Path) -> Result<(), GanError>;
}

/// Largest image side, in pixels, for a grid of 8 x 8.
const SMALL_SIDE: usize = 64;

/// Writes a [grid](sample_grid) of images as a PNG file. The report shows these grids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PngGrid {
    columns: usize,
}

impl PngGrid {
    /// The default grid for images `[h, w, c]`: 8 x 8 for images up to 64 pixels a side, 4 x 4 for larger ones.
    pub fn for_images([h, w, _]: [usize; 3]) -> Self {
        Self {
            columns: if h.max(w) <= SMALL_SIDE { 8 } else { 4 },
        }
    }
}

impl SampleWriter for PngGrid {
    fn extension(&self) -> &str {
        "png"
    }

    fn count(&self) -> usize {
        self.columns * self.columns
    }

    fn write(&self, samples: &Tensor, path: &Path) -> Result<(), GanError> {
        write_atomically(path, &sample_grid(samples, self.columns))
    }
}

/// Writes the generator's output as an NPY array `[n, h, w, c]` in single precision, not clipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NpySamples;

impl SampleWriter for NpySamples {
    fn extension(&self) -> &str {
        "npy"
    }

    fn write(&self, samples: &Tensor, path: &Path) -> Result<(), GanError> {
        Ok(write_npy(path, samples.shape(), samples.as_slice())?)
    }
}

/// The default writer for data `[h, w, c]`: a grid for 1 to 4 channels, else an array.
pub(crate) fn default_writer(shape: [usize; 3]) -> Box<dyn SampleWriter> {
    match shape[2] {
        1..=4 => Box::new(PngGrid::for_images(shape)),
        _ => Box::new(NpySamples),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_data::{Npy, Numbers};

    #[test]
    fn samples_that_are_no_images_are_an_array() {
        assert_eq!(default_writer([28, 28, 1]).count(), 64);
        let png = default_writer([256, 64, 3]);
        assert_eq!((png.extension(), png.count()), ("png", 16));
        let npy = default_writer([1, 10, 7]);
        assert_eq!(npy.extension(), "npy");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("step.npy");
        npy.write(&Tensor::full([2, 1, 10, 7], 0.5), &path).unwrap();
        let found = Npy::open(&path).unwrap();
        assert_eq!(found.shape(), [2, 1, 10, 7]);
        assert_eq!(found.numbers(), &Numbers::F32(vec![0.5; 140]));
    }
}
