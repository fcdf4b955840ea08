//! A folder of pictures of any size and kind as a data set of one size.

use crate::dataset::Dataset;
use crate::error::DataError;
use crate::idx::{io_error, open_regular};
use crate::provenance::Provenance;
use crate::shown::shown;
use image::imageops::FilterType;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageReader, ImageResult, Limits};
use std::fmt;
use std::io::{BufRead, BufReader, Seek};
use std::path::{Path, PathBuf};

#[cfg(test)]
mod tests;

/// Most pixels along a side of a picture.
const MOST_SIDE: u32 = 4096;
/// Most bytes that decoding one picture may take.
const MOST_MEMORY: u64 = 64 << 20;
/// Most pictures of a folder.
const MOST_PICTURES: usize = 1_000_000;

/// A folder of pictures, read, and what was done to each of them.
#[derive(Debug)]
#[non_exhaustive]
pub struct Folder {
    /// The pictures, all with the label 0, in the order of their file names.
    pub data: Dataset,
    /// The files of `data`, in its order.
    pub files: Vec<PathBuf>,
    /// What was changed or left out, one report for each such file, and first one for the folder itself if it has more
    /// than a million entries: the others are left out.
    pub reports: Vec<FileReport>,
}

/// What was done to one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileReport {
    /// The file.
    pub path: PathBuf,
    /// What was done, or why it was left out.
    pub what: Treatment,
}

/// How a file differed from what was wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Treatment {
    /// Taken, after these changes.
    Changed(Vec<String>),
    /// Left out, for this reason.
    LeftOut(String),
}

impl fmt::Display for FileReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            Treatment::Changed(changes) => write!(f, "{}: {}", shown(&self.path), changes.join(", ")),
            Treatment::LeftOut(reason) => write!(f, "{}: left out: {reason}", shown(&self.path)),
        }
    }
}

/// Reads every PNG and JPEG file of a folder as an image of `size` `[h, w, c]`, with 1 channel or 3.
///
/// A picture is turned as its EXIF data say, which cameras write into a JPEG; in a PNG they count where they stand before
/// the pixels. One that is not of the wanted shape is cut to its middle, then scaled; colours become grey by their
/// luminance where one channel is wanted; transparent parts are shown on black, or on white where the visible part of the
/// picture is dark, so that ink stays visible. Other files are left out, and so are
/// pictures that cannot be decoded; each change and each omission is in the report. Folders within it are not entered.
/// Of more than a million entries the rest is left out, with a report.
///
/// # Errors
/// [`DataError::Io`] when the folder cannot be listed; [`DataError::NoPictures`] when none of its files can be used, with the
/// reasons of the first.
///
/// # Panics
/// If a size is 0 or the channels are neither 1 nor 3.
pub fn load_folder(folder: impl AsRef<Path>, size: [usize; 3]) -> Result<Folder, DataError> {
    load_at_most(MOST_PICTURES, folder.as_ref(), size)
}

/// [`load_folder`] of some number of entries at most.
fn load_at_most(most: usize, folder: &Path, size: [usize; 3]) -> Result<Folder, DataError> {
    let [height, width, channels] = size;
    assert!(
        height > 0 && width > 0 && matches!(channels, 1 | 3),
        "load_folder: images must be [h, w, 1] or [h, w, 3], got {size:?}"
    );
    let listing = std::fs::read_dir(folder).map_err(|reason| io_error(folder, "list", reason))?;
    let mut paths = Vec::new();
    let (mut files, mut reports) = (Vec::new(), Vec::new());
    for (i, entry) in listing.enumerate() {
        if i == most {
            reports.push(FileReport {
                path: folder.into(),
                what: Treatment::LeftOut(format!(
                    "all but {most} of its entries, whichever the system lists first; split the folder"
                )),
            });
            break;
        }
        let path = entry.map_err(|reason| io_error(folder, "list", reason))?.path();
        let hidden = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if !hidden && !path.is_dir() {
            paths.push(path);
        }
    }
    paths.sort();
    let mut pixels = Vec::new();
    for path in paths {
        match decode(&path) {
            Ok((picture, turned)) => {
                let mut changes = Vec::from_iter(turned);
                changes.extend(fit(picture, size, &mut pixels));
                if !changes.is_empty() {
                    reports.push(FileReport {
                        path: path.clone(),
                        what: Treatment::Changed(changes),
                    });
                }
                files.push(path);
            }
            Err(reason) => reports.push(FileReport {
                path,
                what: Treatment::LeftOut(reason),
            }),
        }
    }
    if files.is_empty() {
        return Err(DataError::NoPictures {
            folder: folder.into(),
            reasons: reports.iter().take(5).map(FileReport::to_string).collect(),
        });
    }
    let name = folder
        .file_name()
        .map_or_else(|| "folder".into(), |n| n.to_string_lossy().into_owned());
    let data = Dataset::unlabelled(name, Provenance::Directory(folder.into()), pixels, size)?;
    Ok(Folder { data, files, reports })
}

/// Decodes a file by what it holds, not by its name, within limits, and says how the picture was turned.
fn decode(path: &Path) -> Result<(DynamicImage, Option<String>), String> {
    let (file, _) = open_regular(path).map_err(|e| e.to_string())?;
    let reader = ImageReader::new(BufReader::new(file)).with_guessed_format();
    let reader = reader.map_err(|e| format!("cannot be read: {e}"))?;
    if reader.format().is_none() {
        return Err("neither PNG nor JPEG".into());
    }
    upright(reader).map_err(|e| match e {
        image::ImageError::Limits(_) => format!("larger than {MOST_SIDE} pixels on a side or 64 MiB"),
        image::ImageError::Unsupported(_) => "neither PNG nor JPEG, or of an unusual kind".into(),
        other => other
            .to_string()
            .chars()
            .flat_map(char::escape_default)
            .take(200)
            .collect(),
    })
}

/// Decodes a picture as it is to be seen: how the camera was held stands in its EXIF data, not in its pixels.
fn upright(mut reader: ImageReader<impl BufRead + Seek>) -> ImageResult<(DynamicImage, Option<String>)> {
    let mut limits = Limits::default();
    limits.max_image_width = Some(MOST_SIDE);
    limits.max_image_height = Some(MOST_SIDE);
    limits.max_alloc = Some(MOST_MEMORY);
    reader.limits(limits.clone());
    let mut decoder = reader.into_decoder()?;
    // The picture is within the limit too, which only `ImageReader::decode` sees to by itself.
    limits.reserve(decoder.total_bytes())?;
    decoder.set_limits(limits)?;
    // Broken EXIF data say nothing, and the pixels may be sound all the same.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut picture = DynamicImage::from_decoder(decoder)?;
    picture.apply_orientation(orientation);
    let done = match orientation {
        Orientation::NoTransforms => None,
        Orientation::Rotate90 | Orientation::Rotate180 | Orientation::Rotate270 => Some("turned"),
        Orientation::FlipHorizontal | Orientation::FlipVertical => Some("mirrored"),
        Orientation::Rotate90FlipH | Orientation::Rotate270FlipH => Some("turned and mirrored"),
    };
    Ok((picture, done.map(|done| format!("{done} as its EXIF data say"))))
}

/// Appends a picture's pixels in the wanted form, and says what was changed.
fn fit(picture: DynamicImage, [height, width, channels]: [usize; 3], pixels: &mut Vec<u8>) -> Vec<String> {
    let mut changes = Vec::new();
    let (w, h) = (u64::from(picture.width()), u64::from(picture.height()));
    let (wanted_w, wanted_h) = (width as u64, height as u64);
    // The largest part in the middle with the wanted proportions.
    let cut_w = (h * wanted_w / wanted_h).clamp(1, w);
    let cut_h = (w * wanted_h / wanted_w).clamp(1, h);
    let mut picture = picture;
    if (cut_w, cut_h) != (w, h) {
        changes.push(format!("cut from {w}x{h} to {cut_w}x{cut_h}"));
        picture = picture.crop_imm(
            ((w - cut_w) / 2) as u32,
            ((h - cut_h) / 2) as u32,
            cut_w as u32,
            cut_h as u32,
        );
    }
    if picture.color().has_alpha() {
        let ground = ground(&picture);
        changes.push(format!(
            "transparency shown on {}",
            if ground == 0 { "black" } else { "white" }
        ));
        picture = shown_on(ground, &picture);
    }
    if picture.color().has_color() != (channels == 3) {
        changes.push(
            if channels == 3 {
                "grey to colour"
            } else {
                "colour to grey"
            }
            .into(),
        );
    }
    if (cut_w, cut_h) != (wanted_w, wanted_h) {
        changes.push(format!("scaled from {cut_w}x{cut_h} to {width}x{height}"));
        picture = picture.resize_exact(width as u32, height as u32, FilterType::CatmullRom);
    }
    match channels {
        1 => pixels.extend(picture.into_luma8().into_raw()),
        _ => pixels.extend(picture.into_rgb8().into_raw()),
    }
    changes
}

/// What to show a transparent picture on: white (255) if what can be seen of it is rather dark, else black (0).
fn ground(picture: &DynamicImage) -> u8 {
    let (mut light, mut opacity) = (0_u64, 0_u64);
    for pixel in picture.to_luma_alpha8().pixels() {
        let [l, a] = pixel.0.map(u64::from);
        light += l * a;
        opacity += a;
    }
    if 2 * light < 255 * opacity { 255 } else { 0 }
}

/// A picture mixed with a grey ground by its opacity.
fn shown_on(ground: u8, picture: &DynamicImage) -> DynamicImage {
    let mut flat = picture.to_rgba8();
    for pixel in flat.pixels_mut() {
        let [r, g, b, a] = pixel.0.map(u32::from);
        let mixed = |x: u32| ((x * a + u32::from(ground) * (255 - a) + 127) / 255) as u8;
        pixel.0 = [mixed(r), mixed(g), mixed(b), 255];
    }
    let flat = DynamicImage::ImageRgba8(flat);
    match picture.color().has_color() {
        true => DynamicImage::ImageRgb8(flat.into_rgb8()),
        false => DynamicImage::ImageLuma8(flat.into_luma8()),
    }
}
