//! `engraft sweep`: tries combinations of settings and keeps the best.

mod adaptations;
mod combinations;
mod gans;
mod ranking;
mod rates;
mod trainings;
mod transfers;

use super::advice;
use super::options::{Search, Sweep, SweepOf};
use super::output_dir::ensure_usable;
use super::process::{Interrupted, catch_interrupts};
use adaptations::Adaptations;
use anyhow::{Context, ensure};
use clap::CommandFactory;
use combinations::{Combination, combinations};
use engraft_base::files::read_bounded;
use engraft_base::write_atomically;
use engraft_data::DataSource;
use engraft_gan::GanError;
use gans::Gans;
use ranking::{Score, Standing, as_good, ranked};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use trainings::Trainings;
use transfers::Transfers;

/// Most stages of successive halving. The shortest runs have an eighth of the steps.
const MOST_HALVINGS: u32 = 3;
/// Evaluations of a complete run; one at the end of the shortest possible stage.
const EVALUATIONS: u64 = 1 << MOST_HALVINGS;
/// What is compared, for the check of a resumed sweep.
const PLAN: &str = "plan.json";
const RESULTS: &str = "sweep.json";
/// Settings of the first combination of a sweep of trainings.
const BEST: &str = "best.toml";
/// Largest plan that is read, in bytes.
const MOST_OF_A_PLAN: u64 = 16 << 20;

/// The runs of a sweep: one for each combination.
trait Runs: Send + Sync {
    /// What a run reaches.
    type Score: Score;

    /// What happens after a signal, for a person.
    const ON_INTERRUPT: &'static str;
    /// By how much a score is better that is certain to be.
    const MARGIN: &'static str = "two standard errors";

    /// Steps of each stage of a sweep of `count` combinations: all of them, then the better half, and so on.
    fn stages(&self, count: usize, no_halving: bool) -> Vec<u64>;
    /// What all runs have in common, so that an earlier sweep of other images or measures is recognized.
    fn frame(&self, stages: &[u64]) -> Value;
    /// Settings of run `at`, to find equal ones.
    fn settings(&self, at: usize) -> String;
    /// What a stage does with `count` combinations, for a person.
    fn stage_line(&self, count: usize, steps: u64) -> String;
    /// What a dry run says about the costs of a plan: combinations and steps of each stage. Run `at` is the first one.
    fn costs(&self, at: usize, plan: &[(usize, u64)], common: &Common) -> anyhow::Result<Vec<String>>;
    /// Trains some runs until the end of a stage. Their scores, `None` for those that diverged or have no measure.
    fn train(&self, alive: &[usize], stage: &Stage<'_>) -> anyhow::Result<Vec<Option<Self::Score>>>;
    /// What the score is, for a person.
    fn about_score(&self) -> String;
    /// What to say if no run of the last stage [counts](Score::counts).
    fn none_counts(&self, steps: u64) -> String {
        format!("there is no best one of step {steps}")
    }
    /// What to say if `count` of the `others` of the last stage are as good as the first one.
    fn none_is_certain(&self, first: &str, count: usize, others: usize) -> String {
        none_is_certain(first, count, others)
    }
    /// What else differs between these runs, for a person.
    fn remark(&self, _search: &Search, _different: &[usize]) -> Option<String> {
        None
    }
    /// What the errors of the scores do not contain.
    fn caveat(&self) -> &'static str;
    /// How a person uses the settings of run `at`. `out` is the directory of the sweep, where a file with them may be written.
    fn advice(&self, at: usize, out: &Path) -> anyhow::Result<String>;
}

/// What the commands share.
struct Common {
    out: PathBuf,
    threads: Option<usize>,
    is_dry_run: bool,
    seed: u64,
}

/// A stage of a sweep.
struct Stage<'s> {
    /// Steps until its end.
    steps: u64,
    /// Steps of all stages.
    whole: u64,
    common: &'s Common,
    tried: &'s [Combination],
}

impl Stage<'_> {
    /// The directory of a run.
    fn directory(&self, at: usize) -> PathBuf {
        self.common.out.join(run_name(at))
    }

    /// Names the run in an error.
    fn named(&self, error: anyhow::Error, at: usize) -> anyhow::Error {
        error.context(format!(
            "{} ({})",
            self.directory(at).display(),
            self.tried[at].label
        ))
    }

    /// Prints what a run has reached.
    fn show<S: Score>(&self, at: usize, best: Option<&S>) {
        let found = best.map_or("diverged, or without a measure".into(), Score::short);
        note!(
            "step {:>6}  {} {}: {found}",
            self.steps,
            run_name(at),
            self.tried[at].label
        );
    }
}

/// What to say if some combinations are within the errors of the first one.
fn none_is_certain(first: &str, count: usize, others: usize) -> String {
    let rest = match others {
        1 => "the other one is".into(),
        _ => format!("{count} of the other {others} are"),
    };
    format!("none is certain: {first} is first, but {rest} within two standard errors of its score")
}

/// Runs the command, given by these arguments.
///
/// # Errors
/// If a combination cannot be trained; a combination that diverges is only ranked last. [`Interrupted`] after a signal.
pub(super) fn run(options: &Sweep, arguments: &[OsString]) -> anyhow::Result<()> {
    let (name, search, common) = match &options.of {
        SweepOf::Train(of) => ("train", &of.search, trainings::common(&of.options)?),
        SweepOf::Transfer(of) => ("transfer", &of.search, transfers::common(&of.options)?),
        SweepOf::Adapt(of) => ("adapt", &of.search, adaptations::common(of)?),
    };
    ensure_usable(Some(&common.out))?;
    let command = <super::Cli as CommandFactory>::command();
    let matches = command.clone().try_get_matches_from(arguments)?;
    let given = matches.subcommand().and_then(|(_, sweep)| sweep.subcommand());
    let named = command
        .find_subcommand("sweep")
        .and_then(|sweep| sweep.find_subcommand(name));
    let (command, (_, given)) = named
        .zip(given)
        .context("these are not the arguments of a sweep")?;
    let tried = combinations(search, command, given, common.seed)?;
    let all = tried
        .iter()
        .map(|one| parsed(one, arguments).with_context(|| format!("--over {}", one.label)))
        .collect::<anyhow::Result<Vec<SweepOf>>>()?;
    match &options.of {
        SweepOf::Train(of) => {
            let runs = || Trainings::new(&of.options, &tried, &all).map(Gans);
            sweep(search, &common, &tried, runs)
        }
        SweepOf::Transfer(of) => {
            let runs = || Transfers::new(&of.options, &tried, &all).map(Gans);
            sweep(search, &common, &tried, runs)
        }
        SweepOf::Adapt(of) => {
            let runs = || Adaptations::new(&of.options, &tried, &all, arguments);
            sweep(search, &common, &tried, runs)
        }
    }
    .map_err(with_advice)
}

/// Adds advice if a run in the directory is another one.
fn with_advice(error: anyhow::Error) -> anyhow::Error {
    match advice::gan_error(&error) {
        Some(
            GanError::OtherSettings { .. }
            | GanError::OtherData { .. }
            | GanError::ChangedData { .. }
            | GanError::Locked { .. },
        ) => advice::with(error, "--out chooses another directory"),
        _ => error,
    }
}

/// Refuses an option of the command that a sweep does not have.
fn refuse(is_given: bool, name: &str) -> anyhow::Result<()> {
    ensure!(
        !is_given,
        "{name}: a sweep does not have this option; leave it out"
    );
    Ok(())
}

/// The default directory of a sweep over a command with the images of these options, `--OPTION NAME`.
fn default_directory(command: &str, data: &[(&str, &str)]) -> anyhow::Result<PathBuf> {
    let mut name = format!("sweep-{command}");
    for (option, data) in data {
        let source = DataSource::parse(data).with_context(|| format!("--{option} {data}"))?;
        name = format!("{name}-{}", source.name());
    }
    Ok(Path::new("runs").join(name))
}

/// The options of a combination.
fn parsed(one: &Combination, arguments: &[OsString]) -> anyhow::Result<SweepOf> {
    match <super::Cli as clap::Parser>::try_parse_from(one.added_to(arguments))?.command {
        super::Command::Sweep(sweep) => Ok(sweep.of),
        _ => anyhow::bail!("these are not the arguments of a sweep"),
    }
}

/// How often the worse half of some combinations is dropped.
fn halvings(count: usize) -> u32 {
    match count {
        0 | 1 => 0,
        _ => (count - 1).ilog2().min(MOST_HALVINGS),
    }
}

/// Name of the directory of a run.
fn run_name(at: usize) -> String {
    format!("{:03}", at + 1)
}

/// Trains the combinations of a command, stage by stage.
fn sweep<R: Runs>(
    search: &Search,
    common: &Common,
    tried: &[Combination],
    runs: impl FnOnce() -> anyhow::Result<R> + Send,
) -> anyhow::Result<()> {
    let runs = super::pool(common.threads)?.install(runs)?;
    catch_interrupts(R::ON_INTERRUPT)?;
    let mut alive = different(tried, &runs);
    let stages = runs.stages(alive.len(), search.no_halving);
    note!(
        "sweep     {} combinations in {}",
        alive.len(),
        common.out.display()
    );
    for &at in &alive {
        note!("  {}     {}", run_name(at), tried[at].label);
    }
    let remark = runs.remark(search, &alive);
    if let Some(remark) = &remark {
        note!("note      {remark}");
    }
    let counts = std::iter::successors(Some(alive.len()), |count| Some(count.div_ceil(2)));
    let plan: Vec<(usize, u64)> = counts.zip(stages.iter().copied()).collect();
    for &(count, steps) in &plan {
        note!("stage     {}", runs.stage_line(count, steps));
    }
    if common.is_dry_run {
        for line in runs.costs(alive[0], &plan, common)? {
            note!("{line}");
        }
        return Ok(());
    }
    let whole = stages.last().copied().unwrap_or(1);
    keep_plan(&common.out, tried, &stages, &runs.frame(&stages))?;
    let (mut dropped, mut standings) = (Vec::new(), Vec::new());
    for (number, &steps) in stages.iter().enumerate() {
        let stage = Stage {
            steps,
            whole,
            common,
            tried,
        };
        let scores = runs.train(&alive, &stage).inspect_err(|error| {
            if error.is::<Interrupted>() {
                note!(
                    "stopped, saved in {}; the same command resumes",
                    common.out.display()
                );
            }
        })?;
        let done = alive.iter().zip(scores).map(|(&at, best)| (at, steps, best));
        standings = ranked(done.collect());
        let measured = standings
            .iter()
            .filter(|standing| standing.best.is_some())
            .count();
        if number + 1 < stages.len() {
            let kept = alive.len().div_ceil(2).min(measured);
            dropped.splice(0..0, standings.split_off(kept));
            alive = standings.iter().map(|standing| standing.at).collect();
        }
        if measured == 0 {
            break;
        }
    }
    report(common, tried, &runs, &standings, &dropped)?;
    if let Some(remark) = remark {
        out!("{remark}");
    }
    Ok(())
}

/// The combinations without those whose settings another one has.
fn different(tried: &[Combination], runs: &impl Runs) -> Vec<usize> {
    let all: Vec<String> = (0..tried.len()).map(|at| runs.settings(at)).collect();
    let mut found = Vec::new();
    for at in 0..tried.len() {
        match all[..at].iter().position(|earlier| *earlier == all[at]) {
            None => found.push(at),
            Some(same) => note!(
                "left out  {}: the settings are those of {}",
                tried[at].label,
                tried[same].label
            ),
        }
    }
    found
}

/// Writes what is compared, or checks it against the earlier sweep in the directory.
fn keep_plan(out: &Path, tried: &[Combination], stages: &[u64], frame: &Value) -> anyhow::Result<()> {
    let labels: Vec<&str> = tried.iter().map(|one| one.label.as_str()).collect();
    let plan = format!(
        "{:#}\n",
        json!({ "combinations": labels, "stages": stages, "for": frame })
    );
    let path = out.join(PLAN);
    if path.symlink_metadata().is_err() {
        std::fs::create_dir_all(out).with_context(|| out.display().to_string())?;
        write_atomically(&path, plan.as_bytes())?;
        return Ok(());
    }
    ensure!(
        read_bounded(&path, MOST_OF_A_PLAN)? == plan.as_bytes(),
        "{}: the sweep in this directory has other combinations, steps, images or measures, or is of an earlier version; repeat its \
         command, or choose another --out",
        out.display()
    );
    Ok(())
}

/// Prints the table and what it says about the best combination, and writes `sweep.json`.
fn report<R: Runs>(
    common: &Common,
    tried: &[Combination],
    runs: &R,
    standings: &[Standing<R::Score>],
    dropped: &[Standing<R::Score>],
) -> anyhow::Result<()> {
    out!("{}", Standing::<R::Score>::heading());
    for (rank, standing) in standings.iter().chain(dropped).enumerate() {
        out!("{}", standing.line(rank + 1, &tried[standing.at].label));
    }
    out!("{}", runs.about_score());
    let best = standings.first().filter(|first| first.best.is_some());
    let others = standings
        .iter()
        .filter(|other| other.best.is_some())
        .count()
        .saturating_sub(1);
    let close = as_good(standings);
    let rows: Vec<_> = standings
        .iter()
        .chain(dropped)
        .map(|standing| standing.json(&tried[standing.at].label))
        .collect();
    let counts = |first: &Standing<R::Score>| first.best.as_ref().is_some_and(Score::counts);
    let is_certain = best.is_some_and(counts) && others > 0 && close.is_empty();
    let results = json!({ "is_certain": is_certain, "combinations": rows });
    write_atomically(&common.out.join(RESULTS), format!("{results:#}\n").as_bytes())?;
    let best = best.context("no combination could be measured; try lower learning rates")?;
    let label = &tried[best.at].label;
    if !counts(best) {
        out!("{}", runs.none_counts(best.steps));
        return Ok(());
    }
    match (others, close.len()) {
        (0, _) => out!(
            "best: {label}, with which no other run of step {} compares",
            best.steps
        ),
        (_, 0) => out!(
            "best: {label}. Its score is better than those of the other runs of step {} by more than {}",
            best.steps,
            R::MARGIN
        ),
        (others, count) => out!("{}", runs.none_is_certain(label, count, others)),
    }
    out!("{}", runs.caveat());
    out!("run   {}", common.out.join(run_name(best.at)).display());
    out!("to use it: {}", runs.advice(best.at, &common.out)?);
    Ok(())
}
