//! Resizing of images, and conversion of channels.

use image::imageops::{FilterType, resize};
use image::{ImageBuffer, Luma, Pixel, Rgb};
use rayon::prelude::*;

/// Resizes images `[n, h, w, c]` with 1 or 3 channels to `[height, width]` by cubic interpolation (Catmull-Rom).
pub(crate) fn scaled(images: &[u8], [h, w, c]: [usize; 3], [height, width]: [usize; 2]) -> Vec<u8> {
    let (size, to) = ([w as u32, h as u32], [width as u32, height as u32]);
    let mut scaled = vec![0; images.len() / (h * w * c) * height * width * c];
    scaled
        .par_chunks_mut(height * width * c)
        .zip(images.par_chunks(h * w * c))
        .for_each(|(new, old)| {
            new.copy_from_slice(&match c {
                1 => one::<Luma<u8>>(old, size, to),
                _ => one::<Rgb<u8>>(old, size, to),
            });
        });
    scaled
}

/// Converts images `[n, h, w, 3]` to `[n, h, w, 1]` by luminance (ITU-R BT.709).
pub(crate) fn gray(images: &[u8]) -> Vec<u8> {
    images
        .as_chunks()
        .0
        .iter()
        .map(|&color| Rgb(color).to_luma().0[0])
        .collect()
}

fn one<P: Pixel<Subpixel = u8> + 'static>(
    image: &[u8],
    [w, h]: [u32; 2],
    [width, height]: [u32; 2],
) -> Vec<u8> {
    let image = ImageBuffer::<P, _>::from_raw(w, h, image.to_vec()).expect("the buffer has this size");
    resize(&image, width, height, FilterType::CatmullRom).into_raw()
}

#[cfg(test)]
mod tests {
    use crate::{Dataset, Provenance};

    #[test]
    fn shapes_stay_where_they_were() {
        // The right half white, in both a gray and a color image.
        for channels in [1, 3] {
            let pixels: Vec<u8> = (0..16 * 16)
                .flat_map(|i| vec![if i % 16 < 8 { 0 } else { 255 }; channels])
                .collect();
            let data = Dataset::new(
                "half",
                Provenance::Memory,
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
        let data = Dataset::new(
            "noise",
            Provenance::Memory,
            (0..=255).collect(),
            [16, 16, 1],
            vec![0],
        )
        .unwrap();
        assert_eq!(data.resized(16, 16), data);
    }
}
