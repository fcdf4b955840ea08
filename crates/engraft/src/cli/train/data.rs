//! The images that a run trains on, and their size.

use super::display::{self, Display};
use super::settings::chooses_by_size;
use crate::cli::data_source::report_lines;
use crate::cli::options::{MOST_PIXELS, Train};
use anyhow::Context;
use engraft_data::{
    DataError, DataOptions, DataSource, Dataset, DatasetName, LoadOptions, Report, TrainingData,
};
use engraft_gan::networks::{self, NetworkSpec};
use engraft_gan::{GanError, NetworkConfig, RunLayout, TrainConfig, read_settings};
use std::sync::Arc;

/// Side of larger pictures where no size is named: a step of 128 pixels takes about twice as long.
const LARGE_SIDE: usize = 64;

/// Sizes that are tried for images whose own size is not used.
const SIZES: [usize; 3] = [LARGE_SIDE, 32, 28];

/// One in so many pictures may be smaller than the size that is chosen for all; it is enlarged.
const ENLARGED: usize = 10;

/// The images of a run, and the report about their files.
pub(super) struct Found {
    pub(super) data: Arc<dyn TrainingData>,
    /// Empty for data that are not picture files.
    pub(super) report: Report,
    /// Number of pictures held out for `evaluate`, for picture files.
    pub(super) held_out: Option<usize>,
}

impl From<Dataset> for Found {
    fn from(data: Dataset) -> Self {
        Self {
            data: Arc::new(data),
            report: Report::default(),
            held_out: None,
        }
    }
}

/// Finds the images of `--data`, or of the settings of another run. Without either it is MNIST, or drawn digits with a warning
/// if MNIST is not available.
///
/// # Errors
/// If there are none, or the network does not support their size.
pub(super) fn find(
    options: &Train,
    other: Option<&TrainConfig>,
    network: &NetworkConfig,
    display: &mut Display,
) -> anyhow::Result<Found> {
    let mut from = LoadOptions::new().notify(display::err);
    if options.offline {
        from = from.offline();
    }
    match (&options.data, other) {
        (Some(name), _) => {
            open(options, name, other, network, from, display).with_context(|| format!("--data {name}"))
        }
        (None, Some(config)) => {
            open(options, &config.data, other, network, from, display).with_context(|| {
                format!(
                    "the settings are for {:?}; add --data with its location",
                    config.data
                )
            })
        }
        (None, None) => {
            let digits = open(options, "mnist", other, network, from.clone(), display);
            match digits.as_ref().err().and_then(|error| error.downcast_ref()) {
                // Only if there is no MNIST; damaged files are an error.
                Some(why @ DataError::NotFound { .. }) => {
                    display.warn(&format!(
                        "MNIST is not available; training on DRAWN DIGITS, synthetic digits that this program generates\n{why}"
                    ));
                    open(options, "drawn-digits", other, network, from, display)
                }
                _ => digits,
            }
        }
    }
}

fn open(
    options: &Train,
    name: &str,
    other: Option<&TrainConfig>,
    network: &NetworkConfig,
    from: LoadOptions,
    display: &Display,
) -> anyhow::Result<Found> {
    let source = DataSource::parse(name)?;
    let mut how = DataOptions::new();
    how.load = from;
    let base = other.map(|config| config.pictures).unwrap_or_default();
    options.pictures.apply(base, &mut how);
    // Files in IDX format without a known name count as MNIST, as in an earlier version.
    how.idx_name = match other.map(|config| config.data.parse()) {
        Some(Ok(known)) => Some(known),
        _ if source.name().parse::<DatasetName>().is_ok() => None,
        _ => Some(DatasetName::Mnist),
    };
    // These may have no test set, which `evaluate` needs: every fifth image is held out.
    how.held_out = !options.train_on_all
        && matches!(
            source,
            DataSource::Folder(_) | DataSource::Zip(_) | DataSource::Npy(_)
        );
    how.size = match (options.size, other) {
        (Some(size), _) => Some([size; 2]),
        (None, Some(config)) => Some([config.image[0], config.image[1]]),
        // A run keeps its size, whatever is chosen for new ones.
        (None, None) => size_of_run(options),
    };
    if matches!(source, DataSource::Folder(_) | DataSource::Zip(_)) {
        let sizes = source.picture_size_counts()?;
        how.size = how.size.or(match *sizes {
            [] => None,
            [([h, w], _)] if h == w && h <= LARGE_SIDE && makes(network, [h, w, 3])? => None,
            _ => default_size(options, network, usual_side(&sizes))?,
        });
        display.say("  reading images");
        let pictures = source.open_lazily(&how)?;
        for line in report_lines(pictures.report()) {
            display.say(&format!("  {line}"));
        }
        return Ok(Found {
            report: pictures.report().clone(),
            held_out: Some(pictures.held_out()),
            data: Arc::new(pictures),
        });
    }
    let loaded = source.open(&how)?;
    let [h, w, c] = loaded.train.image_size();
    if how.size.is_some() || makes(network, [h, w, c])? {
        return Ok(loaded.train.into());
    }
    how.size = default_size(options, network, h.min(w))?;
    Ok(source.open(&how)?.train.into())
}

/// The size of the images of the run in `--out`, if there is one that goes on.
fn size_of_run(options: &Train) -> Option<[usize; 2]> {
    let out = options.out.as_ref().filter(|_| !options.fresh)?;
    let saved = read_settings(&RunLayout::new(out).settings()).ok()?;
    Some([saved.image[0], saved.image[1]])
}

/// Refuses the settings of another run whose networks do not make its images, before images are brought to their size.
///
/// # Errors
/// If they do not, or the networks are unknown.
pub(super) fn ensure_possible(other: &TrainConfig) -> Result<(), GanError> {
    let [h, w, c] = other.image;
    let network = &other.network.kind;
    networks::find(network)?
        .check(&other.network_spec())
        .map_err(|reason| GanError::Config {
            problems: vec![format!(
                "image is {h}x{w}x{c}, which the network {network} does not support: {reason}"
            )],
        })
}

fn makes(network: &NetworkConfig, image: [usize; 3]) -> Result<bool, GanError> {
    let spec = NetworkSpec::new(image).widths(network.widths.clone());
    Ok(networks::find(&network.kind)?.check(&spec).is_ok())
}

/// The shorter side of a picture that is larger than a tenth of all, so that some thumbnails or banners do not decide.
fn usual_side(sizes: &[([usize; 2], usize)]) -> usize {
    let sides = |&([h, w], count): &([usize; 2], usize)| std::iter::repeat_n(h.min(w), count);
    let mut sides: Vec<usize> = sizes.iter().flat_map(sides).collect();
    sides.sort_unstable();
    sides.get(sides.len() / ENLARGED).copied().unwrap_or(0)
}

/// The size of images whose own size is not used.
fn default_size(
    options: &Train,
    network: &NetworkConfig,
    side: usize,
) -> Result<Option<[usize; 2]>, GanError> {
    if chooses_by_size(options) && side >= LARGE_SIDE {
        return Ok(Some([LARGE_SIDE; 2]));
    }
    size_for(network, side)
}

/// The largest of some sizes that the network supports and that is at most `side`; otherwise the smallest.
fn size_for(network: &NetworkConfig, side: usize) -> Result<Option<[usize; 2]>, GanError> {
    let mut found = None;
    for size in SIZES {
        if makes(network, [size, size, 3])? {
            found = Some([size; 2]);
            if size <= side {
                break;
            }
        }
    }
    Ok(found)
}

/// Advice on images that networks do not support: the nearest sizes that they do.
pub(super) fn advice_on_size(network: &str, [height, width, channels]: [usize; 3]) -> String {
    let family = networks::find(network);
    let fits = |side: &usize| {
        let spec = NetworkSpec::new([*side, *side, channels]);
        family.as_ref().is_ok_and(|family| family.check(&spec).is_ok())
    };
    let side = height.min(width);
    let sides = match height == width && fits(&side) {
        // It is not the size.
        true => [None, None],
        false => [
            (1..=side.min(MOST_PIXELS)).rev().find(fits),
            (side.saturating_add(1)..=MOST_PIXELS).find(fits),
        ],
    };
    let sizes: Vec<String> = sides
        .iter()
        .flatten()
        .map(|side| format!("--size {side}"))
        .collect();
    match sizes.is_empty() {
        true => "--size N resizes the images, --network NAME chooses the networks".into(),
        false => format!(
            "{} resizes the images to the nearest size that {network} supports; --network NAME chooses other networks",
            sizes.join(" or ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_small_pictures_do_not_decide_the_size() {
        assert_eq!(usual_side(&[]), 0);
        assert_eq!(usual_side(&[([30, 40], 1), ([64, 80], 3)]), 30);
        assert_eq!(
            usual_side(&[([30, 30], 1), ([40, 4000], 1), ([500, 400], 28)]),
            400
        );
        assert_eq!(usual_side(&[([30, 30], 5), ([500, 400], 28)]), 30);
    }

    #[test]
    fn the_nearest_sizes_are_named() {
        for (network, image, sizes) in [
            ("light", [72, 72, 3], "--size 64 or --size 80 resizes"),
            ("light", [100, 100, 3], "--size 96 or --size 112 resizes"),
            ("light", [144, 144, 1], "--size 128 or --size 160 resizes"),
            ("light", [300, 400, 3], "--size 256 resizes"),
            ("light", [64, 80, 3], "--size 64 or --size 80 resizes"),
            ("dcgan", [16, 16, 1], "--size 28 resizes"),
            ("light", [64, 64, 3], "--size N resizes"),
            ("light", [72, 72, 9], "--size N resizes"),
            ("none", [72, 72, 3], "--size N resizes"),
        ] {
            let advice = advice_on_size(network, image);
            assert!(advice.starts_with(sizes), "{network} {image:?}: {advice}");
        }
    }
}
