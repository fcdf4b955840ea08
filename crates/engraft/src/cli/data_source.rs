//! Opens the images of `--data` for all commands, and reports what was found and changed.

use anyhow::{Context, ensure};
use engraft_base::{choose, write_atomically};
use engraft_data::{Channels, DataOptions, DataSource, Dataset, LoadOptions, Loaded, Report, Treatment};
use std::path::Path;

/// Fewest held-out images: the memorization threshold is their closest twentieth.
pub(super) const FEWEST_HELD_OUT: usize = 20;
/// Most skipped files, and most changed files, that a report lists on the terminal.
const LEFT_OUT_SHOWN: usize = 5;
const CHANGED_SHOWN: usize = 2;
/// File of a run with the whole report.
const REPORT_FILE: &str = "data-report.txt";
/// Difference between the darkest and the brightest pixel below which a picture shows nothing.
const NO_CONTRAST: u8 = 10;

/// Load options of known data sets; progress is printed to standard error.
pub(super) fn load_options() -> LoadOptions {
    LoadOptions::new().notify(|line| note!("{line}"))
}

/// Options for images of shape `[h, w, c]`, with a held-out part.
pub(super) fn of_shape([height, width, channels]: [usize; 3]) -> DataOptions {
    let mut options = DataOptions::new();
    options.load = load_options();
    options.held_out = true;
    options.size = Some([height, width]);
    options.channels = match channels {
        1 => Channels::Gray,
        3 => Channels::Rgb,
        _ => Channels::Keep,
    };
    options
}

/// Opens the images of the option `--OPTION NAME`, and prints what was found.
///
/// # Errors
/// If they do not exist or cannot be used.
pub(super) fn open(option: &str, name: &str, options: &DataOptions) -> anyhow::Result<Loaded> {
    let what = || format!("--{option} {name}");
    let loaded = DataSource::parse(name)
        .and_then(|source| source.open(options))
        .with_context(what)?;
    for line in report_lines(&loaded.report) {
        note!("{line}");
    }
    if let Some(warning) = lost_colors(&loaded) {
        note!("warning: --{option} {name}: {warning}");
    }
    Ok(loaded)
}

/// The totals, and the changed or skipped files if they are few.
pub(super) fn report_lines(report: &Report) -> Vec<String> {
    // Copies are in the totals.
    let (changed, left_out): (Vec<_>, Vec<_>) = (report.files.iter())
        .filter(|file| !matches!(file.what, Treatment::Copy(_)))
        .partition(|file| matches!(file.what, Treatment::Changed(_)));
    let mut lines = report.totals.clone();
    if changed.len() <= CHANGED_SHOWN {
        lines.extend(changed.iter().map(ToString::to_string));
    }
    lines.extend(left_out.iter().take(LEFT_OUT_SHOWN).map(ToString::to_string));
    if left_out.len() > LEFT_OUT_SHOWN {
        lines.push(format!(
            "and {} more skipped files; a run lists all of them in {REPORT_FILE}",
            left_out.len() - LEFT_OUT_SHOWN
        ));
    }
    lines
}

/// A warning if pictures in color become gray.
fn lost_colors(loaded: &Loaded) -> Option<String> {
    let lost = loaded.report.changed("color to gray");
    if lost == 0 {
        return None;
    }
    let pictures = loaded
        .train
        .images()
        .chunks(loaded.train.height() * loaded.train.width());
    let is_flat = |pixels: &[u8]| {
        let range = pixels.iter().max().zip(pixels.iter().min());
        range.is_some_and(|(most, least)| most - least < NO_CONTRAST)
    };
    let flat = pictures.filter(|pixels| is_flat(pixels)).count();
    let nothing = match flat {
        0 => String::new(),
        n => format!(" {n} of them show nothing in gray, because their parts differ only in hue."),
    };
    Some(format!(
        "{lost} pictures in color become GRAY, because the networks generate gray images.{nothing} To keep the color, use a \
         source or a run in color"
    ))
}

/// Writes the whole report into the directory of a run, unless the data are not files.
pub(super) fn write_report(directory: &Path, report: &Report) -> anyhow::Result<()> {
    if report.totals.is_empty() {
        return Ok(());
    }
    let path = directory.join(REPORT_FILE);
    Ok(write_atomically(&path, report.to_string().as_bytes())?)
}

/// Whether a file was resized or converted.
pub(super) fn changed_files(report: &Report) -> bool {
    let mut files = report.files.iter();
    files.any(|file| matches!(file.what, Treatment::Changed(_)))
}

/// Training and held-out images of `--data NAME`, or training images only if there are too few to hold some out.
///
/// # Errors
/// If there are fewer than [`FEWEST_HELD_OUT`] training images.
pub(super) fn with_held_out_or_few(
    name: &str,
    options: &DataOptions,
) -> anyhow::Result<(Loaded, Option<Dataset>)> {
    let mut loaded = open("data", name, options)?;
    let found = loaded.train.len();
    let test = loaded.test.take().filter(|test| test.len() >= FEWEST_HELD_OUT);
    ensure!(
        test.is_some() || found >= FEWEST_HELD_OUT,
        "--data {name}: found {found} images, expected at least {FEWEST_HELD_OUT}: with fewer, no metric says anything"
    );
    Ok((loaded, test))
}

/// A random subset of `count` images in the order of the data, or all if there are fewer.
pub(super) fn some(data: Dataset, count: usize, seed: u64) -> Dataset {
    if data.len() <= count {
        return data;
    }
    data.subset(&choose(data.len(), count, seed))
}

/// Refuses images without labels.
pub(super) fn ensure_labels(option: &str, name: &str, data: &Dataset, why: &str) -> anyhow::Result<()> {
    ensure!(
        data.classes() > 0,
        "--{option} {name}: the images have no labels, {why}; expected a known data set, or a folder or ZIP file with one folder \
         of images per class"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_data::{Split, drawn_digits};

    #[test]
    fn a_choice_follows_the_seed() {
        let data = drawn_digits(Split::Test, 200, 1);
        let [a, b, c] = [1, 1, 2].map(|seed| some(data.clone(), 50, seed));
        assert!(a.images() == b.images() && a.images() != c.images() && a.len() == 50);
        assert_eq!(some(data.clone(), 1 << 20, 1).len(), data.len());
    }
}
