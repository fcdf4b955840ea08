//! Animated PNGs: the sample grids of a run in the report, and other frames.

use super::embedded::{Pixels, encoded};
use super::image_grid::GAP;
use super::page::Picture;

/// Maximum number of frames. Longer runs show equidistant grids, including the last.
const MAX_FRAMES: usize = 32;
/// Maximum size of all shown grid files together, in bytes.
const MAX_FILE_BYTES: u64 = 24 << 20;
/// Maximum size of the embedded animation, in bytes.
const MAX_BYTES: usize = 380 << 10;
/// Largest side of the animation, in pixels.
const MAX_SIDE: usize = 300;
/// Duration of a frame, in hundredths of a second; the last frame is shown longer.
const DELAYS: [u16; 2] = [20, 250];

/// Indices of the grids to show, from their file sizes. All shown files together have at most [`MAX_FILE_BYTES`];
/// the last grid is always shown.
pub(super) fn frames(sizes: &[u64]) -> Vec<usize> {
    let largest = sizes.iter().copied().max().unwrap_or(0).max(1);
    let affordable = usize::try_from(MAX_FILE_BYTES / largest).unwrap_or(MAX_FRAMES);
    equidistant(sizes.len(), MAX_FRAMES.min(affordable.max(1)))
}

/// At most `most` of `count` indices, equidistant, with the last.
fn equidistant(count: usize, most: usize) -> Vec<usize> {
    let shown = count.min(most);
    (1..=shown).map(|i| i * count / shown - 1).collect()
}

/// An animation of grids, which are PNG files, with the images `[h, w]` of their left upper corners.
///
/// Grids with another size or color type than the last are left out. `None` if fewer than two are left.
pub(super) fn animation(grids: &[Vec<u8>], [h, w]: [usize; 2], caption: &str) -> Option<Picture> {
    let fitting = |side: usize| (MAX_SIDE.saturating_sub(GAP) / (side + GAP)).max(1) * (side + GAP) + GAP;
    let small = |file: &Vec<u8>| {
        let mut pixels = Pixels::decode(file)?.unenlarged().corner(fitting(w), fitting(h));
        while pixels.width.max(pixels.height) > MAX_SIDE {
            pixels = pixels.halved();
        }
        Some(pixels)
    };
    let all: Vec<Pixels> = grids.iter().filter_map(small).collect();
    let last = kind(all.last()?);
    let all: Vec<Pixels> = all.into_iter().filter(|pixels| kind(pixels) == last).collect();
    picture(&all, DELAYS, MAX_BYTES, caption)
}

/// An animated PNG (APNG) of frames that are PNG files; it repeats without end.
///
/// - `frames`: frames with another size or color type than the last are left out.
/// - `delays`: duration of a frame and of the last frame, in hundredths of a second.
///
/// ```
/// use engraft_gan::{animated_png, image_png};
/// use engraft_tensor::Tensor;
///
/// let frames = [-1.0, 1.0].map(|value| image_png(&Tensor::full([1, 28, 28, 1], value)));
/// assert!(animated_png(&frames, [8, 8]).is_some_and(|file| file.starts_with(b"\x89PNG")));
/// ```
///
/// `None` if there is no frame or the last one cannot be decoded.
pub fn animated_png(frames: &[Vec<u8>], delays: [u16; 2]) -> Option<Vec<u8>> {
    let last = Pixels::decode(frames.last()?)?;
    let same_kind = |pixels: &Pixels| kind(pixels) == kind(&last);
    let frames: Vec<Pixels> = frames
        .iter()
        .filter_map(|file| Pixels::decode(file))
        .filter(same_kind)
        .collect();
    encoded(&frames, delays)
}

/// Size and color type.
fn kind(pixels: &Pixels) -> (usize, usize, png::ColorType) {
    (pixels.width, pixels.height, pixels.color)
}

/// An animation with at most `max_bytes`: first with fewer frames, then with fewer pixels.
pub(super) fn picture(all: &[Pixels], delays: [u16; 2], max_bytes: usize, caption: &str) -> Option<Picture> {
    let mut frames = all.to_vec();
    loop {
        if frames.len() < 2 {
            return None;
        }
        let png = encoded(&frames, delays)?;
        if png.len() <= max_bytes {
            return Some(Picture {
                png,
                size: frames[0].size_on_page(),
                caption: caption.into(),
            });
        }
        if frames.len() > 12 {
            let kept = equidistant(frames.len(), frames.len() / 2);
            frames = kept.into_iter().map(|i| frames[i].clone()).collect();
        } else if frames[0].width.min(frames[0].height) > 16 {
            frames = frames.iter().map(Pixels::halved).collect();
        } else {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::image_grid::sample_grid;
    use engraft_tensor::Tensor;
    use rand::SeedableRng;
    use rand_pcg::Pcg64;
    use std::io::Cursor;

    fn grid(value: f32, size: usize) -> Vec<u8> {
        sample_grid(&Tensor::full([4, size, size, 1], value), 2)
    }

    fn frame_count(png: &[u8]) -> u32 {
        let reader = png::Decoder::new(Cursor::new(png)).read_info().unwrap();
        reader.info().animation_control.unwrap().num_frames
    }

    #[test]
    fn every_grid_is_a_frame() {
        let grids = [grid(-1.0, 4), grid(0.0, 4), grid(1.0, 5), grid(1.0, 4)];
        let animation = animation(&grids, [4, 4], "grids").unwrap();
        assert_eq!(animation.size, [28, 28]);
        assert_eq!(frame_count(&animation.png), 3, "the third has another size");
        let mut reader = png::Decoder::new(Cursor::new(&animation.png))
            .read_info()
            .unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let mut corner = || {
            let info = reader.next_frame(&mut pixels).unwrap();
            pixels[(info.width as usize + 1) * 2]
        };
        assert_eq!([corner(), corner(), corner()], [0, 128, 255]);
    }

    #[test]
    fn invalid_grids_are_left_out() {
        assert_eq!(animation(&[], [4, 4], ""), None);
        let sound = grid(0.0, 4);
        let cut = sound[..sound.len() / 2].to_vec();
        assert_eq!(animation(&[cut, b"no picture".to_vec(), sound], [4, 4], ""), None);
    }

    #[test]
    fn an_animation_of_noise_stays_small() {
        let noise = |seed| {
            let images = Tensor::uniform([64, 64, 64, 3], -1.0, 1.0, &mut Pcg64::seed_from_u64(seed));
            sample_grid(&images, 8)
        };
        let found = animation(&[1, 2, 3].map(noise), [64, 64], "").unwrap();
        assert!(found.png.len() <= MAX_BYTES, "{}", found.png.len());
        assert_eq!(frame_count(&found.png), 3);
        let large = Tensor::uniform([4, 256, 256, 3], -1.0, 1.0, &mut Pcg64::seed_from_u64(1));
        let found = animation(&[sample_grid(&large, 2), sample_grid(&large, 2)], [256, 256], "").unwrap();
        assert_eq!(found.size, [260, 260], "one image, of half its size and enlarged");
    }

    #[test]
    fn long_runs_are_thinned() {
        assert_eq!(frames(&[10; 3]), [0, 1, 2]);
        let many = frames(&[10; 1000]);
        assert_eq!((many.len(), *many.last().unwrap()), (MAX_FRAMES, 999));
        assert!(many.is_sorted() && many[0] < 40);
        assert!(frames(&[]).is_empty());
        assert_eq!(frames(&[8 << 20; 100]), [32, 65, 99], "large grids are few");
        assert_eq!(frames(&[1 << 40, 1]), [1]);
    }
}
