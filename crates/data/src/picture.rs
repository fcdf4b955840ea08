//! Decoding of one picture, with its orientation, size and channels.

use std::fmt;

use image::imageops::{FilterType, overlay};
use image::{DynamicImage, Rgb, RgbImage};
use serde::{Deserialize, Serialize};

use crate::channels::Channels;
use crate::damaged::Damaged;
use crate::decoder::{self, Upright};
use crate::levels;
use crate::report::Note;
use crate::unknown_name::parsed;

/// Default background of transparent pictures.
pub const WHITE: [u8; 3] = [255; 3];

/// How a picture with another aspect ratio is fitted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
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
    /// The value that becomes white in pictures of 16 bits.
    pub(crate) white: u16,
    pub(crate) damaged: Damaged,
}

impl Wanted {
    /// Whether the decoder refuses incomplete pictures.
    pub(crate) fn is_strict(&self) -> bool {
        self.damaged != Damaged::Keep
    }
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
        let Upright {
            mut picture,
            notes,
            share,
        } = decoder::decode(bytes, wanted.is_strict())?;
        levels::stretch(&mut picture, wanted.white);
        let fitted = fit(picture, notes, wanted);
        drop(share);
        Ok(fitted)
    }
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
            [0, 0, 0] => Note::new("transparency shown on black", "transparency shown on black"),
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
