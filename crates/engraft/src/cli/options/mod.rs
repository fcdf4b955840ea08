//! The options of the commands, parsed by clap. The commands are in the other modules of `cli`.

mod adapt;
mod completions;
mod doctor;
mod evaluate;
mod export;
mod feature_options;
mod features;
mod generate;
mod import;
mod learning_rates;
mod pictures;
mod playground;
mod seeds;
mod semi_supervised;
mod sources;
mod sweep;
mod train;
mod transfer;
mod watch;

pub(crate) use adapt::Adapt;
pub(crate) use completions::{Completions, Manual};
pub(crate) use doctor::Doctor;
pub(crate) use evaluate::Evaluate;
pub(crate) use export::{Export, ExportFormat, ExportNetwork};
pub(crate) use feature_options::FeatureOptions;
pub(crate) use features::WriteFeatures;
pub(crate) use generate::{Generate, Interpolation};
pub(crate) use import::{Import, ImportFormat};
pub(crate) use learning_rates::LearningRates;
pub(crate) use pictures::PictureOptions;
pub(crate) use playground::Playground;
pub use seeds::Seeds;
pub(crate) use semi_supervised::{Budget, LabelChoice, SemiSupervised};
pub(crate) use sources::Sources;
pub(crate) use sweep::{Over, Search, Sweep, SweepAdapt, SweepOf};
pub(crate) use train::Preset;
pub use train::Train;
pub(crate) use transfer::{PlanOptions, RecipeName, Small, Transfer};
pub(crate) use watch::Watch;

use super::process::MOST_THREADS;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Parser, Subcommand};
use std::fmt::Display;

/// Largest side of images in pixels.
pub(crate) const MOST_PIXELS: usize = 4096;
/// Most images of one step.
const MOST_IN_A_BATCH: usize = 10_000;
/// Most generated images of one command.
const MOST_IMAGES: usize = 1_000_000;
/// Fewest generated images that metrics can compare.
pub(crate) const FEWEST_COMPARED: usize = 6;

/// Train generative adversarial networks (GANs) on CPUs and transfer them to new domains.
#[derive(Debug, Parser)]
#[command(name = "engraft", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Train(Box<Train>),
    Generate(Generate),
    Evaluate(Evaluate),
    Transfer(Box<Transfer>),
    Sweep(Sweep),
    Sources(Sources),
    Adapt(Adapt),
    SemiSupervised(SemiSupervised),
    Features(WriteFeatures),
    Watch(Watch),
    Doctor(Doctor),
    Completions(Completions),
    Manual(Manual),
    Export(Export),
    Import(Import),
    Playground(Playground),
}

/// Accepts one of `all`, by its printed name.
fn one_of<T>(all: &[T]) -> impl TypedValueParser<Value = T> + use<T>
where
    T: Clone + Display + Send + Sync + 'static,
{
    one_of_described(all.iter().map(|value| (value.clone(), "")).collect())
}

/// The same, with a help text for each value.
fn one_of_described<T>(all: Vec<(T, &'static str)>) -> impl TypedValueParser<Value = T>
where
    T: Clone + Display + Send + Sync + 'static,
{
    let names = all.iter().map(|(value, about)| {
        let name = PossibleValue::new(value.to_string());
        if about.is_empty() { name } else { name.help(*about) }
    });
    PossibleValuesParser::new(names.collect::<Vec<_>>()).try_map(move |name| {
        let found = all.iter().find(|(value, _)| value.to_string() == name);
        found.map(|(value, _)| value.clone()).ok_or("no such name")
    })
}

/// A number of threads.
fn threads(text: &str) -> Result<usize, String> {
    from_one_to(MOST_THREADS, text, "more threads than cores make nothing faster")
}

/// A number of images.
fn image_count(text: &str) -> Result<usize, String> {
    from_one_to(MOST_IMAGES, text, "more take hours and change no metric")
}

/// A number of images to compare: metrics look at five neighbors.
fn compared_images(text: &str) -> Result<usize, String> {
    match image_count(text)? {
        0..FEWEST_COMPARED => Err(format!("expected at least {FEWEST_COMPARED} images")),
        count => Ok(count),
    }
}

/// A number of clusters.
fn cluster_count(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(1) => Err("one cluster separates nothing; expected at least 2, or 0 for none".into()),
        Ok(count) => Ok(count),
        Err(_) => Err("expected a number of clusters from 2 on, or 0 for none".into()),
    }
}

/// The side of images in pixels.
fn side(text: &str) -> Result<usize, String> {
    from_one_to(MOST_PIXELS, text, "larger images take gigabytes")
}

/// A number of images per step.
fn batch(text: &str) -> Result<usize, String> {
    from_one_to(MOST_IN_A_BATCH, text, "larger batches take minutes per step")
}

fn from_one_to(most: usize, text: &str, reason: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if (1..=most).contains(&count) => Ok(count),
        _ => Err(format!("expected a number from 1 to {most}; {reason}")),
    }
}

/// A number of at least 1.
fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("expected a number of at least 1".into()),
        Ok(count) => Ok(count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_options_agree_with_each_other() {
        Cli::command().debug_assert();
    }

    /// What a line of arguments is parsed to.
    fn parsed(line: &str) -> String {
        let words = ["engraft"].into_iter().chain(line.split(' '));
        let cli = Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{line}: {error}"));
        format!("{:?}", cli.command)
    }

    #[test]
    fn options_of_an_earlier_version_are_parsed_to_the_same() {
        let lines = [
            ("train --classes", "train --conditional"),
            ("train --measure-every 5", "train --eval-every 5"),
            (
                "transfer --from a --data b --shots 9 --warm-up 3 --preserve ewc=10 --patches --until-balance",
                "transfer --from a --data b --train-images 9 --discriminator-warmup 3 --regularize ewc=10 --patch-discriminator \
                 --stop-at-equilibrium",
            ),
            (
                "transfer --from a --data b --controls --unfreeze-every 5 --distil 0.5",
                "transfer --from a --data b --baselines --gradual-unfreezing 5 --distill 0.5",
            ),
            (
                "sources a --data b --shots 5",
                "sources a --data b --train-images 5",
            ),
            (
                "adapt --source a --target b --mismatch-is-meant",
                "adapt --source-data a --target-data b --allow-domain-mismatch",
            ),
            (
                "semi-supervised --data a --shots 50 --terms pull-away=0.5 --generator b --generated 9",
                "semi-supervised --data a --train-images 50 --extra-losses pull-away=0.5 --from b --generated 9",
            ),
            (
                "evaluate --from a --data b --split test",
                "evaluate --from a --data b --split test",
            ),
        ];
        for (earlier, today) in lines {
            assert_eq!(parsed(earlier), parsed(today), "{earlier}");
        }
        assert!(parsed("semi-supervised --data a --seeds 2 --first-seed 4").contains("first_seed: Some(4)"));
    }

    #[test]
    fn the_help_has_todays_options_only() {
        let earlier = [
            "classes",
            "measure-every",
            "shots",
            "warm-up",
            "preserve",
            "patches",
            "until-balance",
            "controls",
            "unfreeze-every",
            "distil",
            "source",
            "target",
            "mismatch-is-meant",
            "terms",
            "generator",
            "first-seed",
            "split",
        ];
        for command in Cli::command().get_subcommands_mut() {
            let name = command.get_name().to_owned();
            let help = command.render_long_help().to_string();
            let words: Vec<&str> = help
                .split(|c: char| !c.is_ascii_alphanumeric() && c != '-')
                .collect();
            for option in earlier {
                // The features of either part can be written, and each network of PyTorch has its file.
                let is_today =
                    [("features", "split"), ("import", "generator")].contains(&(name.as_str(), option));
                assert!(
                    is_today || !words.contains(&format!("--{option}").as_str()),
                    "{name} --{option}"
                );
            }
        }
    }
}
