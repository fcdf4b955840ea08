//! Grids of a run, made small enough for the report: fewer rows, or fewer pixels.

use super::page::Picture;
use std::io::Cursor;

/// Maximum size of an embedded still picture, in bytes.
const MAX_BYTES: usize = 260 << 10;
/// Maximum memory for decoding one grid, in bytes.
const MAX_MEMORY: usize = 64 << 20;
/// Largest grid file that is read, in bytes.
pub(super) const MAX_FILE_BYTES: u64 = 64 << 20;
/// Longest description that is read from a file, in bytes.
const MAX_DESCRIPTION: usize = 2000;
/// Pictures up to this width, in pixels, are shown at twice their size.
const SMALL: u32 = 480;
/// The keyword for a picture's text in PNG files.
pub(super) const DESCRIPTION: &str = "Description";

/// Pixels with 8 bits per channel.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pixels {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) color: png::ColorType,
    pub(super) bytes: Vec<u8>,
    /// The text of the file, if it has any.
    pub(super) description: Option<String>,
}

/// How a picture that is too large becomes smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shrink {
    /// Half of the grid's rows, down to two; then half of the pixels a side. Has the height of an image.
    Rows(usize),
    /// Half of the pixels a side.
    Pixels,
}

/// A picture for the report from a PNG file; `None` if it cannot be decoded.
///
/// Without `caption` it is the file's description.
pub(super) fn picture(file: &[u8], shrink: Shrink, caption: Option<&str>) -> Option<Picture> {
    let mut pixels = Pixels::decode(file)?.unenlarged();
    let description = pixels.description.take();
    let caption = caption.map(String::from).or(description).unwrap_or_default();
    let mut png = pixels.encode();
    let mut note = "";
    while png.len() > MAX_BYTES && pixels.width.min(pixels.height) > 1 {
        let fewer = match shrink {
            Shrink::Rows(height) => pixels.half_of_the_rows(height),
            Shrink::Pixels => None,
        };
        (pixels, note) = match fewer {
            Some(fewer) => (fewer, " The file in the run's directory has more rows."),
            None => (
                pixels.halved(),
                " The file in the run's directory has more pixels.",
            ),
        };
        png = pixels.encode();
    }
    Some(Picture {
        png,
        size: pixels.size_on_page(),
        caption: caption + note,
    })
}

impl Pixels {
    /// Decodes a PNG file with 8 bits per channel.
    pub(super) fn decode(file: &[u8]) -> Option<Self> {
        let limits = png::Limits { bytes: MAX_MEMORY };
        let mut reader = png::Decoder::new_with_limits(Cursor::new(file), limits)
            .read_info()
            .ok()?;
        let size = reader.output_buffer_size().filter(|&size| size <= MAX_MEMORY)?;
        let mut bytes = vec![0; size];
        let info = reader.next_frame(&mut bytes).ok()?;
        if info.bit_depth != png::BitDepth::Eight || info.color_type == png::ColorType::Indexed {
            return None;
        }
        bytes.truncate(info.buffer_size());
        let texts = reader.info().utf8_text.iter();
        let description = texts.filter(|text| text.keyword == DESCRIPTION).find_map(|text| {
            let text = text.get_text().ok()?;
            (text.len() <= MAX_DESCRIPTION).then_some(text)
        });
        Some(Self {
            width: info.width as usize,
            height: info.height as usize,
            color: info.color_type,
            bytes,
            description,
        })
    }

    /// All frames of an animated PNG file that has only whole frames; at most `most`.
    pub(super) fn decode_frames(file: &[u8], most: usize) -> Option<Vec<Self>> {
        let first = Self::decode(file)?;
        let mut reader = png::Decoder::new(Cursor::new(file)).read_info().ok()?;
        let count = reader
            .info()
            .animation_control
            .map_or(1, |c| c.num_frames as usize);
        let mut bytes = vec![0; first.bytes.len()];
        let mut frames = Vec::new();
        for _ in 0..count.min(most).min(MAX_MEMORY / first.bytes.len().max(1)) {
            let info = reader.next_frame(&mut bytes).ok()?;
            if info.buffer_size() != bytes.len() {
                return None;
            }
            frames.push(Self {
                bytes: bytes.clone(),
                ..first.clone()
            });
        }
        Some(frames)
    }

    /// Number of bytes of a pixel.
    fn channels(&self) -> usize {
        self.color.samples()
    }

    /// The original of a picture whose every pixel is there 2 x 2 times, otherwise the same picture.
    pub(super) fn unenlarged(self) -> Self {
        let c = self.channels();
        let line = self.width * c;
        let is_enlarged = self.width.is_multiple_of(2)
            && self.height.is_multiple_of(2)
            && self.bytes.chunks_exact(2 * line).all(|pair| {
                let (first, second) = pair.split_at(line);
                first == second && first.chunks_exact(2 * c).all(|two| two[..c] == two[c..])
            });
        if !is_enlarged {
            return self;
        }
        let lines = self.bytes.chunks_exact(2 * line);
        let bytes = lines
            .flat_map(|pair| pair[..line].chunks_exact(2 * c))
            .flat_map(|two| &two[..c])
            .copied()
            .collect();
        Self {
            width: self.width / 2,
            height: self.height / 2,
            bytes,
            ..self
        }
    }

    /// The left upper corner; the whole picture if it is not larger.
    pub(super) fn corner(&self, width: usize, height: usize) -> Self {
        let (width, height) = (width.min(self.width), height.min(self.height));
        let c = self.channels();
        let lines = self.bytes.chunks_exact(self.width * c).take(height);
        Self {
            width,
            height,
            color: self.color,
            bytes: lines.flat_map(|line| &line[..width * c]).copied().collect(),
            description: None,
        }
    }

    /// The upper half of a grid's rows, an even number; `None` if there are only two.
    fn half_of_the_rows(&self, height: usize) -> Option<Self> {
        let row = height + super::image_grid::GAP;
        let rows = self.height / row;
        (rows > 2).then(|| {
            let kept = (rows / 2).next_multiple_of(2).min(rows - 1);
            self.corner(self.width, kept * row + super::image_grid::GAP)
        })
    }

    /// Half of the pixels a side, each the mean of 2 x 2.
    pub(super) fn halved(&self) -> Self {
        let c = self.channels();
        let (width, height) = ((self.width / 2).max(1), (self.height / 2).max(1));
        let at = |y: usize, x: usize, k: usize| {
            let (y, x) = (y.min(self.height - 1), x.min(self.width - 1));
            u32::from(self.bytes[(y * self.width + x) * c + k])
        };
        let mut bytes = Vec::with_capacity(width * height * c);
        for y in 0..height {
            for x in 0..width {
                for k in 0..c {
                    let (y, x) = (2 * y, 2 * x);
                    let sum = at(y, x, k) + at(y, x + 1, k) + at(y + 1, x, k) + at(y + 1, x + 1, k);
                    bytes.push(((sum + 2) / 4) as u8);
                }
            }
        }
        Self {
            width,
            height,
            color: self.color,
            bytes,
            description: None,
        }
    }

    /// The size on the page: small pictures are enlarged.
    pub(super) fn size_on_page(&self) -> [u32; 2] {
        let [width, height] = [self.width, self.height].map(|side| u32::try_from(side).unwrap_or(u32::MAX));
        let factor = if width <= SMALL { 2 } else { 1 };
        [width, height].map(|side| side.saturating_mul(factor))
    }

    fn encode(&self) -> Vec<u8> {
        encoded(std::slice::from_ref(self), [0, 0]).unwrap_or_default()
    }
}

/// A PNG file of frames of one size and color type, animated if there are several.
///
/// `delays`: duration of a frame and of the last one, in hundredths of a second. `None` without frames.
pub(super) fn encoded(frames: &[Pixels], [delay, last_delay]: [u16; 2]) -> Option<Vec<u8>> {
    let first = frames.first()?;
    let [width, height] = [first.width, first.height].map(|side| u32::try_from(side).ok());
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width?, height?);
    encoder.set_color(first.color);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::High);
    if let Some(text) = &first.description {
        encoder.add_itxt_chunk(DESCRIPTION.into(), text.clone()).ok()?;
    }
    if frames.len() > 1 {
        encoder.set_animated(u32::try_from(frames.len()).ok()?, 0).ok()?;
    }
    let mut writer = encoder.write_header().ok()?;
    for (i, frame) in frames.iter().enumerate() {
        if frames.len() > 1 {
            let delay = if i + 1 == frames.len() { last_delay } else { delay };
            writer.set_frame_delay(delay, 100).ok()?;
        }
        writer.write_image_data(&frame.bytes).ok()?;
    }
    writer.finish().ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::image_grid::sample_grid;
    use engraft_tensor::Tensor;
    use rand::SeedableRng;
    use rand_pcg::Pcg64;

    fn noise(shape: [usize; 4]) -> Tensor {
        Tensor::uniform(shape, -1.0, 1.0, &mut Pcg64::seed_from_u64(1))
    }

    fn size(png: &[u8]) -> [usize; 2] {
        let pixels = Pixels::decode(png).unwrap();
        [pixels.width, pixels.height]
    }

    #[test]
    fn enlarged_grids_are_embedded_in_their_own_size() {
        let grid = sample_grid(&noise([4, 4, 4, 3]), 2);
        assert_eq!(size(&grid), [28, 28]);
        let found = picture(&grid, Shrink::Rows(4), Some("four")).unwrap();
        assert_eq!((size(&found.png), found.size), ([14, 14], [28, 28]));
        assert_eq!(found.caption, "four");
        // A large grid is not enlarged, and stays.
        let grid = sample_grid(&noise([1, 70, 70, 1]), 1);
        assert_eq!(size(&picture(&grid, Shrink::Pixels, None).unwrap().png), [74, 74]);
    }

    #[test]
    fn large_pictures_lose_rows_then_pixels() {
        let grid = sample_grid(&noise([64, 64, 64, 3]), 8);
        let fewer = picture(&grid, Shrink::Rows(64), None).unwrap();
        assert!(fewer.png.len() <= MAX_BYTES);
        assert_eq!(size(&fewer.png), [530, 134], "two rows");
        let smaller = picture(&grid, Shrink::Pixels, None).unwrap();
        assert!(smaller.png.len() <= MAX_BYTES && size(&smaller.png) == [265, 265]);
        let huge = sample_grid(&noise([4, 256, 256, 3]), 2);
        assert!(picture(&huge, Shrink::Rows(256), None).unwrap().png.len() <= MAX_BYTES);
    }

    #[test]
    fn a_description_is_read_and_damage_is_not() {
        let mut pixels = Pixels::decode(&sample_grid(&noise([1, 4, 4, 1]), 1)).unwrap();
        pixels.description = Some("a < b".into());
        let file = pixels.encode();
        assert_eq!(picture(&file, Shrink::Pixels, None).unwrap().caption, "a < b");
        assert_eq!(picture(&file[..file.len() / 2], Shrink::Pixels, None), None);
        assert_eq!(picture(b"no picture", Shrink::Pixels, None), None);
    }
}
