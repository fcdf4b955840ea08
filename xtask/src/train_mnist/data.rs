//! Which images a run trains on.

use super::display::{self, Display};
use super::{Args, TrainError};
use engraft_data::{DataError, Dataset, DatasetName, LoadOptions, Split, load, stacked_digits};
use engraft_gan::TrainConfig;
use std::path::Path;

/// Three digits of MNIST in each image.
const STACKED_NAME: &str = "stacked-mnist";
/// Images of that set, and the seed that they are put together with.
const STACKED: usize = 60_000;
const STACKED_SEED: u64 = 1;

/// Finds the images that the arguments (or the settings of another run) ask for. Without either that is
/// MNIST, or, said loudly, drawn digits where MNIST is not to be had.
pub(super) fn find(
    args: &Args,
    wanted: Option<&TrainConfig>,
    display: &mut Display,
) -> Result<Dataset, TrainError> {
    let mut options = LoadOptions::new().notify(display::err);
    if args.offline {
        options = options.offline();
    }
    let by_name = |name: &str| DatasetName::ALL.into_iter().find(|known| known.as_str() == name);
    let explain = |e: DataError| TrainError::Data(e.to_string());
    let stacked = || {
        let digits = load(DatasetName::Mnist, Split::Train, &options).map_err(explain)?;
        stacked_digits(&digits, STACKED, STACKED_SEED).map_err(explain)
    };
    match (&args.data, wanted) {
        (Some(given), _) if given == STACKED_NAME => stacked(),
        (None, Some(config)) if config.data == STACKED_NAME => stacked(),
        (Some(given), _) => match by_name(given) {
            Some(name) => load(name, Split::Train, &options).map_err(explain),
            None if Path::new(given).is_dir() => {
                let name = wanted
                    .and_then(|w| by_name(&w.data))
                    .unwrap_or(DatasetName::Mnist);
                load(name, Split::Train, &options.directory(given)).map_err(explain)
            }
            None => Err(TrainError::Data(format!(
                "--data {given}: neither a directory nor one of {}",
                DatasetName::ALL.map(DatasetName::as_str).join(", ")
            ))),
        },
        (None, Some(config)) => match by_name(&config.data) {
            Some(name) => load(name, Split::Train, &options).map_err(explain),
            None => Err(TrainError::Data(format!(
                "the settings are for {:?}, which is none of {}; give its directory with --data",
                config.data,
                DatasetName::ALL.map(DatasetName::as_str).join(", ")
            ))),
        },
        (None, None) => match load(DatasetName::Mnist, Split::Train, &options) {
            Ok(data) => Ok(data),
            // Only where there is none: faulty files of the user are an error.
            Err(why @ DataError::NotFound { .. }) => {
                display.warn(&format!(
                    "no MNIST, so this run trains on DRAWN DIGITS, which this program draws itself\n{why}"
                ));
                load(DatasetName::DrawnDigits, Split::Train, &options).map_err(explain)
            }
            Err(error) => Err(explain(error)),
        },
    }
}
