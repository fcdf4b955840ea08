//! `engraft sweep`: tries combinations of settings and keeps the best.

mod combinations;
mod ranking;
mod rates;
mod trainings;
mod transfers;

use super::advice;
use super::memory::Memory;
use super::options::{Search, Sweep, SweepOf};
use super::output_dir::ensure_usable;
use super::parallel;
use super::process::{Interrupted, catch_interrupts, cores, interrupt};
use super::progress::duration;
use anyhow::{Context, ensure};
use clap::CommandFactory;
use combinations::{Combination, combinations};
use engraft_base::files::read_bounded;
use engraft_base::write_atomically;
use engraft_data::DataSource;
use engraft_gan::checkpoint::CheckpointReader;
use engraft_gan::{Event, GanError, Measurement, RunLayout, TrainConfig, read_measurements};
use ranking::{HEADING, Standing, as_good, ranked};
use rates::unnamed_rates;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
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
    /// Steps of a complete run.
    fn steps(&self) -> u64;
    /// Settings of run `at`.
    fn config(&self, at: usize) -> &TrainConfig;
    /// Settings of run `at`, to find equal ones.
    fn settings(&self, at: usize) -> String;
    /// Seconds of a step of run `at`, and the memory of `count` runs at a time.
    fn cost(&self, at: usize, count: usize) -> anyhow::Result<(f64, Memory)>;
    /// Trains run `at` in `directory` to the end of a stage. `false` if it was stopped by a signal.
    fn train(&self, at: usize, directory: &Path, stage: Stage) -> anyhow::Result<bool>;
    /// How a person uses the settings of run `at`. `out` is the directory of the sweep, where a file with them may be written.
    fn advice(&self, at: usize, out: &Path) -> anyhow::Result<String>;
}

/// How far runs train, in steps.
#[derive(Clone, Copy)]
struct Stage {
    /// The step at which this stage ends.
    until: u64,
    /// Steps of all stages.
    whole: u64,
    /// Steps between two evaluations.
    every: u64,
}

impl Stage {
    /// The total number of steps in the settings of a run. A [decay](TrainConfig::learning_rate_decay) of the learning rates ends
    /// with the sweep: a run that is dropped earlier has used the rates that a complete one uses there.
    fn total(self, config: &TrainConfig) -> u64 {
        match decays(config) {
            true => self.whole,
            false => self.until,
        }
    }

    /// Whether the run in `directory` has reached the end of the stage, although its settings have more steps.
    fn is_over(self, config: &TrainConfig, directory: &Path) -> bool {
        let last = || CheckpointReader::new(directory).steps().ok()?.into_iter().max();
        self.total(config) > self.until && last() >= Some(self.until)
    }

    /// Whether an event is that of the last step.
    fn ends_with(self, event: &Event) -> bool {
        matches!(event, Event::Step { step, .. } if *step >= self.until)
    }
}

fn decays(config: &TrainConfig) -> bool {
    config.learning_rate_decay > 0.0
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
    let prepare = || -> anyhow::Result<Box<dyn Runs>> {
        Ok(match &options.of {
            SweepOf::Train(of) => Box::new(Trainings::new(&of.options, &tried, &all)?),
            SweepOf::Transfer(of) => Box::new(Transfers::new(&of.options, &tried, &all)?),
        })
    };
    let runs = super::pool(common.threads)?.install(prepare)?;
    catch_interrupts("finishing these steps, then saving")?;
    sweep(search, &common, &tried, &*runs).map_err(with_advice)
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

/// The default directory of a sweep over a command with these images.
fn default_directory(command: &str, data: &str) -> anyhow::Result<PathBuf> {
    let name = DataSource::parse(data)
        .with_context(|| format!("--data {data}"))?
        .name();
    Ok(Path::new("runs").join(format!("sweep-{command}-{name}")))
}

/// The options of a combination.
fn parsed(one: &Combination, arguments: &[OsString]) -> anyhow::Result<SweepOf> {
    match <super::Cli as clap::Parser>::try_parse_from(one.added_to(arguments))?.command {
        super::Command::Sweep(sweep) => Ok(sweep.of),
        _ => anyhow::bail!("these are not the arguments of a sweep"),
    }
}

/// Steps of each stage: all combinations, then the better half of them, and so on. All are multiples of [`every`].
fn stages(search: &Search, count: usize, steps: u64) -> Vec<u64> {
    let halvings = match search.no_halving || count < 2 || steps < EVALUATIONS {
        true => 0,
        false => (count - 1).ilog2().min(MOST_HALVINGS),
    };
    let whole = every(steps) * (steps / every(steps)).min(EVALUATIONS);
    (0..=halvings).rev().map(|halving| whole >> halving).collect()
}

/// Steps between two evaluations.
fn every(steps: u64) -> u64 {
    (steps / EVALUATIONS).max(1)
}

/// Name of the directory of a run.
fn run_name(at: usize) -> String {
    format!("{:03}", at + 1)
}

fn sweep(search: &Search, common: &Common, tried: &[Combination], runs: &dyn Runs) -> anyhow::Result<()> {
    let different = different(tried, runs);
    let stages = stages(search, different.len(), runs.steps());
    note!(
        "sweep     {} combinations in {}",
        different.len(),
        common.out.display()
    );
    for &at in &different {
        note!("  {}     {}", run_name(at), tried[at].label);
    }
    let rates = unnamed_rates(search, &different, runs);
    if let Some(rates) = &rates {
        note!("rates     {rates}");
    }
    let (mut count, mut trained, mut done) = (different.len(), 0, 0);
    for &steps in &stages {
        note!(
            "stage     {count} of them until step {steps}, an evaluation every {} steps",
            every(runs.steps())
        );
        trained += count as u64 * (steps - done);
        (count, done) = (count.div_ceil(2), steps);
    }
    let parallel = common.threads.unwrap_or_else(cores).min(different.len());
    if common.is_dry_run {
        let pool = super::pool(Some(1))?;
        let (seconds, memory) = pool.install(|| runs.cost(different[0], parallel))?;
        let needed = duration(seconds * trained as f64 / parallel as f64);
        note!("memory    {memory}");
        note!(
            "time      about {needed} for {trained} steps in all, {parallel} at a time ({seconds:.2} s for the first combination), without \
             the evaluations"
        );
        return Ok(());
    }
    let whole = stages.last().copied().unwrap_or(1);
    let has_decay = stages.len() > 1 && different.iter().any(|&at| decays(runs.config(at)));
    keep_plan(&common.out, tried, &stages, &frame(runs.config(0)), has_decay)?;
    let mut alive = different;
    let (mut dropped, mut standings) = (Vec::new(), Vec::new());
    for (number, &steps) in stages.iter().enumerate() {
        let stage = Stage {
            until: steps,
            whole,
            every: every(runs.steps()),
        };
        let work = |&at: &usize| -> anyhow::Result<(usize, u64, Option<Measurement>)> {
            let directory = common.out.join(run_name(at));
            let best = measured(runs, at, &directory, stage)
                .with_context(|| format!("{} ({})", directory.display(), tried[at].label))?;
            let found = match &best {
                Some(m) => format!("KID {:.4} ± {:.4}, coverage {:.3}", m.kid, m.kid_se, m.coverage),
                None => "diverged, or without a measure".into(),
            };
            note!("step {steps:>6}  {} {}: {found}", run_name(at), tried[at].label);
            Ok((at, steps, best))
        };
        let done = parallel::each(&alive, common.threads, work).inspect_err(|error| {
            if error.is::<Interrupted>() {
                note!(
                    "stopped, saved in {}; the same command resumes",
                    common.out.display()
                );
            }
        })?;
        standings = ranked(done);
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
    report(common, tried, runs, &standings, &dropped)?;
    if let Some(rates) = rates {
        out!("{rates}");
    }
    Ok(())
}

/// The combinations without those whose settings another one has.
fn different(tried: &[Combination], runs: &dyn Runs) -> Vec<usize> {
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

/// The settings of a run of a sweep, which must have the images and measures of the earlier ones.
///
/// A rollback would halve the learning rates that are compared, so a run that diverges ends.
fn as_swept(mut config: TrainConfig, earlier: &[TrainConfig], label: &str) -> anyhow::Result<TrainConfig> {
    config.evaluation.every = every(config.steps);
    config.evaluation.rollbacks = 0;
    if let Some(first) = earlier.first() {
        ensure!(
            frame(first) == frame(&config),
            "--over {label}: a sweep compares runs on the same images, with the same measures and steps"
        );
    }
    Ok(config)
}

/// What the runs of a sweep have in common.
fn frame(config: &TrainConfig) -> Value {
    let mut pictures = config.pictures;
    pictures.mirror = false;
    json!({
        "images": config.images,
        "fingerprint": config.fingerprint,
        "image": config.image,
        "validation_images": config.validation_images,
        "pictures": pictures,
        "evaluation": config.evaluation,
        "steps": config.steps,
        "output": config.output,
    })
}

/// Prints what a person must know of a run.
fn show(at: usize, event: &Event) {
    let name = run_name(at);
    match event {
        Event::Warning(text) => note!("warning: {name}: {text}"),
        Event::Alarm { step, message, .. } => note!("warning: {name}: step {step}: {message}"),
        _ => {}
    }
}

/// Trains a run to a step; its best measurement, or `None` if it diverged or no evaluation succeeded.
fn measured(
    runs: &dyn Runs,
    at: usize,
    directory: &Path,
    stage: Stage,
) -> anyhow::Result<Option<Measurement>> {
    match runs.train(at, directory, stage) {
        Ok(true) if !interrupt().load(Ordering::SeqCst) => {}
        Ok(_) => return Err(Interrupted.into()),
        Err(error) => match advice::gan_error(&error) {
            Some(GanError::Diverged { .. }) => return Ok(None),
            _ => return Err(error),
        },
    }
    let all = read_measurements(&RunLayout::new(directory).measurements())?;
    // A run that is further than this stage was part of an interrupted sweep.
    let until: Vec<Measurement> = all.into_iter().filter(|m| m.step <= stage.until).collect();
    Ok(Measurement::best(&until).copied())
}

/// Writes what is compared, or checks it against the earlier sweep in the directory.
fn keep_plan(
    out: &Path,
    tried: &[Combination],
    stages: &[u64],
    frame: &Value,
    has_decay: bool,
) -> anyhow::Result<()> {
    let labels: Vec<&str> = tried.iter().map(|one| one.label.as_str()).collect();
    let mut plan = json!({ "combinations": labels, "stages": stages, "for": frame });
    if has_decay {
        // In an earlier version, learning rates decayed to the end of each stage.
        plan["learning_rate_decay"] = json!("to the end of the last stage");
    }
    let plan = format!("{plan:#}\n");
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
        "score: KID times (2 - coverage), more if images are copied; relative to the mean of its stage. Lower is better, and only runs of \
         the same step compare"
    );
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
    let is_honest = |first: &Standing| first.best.is_some_and(|m| !m.is_memorized());
    let is_certain = best.is_some_and(is_honest) && others > 0 && close.is_empty();
    let results = json!({ "is_certain": is_certain, "combinations": rows });
    write_atomically(&common.out.join(RESULTS), format!("{results:#}\n").as_bytes())?;
    let best = best.context("no combination could be measured; try lower learning rates")?;
    let label = &tried[best.at].label;
    if !is_honest(best) {
        out!(
            "there is no best one: every run of step {} that could be measured memorizes training images; take fewer --steps or more \
             images",
            best.steps
        );
        return Ok(());
    }
    match (others, close.len()) {
        (0, _) => out!(
            "best: {label}, with which no other run of step {} compares",
            best.steps
        ),
        (_, 0) => out!(
            "best: {label}. Its score is better than those of the other runs of step {} by more than two standard errors",
            best.steps
        ),
        (others, count) => {
            let rest = match others {
                1 => "the other one is".into(),
                _ => format!("{count} of the other {others} are"),
            };
            out!("none is certain: {label} is first, but {rest} within two standard errors of its score");
        }
    }
    out!(
        "the errors do not contain the differences between seeds: repeat the first ones with other seeds before you rely on them"
    );
    out!("run   {}", common.out.join(run_name(best.at)).display());
    out!("to use it: {}", runs.advice(best.at, &common.out)?);
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
        assert_eq!(of(8, 1007), [250, 500, 1000]);
        assert_eq!(of(500, 1000), [125, 250, 500, 1000]);
        assert_eq!(of(500, 10), [1, 2, 4, 8]);
        assert_eq!(of(500, 7), [7]);
        assert_eq!(stages(&search(true), 8, 1001), [1000]);
        for stage in of(500, 1007) {
            assert!(
                stage.is_multiple_of(every(1007)),
                "each stage ends with an evaluation"
            );
        }
    }
}
