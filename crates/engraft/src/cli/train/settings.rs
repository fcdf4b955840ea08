//! Settings of a run from the options.

use crate::cli::data_source::FEWEST_HELD_OUT as FEWEST;
use crate::cli::options::{Preset, Train};
use crate::cli::output_dir::free_directory;
use engraft_data::{DatasetName, TrainingData};
use engraft_gan::networks::{self, NetworkSpec};
use engraft_gan::toml::{Table, Value};
use engraft_gan::{AugmentConfig, GanError, NetworkConfig, PseudoLabelConfig, TrainConfig};
use std::path::{Path, PathBuf};

/// Epochs of the preset `tutorial`.
const TUTORIAL_EPOCHS: u64 = 50;

/// Steps between two evaluations of a run with few images, on the training images themselves.
const EVERY: u64 = 500;

/// Micro-batches of a run on several ranks. They must not depend on the number of ranks, so that a run can resume on another.
const MICRO_BATCHES_OF_RANKS: u32 = 8;

/// The family that the options name: the last of `--set network=NAME`, or `--network NAME`. Both give the same settings.
pub(super) fn named_network(options: &Train) -> Option<String> {
    let changes = options.changes.iter().rev();
    let set = changes.filter_map(|change| family_in(change)).next();
    set.or_else(|| options.network.clone())
}

/// The family in a change such as `network=mlp`. `None` for another change, and for an unknown name, which is reported with the
/// other settings.
fn family_in(change: &str) -> Option<String> {
    let (name, text) = change.split_once('=')?;
    let parsed: Option<Table> = engraft_gan::toml::from_str(&format!("value = {text}")).ok();
    // A word without quotes is a name.
    let value = parsed.and_then(|mut table| table.remove("value"));
    let family = match (name.trim(), value) {
        ("network" | "network.kind", None) => text.into(),
        ("network" | "network.kind", Some(Value::String(family))) => family,
        ("network", Some(Value::Table(table))) => table.get("kind")?.as_str()?.into(),
        _ => return None,
    };
    networks::find(&family).is_ok().then_some(family)
}

/// The networks that will be trained. With [`chooses_by_size`] they depend on the images, which are not open yet.
pub(super) fn network(options: &Train, other: Option<&TrainConfig>) -> NetworkConfig {
    match (other, named_network(options)) {
        (Some(config), _) => config.network.clone(),
        (None, Some(family)) => family.as_str().into(),
        (None, None) => usual_network(options.preset),
    }
}

/// Whether no option decides the networks, so that the size of the images does.
pub(super) fn chooses_by_size(options: &Train) -> bool {
    named_network(options).is_none() && options.config.is_none() && options.preset == Preset::Default
}

/// Whether the images are the user's, and not a known data set.
pub(super) fn is_own_data(options: &Train) -> bool {
    let name = options.data.as_deref();
    name.is_some_and(|name| name.parse::<DatasetName>().is_err())
}

/// Why the networks differ from the default ones, if the size of the images chose them.
pub(super) fn reason(options: &Train, image: [usize; 3]) -> Option<String> {
    let [height, width, _] = image;
    let usual = usual_network(Preset::Default).kind;
    let chosen = chooses_by_size(options) && !supports(&usual, image);
    chosen.then(|| {
        format!(
            "  preset         light: the images have {height}x{width} pixels, which the default networks {usual} do not support"
        )
    })
}

/// Whether a family has networks for images of this shape.
fn supports(family: &str, image: [usize; 3]) -> bool {
    networks::find(family).is_ok_and(|family| family.check(&NetworkSpec::new(image)).is_ok())
}

/// The settings if no preset is given: those of `light` for its networks, and those for many gray images from their number on. One's
/// own pictures in color are augmented by their number.
fn default_settings(options: &Train, data: &dyn TrainingData) -> TrainConfig {
    let named = named_network(options);
    if named.as_deref() == Some("light") || reason(options, data.shape()).is_some() {
        return TrainConfig::light(data);
    }
    let mut config = TrainConfig::standard(data);
    let [.., channels] = config.image;
    let is_usual = named.is_none_or(|family| family == usual_network(Preset::Default).kind);
    if has_many_images(&config) && is_usual && !options.conditional && options.pseudo_labels != Some(0) {
        config = TrainConfig::many_images(data);
    }
    if is_own_data(options) && channels > 1 {
        config.augment = AugmentConfig::for_images(config.trained_on(), channels);
    }
    config
}

/// Whether there are enough gray images for the settings of [`TrainConfig::many_images`].
fn has_many_images(config: &TrainConfig) -> bool {
    let [.., channels] = config.image;
    channels == 1 && config.trained_on() >= TrainConfig::MANY_IMAGES
}

fn usual_network(preset: Preset) -> NetworkConfig {
    match preset {
        Preset::R3gan => "residual".into(),
        Preset::Light => "light".into(),
        Preset::Default | Preset::Tutorial => "dcgan".into(),
    }
}

/// The preset or the settings of another run, changed by the options.
pub(super) fn settings(
    options: &Train,
    other: Option<TrainConfig>,
    data: &dyn TrainingData,
    has_ranks: bool,
) -> Result<TrainConfig, GanError> {
    let is_other = other.is_some();
    let mut config = other.unwrap_or_else(|| match options.preset {
        Preset::Default => default_settings(options, data),
        Preset::Tutorial => TrainConfig::tutorial(data),
        Preset::R3gan => TrainConfig::r3gan(data),
        Preset::Light => TrainConfig::light(data),
    });
    if let Some(network) = &options.network {
        config.network = network.as_str().into();
    }
    config.pictures = options.pictures.over(config.pictures);
    config.pictures.mirror |= options.mirror;
    if let Some(change) = options.changes.iter().find(|change| reads_pictures(change)) {
        return Err(GanError::Config {
            problems: vec![format!(
                "--set {change}: pictures are read before settings are changed; use --fit, --background, --levels or --damaged"
            )],
        });
    }
    if options.conditional {
        ensure_every_class(data)?;
        config.classes = data.classes() as u32;
    }
    if let Some(clusters) = options.pseudo_labels {
        // Of none, no other setting may be left.
        if clusters == 0 {
            config.pseudo_labels = PseudoLabelConfig::default();
        }
        config.pseudo_labels.clusters = clusters;
    }
    if options.config.is_none() && config.validation_images == 0 && config.images >= FEWEST {
        config.evaluation.every = EVERY;
    }
    if let Some(every) = options.eval_every {
        config.evaluation.every = every;
    }
    if let Some(features) = &options.features.features {
        config.evaluation.features = Some(features.clone());
        config.evaluation.weights = options.features.weights.clone();
    }
    if let Some(patience) = options.patience {
        config.evaluation.patience = patience;
    }
    if let Some(batch) = options.batch {
        config.batch = batch;
    }
    match options.micro_batches {
        Some(count) => config.micro_batches = count,
        None if has_ranks && !is_other => config.micro_batches = MICRO_BATCHES_OF_RANKS,
        None => {}
    }
    options.learning_rates.apply(&mut config);
    if let Some(precision) = options.precision {
        config.precision = precision;
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
            problems: vec!["--epochs and --set steps=.. were both given; expected one of them".into()],
        });
    }
    let mut config = options
        .changes
        .iter()
        .try_fold(config, |config, change| config.changed(change))?;
    // The preset tutorial fixes the number of epochs, for every batch size.
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

/// Refuses labels and clusters as the classes of one run.
///
/// # Errors
/// If the options ask for both.
pub(super) fn ensure_one_kind_of_classes(options: &Train) -> Result<(), GanError> {
    match options.pseudo_labels {
        Some(clusters @ 1..) if options.conditional => Err(GanError::Config {
            problems: vec![format!(
                "--conditional and --pseudo-labels {clusters} were both given, but a run has one kind of classes; expected one of \
                 them, or --pseudo-labels 0"
            )],
        }),
        _ => Ok(()),
    }
}

/// Whether a change concerns how pictures are read.
fn reads_pictures(change: &str) -> bool {
    let name = change.split('=').next().unwrap_or_default().trim();
    name.starts_with("pictures") && name != "pictures.mirror"
}

/// # Errors
/// If a class has no images: the generator could not learn it.
fn ensure_every_class(data: &dyn TrainingData) -> Result<(), GanError> {
    let mut counts = vec![0_usize; data.classes()];
    for label in (0..data.len()).filter_map(|i| data.label(i)) {
        counts[label] += 1;
    }
    if counts.is_empty() {
        let problem = format!(
            "--conditional: {} has no labels; expected a known data set, or a folder or ZIP file with one folder of images per class",
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
        "--conditional: {} has no images of class {}; expected images of every class from 0 to {}",
        data.name(),
        empty.join(", "),
        counts.len() - 1
    );
    Err(GanError::Config {
        problems: vec![problem],
    })
}

/// The default run directory: one for each data set, network and preset. If another run is there, the first of the numbers
/// from 2 on with none, or with the run that these settings resume.
pub(super) fn default_directory(
    options: &Train,
    config: &TrainConfig,
    fits: impl Fn(&Path) -> bool,
) -> PathBuf {
    let preset = match options.preset {
        Preset::Default => "",
        Preset::Tutorial => "-tutorial",
        Preset::R3gan => "-r3gan",
        Preset::Light => "-light",
    };
    let usual = usual_network(options.preset);
    let network = if config.network == usual {
        String::new()
    } else {
        format!("-{}", config.network)
    };
    let is_of_preset = options.preset == Preset::Default
        && config.network == usual
        && has_many_images(config)
        && config.pseudo_labels == PseudoLabelConfig::of_many_images();
    let classes = match (config.classes, config.pseudo_labels.is_on()) {
        (0, false) => "",
        (0, true) if is_of_preset => "",
        (0, true) => "-pseudo-labels",
        _ => "-conditional",
    };
    free_directory(&format!("{}{network}{preset}{classes}", config.data), fits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;
    use engraft_data::{Dataset, Provenance};

    fn parsed(line: &str) -> Box<Train> {
        let words = ["engraft", "train"].into_iter().chain(line.split_terminator(' '));
        let Command::Train(options) = Cli::try_parse_from(words).unwrap().command else {
            panic!("{line}: expected a training")
        };
        options
    }

    /// The settings of a command for gray images of 28x28 pixels.
    fn settings_of(line: &str, images: usize) -> TrainConfig {
        let options = parsed(line);
        let pixels = vec![0; images * 28 * 28];
        let labels = (0..images).map(|i| (i % 10) as u8).collect();
        let data = Dataset::new("gray", Provenance::Memory, pixels, [28, 28, 1], labels).unwrap();
        settings(&options, None, &data, false).unwrap()
    }

    #[test]
    fn networks_that_are_set_have_the_settings_of_those_that_are_named() {
        let usual = settings_of("", 11_200);
        assert_eq!(usual.pseudo_labels, PseudoLabelConfig::of_many_images());
        for family in ["mlp", "residual", "light", "dcgan"] {
            let named = settings_of(&format!("--network {family}"), 11_200);
            assert_eq!(named.pseudo_labels.is_on(), family == "dcgan", "{family}");
            for set in [
                format!("--set network={family}"),
                format!("--set network.kind=\"{family}\""),
                format!("--set network={{kind=\"{family}\"}}"),
                format!("--network mlp --set network={family}"),
                format!("--set network=residual --set network={family}"),
            ] {
                assert_eq!(settings_of(&set, 11_200), named, "{set}");
            }
        }
        assert_eq!(family_in("network=no-such"), None);
        assert_eq!(family_in("network.widths=[1]"), None);
    }

    #[test]
    fn no_clusters_beside_labels_mean_labels() {
        let labels = settings_of("--conditional", 11_200);
        assert_eq!(settings_of("--conditional --pseudo-labels 0", 11_200), labels);
        assert_eq!((labels.classes, labels.pseudo_labels.is_on()), (10, false));
        for (line, is_possible) in [
            ("--conditional --pseudo-labels 0", true),
            ("--conditional", true),
            ("--pseudo-labels 20", true),
            ("--conditional --pseudo-labels 20", false),
        ] {
            let found = ensure_one_kind_of_classes(&parsed(line));
            assert_eq!(found.is_ok(), is_possible, "{line}");
        }
    }
}
