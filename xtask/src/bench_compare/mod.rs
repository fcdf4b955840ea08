//! `cargo xtask bench-compare`: times the training step of engraft and of other libraries in pairs.
//!
//! The speed of a machine varies with its clock, temperature and load. So every run of a peer follows a run of engraft
//! immediately, and the ratio of the two is reported.

mod peer_output;
mod peers;
mod report;
mod subprocess;
mod summary;

use anyhow::{Context, bail, ensure};
use engraft::cli::{Interrupted, catch_interrupts, interrupt};
use engraft_tensor::Precision;
use peer_output::Line;
use peers::{Runner, Skipped, Wanted};
use report::Report;
use serde::Serialize;
use std::fs::File;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::Duration;
use subprocess::Failure;
use summary::{Pair, mb, ms};

/// Compare a training step with the same step in other libraries, and print Markdown tables.
///
/// Each run is a separate process. Each run of a peer follows one of engraft, and the ratio of the two is reported. Peers
/// are pytorch and tensorflow (both in benches/peers), jax (DIR/NAME/dcgan_step.py), and burn and candle
/// (DIR/NAME/target/release/dcgan-NAME, built by `cargo build --release` in DIR/NAME). Peers that are not
/// installed are skipped with the reason.
///
/// Exit codes: 0 done, 1 error or no peer, 2 invalid arguments, 130 interrupted after printing the results so far.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Directory with the peer programs
    #[arg(
        long,
        value_name = "DIR",
        env = "ENGRAFT_PEERS",
        default_value = "benches/peers"
    )]
    peers: PathBuf,
    /// Networks, as --network of bench-step. Only the program of pytorch has others than dcgan
    #[arg(long, value_name = "NAME", default_value = "dcgan")]
    network: String,
    /// Precision of convolutions and matrix products: f32 or bf16. Only pytorch has bf16
    #[arg(long, value_name = "NAME", default_value_t = Precision::F32)]
    precision: Precision,
    /// Images per step
    #[arg(long, value_name = "N,..", value_delimiter = ',', default_values_t = [64, 128, 256])]
    batches: Vec<usize>,
    /// Numbers of threads
    #[arg(long, value_name = "N,..", value_delimiter = ',', default_values_t = [1, 2])]
    threads: Vec<usize>,
    /// Pairs of runs for each variant of a peer, batch and number of threads
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: usize,
    /// Timed steps per run
    #[arg(long, value_name = "N", default_value_t = 9)]
    steps: usize,
    /// Untimed steps before, per run
    #[arg(long, value_name = "N", default_value_t = 3)]
    warmup: usize,
    /// Time the generator in evaluation mode instead of a training step
    #[arg(long)]
    infer: bool,
    /// Run only these peers or variants: pytorch,burn or pytorch/eager+heap
    #[arg(long, value_name = "NAME,..", value_delimiter = ',')]
    only: Vec<String>,
    /// Interpreter for pytorch, tensorflow or jax; repeatable [default: DIR/venv/torch/bin/python (tf, jax) or
    /// python3]
    #[arg(long, value_name = "NAME=PATH", value_parser = assignment)]
    python: Vec<(String, PathBuf)>,
    /// Built program of burn or candle; repeatable
    #[arg(long, value_name = "NAME=PATH", value_parser = assignment)]
    binary: Vec<(String, PathBuf)>,
    /// Time limit of a run
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    limit: u64,
    /// Write the output of all runs and the summary to a JSON file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn assignment(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, path)) if !name.is_empty() && !path.is_empty() => Ok((name.into(), path.into())),
        _ => Err("expected NAME=PATH".into()),
    }
}

/// One experiment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Setting {
    threads: usize,
    batch: usize,
    infer: bool,
}

impl Setting {
    /// The name in the programs' JSON.
    fn mode(&self) -> &'static str {
        if self.infer { "infer" } else { "train" }
    }
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    check(args)?;
    let (runners, skipped) = peers::find(&Wanted {
        directory: &args.peers,
        only: &args.only,
        python: &args.python,
        binary: &args.binary,
        infer: args.infer,
    })?;
    for Skipped { what, why } in &skipped {
        note!("skipped: {what}: {why}");
    }
    ensure!(
        !runners.is_empty(),
        "no peer can be run, so there is nothing to compare with"
    );
    let json = match &args.json {
        // Before the hours of measuring, which would be in vain without it.
        Some(path) => {
            Some(File::create(path).with_context(|| format!("{} cannot be written", path.display()))?)
        }
        None => None,
    };
    catch_interrupts("printing what is measured")?;

    let mut report = Report::new(args, skipped);
    for note in report.notes() {
        note!("note: {note}");
    }
    let ended = Comparison::new(args, &runners, &mut report)?.run();
    report.interrupted = interrupt().load(Ordering::SeqCst);
    if report.pairs.is_empty() {
        ended?;
        ensure!(
            report.interrupted,
            "nothing to compare with: no peer gave a result"
        );
        return end(&report);
    }
    out!("{}", report.markdown().trim_end());
    if let Some(file) = json {
        serde_json::to_writer_pretty(file, &report.json()).context("the JSON document cannot be written")?;
    }
    ended?;
    end(&report)
}

/// A report that was cut short is printed, but the command has not done what it was asked.
fn end(report: &Report) -> anyhow::Result<()> {
    match report.interrupted {
        true => Err(Interrupted.into()),
        false => Ok(()),
    }
}

fn check(args: &Args) -> anyhow::Result<()> {
    ensure!(args.rounds > 0, "--rounds must be at least 1");
    ensure!(args.steps > 0, "--steps must be at least 1");
    ensure!(args.limit > 0, "--limit must be at least 1 second");
    ensure!(!args.threads.contains(&0), "--threads must be at least 1");
    let least = if args.infer { 1 } else { 2 };
    ensure!(
        args.batches.iter().all(|batch| *batch >= least),
        "--batches must be at least {least}{}",
        if args.infer {
            ""
        } else {
            ": batch norm needs two images"
        }
    );
    Ok(())
}

/// The runs, one after another.
struct Comparison<'a> {
    args: &'a Args,
    this: PathBuf,
    runners: Vec<&'a Runner>,
    report: &'a mut Report,
}

impl<'a> Comparison<'a> {
    fn new(args: &'a Args, runners: &'a [Runner], report: &'a mut Report) -> anyhow::Result<Self> {
        Ok(Self {
            args,
            this: std::env::current_exe().context("this program cannot find itself")?,
            runners: runners.iter().collect(),
            report,
        })
    }

    /// Every configuration; returns early, and without an error, once the user has interrupted.
    fn run(mut self) -> anyhow::Result<()> {
        for &threads in &self.args.threads {
            for &batch in &self.args.batches {
                let infer = self.args.infer;
                self.configuration(Setting {
                    threads,
                    batch,
                    infer,
                })?;
                if interrupt().load(Ordering::SeqCst) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn configuration(&mut self, setting: Setting) -> anyhow::Result<()> {
        let mut runners = self.runners.clone();
        for round in 1..=self.args.rounds {
            for runner in runners.clone() {
                let ours = match self.measure(Command::new(&self.this).arg("bench-step"), &setting) {
                    Ok(ours) => ours,
                    Err(Failure::Interrupted) => return Ok(()),
                    Err(failure) => bail!("engraft, {}: {failure}", name(&setting)),
                };
                let theirs = match self.measure(&mut runner.command(), &setting) {
                    Ok(theirs) => theirs,
                    Err(Failure::Interrupted) => return Ok(()),
                    Err(failure) => {
                        runners.retain(|other| !std::ptr::eq(*other, runner));
                        self.give_up(runner, &setting, &failure);
                        continue;
                    }
                };
                let pair = Pair {
                    setting,
                    round,
                    peer: runner.peer,
                    variant: runner.variant,
                    ours,
                    theirs,
                };
                note!(
                    "{}, round {round} of {}: engraft {} ms, {} {} {} ms, ratio {:.2}; {} and {} MB",
                    name(&setting),
                    self.args.rounds,
                    ms(pair.ours.ms),
                    pair.peer,
                    pair.variant,
                    ms(pair.theirs.ms),
                    pair.ratio(),
                    mb(pair.ours.peak_mb),
                    mb(pair.theirs.peak_mb),
                );
                self.report.pairs.push(pair);
            }
        }
        Ok(())
    }

    /// Notes a failure. A variant that has never run will not run in another configuration either, unless it was
    /// only slow.
    fn give_up(&mut self, runner: &Runner, setting: &Setting, failure: &Failure) {
        let of_this = |pair: &Pair| (pair.peer, pair.variant) == (runner.peer, runner.variant);
        let ran = self.report.pairs.iter().any(of_this);
        let what = format!("{} {}", runner.peer, runner.variant);
        let (what, why) = if ran || matches!(failure, Failure::TooSlow(_)) {
            (format!("{what}, {}", name(setting)), failure.to_string())
        } else {
            self.runners.retain(|other| !std::ptr::eq(*other, runner));
            (what, failure.to_string())
        };
        note!("failed: {what}: {why}");
        self.report.skipped.push(Skipped { what, why });
    }

    /// One run of a program in one configuration.
    fn measure(&self, command: &mut Command, setting: &Setting) -> Result<Line, Failure> {
        for (option, value) in [
            ("--batch", setting.batch),
            ("--threads", setting.threads),
            ("--steps", self.args.steps),
            ("--warmup", self.args.warmup),
        ] {
            command.arg(option).arg(value.to_string());
        }
        if setting.infer {
            command.arg("--infer");
        }
        if self.args.network != "dcgan" {
            command.args(["--network", &self.args.network]);
        }
        if self.args.precision != Precision::F32 {
            command.args(["--precision", self.args.precision.name()]);
        }
        let output = subprocess::output(command, Duration::from_secs(self.args.limit), interrupt())?;
        peer_output::read(&output.stdout, setting).map_err(|why| {
            let words = output
                .last_words
                .map_or(String::new(), |line| format!(" (last on stderr: {line})"));
            Failure::Broken(why + &words)
        })
    }
}

fn name(setting: &Setting) -> String {
    format!("threads {}, batch {}", setting.threads, setting.batch)
}
