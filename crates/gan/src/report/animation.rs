//! Animated PNGs: the sample grids of a run, and other frames.

use std::io::Cursor;

/// Maximum number of frames. Longer runs show equidistant grids, including the last.
const MAX_FRAMES: usize = 48;
/// Maximum size of all shown grid files together, in bytes.
const MAX_FILE_BYTES: u64 = 24 << 20;
/// Maximum memory for decoding one grid, in bytes.
const MAX_BYTES: usize = 64 << 20;
/// Duration of a frame, in hundredths of a second; the last frame is shown longer.
const DELAY: u16 = 20;
const LAST_DELAY: u16 = 250;

/// Indices of the grids to show, from their file sizes. All shown files together have at most [`MAX_FILE_BYTES`];
/// the last grid is always shown.
pub(crate) fn frames(sizes: &[u64]) -> Vec<usize> {
    let largest = sizes.iter().copied().max().unwrap_or(0).max(1);
    let affordable = usize::try_from(MAX_FILE_BYTES / largest).unwrap_or(MAX_FRAMES);
    let count = sizes.len();
    let shown = count.min(MAX_FRAMES).min(affordable.max(1));
    (1..=shown).map(|i| i * count / shown - 1).collect()
}

/// An animated PNG of the sample grids of a run, see [`animated_png`].
pub(crate) fn animation(grids: &[Vec<u8>]) -> Option<Vec<u8>> {
    animated_png(grids, [DELAY, LAST_DELAY])
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
pub fn animated_png(frames: &[Vec<u8>], [delay, last_delay]: [u16; 2]) -> Option<Vec<u8>> {
    let grids = frames;
    let last = decode(grids.last()?)?;
    let frames: Vec<Grid> = grids
        .iter()
        .filter_map(|grid| decode(grid))
        .filter(|grid| grid.kind == last.kind)
        .collect();
    let (width, height, color) = last.kind;
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(color);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_animated(u32::try_from(frames.len()).ok()?, 0).ok()?;
    let mut writer = encoder.write_header().ok()?;
    for (i, frame) in frames.iter().enumerate() {
        let delay = if i + 1 == frames.len() { last_delay } else { delay };
        writer.set_frame_delay(delay, 100).ok()?;
        writer.write_image_data(&frame.pixels).ok()?;
    }
    writer.finish().ok()?;
    Some(bytes)
}

struct Grid {
    kind: (u32, u32, png::ColorType),
    pixels: Vec<u8>,
}

/// Decodes a grid with 8 bits per channel.
fn decode(png: &[u8]) -> Option<Grid> {
    let limits = png::Limits { bytes: MAX_BYTES };
    let mut reader = png::Decoder::new_with_limits(Cursor::new(png), limits)
        .read_info()
        .ok()?;
    let size = reader.output_buffer_size().filter(|&size| size <= MAX_BYTES)?;
    let mut pixels = vec![0; size];
    let info = reader.next_frame(&mut pixels).ok()?;
    if info.bit_depth != png::BitDepth::Eight {
        return None;
    }
    pixels.truncate(info.buffer_size());
    Some(Grid {
        kind: (info.width, info.height, info.color_type),
        pixels,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::image_grid::sample_grid;
    use engraft_tensor::Tensor;

    fn grid(value: f32, size: usize) -> Vec<u8> {
        sample_grid(&Tensor::full([4, size, size, 1], value), 2)
    }

    #[test]
    fn every_grid_is_a_frame() {
        let grids = [grid(-1.0, 4), grid(0.0, 4), grid(1.0, 5), grid(1.0, 4)];
        let animation = animation(&grids).unwrap();
        let mut reader = png::Decoder::new(Cursor::new(&animation)).read_info().unwrap();
        assert_eq!(
            reader.info().animation_control.unwrap().num_frames,
            3,
            "the third has another size"
        );
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let mut corner = || {
            let info = reader.next_frame(&mut pixels).unwrap();
            pixels[(info.width as usize + 1) * 4]
        };
        assert_eq!([corner(), corner(), corner()], [0, 128, 255]);
    }

    #[test]
    fn invalid_grids_are_left_out() {
        assert_eq!(animation(&[]), None);
        assert_eq!(animation(&[grid(0.0, 4), b"no picture".to_vec()]), None);
        let cut = grid(0.0, 4);
        assert!(animation(&[cut[..cut.len() / 2].to_vec(), cut]).is_some());
    }

    #[test]
    fn long_runs_are_thinned() {
        assert_eq!(frames(&[10; 3]), [0, 1, 2]);
        let many = frames(&[10; 1000]);
        assert_eq!((many.len(), *many.last().unwrap()), (MAX_FRAMES, 999));
        assert!(many.is_sorted() && many[0] < 30);
        assert!(frames(&[]).is_empty());
        assert_eq!(frames(&[8 << 20; 100]), [32, 65, 99], "large grids are few");
        assert_eq!(frames(&[1 << 40, 1]), [1]);
    }
}
