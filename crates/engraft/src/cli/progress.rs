//! Progress of long work: bars on a terminal, plain lines elsewhere.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Time between two progress lines.
const TICK: Duration = Duration::from_secs(10);

/// A progress bar with `count` steps.
pub(super) fn bar(what: &str, count: usize) -> anyhow::Result<ProgressBar> {
    let style = ProgressStyle::with_template("{msg:<30} {bar:30} {pos}/{len}  {elapsed}")?;
    Ok(ProgressBar::new(count as u64)
        .with_style(style)
        .with_message(what.to_owned()))
}

/// The line about the grids of training images.
pub(super) fn image_grids(reals: &Path, augmented: Option<&Path>) -> String {
    let after = match augmented {
        Some(augmented) => format!("after augmentation: {}", augmented.display()),
        None => "no augmentation".into(),
    };
    format!(
        "training images as the networks get them: {}; {after}",
        reals.display()
    )
}

/// Fewest pictures whose reading has a bar.
const MANY: usize = 1000;

/// Progress of reading pictures, `done` of `all`: a bar on a terminal, otherwise a line every 10 seconds.
pub(super) fn reading_pictures(done: usize, all: usize) {
    static SHOWN: Mutex<Option<(ProgressBar, Instant)>> = Mutex::new(None);
    if all < MANY {
        return;
    }
    let mut shown = SHOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let (bar, last_line) = shown.get_or_insert_with(|| {
        let bar = bar("reading pictures", all).unwrap_or_else(|_| ProgressBar::hidden());
        (bar, Instant::now())
    });
    if has_terminal() {
        bar.set_position(done as u64);
    } else if last_line.elapsed() >= TICK {
        *last_line = Instant::now();
        line(&format!("reading pictures: {done} of {all}"));
    }
    if done == all
        && let Some((bar, _)) = shown.take()
    {
        bar.finish_and_clear();
    }
}

/// Whether standard error is a terminal that can show a bar.
pub(super) fn has_terminal() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("TERM").is_some_and(|term| term != "dumb")
}

/// Progress of a training on standard error: a bar with the remaining time on a terminal, otherwise a line every 10 seconds.
pub(super) struct TrainingProgress {
    what: String,
    bar: Option<ProgressBar>,
    steps: u64,
    /// Steps that were done before this process began.
    first: Option<u64>,
    step: u64,
    start: Instant,
    last_line: Option<Instant>,
}

impl TrainingProgress {
    /// The training `what`, of `steps` steps in total.
    pub(super) fn new(what: &str, steps: u64) -> anyhow::Result<Self> {
        let bar = match has_terminal() {
            true => {
                let style = "{msg:<26} {bar:24} {pos}/{len}  eta {eta}";
                let bar = ProgressBar::new(steps).with_style(ProgressStyle::with_template(style)?);
                Some(bar.with_message(what.to_owned()))
            }
            false => None,
        };
        Ok(Self {
            what: what.into(),
            bar,
            steps,
            first: None,
            step: 0,
            start: Instant::now(),
            last_line: None,
        })
    }

    /// Prints a line above the bar.
    pub(super) fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| line(text)),
            None => line(text),
        }
    }

    /// Shows that `step` steps are done.
    pub(super) fn set(&mut self, step: u64) {
        if self.first.is_none() {
            let done_before = step.saturating_sub(1);
            self.first = Some(done_before);
            if done_before > 0 {
                self.say(&format!("{}: resuming from step {done_before}", self.what));
            }
            if let Some(bar) = &self.bar {
                bar.set_position(done_before);
                // Otherwise the bar would count the earlier steps as speed.
                bar.reset_eta();
            }
        }
        self.step = step;
        match &self.bar {
            Some(bar) => bar.set_position(step),
            None if self.last_line.is_none_or(|time| time.elapsed() >= TICK) || step == self.steps => {
                self.last_line = Some(Instant::now());
                line(&self.line_of_step());
            }
            None => {}
        }
    }

    fn line_of_step(&self) -> String {
        let Self {
            what, step, steps, ..
        } = self;
        let done = (step - self.first.unwrap_or(0).min(*step)).max(1);
        let per_step = self.start.elapsed().as_secs_f64() / done as f64;
        let left = match steps.saturating_sub(*step) {
            0 => "done".into(),
            left => format!("{} left", duration(per_step * left as f64)),
        };
        format!("{what}: step {step}/{steps}  {per_step:.2} s per step  {left}")
    }

    /// The last step that was shown, 0 if there was none.
    pub(super) fn step(&self) -> u64 {
        self.step
    }

    /// Removes the bar.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Prints to standard error.
fn line(text: &str) {
    note!("{text}");
}

/// `3725` seconds as `1h 02m`.
pub(super) fn duration(seconds: f64) -> String {
    let s = seconds.round().max(0.0) as u64;
    match s {
        0..60 => format!("{s}s"),
        60..3600 => format!("{}m {:02}s", s / 60, s % 60),
        _ => format!("{}h {:02}m", s / 3600, s % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short() {
        let text: Vec<_> = [0.4, 59.0, 61.0, 3725.0].into_iter().map(duration).collect();
        assert_eq!(text, ["0s", "59s", "1m 01s", "1h 02m"]);
    }

    #[test]
    fn a_line_names_method_step_and_remaining_time() {
        let mut progress = TrainingProgress::new("fine-tuning", 100).unwrap();
        progress.start = Instant::now() - Duration::from_secs(20);
        (progress.first, progress.step) = (Some(40), 50);
        let line = progress.line_of_step();
        assert!(line.starts_with("fine-tuning: step 50/100 "), "{line}");
        // 10 steps took 20 seconds; 50 are left.
        assert!(line.contains("2.00 s") && line.contains("1m 40s"), "{line}");
    }
}
