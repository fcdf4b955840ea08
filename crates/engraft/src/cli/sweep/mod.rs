//! `engraft sweep`: tries combinations of settings and keeps the best.

mod combinations;
mod ranking;
mod trainings;
mod transfers;

use super::advice;
use super::options::{Search, Sweep, SweepOf};
use super::output_dir::ensure_usable;
use super::parallel;
use super::process::{Interrupted, catch_interrupts, interrupt};
use anyhow::{Context, ensure};
use combinations::{Combination, combinations};
use engraft_base::write_atomically;
use engraft_data::DataSource;
use engraft_gan::{GanError, Measurement, RunLayout};
use ranking::{HEADING, Standing, as_good, ranked};
use serde_json::json;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use trainings::Trainings;
use transfers::Transfers;

/// Most stages of successive halving. The shortest runs have an eighth of the steps.
const MOST_HALVINGS: u32 = 3;
/// Fewest steps of the shortest stage: evaluations of fewer say nothing.
const FEWEST_STEPS: u64 = 10;
/// What is compared, for the check of a resumed sweep.
const PLAN: &str = "plan.json";
const RESULTS: &str = "sweep.json";

/// The runs of a sweep: one for each combination.
trait Runs: Send + Sync {
    /// Steps of a complete run.
    fn steps(&self) -> u64;
    /// Trains run `at` in `directory` until it has `steps` steps, and evaluates it every `every` steps. `false` if it was stopped by
    /// a signal.
    fn train(&self, at: usize, directory: &Path, steps: u64, every: u64) -> anyhow::Result<bool>;
    /// How a person uses the settings of run `at`.
    fn advice(&self, at: usize, directory: &Path) -> String;
}

/// What the commands share.
struct Common {
    out: PathBuf,
    threads: Option<usize>,
    is_dry_run: bool,
    seed: u64,
}

/// Runs the command, given by these arguments.
///
/// # Errors
/// If a combination cannot be trained; a combination that diverges is only ranked last. [`Interrupted`] after a signal.
pub(super) fn run(options: &Sweep, arguments: &[OsString]) -> anyhow::Result<()> {
    let (name, search) = match &options.of {
        SweepOf::Train(of) => ("train", &of.search),
        SweepOf::Transfer(of) => ("transfer", &of.search),
    };
    let common = match &options.of {
        SweepOf::Train(of) => trainings::common(&of.options)?,
        SweepOf::Transfer(of) => transfers::common(&of.options)?,
    };
    ensure_usable(Some(&common.out))?;
    let command = subcommand(name).context("the command exists")?;
    let tried = combinations(search, &command, common.seed)?;
    let all = tried
        .iter()
        .map(|one| parsed(one, arguments).with_context(|| format!("--over {}", one.label)))
        .collect::<anyhow::Result<Vec<SweepOf>>>()?;
    catch_interrupts("finishing these steps, then saving")?;
    let prepare = || -> anyhow::Result<Box<dyn Runs>> {
        Ok(match &options.of {
            SweepOf::Train(of) => Box::new(Trainings::new(&of.options, &tried, &all)?),
            SweepOf::Transfer(of) => Box::new(Transfers::new(&of.options, &tried, &all)?),
        })
    };
    let runs = super::pool(common.threads)?.install(prepare)?;
    sweep(search, &common, &tried, &*runs).map_err(advice::on_run)
}

/// Refuses an option of the command that a sweep does not have.
fn refuse(is_given: bool, name: &str) -> anyhow::Result<()> {
    ensure!(
        !is_given,
        "{name}: a sweep does not have this option; leave it out"
    );
    Ok(())
}

/// The default directory of a sweep over a command with these images.
fn default_directory(command: &str, data: &str) -> anyhow::Result<PathBuf> {
    let name = DataSource::parse(data)
        .with_context(|| format!("--data {data}"))?
        .name();
    Ok(Path::new("runs").join(format!("sweep-{command}-{name}")))
}

/// The arguments of `engraft sweep NAME`.
fn subcommand(name: &str) -> Option<clap::Command> {
    let command = <super::Cli as clap::CommandFactory>::command();
    Some(command.find_subcommand("sweep")?.find_subcommand(name)?.clone())
}

/// The options of a combination.
fn parsed(one: &Combination, arguments: &[OsString]) -> anyhow::Result<SweepOf> {
    match <super::Cli as clap::Parser>::try_parse_from(one.added_to(arguments))?.command {
        super::Command::Sweep(sweep) => Ok(sweep.of),
        _ => anyhow::bail!("these are not the arguments of a sweep"),
    }
}

/// Steps of each stage: all combinations, then the better half of them, and so on.
fn stages(search: &Search, count: usize, steps: u64) -> Vec<u64> {
    let possible = (steps / FEWEST_STEPS).max(1).ilog2();
    let halvings = match search.no_halving || count < 2 {
        true => 0,
        false => ((count - 1).ilog2()).min(MOST_HALVINGS).min(possible),
    };
    let shortest = (steps >> halvings).max(1);
    (0..=halvings).map(|stage| shortest << stage).collect()
}

/// Name of the directory of a run.
fn run_name(at: usize) -> String {
    format!("{:03}", at + 1)
}

fn sweep(search: &Search, common: &Common, tried: &[Combination], runs: &dyn Runs) -> anyhow::Result<()> {
    let stages = stages(search, tried.len(), runs.steps());
    note!(
        "sweep     {} combinations in {}",
        tried.len(),
        common.out.display()
    );
    for (at, one) in tried.iter().enumerate() {
        note!("  {}     {}", run_name(at), one.label);
    }
    let mut count = tried.len();
    for steps in &stages {
        note!("stage     {count} of them until step {steps}");
        count = count.div_ceil(2);
    }
    if common.is_dry_run {
        return Ok(());
    }
    keep_plan(&common.out, tried, &stages)?;
    let mut alive: Vec<usize> = (0..tried.len()).collect();
    let mut dropped: Vec<Standing> = Vec::new();
    let mut standings = Vec::new();
    for (stage, &steps) in stages.iter().enumerate() {
        let work = |&at: &usize| -> anyhow::Result<(usize, u64, Option<Measurement>)> {
            let directory = common.out.join(run_name(at));
            let best = measured(runs, at, &directory, steps, stages[0])
                .with_context(|| format!("{} ({})", directory.display(), tried[at].label))?;
            let found = match &best {
                Some(m) => format!("KID {:.4} ± {:.4}, coverage {:.3}", m.kid, m.kid_se, m.coverage),
                None => "diverged".into(),
            };
            note!("step {steps:>6}  {} {}: {found}", run_name(at), tried[at].label);
            Ok((at, steps, best))
        };
        let done = parallel::each(&alive, common.threads, work)?;
        standings = ranked(done);
        if stage + 1 < stages.len() {
            let worse = standings.split_off(alive.len().div_ceil(2));
            dropped.splice(0..0, worse);
            alive = standings.iter().map(|standing| standing.at).collect();
        }
    }
    report(common, tried, runs, &standings, &dropped)
}

/// Trains a run to a step; its best measurement, or `None` if it diverged.
fn measured(
    runs: &dyn Runs,
    at: usize,
    directory: &Path,
    steps: u64,
    every: u64,
) -> anyhow::Result<Option<Measurement>> {
    match runs.train(at, directory, steps, every) {
        Ok(true) if !interrupt().load(Ordering::SeqCst) => {}
        Ok(_) => return Err(Interrupted.into()),
        Err(error) => match advice::gan_error(&error) {
            Some(GanError::Diverged { .. }) => return Ok(None),
            _ => return Err(error),
        },
    }
    let all = Measurement::read(&RunLayout::new(directory).measurements())?;
    // A run that is further than this stage was part of an interrupted sweep.
    let until: Vec<Measurement> = all.into_iter().filter(|m| m.step <= steps).collect();
    let best = Measurement::best(&until).copied();
    Ok(Some(best.context("the run has no evaluation")?))
}

/// Writes what is compared, or checks it against the earlier sweep in the directory.
fn keep_plan(out: &Path, tried: &[Combination], stages: &[u64]) -> anyhow::Result<()> {
    let labels: Vec<&str> = tried.iter().map(|one| one.label.as_str()).collect();
    let plan = format!("{}\n", json!({ "combinations": labels, "stages": stages }));
    let path = out.join(PLAN);
    match std::fs::read_to_string(&path) {
        Ok(earlier) => ensure!(
            earlier == plan,
            "{}: the sweep in this directory has other combinations or steps; repeat its command, or choose another --out",
            out.display()
        ),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            std::fs::create_dir_all(out).with_context(|| out.display().to_string())?;
            write_atomically(&path, plan.as_bytes())?;
        }
        Err(error) => return Err(error).with_context(|| path.display().to_string()),
    }
    Ok(())
}

/// Prints the table and what it says about the best combination, and writes `sweep.json`.
fn report(
    common: &Common,
    tried: &[Combination],
    runs: &dyn Runs,
    standings: &[Standing],
    dropped: &[Standing],
) -> anyhow::Result<()> {
    out!("{HEADING}");
    for (rank, standing) in standings.iter().chain(dropped).enumerate() {
        out!("{}", standing.line(rank + 1, &tried[standing.at].label));
    }
    out!(
        "score: KID and the share that is not covered, each relative to the mean of its stage; lower is better, and only runs of the \
         same step compare"
    );
    let best = standings.first().context("a sweep has a run")?;
    ensure!(
        best.best.is_some(),
        "all combinations diverged; try lower learning rates"
    );
    let close = as_good(standings);
    let directory = common.out.join(run_name(best.at));
    let label = &tried[best.at].label;
    match close.len() {
        0 => out!(
            "best: {label}. Its KID is lower than that of the other runs of step {} by more than two standard errors",
            best.steps
        ),
        count => out!(
            "none is certain: {label} is first, but {count} others have a KID within two standard errors of it"
        ),
    }
    out!(
        "the errors do not contain the differences between seeds: repeat the first ones with other seeds before you rely on them"
    );
    out!("run   {}", directory.display());
    out!("to use it: {}", runs.advice(best.at, &directory));
    let rows: Vec<_> = standings
        .iter()
        .chain(dropped)
        .map(|standing| standing.json(&tried[standing.at].label))
        .collect();
    let results = json!({ "is_certain": close.is_empty(), "combinations": rows });
    write_atomically(&common.out.join(RESULTS), format!("{results:#}\n").as_bytes())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_combinations_go_on_and_all_without_halving() {
        let search = |no_halving| Search {
            over: Vec::new(),
            budget: None,
            no_halving,
        };
        let of = |count, steps| stages(&search(false), count, steps);
        assert_eq!(of(1, 1000), [1000]);
        assert_eq!(of(2, 1000), [1000]);
        assert_eq!(of(3, 1000), [500, 1000]);
        assert_eq!(of(8, 1001), [250, 500, 1000]);
        assert_eq!(of(500, 1000), [125, 250, 500, 1000]);
        assert_eq!(of(500, 10), [10]);
        assert_eq!(stages(&search(true), 8, 1001), [1001]);
    }
}
