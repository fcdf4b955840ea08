//! Which images a run trains on, and at which size.

use super::display::{self, Display};
use crate::cli::data_source::report_lines;
use crate::cli::options::Train;
use anyhow::Context;
use engraft_data::{DataError, DataOptions, DataSource, Dataset, DatasetName, LoadOptions, Loaded};
use engraft_gan::networks::{self, NetworkSpec};
use engraft_gan::{NetworkConfig, TrainConfig};

/// Heights and widths that are tried for pictures that a network cannot make as they are.
const SIZES: [usize; 5] = [256, 128, 64, 32, 28];

/// Finds the images that the options (or the settings of another run) ask for. Without either that is
/// MNIST, or, said loudly, drawn digits where MNIST is not to be had.
///
/// # Errors
/// If there are none, or the network makes none of their kind.
pub(super) fn find(
    options: &Train,
    other: Option<&TrainConfig>,
    network: &NetworkConfig,
    display: &mut Display,
) -> anyhow::Result<Dataset> {
    let mut from = LoadOptions::new().notify(display::err);
    if options.offline {
        from = from.offline();
    }
    match (&options.data, other) {
        (Some(name), _) => {
            open(options, name, other, network, from, display).with_context(|| format!("--data {name}"))
        }
        (None, Some(config)) => open(options, &config.data, other, network, from, display)
            .with_context(|| format!("the settings are for {:?}; name its place by --data", config.data)),
        (None, None) => {
            let digits = open(options, "mnist", other, network, from.clone(), display);
            match digits.as_ref().err().and_then(|error| error.downcast_ref()) {
                // Only where there is none: faulty files of the user are an error.
                Some(why @ DataError::NotFound { .. }) => {
                    display.warn(&format!(
                        "no MNIST, so this run trains on DRAWN DIGITS, which this program draws itself\n{why}"
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
) -> anyhow::Result<Dataset> {
    let source = DataSource::parse(name)?;
    let mut how = DataOptions::new();
    how.load = from;
    // Files in MNIST's format that no name says more of have always counted as MNIST's.
    how.idx_name = match other.map(|config| config.data.parse()) {
        Some(Ok(known)) => Some(known),
        _ if source.name().parse::<DatasetName>().is_ok() => None,
        _ => Some(DatasetName::Mnist),
    };
    how.size = match (options.size, other) {
        (Some(size), _) => Some([size; 2]),
        (None, Some(config)) => Some([config.image[0], config.image[1]]),
        (None, None) => None,
    };
    let loaded = sized(&source, how, network)?;
    if !matches!(source, DataSource::Known(_) | DataSource::Idx(_)) {
        for line in report_lines(&loaded.report) {
            display.say(&format!("  {line}"));
        }
    }
    Ok(loaded.train)
}

/// The images at the size asked for; else at their own if the network makes it; else at the largest that it makes of those
/// that no picture has to be enlarged for.
fn sized(source: &DataSource, mut how: DataOptions, network: &NetworkConfig) -> anyhow::Result<Loaded> {
    let family = networks::find(&network.kind)?;
    let spec = |image| NetworkSpec::new(image).widths(network.widths.clone());
    let makes = |image| family.check(&spec(image)).is_ok();
    let chosen = |smallest: usize| {
        let made = SIZES.into_iter().filter(|&size| makes([size, size, 3]));
        let made: Vec<usize> = made.collect();
        let fits = made.iter().find(|&&size| size <= smallest);
        fits.or(made.last()).map(|&size| [size; 2])
    };
    if how.size.is_none() {
        how.size = match *source.picture_sizes()? {
            [] => None,
            [[h, w]] if h == w && makes([h, w, 3]) => None,
            ref sizes => chosen(sizes.iter().flatten().copied().min().unwrap_or(0)),
        };
    }
    let loaded = source.open(&how)?;
    let [h, w, c] = loaded.train.image_size();
    if how.size.is_some() || makes([h, w, c]) {
        return Ok(loaded);
    }
    how.size = chosen(h.min(w));
    Ok(source.open(&how)?)
}
