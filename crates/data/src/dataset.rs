//! Labelled images in memory: one block of bytes, its shape, and where it came from.

use sha2::{Digest, Sha256};
use std::fmt;
use std::path::PathBuf;

use crate::error::{DataError, shown};

/// Labelled images of one size: pixels `[n, h, w, c]` and labels `[n]`, both unsigned bytes.
///
/// ```
/// use engraft_data::{Dataset, Source};
///
/// let two = Dataset::new("dots", Source::Memory, vec![0, 255, 255, 0], [1, 2, 1], vec![7, 8])?;
/// assert_eq!((two.len(), two.image(1), two.label(1)), (2, &[255, 0][..], 8));
/// assert_eq!(two.batch_f32(&[1, 0]), [1.0, -1.0, -1.0, 1.0]);
/// # Ok::<(), engraft_data::DataError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Dataset {
    name: String,
    source: Source,
    images: Vec<u8>,
    labels: Vec<u8>,
    height: usize,
    width: usize,
    channels: usize,
}

/// Where the images of a [`Dataset`] came from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// Files of the user, taken as they are.
    Directory(PathBuf),
    /// Files of the cache directory, equal to the published ones by SHA-256.
    Cache(PathBuf),
    /// Files fetched just now into this cache directory, equal to the published ones by SHA-256.
    Download(PathBuf),
    /// Drawn by this program.
    Drawn {
        /// The seed that every pixel follows from.
        seed: u64,
    },
    /// Made by the calling program.
    Memory,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Directory(path) => write!(f, "files in {}", shown(path)),
            Source::Cache(path) => write!(f, "verified files in {}", shown(path)),
            Source::Download(path) => write!(f, "downloaded and verified, kept in {}", shown(path)),
            Source::Drawn { seed } => write!(f, "drawn from seed {seed}"),
            Source::Memory => write!(f, "made in memory"),
        }
    }
}

/// Which half of a data set: to learn from, or to judge by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Split {
    /// The training images.
    Train,
    /// The test images, never trained on.
    Test,
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Split::Train => "train",
            Split::Test => "test",
        })
    }
}

impl Dataset {
    /// A data set of `images` `[n, h, w, c]` with `image_size` `[h, w, c]`, and `labels` `[n]`.
    ///
    /// # Errors
    /// [`DataError::ImageSize`] when a size is 0 or the pixels are not a whole number of images;
    /// [`DataError::CountMismatch`] when there are more or fewer labels than images.
    pub fn new(
        name: impl Into<String>,
        source: Source,
        images: Vec<u8>,
        image_size: [usize; 3],
        labels: Vec<u8>,
    ) -> Result<Self, DataError> {
        let name = name.into();
        let [height, width, channels] = image_size;
        let pixels = height
            .checked_mul(width)
            .and_then(|p| p.checked_mul(channels))
            .unwrap_or(0);
        if pixels == 0 || !images.len().is_multiple_of(pixels) {
            return Err(DataError::ImageSize {
                name,
                bytes: images.len(),
                image_size,
            });
        }
        let count = images.len() / pixels;
        if count != labels.len() {
            return Err(DataError::CountMismatch {
                name,
                images: count,
                labels: labels.len(),
            });
        }
        Ok(Self {
            name,
            source,
            images,
            labels,
            height,
            width,
            channels,
        })
    }

    /// Name of the data set, as `mnist`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the images came from.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Height, width and channels of every image: `[h, w, c]`.
    pub fn image_size(&self) -> [usize; 3] {
        [self.height, self.width, self.channels]
    }

    /// Height in pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Width in pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Number of channels: 1 for grey, 3 for colour.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Pixels of image `index`, `[h, w, c]`.
    ///
    /// # Panics
    /// When `index` is not less than [`len`](Self::len).
    #[track_caller]
    pub fn image(&self, index: usize) -> &[u8] {
        self.check(index);
        let pixels = self.height * self.width * self.channels;
        &self.images[index * pixels..][..pixels]
    }

    /// Label of image `index`.
    ///
    /// # Panics
    /// When `index` is not less than [`len`](Self::len).
    #[track_caller]
    pub fn label(&self, index: usize) -> u8 {
        self.check(index);
        self.labels[index]
    }

    /// All pixels, `[n, h, w, c]`.
    pub fn images(&self) -> &[u8] {
        &self.images
    }

    /// All labels, `[n]`.
    pub fn labels(&self) -> &[u8] {
        &self.labels
    }

    /// How many images bear each label: element `k` counts label `k`, up to the largest label there is.
    pub fn class_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.labels.iter().max().map_or(0, |&most| usize::from(most) + 1)];
        for &label in &self.labels {
            counts[usize::from(label)] += 1;
        }
        counts
    }

    /// SHA-256, in hexadecimal, over height, width and channels, each as eight bytes in little-endian order, and all pixels:
    /// what a model or a measure sees of the images. Name, source and labels do not count; the order of the images does.
    ///
    /// ```
    /// use engraft_data::{Dataset, Source};
    /// let one = |label| Dataset::new("one", Source::Memory, vec![7; 4], [2, 2, 1], vec![label]);
    /// assert_eq!(one(1)?.sha256(), one(2)?.sha256());
    /// assert_eq!(one(1)?.sha256().len(), 64);
    /// # Ok::<(), engraft_data::DataError>(())
    /// ```
    pub fn sha256(&self) -> String {
        let mut hash = Sha256::new();
        for size in self.image_size() {
            hash.update((size as u64).to_le_bytes());
        }
        hash.update(&self.images);
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The images at `indices`, in that order, as a data set of their own with the same name and source.
    ///
    /// # Panics
    /// When an index is not less than [`len`](Self::len).
    #[track_caller]
    pub fn subset(&self, indices: &[usize]) -> Self {
        let mut images = Vec::with_capacity(indices.len() * self.height * self.width * self.channels);
        let mut labels = Vec::with_capacity(indices.len());
        for &index in indices {
            images.extend_from_slice(self.image(index));
            labels.push(self.labels[index]);
        }
        Self {
            images,
            labels,
            name: self.name.clone(),
            source: self.source.clone(),
            ..*self
        }
    }

    /// The same images with their shades turned round, `255 - v`: dark on light becomes light on dark.
    ///
    /// ```
    /// use engraft_data::{Split, drawn_digits};
    /// let digits = drawn_digits(Split::Train, 3, 1);
    /// let turned = digits.inverted();
    /// assert_eq!(turned.image(2)[0], 255 - digits.image(2)[0]);
    /// assert_eq!(turned.inverted(), digits);
    /// ```
    #[must_use]
    pub fn inverted(&self) -> Self {
        Self {
            images: self.images.iter().map(|v| 255 - v).collect(),
            ..self.clone()
        }
    }

    /// The same images under another name.
    pub(crate) fn with_name(mut self, name: &str) -> Self {
        self.name = name.into();
        self
    }

    /// As many images of another size in place of these.
    pub(crate) fn with_images(&self, images: Vec<u8>, [height, width, channels]: [usize; 3]) -> Self {
        debug_assert_eq!(images.len(), self.len() * height * width * channels);
        Self {
            name: self.name.clone(),
            source: self.source.clone(),
            labels: self.labels.clone(),
            images,
            height,
            width,
            channels,
        }
    }

    /// The images at `indices` as numbers from -1 to 1: `v / 127.5 - 1`.
    ///
    /// # Shapes
    /// `[indices.len(), h, w, c]`, flat.
    ///
    /// # Panics
    /// When an index is not less than [`len`](Self::len).
    #[track_caller]
    pub fn batch_f32(&self, indices: &[usize]) -> Vec<f32> {
        let mut batch = Vec::with_capacity(indices.len() * self.height * self.width * self.channels);
        for &index in indices {
            batch.extend(self.image(index).iter().map(|&v| f32::from(v) / 127.5 - 1.0));
        }
        batch
    }

    #[track_caller]
    fn check(&self, index: usize) {
        assert!(
            index < self.len(),
            "{}: image {index} of {}",
            self.name,
            self.len()
        );
    }
}

impl fmt::Debug for Dataset {
    /// The shape, not the millions of pixels.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dataset")
            .field("name", &self.name)
            .field("source", &self.source)
            .field("len", &self.len())
            .field("image_size", &self.image_size())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Dataset {
        let pixels = (0..3 * 2 * 2).map(|v| v * 20).collect();
        Dataset::new(
            "three",
            Source::Drawn { seed: 4 },
            pixels,
            [2, 2, 1],
            vec![2, 0, 2],
        )
        .unwrap()
    }

    #[test]
    fn images_and_labels_keep_their_places() {
        let set = three();
        assert_eq!(set.image(2), [160, 180, 200, 220]);
        assert_eq!(
            (set.label(2), set.image_size(), set.is_empty()),
            (2, [2, 2, 1], false)
        );
        assert_eq!(set.class_counts(), [1, 0, 2]);
        assert_eq!(set.source().to_string(), "drawn from seed 4");
        assert_eq!(
            format!("{set:?}"),
            r#"Dataset { name: "three", source: Drawn { seed: 4 }, len: 3, image_size: [2, 2, 1], .. }"#
        );
        let part = set.subset(&[2, 0]);
        assert_eq!((part.image(0), part.labels()), (set.image(2), &[2, 2][..]));
    }

    #[test]
    fn the_hash_is_of_size_and_pixels() {
        let set =
            |size, pixels: &[u8]| Dataset::new("x", Source::Memory, pixels.to_vec(), size, vec![0]).unwrap();
        let found = set([1, 2, 1], b"ab").sha256();
        // printf '\1\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0ab' | sha256sum
        assert_eq!(
            found,
            "5c0b84224dccbed2d36a9b3829b866d065fd33756e8b454ebfad61200a48bbe0"
        );
        assert_ne!(found, set([2, 1, 1], b"ab").sha256());
        assert_ne!(found, set([1, 2, 1], b"ba").sha256());
    }

    #[test]
    fn bytes_become_numbers_from_minus_one_to_one() {
        let set = Dataset::new(
            "ends",
            Source::Memory,
            vec![0, 51, 204, 255],
            [1, 2, 1],
            vec![0, 1],
        )
        .unwrap();
        assert_eq!(set.batch_f32(&[0, 1]), [-1.0, -0.6, 0.6, 1.0]);
        assert_eq!(set.batch_f32(&[]), [0.0; 0]);
    }

    #[test]
    fn pieces_that_do_not_fit_are_refused() {
        let make = |bytes: usize, size, labels: usize| {
            Dataset::new("x", Source::Memory, vec![0; bytes], size, vec![0; labels])
                .unwrap_err()
                .to_string()
        };
        assert!(make(12, [2, 2, 1], 2).contains("3 images but 2 labels"));
        assert!(make(13, [2, 2, 1], 3).contains("13 bytes of pixels"));
        assert!(make(0, [0, 2, 1], 3).contains("0x2x1"));
        assert!(make(4, [usize::MAX, 2, 1], 1).contains("not a whole number"));
        assert!(
            Dataset::new("none", Source::Memory, vec![], [2, 2, 1], vec![])
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    #[should_panic(expected = "three: image 3 of 3")]
    fn an_index_past_the_end_names_the_set() {
        three().batch_f32(&[0, 3]);
    }
}
