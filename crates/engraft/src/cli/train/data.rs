//! Which images a run trains on.

use super::display::{self, Display};
use crate::cli::options::Train;
use anyhow::Context;
use engraft_data::{DataError, Dataset, DatasetName, LoadOptions, Split, load, stacked_digits};
use engraft_gan::TrainConfig;
use std::path::Path;

/// Three digits of MNIST in each image.
const STACKED_NAME: &str = "stacked-mnist";
/// Images of that set, and the seed that they are put together with.
const STACKED: usize = 60_000;
const STACKED_SEED: u64 = 1;

/// Finds the images that the options (or the settings of another run) ask for. Without either that is
/// MNIST, or, said loudly, drawn digits where MNIST is not to be had.
pub(super) fn find(
    options: &Train,
    other: Option<&TrainConfig>,
    display: &mut Display,
) -> anyhow::Result<Dataset> {
    let mut from = LoadOptions::new().notify(display::err);
    if options.offline {
        from = from.offline();
    }
    let known = |name: &str| -> anyhow::Result<Dataset> {
        if name == STACKED_NAME {
            let digits = load(DatasetName::Mnist, Split::Train, &from)?;
            return Ok(stacked_digits(&digits, STACKED, STACKED_SEED)?);
        }
        Ok(load(name.parse()?, Split::Train, &from)?)
    };
    match (&options.data, other) {
        (Some(given), _) if given != STACKED_NAME && Path::new(given).is_dir() => {
            let name = other.and_then(|config| config.data.parse().ok());
            let name = name.unwrap_or(DatasetName::Mnist);
            Ok(load(name, Split::Train, &from.directory(given))?)
        }
        (Some(given), _) => known(given).with_context(|| format!("--data {given}")),
        (None, Some(config)) => known(&config.data).with_context(|| {
            format!(
                "the settings are for {:?}; give its directory with --data",
                config.data
            )
        }),
        (None, None) => match load(DatasetName::Mnist, Split::Train, &from) {
            // Only where there is none: faulty files of the user are an error.
            Err(why @ DataError::NotFound { .. }) => {
                display.warn(&format!(
                    "no MNIST, so this run trains on DRAWN DIGITS, which this program draws itself\n{why}"
                ));
                Ok(load(DatasetName::DrawnDigits, Split::Train, &from)?)
            }
            found => Ok(found?),
        },
    }
}
