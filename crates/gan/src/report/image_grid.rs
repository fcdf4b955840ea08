//! Grids of images as PNG.

use engraft_base::{to_byte, to_bytes};
use engraft_tensor::Tensor;

/// Pixels between two images, before enlarging.
pub(super) const GAP: usize = 2;
/// Pixels between a first row that is set apart and the rest, before enlarging.
const WIDE_GAP: usize = 8;
/// Enlargement factor of small images.
const SCALE: usize = 2;
/// Images up to this side length, in pixels, are enlarged.
const SMALL_SIDE: usize = 64;
/// Gray value of the gaps.
const GAP_GRAY: u8 = 48;

/// A PNG grid of images with `columns` columns. Images up to 64 pixels a side are enlarged by a factor of 2.
///
/// *Shapes*: `images [n, h, w, c]` with values in `[-1, 1]`; values outside are clipped. `c` is 1 (gray), 2 (gray
/// and alpha), 3 (RGB) or 4 (RGBA).
///
/// ```
/// use engraft_gan::sample_grid;
/// use engraft_tensor::Tensor;
///
/// let png = sample_grid(&Tensor::zeros([6, 28, 28, 1]), 3); // 2 rows of 3 images
/// assert_eq!(&png[1..4], b"PNG");
/// ```
///
/// # Panics
/// If the images have another shape, or `n` or `columns` is 0.
#[track_caller]
pub fn sample_grid(images: &Tensor, columns: usize) -> Vec<u8> {
    grid(images, columns, GAP)
}

/// As [`sample_grid`], with the first row set apart from the rest.
#[track_caller]
pub(super) fn grid_below_first_row(images: &Tensor, columns: usize) -> Vec<u8> {
    grid(images, columns, WIDE_GAP)
}

#[track_caller]
fn grid(images: &Tensor, columns: usize, below_first: usize) -> Vec<u8> {
    let &[n, h, w, c] = images.shape() else {
        panic!(
            "sample_grid: images must be [n, h, w, c], got {:?}",
            images.shape()
        )
    };
    assert!(
        n > 0 && columns > 0 && (1..=4).contains(&c),
        "sample_grid: needs at least one image with 1 to 4 channels and one column, got {:?} and {columns}",
        images.shape()
    );
    let rows = n.div_ceil(columns);
    let apart = if rows > 1 { below_first - GAP } else { 0 };
    let height = rows * (h + GAP) + GAP + apart;
    let width = columns * (w + GAP) + GAP;
    let mut grid = vec![GAP_GRAY; height * width * c];
    for (i, image) in images.as_slice().chunks_exact(h * w * c).enumerate() {
        let row = i / columns;
        let top = GAP + row * (h + GAP) + if row > 0 { apart } else { 0 };
        let left = GAP + (i % columns) * (w + GAP);
        for (y, line) in image.chunks_exact(w * c).enumerate() {
            let at = ((top + y) * width + left) * c;
            for (pixel, &value) in grid[at..at + w * c].iter_mut().zip(line) {
                *pixel = to_byte(value);
            }
        }
    }
    if h.max(w) > SMALL_SIDE {
        return encode(&grid, width, height, c);
    }
    encode(&enlarge(&grid, width, c), width * SCALE, height * SCALE, c)
}

/// A PNG of one image in its own size, converted to bytes as in [`sample_grid`].
///
/// *Shapes*: `[1, h, w, c]` with 1 to 4 channels.
///
/// # Panics
/// If the image has another shape.
#[track_caller]
pub fn image_png(image: &Tensor) -> Vec<u8> {
    let &[1, h, w, c @ 1..=4] = image.shape() else {
        panic!(
            "image_png: expected [1, h, w, c] with 1 to 4 channels, got {:?}",
            image.shape()
        )
    };
    encode(&to_bytes(image.as_slice()), w, h, c)
}

fn enlarge(grid: &[u8], width: usize, c: usize) -> Vec<u8> {
    let mut large = Vec::with_capacity(grid.len() * SCALE * SCALE);
    for line in grid.chunks_exact(width * c) {
        for _ in 0..SCALE {
            for pixel in line.chunks_exact(c) {
                for _ in 0..SCALE {
                    large.extend_from_slice(pixel);
                }
            }
        }
    }
    large
}

fn encode(pixels: &[u8], width: usize, height: usize, c: usize) -> Vec<u8> {
    let size = |n: usize| u32::try_from(n).expect("a grid has fewer than 2^32 pixels a side");
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, size(width), size(height));
    encoder.set_color(match c {
        1 => png::ColorType::Grayscale,
        2 => png::ColorType::GrayscaleAlpha,
        3 => png::ColorType::Rgb,
        _ => png::ColorType::Rgba,
    });
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().expect("a header in memory");
    writer
        .write_image_data(pixels)
        .expect("the number of pixels in the header");
    writer.finish().expect("an end in memory");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_come_back() {
        let images = Tensor::from_vec([2, 1, 2, 1], vec![-1.0, 1.0, 0.0, f32::NAN]);
        let bytes = sample_grid(&images, 2);
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes))
            .read_info()
            .unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.width, info.height), (20, 10));
        let at = |y: usize, x: usize| pixels[2 * y * 20 + 2 * x];
        assert_eq!(
            [at(2, 2), at(2, 3), at(2, 6), at(2, 7), at(0, 0)],
            [0, 255, 128, 0, GAP_GRAY]
        );
    }

    #[test]
    fn large_images_keep_their_size() {
        let size = |side: usize| {
            let bytes = sample_grid(&Tensor::zeros([2, side, side, 3]), 2);
            let reader = png::Decoder::new(std::io::Cursor::new(bytes))
                .read_info()
                .unwrap();
            (reader.info().width, reader.info().height)
        };
        assert_eq!(size(64), (268, 136));
        assert_eq!(size(65), (136, 69));
    }

    #[test]
    fn one_to_four_channels_have_a_picture() {
        for c in 1..=4 {
            let bytes = sample_grid(&Tensor::zeros([3, 2, 2, c]), 2);
            let mut reader = png::Decoder::new(std::io::Cursor::new(bytes))
                .read_info()
                .unwrap();
            let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
            let info = reader.next_frame(&mut pixels).unwrap();
            assert_eq!((info.width, info.height), (20, 20));
            assert_eq!(info.color_type.samples(), c);
            assert_eq!(pixels[(2 * 2 * 20 + 2 * 2) * c..][..c], [128; 4][..c]);
        }
    }
}
