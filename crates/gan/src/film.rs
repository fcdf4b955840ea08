//! The sample sheets of a run, one after the other, as an animated PNG.

use std::io::Cursor;

/// Frames of a film at most: of a longer run, sheets at equal distances are taken, and the last.
const MOST_FRAMES: usize = 48;
/// Bytes that decoding one sheet may take.
const MOST_BYTES: usize = 64 << 20;
/// Hundredths of a second that a sheet and the last one are shown.
const DELAY: u16 = 20;
const LAST_DELAY: u16 = 250;

/// Which of `count` sheets are shown.
pub(crate) fn frames(count: usize) -> Vec<usize> {
    let shown = count.min(MOST_FRAMES);
    (1..=shown).map(|i| i * count / shown - 1).collect()
}

/// An animated PNG of sheets given as PNG files, all of the size and kind of the last; others are left out.
///
/// `None` if the last one cannot be decoded or there is none.
pub(crate) fn film(sheets: &[Vec<u8>]) -> Option<Vec<u8>> {
    let last = decode(sheets.last()?)?;
    let frames: Vec<Sheet> = sheets
        .iter()
        .filter_map(|sheet| decode(sheet))
        .filter(|sheet| sheet.kind == last.kind)
        .collect();
    let (width, height, color) = last.kind;
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(color);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_animated(u32::try_from(frames.len()).ok()?, 0).ok()?;
    let mut writer = encoder.write_header().ok()?;
    for (i, frame) in frames.iter().enumerate() {
        let delay = if i + 1 == frames.len() { LAST_DELAY } else { DELAY };
        writer.set_frame_delay(delay, 100).ok()?;
        writer.write_image_data(&frame.pixels).ok()?;
    }
    writer.finish().ok()?;
    Some(bytes)
}

struct Sheet {
    kind: (u32, u32, png::ColorType),
    pixels: Vec<u8>,
}

/// Decodes a sheet of eight bits a channel.
fn decode(png: &[u8]) -> Option<Sheet> {
    let limits = png::Limits { bytes: MOST_BYTES };
    let mut reader = png::Decoder::new_with_limits(Cursor::new(png), limits)
        .read_info()
        .ok()?;
    let size = reader.output_buffer_size().filter(|&size| size <= MOST_BYTES)?;
    let mut pixels = vec![0; size];
    let info = reader.next_frame(&mut pixels).ok()?;
    if info.bit_depth != png::BitDepth::Eight {
        return None;
    }
    pixels.truncate(info.buffer_size());
    Some(Sheet {
        kind: (info.width, info.height, info.color_type),
        pixels,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::sample_grid;
    use engraft_tensor::Tensor;

    fn sheet(value: f32, size: usize) -> Vec<u8> {
        sample_grid(&Tensor::full([4, size, size, 1], value), 2)
    }

    #[test]
    fn every_sheet_is_a_frame() {
        let sheets = [sheet(-1.0, 4), sheet(0.0, 4), sheet(1.0, 5), sheet(1.0, 4)];
        let film = film(&sheets).unwrap();
        let mut reader = png::Decoder::new(Cursor::new(&film)).read_info().unwrap();
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
    fn what_is_no_sheet() {
        assert_eq!(film(&[]), None);
        assert_eq!(film(&[sheet(0.0, 4), b"no picture".to_vec()]), None);
        let cut = sheet(0.0, 4);
        assert!(film(&[cut[..cut.len() / 2].to_vec(), cut]).is_some());
    }

    #[test]
    fn long_runs_are_thinned() {
        assert_eq!(frames(3), [0, 1, 2]);
        let many = frames(1000);
        assert_eq!((many.len(), *many.last().unwrap()), (MOST_FRAMES, 999));
        assert!(many.is_sorted() && many[0] < 30);
        assert!(frames(0).is_empty());
    }
}
