//! The runs of `engraft sweep adapt`: trainings with several seeds, judged by a validator that needs no label of the target.

use super::ranking::Score;
use super::{Combination, Common, Runs, Stage, halvings, run_name};
use crate::cli::adapt::{Data, cell, ensure_free, settings};
use crate::cli::options::{Adapt, SweepAdapt, SweepOf};
use crate::cli::parallel;
use crate::cli::process::cores;
use crate::cli::program::{path, program, quoted};
use crate::cli::result_cache;
use anyhow::{Context, ensure};
use engraft_gan::checkpoint::RunLock;
use engraft_transfer::TransferError;
use engraft_transfer::adapt::{AdaptationMethod, Validator};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::path::Path;

/// Fewest combinations that are halved. Each stage trains anew, so halving fewer saves nothing.
const FEWEST_HALVED: usize = 8;
/// Fewest seeds whose differences say whether a combination is certain to be better.
const FEWEST_SEEDS: usize = 3;
/// The 97.5 % quantiles of Student's t distribution for 3, 4, .. seeds, which have one degree of freedom less. With more seeds it is
/// at most the last one.
const T_QUANTILES: [f64; 8] = [4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262];
/// Options of the sweep that `engraft adapt` does not have or need, and whether they have a value.
const OF_THE_SWEEP: [(&str, bool); 5] = [
    ("--over", true),
    ("--budget", true),
    ("--out", true),
    ("--no-halving", false),
    ("--dry-run", false),
];

/// Adaptations from the same source to the same target.
pub(super) struct Adaptations {
    runs: Vec<Adaptation>,
    /// The command of each run.
    commands: Vec<String>,
    has_labels: bool,
}

/// One of them.
struct Adaptation {
    options: Adapt,
    method: AdaptationMethod,
    /// Clones share the images.
    data: Data,
}

/// What the options say about the sweep.
pub(super) fn common(of: &SweepAdapt) -> anyhow::Result<Common> {
    let options = &of.options;
    super::refuse(options.json, "--json")?;
    let data = [
        ("source-data", options.source_data.as_str()),
        ("target-data", options.target_data.as_str()),
    ];
    Ok(Common {
        out: match &options.out {
            Some(out) => out.clone(),
            None => super::default_directory("adapt", &data)?,
        },
        threads: options.threads,
        is_dry_run: of.dry_run,
        seed: options.seeds.iter().next().unwrap_or(1),
    })
}

impl Adaptations {
    /// Reads both domains, prepares them as the combinations ask for, and leaves out the test images of the target.
    pub(super) fn new(
        options: &Adapt,
        tried: &[Combination],
        all: &[SweepOf],
        arguments: &[OsString],
    ) -> anyhow::Result<Self> {
        let read = Data::read(options)?;
        let has_labels = read.has_labels();
        let read = read.without_test_images();
        let mut runs: Vec<Adaptation> = Vec::new();
        for (one, of) in tried.iter().zip(all) {
            let SweepOf::Adapt(of) = of else { continue };
            let options = &of.options;
            ensure!(
                options.method.len() == 1,
                "--method: each run of a sweep has one method, found {}; use --over method=mcd,dann to compare methods",
                options.method.len()
            );
            let same = runs
                .iter()
                .find(|run| run.options.even_frames == options.even_frames);
            let data = match same {
                Some(run) => run.data.clone(),
                None => (read.clone().prepared(options)).with_context(|| format!("--over {}", one.label))?,
            };
            runs.push(Adaptation {
                options: options.clone(),
                method: options.method[0],
                data,
            });
        }
        let commands = tried.iter().map(|one| command(arguments, &one.arguments));
        Ok(Self {
            runs,
            commands: commands.collect(),
            has_labels,
        })
    }

    /// The options that all runs have in common.
    fn shared(&self) -> &Adapt {
        &self.runs[0].options
    }

    /// The seeds of each run.
    fn seeds(&self) -> Vec<u64> {
        self.shared().seeds.iter().collect()
    }

    /// The options of a run in a stage, which is a complete training with fewer steps.
    fn staged(&self, at: usize, steps: u64, directory: &Path) -> Adapt {
        Adapt {
            steps,
            out: Some(directory.join(steps.to_string())),
            ..self.runs[at].options.clone()
        }
    }
}

impl Runs for Adaptations {
    type Score = Validated;

    const MARGIN: &'static str = "chance between seeds explains (paired t test, 5 %)";
    const ON_INTERRUPT: &'static str =
        "finishing and saving the trainings that have begun; no other training begins";

    fn stages(&self, count: usize, no_halving: bool) -> Vec<u64> {
        stages(count, no_halving, self.shared().steps)
    }

    fn frame(&self, _stages: &[u64]) -> Value {
        let options = self.shared();
        let mut images: Vec<&Value> = Vec::new();
        for run in &self.runs {
            if !images.contains(&&run.data.fingerprints) {
                images.push(&run.data.fingerprints);
            }
        }
        json!({
            "images": images,
            "protocol": options.protocol.to_string(),
            "validator": options.validator.as_str(),
            "seeds": self.seeds(),
        })
    }

    fn settings(&self, at: usize) -> String {
        let run = &self.runs[at];
        // The settings have the name of every image of a target without labels.
        format!(
            "{} {}",
            run.method,
            result_cache::tag(&settings(&run.options, &run.data, 0))
        )
    }

    fn stage_line(&self, count: usize, steps: u64) -> String {
        let seeds = self.shared().seeds.len();
        format!("{count} of them with {seeds} seed(s), each a training of {steps} steps")
    }

    fn costs(&self, _: usize, plan: &[(usize, u64)], common: &Common) -> anyhow::Result<Vec<String>> {
        let seeds = self.shared().seeds.len();
        let steps: u64 = plan
            .iter()
            .map(|&(count, steps)| (count * seeds) as u64 * steps)
            .sum();
        let most = plan.first().map_or(1, |&(count, _)| count * seeds);
        let parallel = common.threads.unwrap_or_else(cores).min(most);
        Ok(vec![format!(
            "work      {steps} steps in all, {parallel} trainings at a time"
        )])
    }

    fn train(&self, alive: &[usize], stage: &Stage<'_>) -> anyhow::Result<Vec<Option<Validated>>> {
        // Two commands would train the same.
        let _lock = RunLock::acquire(&stage.common.out)?;
        let (seeds, by) = (self.seeds(), self.shared().validator);
        let mut jobs = Vec::new();
        for &at in alive {
            let options = self.staged(at, stage.steps, &stage.directory(at));
            let run = &self.runs[at];
            for &seed in &seeds {
                ensure_free(&options, &run.data, run.method, seed)?;
                jobs.push((at, seed, options.clone()));
            }
        }
        let scores = parallel::each(&jobs, stage.common.threads, |(at, seed, options)| {
            let run = &self.runs[*at];
            let found = match cell(options, &run.data, run.method, *seed, &mut |_| {}) {
                Ok(found) => found.score(by).filter(|score| score.is_finite()),
                Err(error) => match error.downcast_ref() {
                    Some(TransferError::Diverged { .. }) => None,
                    _ => return Err(stage.named(error, *at)),
                },
            };
            let shown = found.map_or("diverged".into(), |score| format!("{by} {score:.4}"));
            note!("  {} seed {seed}: {shown}", run_name(*at));
            Ok(found)
        })?;
        let found = alive.iter().zip(scores.chunks(seeds.len())).map(|(&at, scores)| {
            let scores: Option<Vec<f64>> = scores.iter().copied().collect();
            let found = scores.map(|scores| Validated { by, scores });
            stage.show(at, found.as_ref());
            found
        });
        Ok(found.collect())
    }

    fn about_score(&self) -> String {
        let what = match self.shared().validator {
            Validator::Entropy => "the negative entropy of the predictions for the target",
            Validator::Density => "the soft neighborhood density of the predictions for the target",
            Validator::Source => "the accuracy on the source's test images",
            _ => "the information of the predictions for the target",
        };
        format!(
            "validator: {what}, mean over the seeds ± its standard error. Higher is better, and only runs of the same steps compare. No label \
             and no test image of the target was used"
        )
    }

    fn none_is_certain(&self, first: &str, count: usize, others: usize) -> String {
        match self.shared().seeds.len() {
            0..FEWEST_SEEDS => format!(
                "none is certain: {first} is first, but fewer than {FEWEST_SEEDS} seeds do not say how much a seed changes"
            ),
            _ => {
                let rest = match others {
                    1 => "the other one is".into(),
                    _ => format!("{count} of the other {others} are"),
                };
                format!(
                    "none is certain: {first} is first, but {rest} not worse by more than {}",
                    Self::MARGIN
                )
            }
        }
    }

    fn caveat(&self) -> &'static str {
        "a validator is no accuracy, and some methods train what it measures: it compares settings of one method better than methods"
    }

    fn advice(&self, at: usize, out: &Path) -> anyhow::Result<String> {
        // Results with test images are others. Without any, the command finds these trainings.
        let out = match self.has_labels {
            true => "DIR".into(),
            false => {
                let options = self.staged(at, self.shared().steps, &out.join(run_name(at)));
                options.out.as_deref().map(path).unwrap_or_default()
            }
        };
        Ok(format!("{} --out {out}", self.commands[at]))
    }
}

/// Steps of each stage. Every stage trains anew, so few combinations are not halved.
fn stages(count: usize, no_halving: bool, steps: u64) -> Vec<u64> {
    let halvings = match no_halving || count < FEWEST_HALVED {
        true => 0,
        // No stage is without a step.
        false => halvings(count).min(steps.max(1).ilog2()),
    };
    (0..=halvings).rev().map(|halving| steps >> halving).collect()
}

/// The command of `engraft adapt` with the options of the sweep and those of a combination.
fn command(arguments: &[OsString], added: &[String]) -> String {
    let mut words = vec![program().to_string(), "adapt".into()];
    // After the name of the program, `sweep` and `adapt`.
    let mut given = arguments.iter().skip(3).map(|word| word.to_string_lossy());
    while let Some(word) = given.next() {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (&*word, None),
        };
        match OF_THE_SWEEP.iter().find(|(known, _)| name == *known) {
            Some((_, true)) if value.is_none() => {
                given.next();
            }
            Some(_) => {}
            None => words.push(quoted(&word)),
        }
    }
    words.extend(added.iter().map(|word| quoted(word)));
    words.join(" ")
}

/// What the trainings of a combination reach by a validator.
#[derive(Clone, Debug)]
pub(super) struct Validated {
    by: Validator,
    /// The score of each seed, higher is better.
    scores: Vec<f64>,
}

/// The mean, and its standard error if there are at least two values.
fn mean_and_error(values: &[f64]) -> (f64, Option<f64>) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>();
    let error = (values.len() > 1).then(|| (squares / (count - 1.0) / count).sqrt());
    (mean, error)
}

impl Score for Validated {
    const HEADING: &'static str = "validator ± error    seeds";

    fn value(&self) -> f64 {
        -mean_and_error(&self.scores).0
    }

    /// By the differences of each seed, which chooses the same images and initial weights for all.
    fn is_close_to(&self, best: &Self) -> bool {
        let differences: Vec<f64> = best
            .scores
            .iter()
            .zip(&self.scores)
            .map(|(best, own)| best - own)
            .collect();
        match mean_and_error(&differences) {
            (mean, Some(error)) if differences.len() >= FEWEST_SEEDS => {
                let at = (differences.len() - FEWEST_SEEDS).min(T_QUANTILES.len() - 1);
                mean <= T_QUANTILES[at] * error
            }
            _ => true,
        }
    }

    fn short(&self) -> String {
        match mean_and_error(&self.scores) {
            (mean, Some(error)) => format!("{} {mean:.4} ± {error:.4}", self.by),
            (mean, None) => format!("{} {mean:.4}", self.by),
        }
    }

    fn columns(&self, _: f64) -> String {
        let (mean, error) = mean_and_error(&self.scores);
        let error = error.map_or("-".into(), |error| format!("{error:.4}"));
        format!("{mean:>9.4} ± {error:<7}  {:>5}", self.scores.len())
    }

    fn fields(score: Option<&Self>, _: f64) -> Value {
        let found = score.map(|score| mean_and_error(&score.scores));
        json!({
            "validator": score.map(|score| score.by.as_str()),
            "mean": found.map(|(mean, _)| mean),
            "error": found.and_then(|(_, error)| error),
            "scores": score.map(|score| &score.scores),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_combinations_are_halved_and_fewer_are_not() {
        assert_eq!(stages(7, false, 2000), [2000]);
        assert_eq!(stages(8, false, 2000), [500, 1000, 2000]);
        assert_eq!(stages(9, false, 2001), [250, 500, 1000, 2001]);
        assert_eq!(stages(9, false, 2), [1, 2]);
        assert_eq!(stages(9, false, 1), [1]);
        assert_eq!(stages(9, true, 2000), [2000]);
    }

    #[test]
    fn the_command_has_no_option_of_the_sweep() {
        let typed = "engraft sweep adapt --source-data mnist --over method=mcd,dann --target-data=my-images --over=batch=32,64 \
                     --no-halving --budget 2 --steps 100 --out kept --dry-run";
        let arguments: Vec<OsString> = typed.split_whitespace().map(OsString::from).collect();
        let found = command(&arguments, &["--method=mcd".into(), "--batch=32".into()]);
        let (_, options) = found.split_once(" adapt ").unwrap();
        assert_eq!(
            options,
            "--source-data mnist --target-data=my-images --steps 100 --method=mcd --batch=32"
        );
    }

    #[test]
    fn seeds_are_compared_in_pairs() {
        let of = |scores: &[f64]| Validated {
            by: Validator::Information,
            scores: scores.to_vec(),
        };
        // The seeds differ by far more than the combinations, but each seed prefers the first one.
        let best = of(&[1.0, 2.0, 3.0]);
        assert!(!of(&[0.9, 1.89, 2.9]).is_close_to(&best));
        // By hand: differences 0.3, 0, 0 with the mean 0.1 and the standard error 0.1.
        assert!(of(&[0.7, 2.0, 3.0]).is_close_to(&best));
        assert!(best.is_close_to(&best));
        // Differences 0.1, 0.2, 0.3: t is 3.46, which three seeds reach by chance more often than five.
        assert!(of(&[0.9, 1.8, 2.7]).is_close_to(&best));
        let best = of(&[1.0; 5]);
        assert!(!of(&[0.9, 0.8, 0.7, 0.7, 0.9]).is_close_to(&best));
        let best = of(&[1.0, 2.0, 3.0]);
        assert!(
            of(&[0.0, 0.0]).is_close_to(&of(&[1.0, 1.0])),
            "two seeds are too few"
        );
        let (mean, error) = mean_and_error(&[0.3, 0.0, 0.0]);
        assert!((mean - 0.1).abs() < 1e-12 && (error.unwrap() - 0.1).abs() < 1e-12);
        assert_eq!(mean_and_error(&[2.0]), (2.0, None));
        assert_eq!(
            best.columns(1.0).chars().count(),
            Validated::HEADING.chars().count()
        );
    }
}
