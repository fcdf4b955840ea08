//! Decoding of one picture, with its orientation, size and channels.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::io::{BufRead, Cursor, Seek};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use image::imageops::{FilterType, overlay};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageReader, ImageResult, Limits, Rgb, RgbImage};

use crate::channels::Channels;
use crate::report::Note;
use crate::unknown_name::parsed;

/// Default background of transparent pictures.
pub const WHITE: [u8; 3] = [255; 3];

/// Maximum side of a picture, in pixels.
const MAX_SIDE: u32 = 4096;
/// Maximum memory for decoding one picture, in bytes.
const MAX_MEMORY: u64 = 64 << 20;

/// How a picture with another aspect ratio is fitted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fit {
    /// Crops to the center, then scales.
    #[default]
    Crop,
    /// Scales the whole picture, and pads it with the background.
    Pad,
    /// Scales height and width independently.
    Stretch,
}

impl Fit {
    /// All choices.
    pub const ALL: [Self; 3] = [Self::Crop, Self::Pad, Self::Stretch];

    /// The name in options, for example `crop`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Crop => "crop",
            Self::Pad => "pad",
            Self::Stretch => "stretch",
        }
    }
}

impl fmt::Display for Fit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

parsed!(Fit, "way to fit a picture");

/// The requested format of a picture.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    /// Height and width, or `None` to keep them.
    pub(crate) size: Option<[usize; 2]>,
    pub(crate) channels: Channels,
    pub(crate) fit: Fit,
    pub(crate) background: [u8; 3],
}

/// A picture in the requested format.
#[derive(Debug)]
pub(crate) struct Picture {
    /// Height and width.
    pub(crate) size: [usize; 2],
    /// `[h, w, 1]` if gray is requested, else `[h, w, 3]`.
    pub(crate) pixels: Vec<u8>,
    /// Whether a pixel of `pixels` is not gray.
    pub(crate) is_in_color: bool,
    pub(crate) changes: Vec<Note>,
}

impl Picture {
    /// Decodes the contents of a file by its format, not by its name. Returns the reason if that fails.
    pub(crate) fn read(bytes: &[u8], wanted: &Wanted) -> Result<Self, Note> {
        let decoded = quietly(|| upright(bytes)).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or(panic.downcast_ref::<&str>().copied());
            Err(damaged(&format!(
                "damaged, its decoder failed: {}",
                text.unwrap_or("no reason")
            )))
        });
        let (picture, turned) = decoded?;
        Ok(fit(picture, Vec::from_iter(turned), wanted))
    }
}

/// Height and width in the header of a file, before EXIF rotation. `None` if it is not a picture.
pub(crate) fn size_in_header(bytes: &[u8]) -> Option<[usize; 2]> {
    let read = || {
        ImageReader::new(Cursor::new(bytes))
            .with_guessed_format()
            .ok()?
            .into_dimensions()
            .ok()
    };
    let (width, height) = quietly(read).ok().flatten()?;
    Some([height as usize, width as usize])
}

fn damaged(text: &str) -> Note {
    Note::new(
        "damaged",
        text.chars()
            .flat_map(char::escape_default)
            .take(200)
            .collect::<String>(),
    )
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

/// Decodes a picture upright: the orientation of the camera is in its EXIF data, not in its pixels.
fn upright(bytes: &[u8]) -> Result<(DynamicImage, Option<Note>), Note> {
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format();
    let reader = reader.map_err(|e| damaged(&e.to_string()))?;
    if reader.format().is_none() {
        return Err(Note::new("neither PNG nor JPEG", "neither PNG nor JPEG"));
    }
    let (mut picture, orientation) = decode(reader).map_err(|e| match e {
        image::ImageError::Limits(_) => {
            let text = format!("larger than {MAX_SIDE} pixels on a side or 64 MiB");
            Note::new("too large", text)
        }
        image::ImageError::Unsupported(_) => Note::new(
            "neither PNG nor JPEG",
            "neither PNG nor JPEG, or of an unusual kind",
        ),
        other => damaged(&other.to_string()),
    })?;
    picture.apply_orientation(orientation);
    let done = match orientation {
        Orientation::NoTransforms => None,
        Orientation::Rotate90 | Orientation::Rotate180 | Orientation::Rotate270 => Some("rotated"),
        Orientation::FlipHorizontal | Orientation::FlipVertical => Some("mirrored"),
        Orientation::Rotate90FlipH | Orientation::Rotate270FlipH => Some("rotated and mirrored"),
    };
    let note = |done| Note::new("oriented by their EXIF data", format!("{done} by its EXIF data"));
    Ok((picture, done.map(note)))
}

fn decode(mut reader: ImageReader<impl BufRead + Seek>) -> ImageResult<(DynamicImage, Orientation)> {
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_MEMORY);
    reader.limits(limits.clone());
    let mut decoder = reader.into_decoder()?;
    // The limit must also hold for the picture; only `ImageReader::decode` checks that by itself.
    limits.reserve(decoder.total_bytes())?;
    decoder.set_limits(limits)?;
    // Invalid EXIF data are ignored, because the pixels may be valid.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    Ok((DynamicImage::from_decoder(decoder)?, orientation))
}

/// Converts a picture to the requested format, and appends what was done to `changes`.
fn fit(mut picture: DynamicImage, mut changes: Vec<Note>, wanted: &Wanted) -> Picture {
    let (w, h) = (picture.width(), picture.height());
    let [height, width] = wanted.size.map_or([h, w], |size| size.map(|n| n as u32));
    let is_wanted = |picture: &DynamicImage| (picture.width(), picture.height()) == (width, height);
    if wanted.fit == Fit::Crop {
        picture = cut(picture, [width, height], &mut changes);
    }
    if picture.color().has_alpha() {
        picture = shown_on(wanted.background, &picture, &mut changes);
    }
    let had_color = picture.color().has_color();
    if !is_wanted(&picture) {
        let (w, h) = (picture.width(), picture.height());
        let [new_w, new_h] = match wanted.fit {
            Fit::Pad => inside([w, h], [width, height]),
            _ => [width, height],
        };
        if (new_w, new_h) != (w, h) {
            changes.push(Note::new(
                "scaled",
                format!("scaled from {w}x{h} to {new_w}x{new_h}"),
            ));
            picture = picture.resize_exact(new_w, new_h, FilterType::CatmullRom);
        }
    }
    if !is_wanted(&picture) {
        changes.push(Note::new("padded", format!("padded to {width}x{height}")));
        let (x, y) = ((width - picture.width()) / 2, (height - picture.height()) / 2);
        let mut canvas = RgbImage::from_pixel(width, height, Rgb(wanted.background));
        overlay(&mut canvas, &picture.into_rgb8(), x.into(), y.into());
        picture = canvas.into();
    }
    let pixels = match wanted.channels {
        Channels::Gray => picture.into_luma8().into_raw(),
        Channels::Keep | Channels::Rgb => picture.into_rgb8().into_raw(),
    };
    let is_in_color =
        wanted.channels != Channels::Gray && pixels.as_chunks().0.iter().any(|&[r, g, b]| r != g || g != b);
    match wanted.channels {
        Channels::Gray if had_color => changes.push(Note::new("color to gray", "color to gray")),
        Channels::Rgb if !had_color => changes.push(Note::new("gray to color", "gray to color")),
        _ => {}
    }
    Picture {
        size: [height as usize, width as usize],
        pixels,
        is_in_color,
        changes,
    }
}

/// The largest centered part with the aspect ratio `width`:`height`.
fn cut(picture: DynamicImage, [width, height]: [u32; 2], changes: &mut Vec<Note>) -> DynamicImage {
    let [w, h, width, height] = [picture.width(), picture.height(), width, height].map(u64::from);
    let (cut_w, cut_h) = ((h * width / height).clamp(1, w), (w * height / width).clamp(1, h));
    if (cut_w, cut_h) == (w, h) {
        return picture;
    }
    changes.push(Note::new(
        "cropped",
        format!("cropped from {w}x{h} to {cut_w}x{cut_h}"),
    ));
    let [x, y, cut_w, cut_h] = [(w - cut_w) / 2, (h - cut_h) / 2, cut_w, cut_h].map(|n| n as u32);
    picture.crop_imm(x, y, cut_w, cut_h)
}

/// The largest size with the aspect ratio of the first that fits into the second.
fn inside([w, h]: [u32; 2], [width, height]: [u32; 2]) -> [u32; 2] {
    let [w, h, width, height] = [w, h, width, height].map(u64::from);
    // Rounded to the nearest.
    let by_width = (h * width + w / 2) / w;
    let by_height = (w * height + h / 2) / h;
    let size = if by_width <= height {
        [width, by_width.max(1)]
    } else {
        [by_height.clamp(1, width), height]
    };
    size.map(|n| n as u32)
}

/// A picture blended with a background by its opacity.
fn shown_on(background: [u8; 3], picture: &DynamicImage, changes: &mut Vec<Note>) -> DynamicImage {
    let mut flat = picture.to_rgba8();
    if flat.pixels().any(|pixel| pixel.0[3] < 255) {
        changes.push(match background {
            WHITE => Note::new("transparency shown on white", "transparency shown on white"),
            [r, g, b] => {
                let text = format!("transparency shown on #{r:02x}{g:02x}{b:02x}");
                Note::new("transparency shown on the background", text)
            }
        });
    }
    for pixel in flat.pixels_mut() {
        let [r, g, b, a] = pixel.0.map(u32::from);
        let mixed = |x: u32, ground: u8| ((x * a + u32::from(ground) * (255 - a) + 127) / 255) as u8;
        let [ground_r, ground_g, ground_b] = background;
        pixel.0 = [mixed(r, ground_r), mixed(g, ground_g), mixed(b, ground_b), 255];
    }
    let flat = DynamicImage::ImageRgba8(flat);
    let [r, g, b] = background;
    match picture.color().has_color() || r != g || g != b {
        true => flat.into_rgb8().into(),
        false => flat.into_luma8().into(),
    }
}
