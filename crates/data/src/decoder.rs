//! Decoding of the formats, within limits of memory, behind a guard against panics.

use std::any::Any;
use std::cell::Cell;
use std::io::Cursor;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use image::codecs::gif::GifDecoder;
use image::metadata::Orientation;
use image::{
    AnimationDecoder, ColorType, DynamicImage, ImageDecoder, ImageFormat, ImageReader, ImageResult, Limits,
};

use crate::jpeg_integrity;
use crate::memory_gate::{self, Share};
use crate::report::Note;

/// Maximum side of a picture, in pixels.
const MAX_SIDE: u32 = 16_384;
/// Maximum memory of one decoded picture, in bytes: 89 megapixels of 8 bits in color.
const MAX_MEMORY: u64 = 256 << 20;
/// Memory that decoding and scaling need, as a multiple of the decoded picture: the picture, a copy, and tables.
const COPIES: u64 = 3;
/// Maximum memory of what a PNG file has besides its pixels, in bytes: a color profile, texts and EXIF data.
const MAX_METADATA: u64 = 64 << 20;

/// The kinds of left-out files that are damaged, and of those that are something else.
pub(crate) const DAMAGED: &str = "damaged";
pub(crate) const OTHER_KIND: &str = "not a picture in a supported format";

/// What the header of a picture says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) format: ImageFormat,
    /// Height and width, before EXIF rotation.
    pub(crate) size: [usize; 2],
    /// Whether it has more than 8 bits per channel.
    pub(crate) is_deep: bool,
}

impl Header {
    /// Reads the header from the start of a file. `None` if it is not a picture, or its header is longer.
    pub(crate) fn read(start: &[u8]) -> Option<Self> {
        let format = format_of(start)?;
        let read = || {
            let mut reader = ImageReader::with_format(Cursor::new(start), format);
            reader.limits(limits(None, MAX_METADATA));
            let decoder = reader.into_decoder().ok()?;
            Some((decoder.dimensions(), decoder.color_type()))
        };
        let ((width, height), color) = quietly(read).ok().flatten()?;
        (width > 0 && height > 0).then(|| Self {
            format,
            size: [height as usize, width as usize],
            is_deep: is_deep(color),
        })
    }
}

/// A decoded picture, upright.
#[derive(Debug)]
pub(crate) struct Upright {
    pub(crate) picture: DynamicImage,
    /// How it was turned, and whether it is one of several frames.
    pub(crate) notes: Vec<Note>,
    /// Its memory.
    pub(crate) share: Share,
}

/// Decodes a picture and turns it upright: the orientation of the camera is in its EXIF data, not in its pixels.
///
/// If `strict`, a JPEG file with incomplete data is an error. Otherwise its picture is what the decoder makes of it.
pub(crate) fn decode(bytes: &[u8], strict: bool) -> Result<Upright, Note> {
    guarded(|| decode_unguarded(bytes, strict))
}

/// Runs a decoder. A panic becomes a note with its message.
fn guarded<R>(decode: impl FnOnce() -> Result<R, Note>) -> Result<R, Note> {
    quietly(decode).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or(panic.downcast_ref::<&str>().copied());
        Err(damaged(&format!(
            "damaged, its decoder failed: {}",
            text.unwrap_or("no reason")
        )))
    })
}

/// The format of a file, by its content.
pub(crate) fn format_of(start: &[u8]) -> Option<ImageFormat> {
    let format = image::guess_format(start).ok()?;
    match format {
        ImageFormat::Png | ImageFormat::Jpeg | ImageFormat::WebP | ImageFormat::Tiff | ImageFormat::Gif => {
            Some(format)
        }
        // Two letters are not enough: the size of the second header follows.
        ImageFormat::Bmp => matches!(
            start.get(14..18),
            Some([12 | 16 | 40 | 52 | 56 | 64 | 108 | 124, 0, 0, 0])
        )
        .then_some(format),
        _ => None,
    }
}

/// Why a file of none of the formats is left out.
pub(crate) fn other_kind(start: &[u8]) -> Note {
    let has = |at: usize, text: &[u8]| start.get(at..).is_some_and(|rest| rest.starts_with(text));
    let text = if has(0, b"PK\x03\x04") {
        return Note::new("archives within", "a ZIP archive; use the archive itself as data");
    } else if has(4, b"ftyp") {
        "a HEIC or AVIF picture or a video; export it as JPEG or PNG"
    } else if has(0, b"8BPS") {
        "a Photoshop document; export it as PNG"
    } else if has(0, b"<svg") || has(0, b"<?xml") {
        "a vector drawing or another text; export it as PNG"
    } else {
        "not a PNG, JPEG, WebP, BMP, TIFF or GIF picture"
    };
    Note::new(OTHER_KIND, text)
}

/// The name of a format.
pub(crate) fn format_name(format: ImageFormat) -> &'static str {
    match format {
        ImageFormat::Png => "PNG",
        ImageFormat::Jpeg => "JPEG",
        ImageFormat::WebP => "WebP",
        ImageFormat::Bmp => "BMP",
        ImageFormat::Tiff => "TIFF",
        ImageFormat::Gif => "GIF",
        _ => "other",
    }
}

fn damaged(text: &str) -> Note {
    let text = text.trim_end().chars().flat_map(char::escape_default).take(200);
    Note::new(DAMAGED, text.collect::<String>())
}

fn is_deep(color: ColorType) -> bool {
    color.bytes_per_pixel() > color.channel_count()
}

/// Runs a decoder on possibly hostile bytes. A panic becomes an error and prints nothing.
fn quietly<R>(decode: impl FnOnce() -> R) -> Result<R, Box<dyn Any + Send>> {
    static HOOK: Once = Once::new();
    thread_local!(static DECODES: Cell<bool> = const { Cell::new(false) });
    HOOK.call_once(|| {
        let hook = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !DECODES.get() {
                hook(info);
            }
        }));
    });
    DECODES.set(true);
    let result = panic::catch_unwind(AssertUnwindSafe(decode));
    DECODES.set(false);
    result
}

fn decode_unguarded(bytes: &[u8], strict: bool) -> Result<Upright, Note> {
    let format = format_of(bytes).ok_or_else(|| other_kind(bytes))?;
    let (mut picture, orientation, share) = within_limits(bytes, format).map_err(|e| match e {
        image::ImageError::Limits(_) => {
            let text = format!(
                "larger than {MAX_SIDE} pixels on a side or {} MiB decoded",
                MAX_MEMORY >> 20
            );
            Note::new("too large", text)
        }
        image::ImageError::Unsupported(e) => {
            let text = e
                .to_string()
                .chars()
                .flat_map(char::escape_default)
                .take(200)
                .collect::<String>();
            Note::new("of an unusual kind", format!("of an unusual kind: {text}"))
        }
        other => damaged(&format!("damaged: {other}")),
    })?;
    // The screen of a GIF file may have no pixels.
    if picture.width() == 0 || picture.height() == 0 {
        return Err(damaged("damaged: it claims to have no pixels"));
    }
    if strict && format == ImageFormat::Jpeg {
        jpeg_integrity::check(bytes).map_err(|reason| damaged(&format!("damaged: {reason}")))?;
    }
    picture.apply_orientation(orientation);
    let done = match orientation {
        Orientation::NoTransforms => None,
        Orientation::Rotate90 | Orientation::Rotate180 | Orientation::Rotate270 => Some("rotated"),
        Orientation::FlipHorizontal | Orientation::FlipVertical => Some("mirrored"),
        Orientation::Rotate90FlipH | Orientation::Rotate270FlipH => Some("rotated and mirrored"),
    };
    let mut notes: Vec<Note> = done
        .map(|done| Note::new("oriented by their EXIF data", format!("{done} by its EXIF data")))
        .into_iter()
        .collect();
    if has_more_frames(bytes, format) {
        notes.push(Note::new("only the first frame", "only the first frame"));
    }
    Ok(Upright {
        picture,
        notes,
        share,
    })
}

/// Limits of a decoder: pixels on a side, and bytes of memory.
fn limits(side: Option<u32>, memory: u64) -> Limits {
    let mut limits = Limits::default();
    (limits.max_image_width, limits.max_image_height) = (side, side);
    limits.max_alloc = Some(memory);
    limits
}

fn within_limits(bytes: &[u8], format: ImageFormat) -> ImageResult<(DynamicImage, Orientation, Share)> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    // The decoder of PNG keeps this limit, which is not for pixels; the others take the later one.
    reader.limits(limits(Some(MAX_SIDE), MAX_METADATA));
    let mut decoder = reader.into_decoder()?;
    // The limit must also hold for the picture; only `ImageReader::decode` checks that by itself.
    let size = decoder.total_bytes();
    limits(Some(MAX_SIDE), MAX_MEMORY).reserve(size)?;
    decoder.set_limits(limits(Some(MAX_SIDE), 2 * MAX_MEMORY))?;
    let share = memory_gate::share(size.saturating_mul(COPIES));
    // Invalid EXIF data are ignored, because the pixels may be valid.
    let orientation = match format {
        ImageFormat::WebP => webp_orientation(bytes),
        _ => decoder.orientation().ok(),
    };
    let orientation = orientation.unwrap_or(Orientation::NoTransforms);
    Ok((DynamicImage::from_decoder(decoder)?, orientation, share))
}

/// The orientation in the EXIF data of a WebP file. The decoder would reserve the memory that their chunk claims, up to
/// 4 GiB.
fn webp_orientation(bytes: &[u8]) -> Option<Orientation> {
    // Only the extended format has EXIF data.
    let mut rest = bytes.get(12..).filter(|rest| rest.starts_with(b"VP8X"))?;
    loop {
        let (&[a, b, c, d, size @ ..], after) = rest.split_first_chunk::<8>()?;
        let size = u32::from_le_bytes(size) as usize;
        if [a, b, c, d] == *b"EXIF" {
            return Orientation::from_exif_chunk(after.get(..size)?);
        }
        // A chunk of odd length has a byte more.
        rest = after.get(size.checked_next_multiple_of(2)?..)?;
    }
}

/// Whether a file holds further frames or pages. They are not used.
fn has_more_frames(bytes: &[u8], format: ImageFormat) -> bool {
    let position = |text: &[u8]| bytes.windows(text.len()).position(|part| part == text);
    match format {
        ImageFormat::Gif => GifDecoder::new(Cursor::new(bytes)).is_ok_and(|mut decoder| {
            // Each frame claims a size of its own.
            let most = limits(Some(MAX_SIDE), COPIES * decoder.total_bytes());
            decoder.set_limits(most).is_ok() && decoder.into_frames().nth(1).is_some()
        }),
        // The flag of an animation.
        ImageFormat::WebP => {
            bytes.get(12..16) == Some(b"VP8X") && bytes.get(20).is_some_and(|flags| flags & 2 > 0)
        }
        ImageFormat::Png => {
            position(b"IDAT").is_some_and(|pixels| bytes[..pixels].windows(4).any(|part| part == b"acTL"))
        }
        ImageFormat::Tiff => next_page(bytes).is_some_and(|offset| offset != 0),
        _ => false,
    }
}

/// The offset of the second page of a TIFF file; 0 if there is none.
fn next_page(bytes: &[u8]) -> Option<u32> {
    let is_little = bytes.starts_with(b"II");
    let number = |at: usize, width: usize| {
        let mut field = bytes.get(at..at.checked_add(width)?)?.to_vec();
        if is_little {
            field.reverse();
        }
        Some(field.into_iter().fold(0_u32, |n, byte| n << 8 | u32::from(byte)))
    };
    let first = number(4, 4)? as usize;
    let entries = number(first, 2)? as usize;
    number(first.checked_add(2 + 12 * entries)?, 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{FileReport, Treatment};
    use std::process::Command;

    /// The name of this variable makes a test run the part of it that is a process of its own.
    const CHILD: &str = "ENGRAFT_TEST_CHILD";

    #[test]
    fn fault_01_a_panic_in_the_guard_is_an_error_with_its_message_for_one_file() {
        let note = |decode: fn()| {
            let panicked = guarded(|| {
                decode();
                Ok(())
            });
            panicked.unwrap_err()
        };
        let line = |note: Note| {
            let what = Treatment::LeftOut(note);
            FileReport {
                path: "a.png".into(),
                what,
            }
            .to_string()
        };
        let start = "a.png: left out: damaged, its decoder failed: ";
        for (found, reason) in [
            (line(note(|| panic!("a fixed reason"))), "a fixed reason"),
            (line(note(|| panic!("row {}", i32::MAX))), "row 2147483647"),
            (line(note(|| panic::panic_any(7))), "no reason"),
        ] {
            assert_eq!(found, format!("{start}{reason}"));
        }
        assert_eq!(note(|| panic!("a reason")).kind, DAMAGED);
        // Hostile bytes in a message do not reach the terminal.
        let found = line(note(|| panic!("\u{1b}[2J")));
        assert!(!found.contains('\u{1b}') && found.contains("[2J"), "{found:?}");
        // The guard is as it was.
        assert_eq!(quietly(|| 5).ok(), Some(5));
    }

    fn within() {
        panic!("within the guard")
    }

    fn after() {
        panic!("after the guard")
    }

    fn elsewhere() {
        panic!("on another thread")
    }

    /// In a process of its own, whose output can be read.
    #[test]
    fn fault_01_a_panic_in_the_guard_prints_nothing_and_one_outside_is_shown() {
        if std::env::var_os(CHILD).is_some() {
            assert!(quietly(within).is_err());
            assert!(panic::catch_unwind(after).is_err());
            assert!(quietly(within).is_err());
            assert!(quietly(|| std::thread::spawn(elsewhere).join()).is_ok_and(|other| other.is_err()));
            return;
        }
        let name = "decoder::tests::fault_01_a_panic_in_the_guard_prints_nothing_and_one_outside_is_shown";
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture", "--test-threads", "1"])
            .env(CHILD, "1")
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (said, shown) = (text(&output.stdout), text(&output.stderr));
        assert!(
            output.status.success() && said.contains("1 passed"),
            "{said}{shown}"
        );
        assert!(!shown.contains("within the guard"), "{shown}");
        for outside in ["after the guard", "on another thread"] {
            assert_eq!(shown.matches(outside).count(), 1, "{shown}");
        }
    }
}
