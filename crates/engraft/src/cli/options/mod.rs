//! What can be said to the program, parsed; what is done with it is in the modules of the commands.

mod adapt;
mod evaluate;
mod features;
mod generate;
mod semi_supervised;
mod sources;
mod train;
mod transfer;

pub(crate) use adapt::Adapt;
pub(crate) use evaluate::Evaluate;
pub(crate) use features::WriteFeatures;
pub(crate) use generate::Generate;
pub(crate) use semi_supervised::{Budget, SemiSupervised};
pub(crate) use sources::Sources;
pub(crate) use train::Preset;
pub use train::Train;
pub(crate) use transfer::{PlanOptions, RecipeName, Small, Transfer};

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Parser, Subcommand};
use engraft_gan::CheckpointChoice;
use std::fmt::Display;

/// Train generative adversarial networks and graft them onto new domains.
#[derive(Parser)]
#[command(name = "engraft", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    Train(Box<Train>),
    Generate(Generate),
    Evaluate(Evaluate),
    Transfer(Box<Transfer>),
    Sources(Sources),
    Adapt(Adapt),
    SemiSupervised(SemiSupervised),
    Features(WriteFeatures),
}

/// Takes one of `all`, by the name that it is printed as.
fn one_of<T>(all: &[T]) -> impl TypedValueParser<Value = T> + use<T>
where
    T: Clone + Display + Send + Sync + 'static,
{
    one_of_described(all.iter().map(|value| (value.clone(), "")).collect())
}

/// The same, with what the help says of each.
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

/// Takes a checkpoint of a run.
fn checkpoints() -> impl TypedValueParser<Value = CheckpointChoice> {
    let about = |choice| match choice {
        CheckpointChoice::Last => "The newest",
        CheckpointChoice::Best => {
            "The one with the lowest KID to the images that the run held out, of those that do not copy if there are any"
        }
    };
    one_of_described(
        CheckpointChoice::ALL
            .map(|choice| (choice, about(choice)))
            .to_vec(),
    )
}

/// A number that is not 0.
fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("expected a number, at least 1".into()),
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
}
