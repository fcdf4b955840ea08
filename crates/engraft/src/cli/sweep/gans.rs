//! What sweeps of GANs share: runs with checkpoints, which the next stage continues, judged by their validation images.

use super::ranking::{CERTAIN, Score};
use super::rates::unnamed_rates;
use super::{Common, EVALUATIONS, Runs, Stage, halvings, run_name};
use crate::cli::advice;
use crate::cli::memory::Memory;
use crate::cli::options::Search;
use crate::cli::parallel;
use crate::cli::process::{Interrupted, cores, interrupt};
use crate::cli::progress::duration;
use anyhow::ensure;
use engraft_gan::checkpoint::CheckpointReader;
use engraft_gan::{Event, GanError, Measurement, RunLayout, TrainConfig, TrainerBuilder, read_measurements};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::atomic::Ordering;

/// Runs of a sweep in directories of their own.
pub(super) trait GanRuns: Send + Sync {
    /// Steps of a complete run.
    fn steps(&self) -> u64;
    /// Settings of run `at`.
    fn config(&self, at: usize) -> &TrainConfig;
    /// Number of runs.
    fn count(&self) -> usize;
    /// Settings of run `at`, to find equal ones.
    fn settings(&self, at: usize) -> String;
    /// Seconds of a step of run `at`, and the memory of `count` runs at a time.
    fn cost(&self, at: usize, count: usize) -> anyhow::Result<(f64, Memory)>;
    /// Trains run `at` in `directory` to the end of a stage. `false` if it was stopped by a signal.
    fn train(&self, at: usize, directory: &Path, span: Span) -> anyhow::Result<bool>;
    /// How a person uses the settings of run `at`. `out` is the directory of the sweep, where a file with them may be written.
    fn advice(&self, at: usize, out: &Path) -> anyhow::Result<String>;
}

/// How far the runs of a stage train, in steps.
#[derive(Clone, Copy)]
pub(super) struct Span {
    /// The step at which the stage ends.
    until: u64,
    /// Steps of all stages.
    whole: u64,
    /// Steps between two evaluations.
    pub(super) every: u64,
}

impl Span {
    /// The total number of steps in the settings of a run. A [decay](TrainConfig::learning_rate_decay) of the learning rates ends
    /// with the sweep: a run that is dropped earlier has used the rates that a complete one uses there.
    pub(super) fn total(self, config: &TrainConfig) -> u64 {
        match decays(config) {
            true => self.whole,
            false => self.until,
        }
    }

    /// Whether the run in `directory` has reached the end of the stage, although its settings have more steps. `builder` has the
    /// settings of such a run.
    ///
    /// # Errors
    /// If the run has other settings. One that is not over is compared when it is opened.
    pub(super) fn is_over(
        self,
        config: &TrainConfig,
        builder: &TrainerBuilder,
        directory: &Path,
    ) -> anyhow::Result<bool> {
        let last = || CheckpointReader::new(directory).steps().ok()?.into_iter().max();
        let is_over = self.total(config) > self.until && last() >= Some(self.until);
        ensure!(
            !is_over || builder.fits(directory),
            "the run in this directory has other settings; repeat the command that began it, or choose another --out"
        );
        Ok(is_over)
    }

    /// Whether a run that has done this many steps is at the end of the stage.
    pub(super) fn ends_at(self, step: u64) -> bool {
        step >= self.until
    }

    /// Whether an event is that of the last step.
    pub(super) fn ends_with(self, event: &Event) -> bool {
        matches!(event, Event::Step { step, .. } if self.ends_at(*step))
    }
}

fn decays(config: &TrainConfig) -> bool {
    config.learning_rate_decay > 0.0
}

/// Such runs as those of a sweep.
pub(super) struct Gans<R>(pub(super) R);

impl<R: GanRuns> Runs for Gans<R> {
    type Score = Measurement;

    const ON_INTERRUPT: &'static str = "finishing these steps, then saving";

    fn stages(&self, count: usize, no_halving: bool) -> Vec<u64> {
        stages(count, no_halving, self.0.steps())
    }

    fn frame(&self, stages: &[u64]) -> Value {
        let mut frame = frame(self.0.config(0));
        if stages.len() > 1 && (0..self.0.count()).any(|at| decays(self.0.config(at))) {
            // In an earlier version, learning rates decayed to the end of each stage.
            frame["learning_rate_decay"] = json!("to the end of the last stage");
        }
        frame
    }

    fn settings(&self, at: usize) -> String {
        self.0.settings(at)
    }

    fn stage_line(&self, count: usize, steps: u64) -> String {
        format!(
            "{count} of them until step {steps}, an evaluation every {} steps",
            every(self.0.steps())
        )
    }

    fn costs(&self, at: usize, plan: &[(usize, u64)], common: &Common) -> anyhow::Result<Vec<String>> {
        let (mut trained, mut done) = (0, 0);
        for &(count, steps) in plan {
            trained += count as u64 * (steps - done);
            done = steps;
        }
        let most = plan.first().map_or(1, |&(count, _)| count);
        let parallel = common.threads.unwrap_or_else(cores).min(most);
        let pool = crate::cli::pool(Some(1))?;
        let (seconds, memory) = pool.install(|| self.0.cost(at, parallel))?;
        let needed = duration(seconds * trained as f64 / parallel as f64);
        Ok(vec![
            format!("memory    {memory}"),
            format!(
                "time      about {needed} for {trained} steps in all, {parallel} at a time ({seconds:.2} s for the first combination), without \
                 the evaluations"
            ),
        ])
    }

    fn train(&self, alive: &[usize], stage: &Stage<'_>) -> anyhow::Result<Vec<Option<Measurement>>> {
        let span = Span {
            until: stage.steps,
            whole: stage.whole,
            every: every(self.0.steps()),
        };
        parallel::each(alive, stage.common.threads, |&at| {
            let directory = stage.directory(at);
            let best = measured(&self.0, at, &directory, span).map_err(|error| stage.named(error, at))?;
            stage.show(at, best.as_ref());
            Ok(best)
        })
    }

    fn about_score(&self) -> String {
        "score: KID times (2 - coverage), more if images are copied; relative to the mean of its stage. Lower is better, and only runs of \
         the same step compare"
            .into()
    }

    fn none_counts(&self, steps: u64) -> String {
        format!(
            "there is no best one: every run of step {steps} that could be measured memorizes training images; take fewer --steps or \
             more images"
        )
    }

    fn remark(&self, search: &Search, different: &[usize]) -> Option<String> {
        unnamed_rates(search, different, |at| self.0.config(at))
    }

    fn caveat(&self) -> &'static str {
        "the errors do not contain the differences between seeds: repeat the first ones with other seeds before you rely on them"
    }

    fn advice(&self, at: usize, out: &Path) -> anyhow::Result<String> {
        self.0.advice(at, out)
    }
}

impl Score for Measurement {
    const HEADING: &'static str = "     KID ± error    coverage  copied  score";

    fn value(&self) -> f64 {
        self.score()
    }

    fn counts(&self) -> bool {
        !self.is_memorized()
    }

    fn is_close_to(&self, best: &Self) -> bool {
        self.score() - best.score() <= CERTAIN * self.score_se().hypot(best.score_se())
    }

    fn short(&self) -> String {
        format!(
            "KID {:.4} ± {:.4}, coverage {:.3}",
            self.kid, self.kid_se, self.coverage
        )
    }

    fn columns(&self, relative: f64) -> String {
        format!(
            "{:>8.4} ± {:<7.4}  {:>8.3}  {:>6.3}  {relative:>5.2}",
            self.kid, self.kid_se, self.coverage, self.memorized
        )
    }

    fn fields(score: Option<&Self>, relative: f64) -> Value {
        json!({
            "step": score.map(|m| m.step), "kid": score.map(|m| m.kid), "kid_se": score.map(|m| m.kid_se),
            "coverage": score.map(|m| m.coverage), "memorized": score.map(|m| m.memorized),
            "score": score.map(|_| relative),
        })
    }
}

/// Steps of each stage: all combinations, then the better half of them, and so on. All are multiples of [`every`].
fn stages(count: usize, no_halving: bool, steps: u64) -> Vec<u64> {
    let halvings = match no_halving || steps < EVALUATIONS {
        true => 0,
        false => halvings(count),
    };
    let whole = every(steps) * (steps / every(steps)).min(EVALUATIONS);
    (0..=halvings).rev().map(|halving| whole >> halving).collect()
}

/// Steps between two evaluations.
fn every(steps: u64) -> u64 {
    (steps / EVALUATIONS).max(1)
}

/// The settings of a run of a sweep, which must have the images and measures of the earlier ones.
///
/// A rollback would halve the learning rates that are compared, so a run that diverges ends.
pub(super) fn as_swept(
    mut config: TrainConfig,
    earlier: &[TrainConfig],
    label: &str,
) -> anyhow::Result<TrainConfig> {
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
pub(super) fn frame(config: &TrainConfig) -> Value {
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
pub(super) fn show(at: usize, event: &Event) {
    let name = run_name(at);
    match event {
        Event::Warning(text) => note!("warning: {name}: {text}"),
        Event::Alarm { step, message, .. } => note!("warning: {name}: step {step}: {message}"),
        _ => {}
    }
}

/// Trains a run to a step; its best measurement, or `None` if it diverged or no evaluation succeeded.
fn measured(
    runs: &impl GanRuns,
    at: usize,
    directory: &Path,
    span: Span,
) -> anyhow::Result<Option<Measurement>> {
    match runs.train(at, directory, span) {
        Ok(true) if !interrupt().load(Ordering::SeqCst) => {}
        Ok(_) => return Err(Interrupted.into()),
        Err(error) => match advice::gan_error(&error) {
            Some(GanError::Diverged { .. }) => return Ok(None),
            _ => return Err(error),
        },
    }
    let all = read_measurements(&RunLayout::new(directory).measurements())?;
    // A run that is further than this stage was part of an interrupted sweep.
    let until: Vec<Measurement> = all.into_iter().filter(|m| m.step <= span.until).collect();
    Ok(Measurement::best(&until).copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_combinations_go_on_and_all_without_halving() {
        let of = |count, steps| stages(count, false, steps);
        assert_eq!(of(1, 1000), [1000]);
        assert_eq!(of(2, 1000), [1000]);
        assert_eq!(of(3, 1000), [500, 1000]);
        assert_eq!(of(8, 1007), [250, 500, 1000]);
        assert_eq!(of(500, 1000), [125, 250, 500, 1000]);
        assert_eq!(of(500, 10), [1, 2, 4, 8]);
        assert_eq!(of(500, 7), [7]);
        assert_eq!(stages(8, true, 1001), [1000]);
        for stage in of(500, 1007) {
            assert!(
                stage.is_multiple_of(every(1007)),
                "each stage ends with an evaluation"
            );
        }
    }
}
