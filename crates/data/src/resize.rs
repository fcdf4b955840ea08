//! Data sets at another size.

use crate::dataset::Dataset;
use image::imageops::{FilterType, resize};
use image::{ImageBuffer, Luma, Pixel, Rgb};
use rayon::prelude::*;

impl Dataset {
    /// The images scaled to another height and width, by cubic interpolation (Catmull and Rom); the very same ones if they
    /// have that size. Name, source and labels stay.
    ///
    /// ```
    /// use engraft_data::{Dataset, Source};
    /// let grey = Dataset::new("grey", Source::Memory, vec![90; 16 * 16], [16, 16, 1], vec![0])?;
    /// let larger = grey.resized(28, 28);
    /// assert_eq!((larger.image_size(), larger.image(0)), ([28, 28, 1], &[90; 784][..]));
    /// # Ok::<(), engraft_data::DataError>(())
    /// ```
    ///
    /// # Panics
    /// If a size is 0, or the images have other than 1 or 3 channels.
    #[must_use]
    #[track_caller]
    pub fn resized(&self, height: usize, width: usize) -> Self {
        let [h, w, c] = self.image_size();
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
        let to = [width as u32, height as u32];
        let mut images = vec![0; self.len() * height * width * c];
        images
            .par_chunks_mut(height * width * c)
            .zip(self.images().par_chunks(h * w * c))
            .for_each(|(new, old)| {
                let size = [w as u32, h as u32];
                new.copy_from_slice(&match c {
                    1 => scaled::<Luma<u8>>(old, size, to),
                    _ => scaled::<Rgb<u8>>(old, size, to),
                });
            });
        self.with_images(images, [height, width, c])
    }
}

fn scaled<P: Pixel<Subpixel = u8> + 'static>(
    image: &[u8],
    [w, h]: [u32; 2],
    [width, height]: [u32; 2],
) -> Vec<u8> {
    let image = ImageBuffer::<P, _>::from_raw(w, h, image.to_vec()).expect("an image of this size");
    resize(&image, width, height, FilterType::CatmullRom).into_raw()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Source;

    #[test]
    fn shapes_stay_where_they_were() {
        // The right half white, in both a grey and a colour image.
        for channels in [1, 3] {
            let pixels: Vec<u8> = (0..16 * 16)
                .flat_map(|i| vec![if i % 16 < 8 { 0 } else { 255 }; channels])
                .collect();
            let data = Dataset::new(
                "half",
                Source::Memory,
                [pixels.clone(), pixels].concat(),
                [16, 16, channels],
                vec![3, 4],
            );
            let larger = data.unwrap().resized(28, 32);
            assert_eq!(
                (larger.image_size(), larger.labels()),
                ([28, 32, channels], &[3, 4][..])
            );
            for i in 0..2 {
                for (at, &value) in larger.image(i).iter().enumerate() {
                    match at / channels % 32 {
                        0..14 => assert_eq!(value, 0),
                        18..32 => assert_eq!(value, 255),
                        _ => {}
                    }
                }
            }
        }
    }

    #[test]
    fn the_same_size_changes_nothing() {
        let data = Dataset::new("noise", Source::Memory, (0..=255).collect(), [16, 16, 1], vec![0]).unwrap();
        assert_eq!(data.resized(16, 16), data);
    }
}
