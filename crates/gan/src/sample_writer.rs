//! How the samples of a run are written: as a grid of images, as an array, or as a caller's own kind of file.

use crate::checkpoint::write_atomically;
use crate::error::GanError;
use crate::report::image_grid::sample_grid;
use engraft_data::write_npy;
use engraft_tensor::Tensor;
use std::path::Path;

/// Writes the samples that a run draws from time to time, always of the same latent vectors.
///
/// [`PngGrid`] and [`NpySamples`] are there; other kinds of data, such as sound, bring their own:
///
/// ```
/// use engraft_gan::{GanError, SampleWriter};
/// use engraft_tensor::Tensor;
/// use std::path::Path;
///
/// /// Signed 8-bit samples without a header, one recording after the other.
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
/// A trainer takes it by [`TrainerBuilder::samples`](crate::TrainerBuilder::samples).
pub trait SampleWriter: Send + Sync {
    /// How the name of its files ends, without the dot: the samples of step 100 are in `samples/step-000100.EXTENSION`.
    fn extension(&self) -> &str;

    /// How many samples it is given.
    fn count(&self) -> usize {
        64
    }

    /// Writes samples `[n, h, w, c]`, as the generator makes them, to a file. What lies outside of `[-1, 1]` is the
    /// writer's to clip.
    ///
    /// # Errors
    /// If they cannot be written. The run warns and goes on.
    fn write(&self, samples: &Tensor, path: &Path) -> Result<(), GanError>;
}

/// Largest side of an image of which 64 are on a grid.
const SMALL_SIDE: usize = 64;

/// Samples as a [grid](sample_grid) of images in a PNG file, which the run's report shows too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PngGrid {
    columns: usize,
}

impl PngGrid {
    /// A grid that suits images `[h, w, c]`: 8 x 8 of images up to 64 pixels a side, 4 x 4 of larger ones.
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

/// Samples as an array `[n, h, w, c]` of single precision in an NPY file, as the generator makes them.
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

/// The writer for data of a shape `[h, w, c]`: a grid where the channels are those of an image, else an array.
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
