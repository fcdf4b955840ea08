//! Average pooling of images to few values, so that their covariance matrix is small.

use crate::error::GanError;
use rayon::prelude::*;

/// Most values of a reduced image: 16x16 gray pixels or 10x10 color pixels fit.
pub(super) const MOST_VALUES: usize = 300;

/// Average pooling with square windows. Windows at the right and lower edges may be smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pooling {
    image: [usize; 3],
    side: usize,
}

impl Pooling {
    /// The smallest windows that reduce images `[h, w, c]` to at most [`MOST_VALUES`] values.
    ///
    /// # Errors
    /// [`GanError::Config`] if the images have more channels than that.
    pub(super) fn new(image: [usize; 3]) -> Result<Self, GanError> {
        let [h, w, c] = image;
        let fits = |&side: &usize| {
            h.div_ceil(side)
                .saturating_mul(w.div_ceil(side))
                .saturating_mul(c)
                <= MOST_VALUES
        };
        match (1..=h.max(w).max(1)).find(fits) {
            Some(side) => Ok(Self { image, side }),
            None => Err(GanError::Config {
                problems: vec![format!(
                    "clusters (pseudo_labels) support images of at most {MOST_VALUES} channels, found {c}; use images with fewer \
                     channels, or no clusters"
                )],
            }),
        }
    }

    /// Height, width and channels of the images.
    pub(super) fn image(&self) -> [usize; 3] {
        self.image
    }

    /// Height and width of the reduced images.
    pub(super) fn size(&self) -> [usize; 2] {
        let [h, w, _] = self.image;
        [h.div_ceil(self.side), w.div_ceil(self.side)]
    }

    /// Number of values of a reduced image.
    pub(super) fn values(&self) -> usize {
        let [h, w] = self.size();
        h * w * self.image[2]
    }

    /// Reduces images `[n, h, w, c]` to `[n, values]`.
    pub(super) fn apply(&self, images: &[f32]) -> Vec<f32> {
        let numbers = self.image.iter().product::<usize>().max(1);
        images
            .par_chunks_exact(numbers)
            .flat_map_iter(|image| self.one(image))
            .collect()
    }

    fn one(&self, image: &[f32]) -> Vec<f32> {
        let [h, w, c] = self.image;
        let [rows, columns] = self.size();
        let mut sums = vec![0.0_f32; rows * columns * c];
        for (i, pixel) in image.chunks_exact(c.max(1)).enumerate() {
            let (y, x) = (i / w / self.side, i % w / self.side);
            for (sum, value) in sums[(y * columns + x) * c..][..c].iter_mut().zip(pixel) {
                *sum += value;
            }
        }
        let length = |at: usize, whole: usize| (whole - at * self.side).min(self.side);
        for (i, cell) in sums.chunks_exact_mut(c.max(1)).enumerate() {
            let pixels = (length(i / columns, h) * length(i % columns, w)) as f32;
            cell.iter_mut().for_each(|sum| *sum /= pixels);
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_averaged() {
        let pooling = Pooling {
            image: [3, 4, 1],
            side: 2,
        };
        let image: Vec<f32> = (0..12).map(|i| i as f32).collect();
        // The lower windows have one row.
        assert_eq!(pooling.apply(&image), [2.5, 4.5, 8.5, 10.5]);
        let twice = [image.clone(), image].concat();
        assert_eq!(pooling.apply(&twice).len(), 2 * pooling.values());
    }

    #[test]
    fn windows_keep_each_channel() {
        let pooling = Pooling {
            image: [2, 2, 3],
            side: 2,
        };
        let image: Vec<f32> = (0..12).map(|i| (i % 3) as f32).collect();
        assert_eq!(pooling.apply(&image), [0.0, 1.0, 2.0]);
    }

    #[test]
    fn images_have_at_most_300_values() {
        for (image, size) in [
            ([28, 28, 1], [14, 14]),
            ([16, 16, 1], [16, 16]),
            ([64, 64, 3], [10, 10]),
            ([256, 256, 3], [10, 10]),
            ([1, 9000, 1], [1, 300]),
        ] {
            assert_eq!(Pooling::new(image).unwrap().size(), size, "{image:?}");
        }
        assert!(matches!(Pooling::new([4, 4, 301]), Err(GanError::Config { .. })));
    }
}
