//! From arguments to the settings of a run.

use super::{Args, Preset, TrainError};
use engraft_data::Dataset;
use engraft_gan::{GanError, Network, TrainConfig};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Epochs of the preset `tutorial`.
const TUTORIAL_EPOCHS: u64 = 50;
/// Size above which a file of settings is not read.
const MAX_BYTES: u64 = 1 << 20;

/// Reads the `run.toml` of another run.
pub(super) fn read_config(path: &Path) -> Result<TrainConfig, TrainError> {
    // Before it is opened: a named pipe would wait for ever.
    if path.metadata().is_ok_and(|found| !found.is_file()) {
        return Err(TrainError::Config(format!(
            "{}: this is not a regular file",
            path.display()
        )));
    }
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text))
        .map_err(|e| TrainError::Config(format!("{}: reading failed: {e}", path.display())))?;
    Ok(TrainConfig::from_toml(&text, path)?)
}

/// The preset, or the settings of another run, with what the arguments change.
pub(super) fn settings(
    args: &Args,
    wanted: Option<TrainConfig>,
    data: &Dataset,
) -> Result<TrainConfig, TrainError> {
    let mut config = wanted.unwrap_or_else(|| match args.preset {
        Preset::Default => TrainConfig::standard(data),
        Preset::Tutorial => TrainConfig::tutorial(data),
        Preset::R3gan => TrainConfig::r3gan(data),
    });
    if let Some(network) = args.network {
        config.network = network.into();
    }
    if args.conditional {
        ensure_every_class(data)?;
        config.classes = data.class_counts().len() as u32;
    }
    if let Some(every) = args.measure_every {
        config.watch.every = every;
    }
    if let Some(patience) = args.patience {
        config.watch.patience = patience;
    }
    if let Some(batch) = args.batch {
        config.batch = batch;
    }
    if let Some(seed) = args.seed {
        config.seed = seed;
    }
    if let Some(every) = args.sample_every {
        config.output.sample_every = every;
    }
    if let Some(every) = args.checkpoint_every {
        config.output.checkpoint_every = every;
    }
    if let Some(steps) = args.steps {
        config.steps = steps;
    }
    let sets_steps = args.changes.iter().any(|change| {
        change
            .split('=')
            .next()
            .is_some_and(|name| name.trim() == "steps")
    });
    if sets_steps && args.epochs.is_some() {
        return Err(TrainError::Gan(GanError::Config {
            problems: vec!["--epochs beside --set steps=..: expected one of them".into()],
        }));
    }
    let mut config = args
        .changes
        .iter()
        .try_fold(config, |config, change| config.changed(change))?;
    // The tutorial's preset is a number of epochs, whatever the batch.
    let is_tutorial = matches!(args.preset, Preset::Tutorial) && args.config.is_none();
    let usual = is_tutorial.then_some(TUTORIAL_EPOCHS);
    if let Some(epochs) = args.epochs.or(usual)
        && args.steps.is_none()
        && !sets_steps
    {
        config.steps = epochs.saturating_mul(config.steps_per_epoch());
    }
    Ok(config)
}

/// # Errors
/// If a class has no images: its part of every sheet and measure would be noise.
fn ensure_every_class(data: &Dataset) -> Result<(), TrainError> {
    let counts = data.class_counts();
    let empty = counts.iter().enumerate().filter(|(_, count)| **count == 0);
    let empty: Vec<String> = empty.map(|(class, _)| class.to_string()).collect();
    if empty.is_empty() {
        return Ok(());
    }
    let problem = format!(
        "--conditional: {} has no images of class {}, whose images would be noise; expected images of every class from 0 to {}",
        data.name(),
        empty.join(", "),
        counts.len() - 1
    );
    Err(TrainError::Gan(GanError::Config {
        problems: vec![problem],
    }))
}

/// Runs on other data, of other networks or with another preset get a directory of their own.
pub(super) fn default_directory(args: &Args, config: &TrainConfig) -> PathBuf {
    let preset = match args.preset {
        Preset::Default => "",
        Preset::Tutorial => "-tutorial",
        Preset::R3gan => "-r3gan",
    };
    let usual = match args.preset {
        Preset::R3gan => Network::Residual,
        Preset::Default | Preset::Tutorial => Network::Dcgan,
    };
    let network = if config.network == usual {
        String::new()
    } else {
        format!("-{}", config.network)
    };
    let classes = if config.classes > 0 { "-conditional" } else { "" };
    Path::new("runs").join(format!("{}{network}{preset}{classes}", config.data))
}
