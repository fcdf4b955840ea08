//! What the headers of all pictures say, before any is decoded.

use std::collections::BTreeMap;

use rayon::prelude::*;

use crate::background::Background;
use crate::decoder::{self, Header, format_name};
use crate::levels::{self, Levels, WHOLE};
use crate::listing::Listing;
use crate::picture::{Fit, Wanted};

/// The headers of the pictures of a listing.
#[derive(Debug)]
pub(crate) struct Survey {
    /// One for each file; `None` where the header cannot be read.
    headers: Vec<Option<Header>>,
}

impl Survey {
    pub(crate) fn of(listing: &Listing) -> Self {
        let headers = (0..listing.len()).into_par_iter();
        Self {
            headers: headers.map(|file| listing.header(file)).collect(),
        }
    }

    /// The sizes `[h, w]` in ascending order, each with its number of pictures.
    pub(crate) fn sizes(&self) -> Vec<([usize; 2], usize)> {
        let mut sizes = BTreeMap::new();
        for header in self.headers.iter().flatten() {
            *sizes.entry(header.size).or_default() += 1;
        }
        sizes.into_iter().collect()
    }

    /// The value that becomes white in pictures of 16 bits: one for all.
    ///
    /// With [`Levels::Auto`], decodes the pictures of 16 bits.
    pub(crate) fn white(&self, listing: &Listing, choice: Levels, strict: bool) -> u16 {
        let deep: Vec<usize> = (0..self.headers.len())
            .filter(|&file| self.headers[file].is_some_and(|header| header.is_deep))
            .collect();
        if choice == Levels::Full || deep.is_empty() {
            return WHOLE;
        }
        let largest = |file: usize| {
            let decoded = decoder::decode(&listing.read(file).ok()?, strict).ok()?;
            levels::largest(&decoded.picture)
        };
        let largest = deep.into_par_iter().filter_map(largest).max();
        largest.map_or(WHOLE, levels::white)
    }

    /// Lines of the summary about the pictures with these indices. `left_out` files are not used.
    pub(crate) fn lines(&self, used: &[usize], left_out: usize, wanted: &Wanted) -> Vec<String> {
        let headers: Vec<Header> = used.iter().filter_map(|&file| self.headers[file]).collect();
        let (Some(first), Some(last)) = (
            headers.iter().map(|header| header.size).min(),
            headers.iter().map(|header| header.size).max(),
        ) else {
            return Vec::new();
        };
        let mut formats: BTreeMap<&str, usize> = BTreeMap::new();
        for header in &headers {
            *formats.entry(format_name(header.format)).or_default() += 1;
        }
        let formats: Vec<String> = formats
            .into_iter()
            .map(|(name, n)| format!("{n} {name}"))
            .collect();
        let sides = |axis: usize| headers.iter().map(move |header| header.size[axis]);
        let sizes = if first == last {
            format!("{}x{} pixels", first[1], first[0])
        } else {
            let range = |axis| match (sides(axis).min().unwrap_or(0), sides(axis).max().unwrap_or(0)) {
                (least, most) if least == most => format!("{least}"),
                (least, most) => format!("{least} to {most}"),
            };
            format!("{} pixels wide, {} high", range(1), range(0))
        };
        let deep = headers.iter().filter(|header| header.is_deep).count();
        let depth = match (deep, wanted.white) {
            (0, _) => "8 bits".to_string(),
            (_, WHOLE) => format!("16 bits in {deep}, reduced to 8"),
            (_, white) => format!(
                "16 bits in {deep}, of which all pictures together use {}: {white} becomes white (levels `full` keep the \
                 whole range)",
                u16::BITS - white.leading_zeros()
            ),
        };
        let left_out = match left_out {
            0 => String::new(),
            n => format!(" ({n} left out)"),
        };
        let mut lines = vec![format!(
            "files: {}{left_out}; {sizes}; {depth}",
            formats.join(", ")
        )];
        if let Some([h, w]) = wanted.size
            && headers.iter().any(|header| header.size != [h, w])
        {
            let how = match wanted.fit {
                Fit::Crop => "cropped to the center (`--fit pad` keeps the edges)".into(),
                Fit::Pad => format!("padded with {}", Background(wanted.background)),
                Fit::Stretch => "stretched".to_string(),
            };
            let has_other_ratio = headers
                .iter()
                .any(|header| header.size[0] * w != header.size[1] * h);
            let how = if has_other_ratio {
                format!(", {how}")
            } else {
                String::new()
            };
            lines.push(format!("size: {w}x{h}{how}"));
            let enlarged = headers.iter().filter(|header| {
                let [height, width] = header.size;
                match wanted.fit {
                    Fit::Pad => height < h && width < w,
                    Fit::Crop | Fit::Stretch => height < h || width < w,
                }
            });
            match enlarged.count() {
                0 => {}
                all if all == headers.len() => lines.push(format!("enlarged to {w}x{h}: all files")),
                n => lines.push(format!("enlarged to {w}x{h}: {n} smaller files")),
            }
        }
        lines
    }
}
