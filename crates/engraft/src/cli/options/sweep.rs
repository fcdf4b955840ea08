//! Options of `engraft sweep`.

use super::{Adapt, Train, Transfer};
use std::str::FromStr;

/// Try several settings and keep the best.
///
/// Trains every combination of the values, one on each core. The worse half is dropped at half of the steps, and of many
/// combinations also at a quarter and an eighth (successive halving). The validation images of the runs decide, by KID and coverage; test and reference images are not used.
/// Adaptations are judged by a validator without labels of the target. The same command resumes an interrupted sweep.
///
/// Exit codes are those of train: 0 done, 1 error, 2 invalid arguments or settings, 3 no usable data, 5 disk full,
/// 130 interrupted and saved (143 for SIGTERM, 129 for SIGHUP).
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Sweep {
    #[command(subcommand)]
    pub(crate) of: SweepOf,
}

/// The command whose settings are tried.
#[derive(Clone, Debug, clap::Subcommand)]
pub(crate) enum SweepOf {
    /// Settings of a training: the options of engraft train, and --over
    Train(Box<SweepTrain>),
    /// Settings of a transfer: the options of engraft transfer, and --over
    Transfer(Box<SweepTransfer>),
    /// Settings of an adaptation without labels: the options of engraft adapt, and --over
    Adapt(Box<SweepAdapt>),
}

/// The options of `engraft sweep train`.
#[derive(Clone, Debug, clap::Args)]
#[command(mut_args(hidden))]
pub(crate) struct SweepTrain {
    #[command(flatten)]
    pub(crate) search: Search,
    #[command(flatten)]
    pub(crate) options: Train,
}

/// The options of `engraft sweep transfer`.
#[derive(Clone, Debug, clap::Args)]
#[command(mut_args(hidden))]
pub(crate) struct SweepTransfer {
    #[command(flatten)]
    pub(crate) search: Search,
    #[command(flatten)]
    pub(crate) options: Transfer,
}

/// The options of `engraft sweep adapt`.
#[derive(Clone, Debug, clap::Args)]
#[command(mut_args(hidden))]
pub(crate) struct SweepAdapt {
    #[command(flatten)]
    pub(crate) search: Search,
    /// List the combinations and the stages, and train nothing
    #[arg(long, help_heading = "Sweep")]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) options: Adapt,
}

/// Options of the commands that a sweep refuses.
const REFUSED: [&str; 8] = [
    "fresh",
    "accept_changed_data",
    "json",
    "tensorboard",
    "eval_every",
    "epochs",
    "quiet",
    "baselines",
];

/// Leaves out of the help what a sweep refuses.
fn hidden(argument: clap::Arg) -> clap::Arg {
    let is_refused = REFUSED.contains(&argument.get_id().as_str());
    argument.hide(is_refused)
}

/// What is tried.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Search {
    /// Values to try: of an option of the command, such as batch=32,64, or of a setting of run.toml (train and transfer), such as
    /// regularize.r1_gamma=0.1,1,10; repeatable. All combinations are tried
    #[arg(long, value_name = "NAME=VALUE,..", required = true, help_heading = "Sweep")]
    pub(crate) over: Vec<Over>,
    /// Try at most N combinations, chosen at random
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Sweep")]
    pub(crate) budget: Option<u32>,
    /// Train all combinations to the end
    #[arg(long, help_heading = "Sweep")]
    pub(crate) no_halving: bool,
}

/// A setting or option with the values to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Over {
    pub(crate) name: String,
    pub(crate) values: Vec<String>,
}

impl FromStr for Over {
    type Err = String;

    /// Reads `batch=32,64`. Commas in brackets or quotes do not separate values.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("expected NAME=VALUE,VALUE, such as batch=32,64, got {text:?}");
        let (name, values) = text.split_once('=').ok_or_else(wrong)?;
        let (mut depth, mut is_quoted) = (0_usize, false);
        let values: Vec<String> = values
            .split(|c: char| {
                match c {
                    '"' => is_quoted = !is_quoted,
                    '[' if !is_quoted => depth += 1,
                    ']' if !is_quoted => depth = depth.saturating_sub(1),
                    _ => {}
                }
                c == ',' && depth == 0 && !is_quoted
            })
            .map(|value| value.trim().to_string())
            .collect();
        let name = name.trim().trim_start_matches("--").to_string();
        let is_twice = (1..values.len()).any(|i| values[..i].contains(&values[i]));
        if is_twice {
            return Err(format!("a value is there twice: {text:?}"));
        }
        match name.is_empty() || values.iter().any(String::is_empty) {
            true => Err(wrong()),
            false => Ok(Self { name, values }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_separated_by_commas_outside_brackets() {
        let over: Over = "--augment.kinds=[\"cutout\", \"translation\"],[]"
            .parse()
            .unwrap();
        assert_eq!(over.name, "augment.kinds");
        assert_eq!(over.values, ["[\"cutout\", \"translation\"]", "[]"]);
        for wrong in ["batch", "=1", "batch=", "batch=1,,2", "batch=1,1"] {
            assert!(wrong.parse::<Over>().is_err(), "{wrong}");
        }
    }
}
