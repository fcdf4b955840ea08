//! Pictures of a folder or an archive, decoded in parallel and returned in order.

use std::path::Path;

use rayon::prelude::*;

use crate::channels::Channels;
use crate::damaged::Damaged;
use crate::decoder::DAMAGED;
use crate::error::DataError;
use crate::layout::Classes;
use crate::listing::Listing;
use crate::picture::{Picture, Wanted};
use crate::report::{FileReport, Treatment};

/// Bytes of pictures that are decoded in one parallel block.
const AT_A_TIME: usize = 64 << 20;
/// Maximum bytes of all pictures.
const MAX_BYTES: usize = 8 << 30;

/// Information about a set of decoded pictures, without the pixels.
#[derive(Debug)]
pub(crate) struct Decoded {
    /// Files that could be decoded, in order.
    pub(crate) files: Vec<usize>,
    /// Height, width, and 3 channels if a picture is in color or color was requested.
    pub(crate) size: [usize; 3],
    pub(crate) reports: Vec<FileReport>,
}

/// Decodes these files of a listing. Calls `take` with the size and the pixels of each: 1 channel if gray is
/// requested, else 3.
///
/// # Errors
/// [`DataError::NoPictures`]. [`DataError::Unusable`] if the pictures have several sizes and no size is requested, or
/// are too large in total.
pub(crate) fn decode(
    place: &Path,
    listing: &Listing,
    files: &[usize],
    wanted: &Wanted,
    mut take: impl FnMut([usize; 3], &[u8]),
) -> Result<Decoded, DataError> {
    let unusable = |expected, found, advice| DataError::Unusable {
        place: place.into(),
        expected,
        found,
        advice,
    };
    let mut decoded = Decoded {
        files: Vec::new(),
        size: [0; 3],
        reports: Vec::new(),
    };
    let mut is_in_color = false;
    let mut rest = files;
    while !rest.is_empty() {
        // The first picture determines the size of the blocks.
        let each = decoded.size[0] * decoded.size[1] * 3;
        let count = AT_A_TIME.checked_div(each).unwrap_or(1).clamp(1, 512);
        let (now, later) = rest.split_at(count.min(rest.len()));
        rest = later;
        let read = |&file: &usize| Picture::read(&listing.read(file)?, wanted);
        let pictures: Vec<_> = now.par_iter().map(read).collect();
        for (&file, picture) in now.iter().zip(pictures) {
            let path = listing.full_path(file);
            let picture = match picture {
                Ok(picture) => picture,
                Err(note) => {
                    let what = Treatment::LeftOut(note);
                    decoded.reports.push(FileReport { path, what });
                    continue;
                }
            };
            let [h, w] = picture.size;
            match decoded.files.first() {
                None => {
                    let channels = if wanted.channels == Channels::Gray { 1 } else { 3 };
                    decoded.size = [h, w, channels];
                    let bytes = files.len().saturating_mul(h * w * channels);
                    if bytes > MAX_BYTES {
                        return Err(unusable(
                            format!("at most {} GiB of pixels", MAX_BYTES >> 30),
                            format!("{} pictures of {w}x{h}", files.len()),
                            "choose a smaller size",
                        ));
                    }
                }
                Some(&first) if decoded.size[..2] != picture.size => {
                    let [first_h, first_w, _] = decoded.size;
                    return Err(unusable(
                        format!(
                            "pictures of one size, {first_w}x{first_h} as {}",
                            listing.path(first).display()
                        ),
                        format!("{} of {w}x{h}", listing.path(file).display()),
                        "choose a common size",
                    ));
                }
                Some(_) => {}
            }
            is_in_color |= picture.is_in_color;
            take(decoded.size, &picture.pixels);
            decoded.files.push(file);
            if !picture.changes.is_empty() {
                let what = Treatment::Changed(picture.changes);
                decoded.reports.push(FileReport { path, what });
            }
        }
    }
    if wanted.damaged == Damaged::Refuse {
        refuse_damaged(&decoded.reports).map_err(|found| {
            unusable(
                "undamaged pictures".into(),
                found,
                "repair or delete them, or leave them out (`--damaged skip`)",
            )
        })?;
    }
    if decoded.files.is_empty() {
        let reports = listing.left_out.iter().chain(&decoded.reports);
        return Err(DataError::NoPictures {
            place: place.into(),
            reasons: reports.take(5).map(FileReport::to_string).collect(),
        });
    }
    if wanted.channels == Channels::Keep && !is_in_color {
        decoded.size[2] = 1;
    }
    Ok(decoded)
}

/// The number and the first names of damaged files, if there are any.
fn refuse_damaged(reports: &[FileReport]) -> Result<(), String> {
    let is_damaged =
        |file: &&FileReport| matches!(&file.what, Treatment::LeftOut(note) if note.kind == DAMAGED);
    let damaged: Vec<String> = reports
        .iter()
        .filter(is_damaged)
        .map(FileReport::to_string)
        .collect();
    match damaged.len() {
        0 => Ok(()),
        n => Err(format!("{n} damaged: {}", damaged[..n.min(3)].join("; "))),
    }
}

/// One byte per pixel of gray pictures that were decoded as color.
pub(crate) fn gray(pixels: &[u8]) -> impl Iterator<Item = u8> + '_ {
    pixels.iter().step_by(3).copied()
}

/// Labels of decoded files. Either all or none of them have a class.
pub(crate) fn labels(listing: &Listing, files: &[usize], classes: &Classes) -> Vec<u8> {
    let label = |&file: &usize| classes.label(listing.path(file)).unwrap_or(0);
    files.iter().map(label).collect()
}
