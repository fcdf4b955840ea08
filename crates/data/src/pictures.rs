//! Pictures of a folder or an archive, decoded in parallel and returned in order.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use crate::channels::Channels;
use crate::copies::Copies;
use crate::damaged::Damaged;
use crate::decoder::DAMAGED;
use crate::error::DataError;
use crate::layout::Classes;
use crate::listing::Listing;
use crate::picture::{Picture, Wanted};
use crate::pixel_cache::{Description, FileNotes, PixelCache};
use crate::report::{FileReport, Note, Treatment};

/// Bytes of pictures that are decoded in one parallel block.
const AT_A_TIME: usize = 64 << 20;
/// Files that are named where no picture is usable.
const FEW: usize = 5;
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

/// How pictures are read: the format, and where decoded ones are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading<'a> {
    pub(crate) wanted: &'a Wanted,
    /// Directory of decoded pictures; `None` keeps none.
    pub(crate) cache: Option<&'a Path>,
    /// Called with the number of files that are done, and of all.
    pub(crate) progress: Option<fn(usize, usize)>,
}

/// Refuses `count` images of size `[h, w, c]` that do not fit into memory.
///
/// # Errors
/// [`DataError::Unusable`] with this place.
pub(crate) fn ensure_possible(place: &Path, count: usize, [h, w, c]: [usize; 3]) -> Result<(), DataError> {
    let bytes = [h, w, c].into_iter().fold(count, usize::saturating_mul);
    if bytes <= MAX_BYTES {
        return Ok(());
    }
    Err(DataError::Unusable {
        place: place.into(),
        expected: format!("at most {} GiB of pixels", MAX_BYTES >> 30),
        found: format!("{count} pictures of {w}x{h}"),
        advice: "choose a smaller size",
    })
}

/// Decodes these files of a listing, or reads them from the cache. Calls `take` with the size and the pixels of each: 1 channel if gray is
/// requested, else 3.
///
/// # Errors
/// [`DataError::NoPictures`]. [`DataError::Unusable`] if the pictures have several sizes and no size is requested, or
/// are too large in total.
pub(crate) fn decode(
    place: &Path,
    listing: &Listing,
    files: &[usize],
    reading: Reading<'_>,
    mut take: impl FnMut([usize; 3], &[u8]),
) -> Result<Decoded, DataError> {
    let wanted = reading.wanted;
    let cache = (reading.cache).and_then(|directory| PixelCache::new(directory, listing, files, wanted));
    if let Some(cache) = &cache
        && let Some(decoded) = cached(cache, listing, files, wanted, &mut take)
    {
        return Ok(decoded);
    }
    let mut writer = cache.and_then(|cache| cache.create());
    let mut positions = Vec::new();
    let unusable = |expected, found, advice| DataError::Unusable {
        place: place.into(),
        expected,
        found,
        advice,
    };
    // Before the first picture is resized.
    if let Some([h, w]) = wanted.size {
        ensure_possible(place, files.len(), [h, w, 1])?;
    }
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
        let done = files.len() - rest.len();
        let (now, later) = rest.split_at(count.min(rest.len()));
        rest = later;
        let read = |&file: &usize| Picture::read(&listing.read(file)?, wanted);
        let pictures: Vec<_> = now.par_iter().map(read).collect();
        for ((position, &file), picture) in (done..).zip(now).zip(pictures) {
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
                    ensure_possible(place, files.len(), decoded.size)?;
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
            if let Some(writer) = &mut writer {
                writer.write(&picture.pixels);
            }
            decoded.files.push(file);
            positions.push(position);
            if !picture.changes.is_empty() {
                let what = Treatment::Changed(picture.changes);
                decoded.reports.push(FileReport { path, what });
            }
        }
        if let Some(progress) = reading.progress {
            progress(files.len() - rest.len(), files.len());
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
        let more = reports.clone().count().saturating_sub(FEW);
        let first = reports.take(FEW).map(FileReport::to_string);
        let rest = (more > 0).then(|| format!("and {more} more file{}", if more == 1 { "" } else { "s" }));
        return Err(DataError::NoPictures {
            place: place.into(),
            reasons: first.chain(rest).collect(),
        });
    }
    if let Some(writer) = writer {
        writer.finish(&Description {
            files: positions,
            stored: decoded.size,
            is_in_color,
            notes: notes(listing, files, &decoded.reports),
        });
    }
    if wanted.channels == Channels::Keep && !is_in_color {
        decoded.size[2] = 1;
    }
    Ok(decoded)
}

/// The pictures of the cache; `None` if it does not have them.
fn cached(
    cache: &PixelCache,
    listing: &Listing,
    files: &[usize],
    wanted: &Wanted,
    take: &mut impl FnMut([usize; 3], &[u8]),
) -> Option<Decoded> {
    let found = cache.read(|description, pixels| take(description.stored, pixels))?;
    let mut size = found.stored;
    if wanted.channels == Channels::Keep && !found.is_in_color {
        size[2] = 1;
    }
    let reports = found.notes.into_iter().map(|(position, is_used, notes)| {
        let note = |(kind, text): (String, String)| Note::new(interned(kind), text);
        let mut notes = notes.into_iter().map(note);
        FileReport {
            path: listing.full_path(files[position]),
            what: match (is_used, notes.next()) {
                (false, Some(reason)) => Treatment::LeftOut(reason),
                (_, first) => Treatment::Changed(first.into_iter().chain(notes).collect()),
            },
        }
    });
    Some(Decoded {
        reports: reports.collect(),
        files: found.files.into_iter().map(|position| files[position]).collect(),
        size,
    })
}

/// The reports in the form of the cache.
fn notes(listing: &Listing, files: &[usize], reports: &[FileReport]) -> Vec<FileNotes> {
    let positions: HashMap<PathBuf, usize> = files
        .iter()
        .enumerate()
        .map(|(position, &file)| (listing.full_path(file), position))
        .collect();
    let text = |note: &Note| (note.kind.to_string(), note.text.clone());
    reports
        .iter()
        .filter_map(|report| {
            let position = *positions.get(&report.path)?;
            Some(match &report.what {
                Treatment::LeftOut(reason) => (position, false, vec![text(reason)]),
                Treatment::Changed(changes) => (position, true, changes.iter().map(text).collect()),
                Treatment::Copy(_) => return None,
            })
        })
        .collect()
}

/// A kind of a note. There are few, so they may stay in memory.
fn interned(kind: String) -> &'static str {
    static KINDS: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut kinds = KINDS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = kinds.get(kind.as_str()) {
        return known;
    }
    let kind: &'static str = kind.leak();
    kinds.insert(kind);
    kind
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

/// A report for each of these files that equals an earlier one.
pub(crate) fn copies(listing: &Listing, files: &[usize], copies: &Copies) -> Vec<FileReport> {
    let path = |i: usize| listing.full_path(files[i]);
    let report = |(copy, original)| FileReport {
        path: path(copy),
        what: Treatment::Copy(path(original)),
    };
    copies.pairs().map(report).collect()
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
