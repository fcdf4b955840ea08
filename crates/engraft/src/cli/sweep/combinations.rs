//! The combinations of a sweep, as arguments of the command.

use crate::cli::options::{Over, Search};
use anyhow::ensure;
use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches};
use engraft_base::choose;
use std::ffi::OsString;

/// Most combinations of a sweep.
const MOST: usize = 1000;

/// Options that a sweep may vary, of any command. It varies all settings but those that decide what is compared.
const VARIED: [&str; 26] = [
    "preset",
    "network",
    "conditional",
    "pseudo-labels",
    "batch",
    "micro-batches",
    "learning-rate",
    "learning-rate-g",
    "learning-rate-d",
    "precision",
    "mirror",
    "recipe",
    "freeze-g",
    "freeze-d",
    "batch-norm-only",
    "adapter",
    "discriminator-warmup",
    "gradual-unfreezing",
    "regularize",
    "distill",
    "patch-discriminator",
    "stop-at-equilibrium",
    "seed",
    "method",
    "even-frames",
    "learning-rate-factor",
];

/// One combination of values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Combination {
    /// The values for a person, such as `batch=32 recipe=auto`.
    pub(super) label: String,
    /// The arguments that it adds to the command.
    pub(super) arguments: Vec<String>,
}

/// The combinations of a search, in the order of their values; with a budget a random choice of them.
///
/// # Errors
/// If there are none or too many, or a name can not be varied.
pub(super) fn combinations(
    search: &Search,
    command: &clap::Command,
    given: &ArgMatches,
    seed: u64,
) -> anyhow::Result<Vec<Combination>> {
    let mut count = 1_usize;
    for over in &search.over {
        check(over, command, given)?;
        let others = search.over.iter().filter(|other| other.name == over.name);
        ensure!(others.count() == 1, "--over {}: given twice", over.name);
        count = count.saturating_mul(over.values.len());
    }
    let tried = search.budget.map_or(count, |budget| count.min(budget as usize));
    ensure!(
        tried <= MOST && count <= MOST * MOST,
        "--over: {count} combinations are too many; expected at most {MOST}, or --budget N for some of them"
    );
    let chosen: Vec<usize> = match tried < count {
        true => choose(count, tried, seed),
        false => (0..count).collect(),
    };
    chosen
        .into_iter()
        .map(|number| combination(&search.over, command, number))
        .collect()
}

/// Refuses options that a sweep must not vary, or that are given for all runs too.
fn check(over: &Over, command: &clap::Command, given: &ArgMatches) -> anyhow::Result<()> {
    let name = &over.name;
    let Some(found) = option(command, name) else {
        // A setting of run.toml, which adapt does not have.
        let varied = VARIED.iter().filter(|name| option(command, name).is_some());
        ensure!(
            option(command, "set").is_some(),
            "--over {name}: {} has no such option; a sweep of it can vary {}",
            command.get_name(),
            varied.copied().collect::<Vec<_>>().join(", ")
        );
        return Ok(());
    };
    // The seed of a transfer chooses the images too.
    let is_varied = VARIED.contains(&name.as_str()) && !(name == "seed" && command.get_name() == "transfer");
    ensure!(
        is_varied,
        "--over {name}: a sweep compares runs on the same images, with the same measures, and sets their steps itself; give this \
         option for all of them"
    );
    ensure!(
        given.value_source(found.get_id().as_str()) != Some(ValueSource::CommandLine),
        "--over {name}: --{name} is given for all runs too; leave out one of them"
    );
    Ok(())
}

/// The option of a command with this name.
fn option<'c>(command: &'c clap::Command, name: &str) -> Option<&'c clap::Arg> {
    command
        .get_arguments()
        .find(|argument| argument.get_long() == Some(name))
}

/// The combination with this number: the last name changes fastest.
fn combination(overs: &[Over], command: &clap::Command, mut number: usize) -> anyhow::Result<Combination> {
    let mut values = Vec::new();
    for over in overs.iter().rev() {
        values.push((&over.name, &over.values[number % over.values.len()]));
        number /= over.values.len();
    }
    values.reverse();
    let mut arguments = Vec::new();
    for (name, value) in &values {
        match option(command, name) {
            Some(flag) if matches!(flag.get_action(), ArgAction::SetTrue) => {
                ensure!(
                    ["true", "false"].contains(&value.as_str()),
                    "--over {name}: expected true or false, found {value:?}"
                );
                if *value == "true" {
                    arguments.push(format!("--{name}"));
                }
            }
            // Quotes hold a list together: it is one value here, and several ones of the option.
            Some(_) => arguments.push(format!("--{name}={}", value.trim_matches('"'))),
            None => arguments.extend(["--set".into(), format!("{name}={value}")]),
        }
    }
    let label: Vec<String> = values
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    Ok(Combination {
        label: label.join(" "),
        arguments,
    })
}

impl Combination {
    /// The arguments of a command with these added.
    pub(super) fn added_to(&self, arguments: &[OsString]) -> Vec<OsString> {
        let own = self.arguments.iter().map(OsString::from);
        arguments.iter().cloned().chain(own).collect()
    }
}
