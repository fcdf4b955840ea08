//! Labeled images in memory.

use engraft_base::sha256_hex;
use std::fmt;
use std::sync::Arc;

use crate::channels::Channels;
use crate::error::DataError;
use crate::even_frame;
use crate::fingerprint::Fingerprint;
use crate::provenance::Provenance;
use crate::resize;

/// Labeled images of one size: pixels `[n, h, w, c]` and labels `[n]`, both unsigned bytes. Clones share the memory.
///
/// ```
/// use engraft_data::{Dataset, Provenance};
///
/// let two = Dataset::new("dots", Provenance::Memory, vec![0, 255, 255, 0], [1, 2, 1], vec![7, 8])?;
/// assert_eq!((two.len(), two.image(1), two.label(1)), (2, &[255, 0][..], 8));
/// assert_eq!(two.batch_f32(&[1, 0]), [1.0, -1.0, -1.0, 1.0]);
/// # Ok::<(), engraft_data::DataError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Dataset {
    name: String,
    provenance: Provenance,
    images: Arc<Vec<u8>>,
    image_size: [usize; 3],
    labels: Arc<Vec<u8>>,
    class_names: Arc<[String]>,
    /// Whether the labels are classes. If not, all labels are 0.
    is_labeled: bool,
}

impl Dataset {
    /// A data set of `images` `[n, h, w, c]` with `image_size` `[h, w, c]`, and `labels` `[n]`.
    ///
    /// # Errors
    /// [`DataError::ImageSize`] if a size is 0 or the pixels are not a whole number of images.
    /// [`DataError::CountMismatch`] if the numbers of labels and images differ.
    pub fn new(
        name: impl Into<String>,
        provenance: Provenance,
        images: Vec<u8>,
        image_size: [usize; 3],
        labels: Vec<u8>,
    ) -> Result<Self, DataError> {
        let set = Self {
            labels: Arc::new(labels),
            is_labeled: true,
            ..Self::unlabeled(name, provenance, images, image_size)?
        };
        let count = set.images.len() / set.pixels();
        if count != set.labels.len() {
            return Err(DataError::CountMismatch {
                name: set.name,
                images: count,
                labels: set.labels.len(),
            });
        }
        Ok(set)
    }

    /// Name of [`unlabeled`](Self::unlabeled) in earlier versions.
    ///
    /// # Errors
    /// See [`unlabeled`](Self::unlabeled).
    #[doc(hidden)]
    pub fn unlabelled(
        name: impl Into<String>,
        provenance: Provenance,
        images: Vec<u8>,
        image_size: [usize; 3],
    ) -> Result<Self, DataError> {
        Self::unlabeled(name, provenance, images, image_size)
    }

    /// A data set of `images` `[n, h, w, c]` without classes. All labels are 0, and [`classes`](Self::classes) is 0.
    ///
    /// # Errors
    /// [`DataError::ImageSize`] if a size is 0 or the pixels are not a whole number of images.
    pub fn unlabeled(
        name: impl Into<String>,
        provenance: Provenance,
        images: Vec<u8>,
        image_size: [usize; 3],
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
        Ok(Self {
            name,
            provenance,
            labels: Arc::new(vec![0; images.len() / pixels]),
            images: Arc::new(images),
            image_size,
            class_names: Arc::default(),
            is_labeled: false,
        })
    }

    /// Sets the names of the classes, one per label starting at 0.
    ///
    /// # Panics
    /// If a label has no name.
    #[must_use]
    #[track_caller]
    pub fn with_class_names(self, names: impl IntoIterator<Item = String>) -> Self {
        let class_names: Arc<[String]> = names.into_iter().collect();
        let classes = self.classes();
        assert!(
            class_names.len() >= classes,
            "{}: {} names for {classes} classes",
            self.name,
            class_names.len()
        );
        Self { class_names, ..self }
    }

    /// Name of the data set, for example `mnist`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Origin of the images.
    pub fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether the data set is empty.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Height, width and channels of every image: `[h, w, c]`.
    pub fn image_size(&self) -> [usize; 3] {
        self.image_size
    }

    /// Height in pixels.
    pub fn height(&self) -> usize {
        self.image_size[0]
    }

    /// Width in pixels.
    pub fn width(&self) -> usize {
        self.image_size[1]
    }

    /// Number of channels: 1 for gray, 3 for color.
    pub fn channels(&self) -> usize {
        self.image_size[2]
    }

    /// Pixels of image `index`, `[h, w, c]`.
    ///
    /// # Panics
    /// If `index` is not less than [`len`](Self::len).
    #[track_caller]
    pub fn image(&self, index: usize) -> &[u8] {
        self.check(index);
        let pixels = self.pixels();
        &self.images[index * pixels..][..pixels]
    }

    /// Bytes of an image.
    fn pixels(&self) -> usize {
        self.image_size.iter().product()
    }

    /// Label of image `index`. 0 for images without labels, unlike
    /// [`TrainingData::label`](crate::TrainingData::label).
    ///
    /// # Panics
    /// If `index` is not less than [`len`](Self::len).
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

    /// Number of images per label: element `k` counts label `k`, up to the largest label. Empty for images without labels.
    pub fn class_counts(&self) -> Vec<usize> {
        if !self.is_labeled {
            return Vec::new();
        }
        let mut counts = vec![0; self.labels.iter().max().map_or(0, |&most| usize::from(most) + 1)];
        for &label in &*self.labels {
            counts[usize::from(label)] += 1;
        }
        counts
    }

    /// Number of classes: the number of names, or else the largest label plus 1. 0 for images without labels.
    pub fn classes(&self) -> usize {
        let most = self.labels.iter().max();
        if self.is_labeled {
            most.map_or(0, |&most| usize::from(most) + 1)
                .max(self.class_names.len())
        } else {
            0
        }
    }

    /// Names of the classes, starting with label 0. Empty if they have none.
    pub fn class_names(&self) -> &[String] {
        &self.class_names
    }

    /// SHA-256, in hexadecimal, of height, width and channels (eight bytes each, little-endian) and all pixels. Name, source
    /// and labels do not matter. The order of the images does.
    ///
    /// ```
    /// use engraft_data::{Dataset, Provenance};
    /// let one = |label| Dataset::new("one", Provenance::Memory, vec![7; 4], [2, 2, 1], vec![label]);
    /// assert_eq!(one(1)?.sha256(), one(2)?.sha256());
    /// assert_eq!(one(1)?.sha256().len(), 64);
    /// # Ok::<(), engraft_data::DataError>(())
    /// ```
    pub fn sha256(&self) -> String {
        let mut fingerprint = Fingerprint::new(self.image_size);
        fingerprint.add(&self.images);
        fingerprint.finish()
    }

    /// SHA-256 of the labels, in hexadecimal.
    pub fn labels_sha256(&self) -> String {
        sha256_hex(&self.labels)
    }

    /// A data set of the images at `indices`, in that order, with the same name and source.
    ///
    /// # Panics
    /// If an index is not less than [`len`](Self::len).
    #[track_caller]
    pub fn subset(&self, indices: &[usize]) -> Self {
        let mut images = Vec::with_capacity(indices.len() * self.pixels());
        let mut labels = Vec::with_capacity(indices.len());
        for &index in indices {
            images.extend_from_slice(self.image(index));
            labels.push(self.labels[index]);
        }
        Self {
            images: Arc::new(images),
            labels: Arc::new(labels),
            ..self.clone()
        }
    }

    /// The images with inverted pixel values, `255 - v`.
    ///
    /// ```
    /// use engraft_data::{Split, drawn_digits};
    /// let digits = drawn_digits(Split::Train, 3, 1);
    /// let inverted = digits.inverted();
    /// assert_eq!(inverted.image(2)[0], 255 - digits.image(2)[0]);
    /// assert_eq!(inverted.inverted(), digits);
    /// ```
    #[must_use]
    pub fn inverted(&self) -> Self {
        Self {
            images: Arc::new(self.images.iter().map(|v| 255 - v).collect()),
            ..self.clone()
        }
    }

    /// The same images with another name.
    pub(crate) fn with_name(mut self, name: &str) -> Self {
        self.name = name.into();
        self
    }

    /// The images resized by cubic interpolation (Catmull-Rom). Images that already have this size are unchanged. Name,
    /// source and labels stay.
    ///
    /// ```
    /// use engraft_data::{Dataset, Provenance};
    /// let gray = Dataset::new("gray", Provenance::Memory, vec![90; 16 * 16], [16, 16, 1], vec![0])?;
    /// let larger = gray.resized(28, 28);
    /// assert_eq!((larger.image_size(), larger.image(0)), ([28, 28, 1], &[90; 784][..]));
    /// # Ok::<(), engraft_data::DataError>(())
    /// ```
    ///
    /// # Panics
    /// If a size is 0, or the images do not have 1 or 3 channels.
    #[must_use]
    #[track_caller]
    pub fn resized(&self, height: usize, width: usize) -> Self {
        let [h, w, c] = self.image_size;
        assert!(
            height > 0 && width > 0,
            "resized: the size must be at least 1, got {height}x{width}"
        );
        assert!(
            matches!(c, 1 | 3),
            "resized: images must have 1 or 3 channels, got {c}"
        );
        if [h, w] == [height, width] {
            return self.clone();
        }
        Self {
            images: Arc::new(resize::scaled(&self.images, self.image_size, [height, width])),
            image_size: [height, width, c],
            ..self.clone()
        }
    }

    /// The images with even frames: the content of each image has the same size, and its center of mass is in the center. This is how
    /// MNIST was made. It removes the difference between data sets whose objects fill the frame and those with a margin.
    ///
    /// Every image is framed by itself, without its label:
    ///
    /// 1. The background `b` is the most frequent value of the border pixels. It may be dark or light.
    /// 2. With the largest difference `D = max |v - b|`, a pixel is content if `|v - b| >= D / 8`. The box of all content is cut out.
    ///    An image with `D < 16` has no content and stays as it is.
    /// 3. The box is scaled by `min(5/7 h / box height, 5/7 w / box width)`, by cubic interpolation (Catmull-Rom). So its longer side
    ///    is 20 of 28 pixels, and its aspect ratio stays.
    /// 4. It is moved by whole pixels, so that its center of mass, weighted by `|v - b|`, is nearest to the center of the frame. No part
    ///    leaves the frame. The rest is `b`.
    ///
    /// A speck far from the object counts as content and makes the object smaller.
    ///
    /// *Source*: LeCun et al., "Gradient-based learning applied to document recognition", 1998, section III.A.
    ///
    /// ```
    /// use engraft_data::{Dataset, Provenance};
    /// // A bright square of 14x14 pixels in the corner.
    /// let pixels = (0..28 * 28).map(|i| if i / 28 < 14 && i % 28 < 14 { 255 } else { 0 }).collect();
    /// let corner = Dataset::new("corner", Provenance::Memory, pixels, [28, 28, 1], vec![0])?;
    /// let framed = corner.evenly_framed()?;
    /// // It becomes a square of 20x20 pixels with a margin of four.
    /// assert_eq!(framed.image(0)[3 * 28 + 14], 0);
    /// assert_eq!(framed.image(0)[4 * 28 + 14], 255);
    /// assert_eq!(framed.images().iter().filter(|&&v| v == 255).count(), 20 * 20);
    /// # Ok::<(), engraft_data::DataError>(())
    /// ```
    ///
    /// # Errors
    /// [`DataError::Unusable`] if the images are not gray.
    pub fn evenly_framed(&self) -> Result<Self, DataError> {
        let [h, w, c] = self.image_size;
        if c != 1 {
            return Err(DataError::Unusable {
                place: self.name.as_str().into(),
                expected: "gray images, to find their background and content".into(),
                found: format!("{c} channels"),
                advice: "convert the images to gray first",
            });
        }
        Ok(Self {
            images: Arc::new(even_frame::evenly_framed(&self.images, [h, w])),
            ..self.clone()
        })
    }

    /// The images with other channels. Images that already have them are unchanged.
    ///
    /// # Panics
    /// If the images do not have 1 or 3 channels.
    #[must_use]
    #[track_caller]
    pub fn with_channels(&self, channels: Channels) -> Self {
        let [h, w, c] = self.image_size;
        let (images, c) = match (c, channels) {
            (3, Channels::Gray) => (resize::gray(&self.images), 1),
            (1, Channels::Rgb) => (self.images.iter().flat_map(|&v| [v; 3]).collect(), 3),
            (1 | 3, _) => return self.clone(),
            _ => panic!("with_channels: images must have 1 or 3 channels, got {c}"),
        };
        Self {
            images: Arc::new(images),
            image_size: [h, w, c],
            ..self.clone()
        }
    }

    /// The images at `indices` as numbers from -1 to 1: `v / 127.5 - 1`.
    ///
    /// # Shapes
    /// `[indices.len(), h, w, c]`, flat.
    ///
    /// # Panics
    /// If an index is not less than [`len`](Self::len).
    #[track_caller]
    pub fn batch_f32(&self, indices: &[usize]) -> Vec<f32> {
        let mut batch = Vec::with_capacity(indices.len() * self.pixels());
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
    /// Prints the shape instead of the pixels.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dataset")
            .field("name", &self.name)
            .field("provenance", &self.provenance)
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
            Provenance::Drawn { seed: 4 },
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
        assert_eq!(set.provenance(), &Provenance::Drawn { seed: 4 });
        assert_eq!(
            format!("{set:?}"),
            r#"Dataset { name: "three", provenance: Drawn { seed: 4 }, len: 3, image_size: [2, 2, 1], .. }"#
        );
        let part = set.subset(&[2, 0]);
        assert_eq!((part.image(0), part.labels()), (set.image(2), &[2, 2][..]));
    }

    #[test]
    fn the_hash_is_of_size_and_pixels() {
        let set = |size, pixels: &[u8]| {
            Dataset::new("x", Provenance::Memory, pixels.to_vec(), size, vec![0]).unwrap()
        };
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
    fn channels_are_mixed_and_repeated() {
        let color = Dataset::new(
            "c",
            Provenance::Memory,
            vec![9, 9, 9, 255, 0, 0],
            [1, 2, 3],
            vec![5],
        )
        .unwrap();
        let gray = color.with_channels(Channels::Gray);
        assert_eq!(
            (gray.image_size(), gray.images(), gray.labels()),
            ([1, 2, 1], &[9, 54][..], &[5][..])
        );
        let again = gray.with_channels(Channels::Rgb);
        assert_eq!(
            (again.image_size(), again.images()),
            ([1, 2, 3], &[9, 9, 9, 54, 54, 54][..])
        );
        assert_eq!(again.with_channels(Channels::Keep), again);
    }

    #[test]
    fn a_clone_shares_the_pixels() {
        let set = three();
        assert_eq!(set.clone().images().as_ptr(), set.images().as_ptr());
    }

    #[test]
    fn classes_have_names_that_a_subset_keeps() {
        let names = || ["a", "b", "c", "d"].map(String::from);
        let set = three().with_class_names(names());
        assert_eq!((set.classes(), three().classes()), (4, 3));
        let part = set.subset(&[1]);
        assert_eq!((part.classes(), part.class_names()), (4, &names()[..]));
        assert_eq!(three().subset(&[1]).classes(), 1);
        let bare = Dataset::unlabeled("bare", Provenance::Memory, vec![1, 2], [1, 1, 1]).unwrap();
        assert_eq!(
            (bare.classes(), bare.labels(), bare.class_counts().len()),
            (0, &[0, 0][..], 0)
        );
    }

    #[test]
    #[should_panic(expected = "three: 2 names for 3 classes")]
    fn every_label_needs_a_name() {
        let _ = three().with_class_names(["a".into(), "b".into()]);
    }

    #[test]
    fn bytes_become_numbers_from_minus_one_to_one() {
        let set = Dataset::new(
            "ends",
            Provenance::Memory,
            vec![0, 51, 204, 255],
            [1, 2, 1],
            vec![0, 1],
        )
        .unwrap();
        assert_eq!(set.batch_f32(&[0, 1]), [-1.0, -0.6, 0.6, 1.0]);
        assert_eq!(set.batch_f32(&[]), [0.0; 0]);
    }

    #[test]
    fn mismatched_pieces_are_refused() {
        let make = |bytes: usize, size, labels: usize| {
            Dataset::new("x", Provenance::Memory, vec![0; bytes], size, vec![0; labels]).unwrap_err()
        };
        let error = make(12, [2, 2, 1], 2);
        assert!(
            matches!(
                error,
                DataError::CountMismatch {
                    images: 3,
                    labels: 2,
                    ..
                }
            ),
            "{error}"
        );
        for (bytes, size) in [(13, [2, 2, 1]), (0, [0, 2, 1]), (4, [usize::MAX, 2, 1])] {
            let error = make(bytes, size, 3);
            assert!(
                matches!(error, DataError::ImageSize { bytes: n, image_size, .. } if (n, image_size) == (bytes, size)),
                "{error}"
            );
        }
        assert!(
            Dataset::new("none", Provenance::Memory, vec![], [2, 2, 1], vec![])
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
