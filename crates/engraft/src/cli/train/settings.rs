//! From options to the settings of a run.

use crate::cli::options::{Preset, Train};
use engraft_data::TrainingData;
use engraft_gan::{GanError, NetworkConfig, TrainConfig};
use std::path::{Path, PathBuf};

/// Epochs of the preset `tutorial`.
const TUTORIAL_EPOCHS: u64 = 50;

/// The networks that will be trained.
pub(super) fn network(options: &Train, other: Option<&TrainConfig>) -> NetworkConfig {
    match (&options.network, other) {
        (Some(name), _) => name.as_str().into(),
        (None, Some(config)) => config.network.clone(),
        (None, None) => usual_network(options.preset),
    }
}

fn usual_network(preset: Preset) -> NetworkConfig {
    match preset {
        Preset::R3gan => "residual".into(),
        Preset::Default | Preset::Tutorial => "dcgan".into(),
    }
}

/// The preset, or the settings of another run, with what the arguments change.
pub(super) fn settings(
    options: &Train,
    other: Option<TrainConfig>,
    data: &dyn TrainingData,
) -> Result<TrainConfig, GanError> {
    let mut config = other.unwrap_or_else(|| match options.preset {
        Preset::Default => TrainConfig::standard(data),
        Preset::Tutorial => TrainConfig::tutorial(data),
        Preset::R3gan => TrainConfig::r3gan(data),
    });
    if let Some(network) = &options.network {
        config.network = network.as_str().into();
    }
    if options.conditional {
        ensure_every_class(data)?;
        config.classes = data.classes() as u32;
    }
    if let Some(every) = options.eval_every {
        config.watch.every = every;
    }
    if let Some(features) = &options.features {
        config.watch.features = Some(features.clone());
    }
    if let Some(patience) = options.patience {
        config.watch.patience = patience;
    }
    if let Some(batch) = options.batch {
        config.batch = batch;
    }
    if let Some(seed) = options.seed {
        config.seed = seed;
    }
    if let Some(every) = options.sample_every {
        config.output.sample_every = every;
    }
    if let Some(every) = options.checkpoint_every {
        config.output.checkpoint_every = every;
    }
    if let Some(steps) = options.steps {
        config.steps = steps;
    }
    let sets_steps = options.changes.iter().any(|change| {
        change
            .split('=')
            .next()
            .is_some_and(|name| name.trim() == "steps")
    });
    if sets_steps && options.epochs.is_some() {
        return Err(GanError::Config {
            problems: vec!["--epochs beside --set steps=..: expected one of them".into()],
        });
    }
    let mut config = options
        .changes
        .iter()
        .try_fold(config, |config, change| config.changed(change))?;
    // The tutorial's preset is a number of epochs, whatever the batch.
    let is_tutorial = matches!(options.preset, Preset::Tutorial) && options.config.is_none();
    let usual = is_tutorial.then_some(TUTORIAL_EPOCHS);
    if let Some(epochs) = options.epochs.or(usual)
        && options.steps.is_none()
        && !sets_steps
    {
        config.steps = epochs.saturating_mul(config.steps_per_epoch());
    }
    Ok(config)
}

/// # Errors
/// If a class has no images: its part of every sheet and measure would be noise.
fn ensure_every_class(data: &dyn TrainingData) -> Result<(), GanError> {
    let mut counts = vec![0_usize; data.classes()];
    for label in (0..data.len()).filter_map(|i| data.label(i)) {
        counts[label] += 1;
    }
    if counts.is_empty() {
        let problem = format!(
            "--conditional: {} has no labels; expected a known data set, or a folder or ZIP file with a folder of pictures for each \
             class",
            data.name()
        );
        return Err(GanError::Config {
            problems: vec![problem],
        });
    }
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
    Err(GanError::Config {
        problems: vec![problem],
    })
}

/// Runs on other data, of other networks or with another preset get a directory of their own.
pub(super) fn default_directory(options: &Train, config: &TrainConfig) -> PathBuf {
    let preset = match options.preset {
        Preset::Default => "",
        Preset::Tutorial => "-tutorial",
        Preset::R3gan => "-r3gan",
    };
    let usual = usual_network(options.preset);
    let network = if config.network == usual {
        String::new()
    } else {
        format!("-{}", config.network)
    };
    let classes = if config.classes > 0 { "-conditional" } else { "" };
    Path::new("runs").join(format!("{}{network}{preset}{classes}", config.data))
}
