//! Output of a run: the plan, a progress bar or progress lines, or events as JSON.

use super::augmentation::augmentation;
use crate::cli::data_source::FEWEST_HELD_OUT as FEWEST;
use crate::cli::memory::Memory;
use crate::cli::progress::{duration, has_terminal, image_grids};
use crate::cli::step_time::TrainingTime;
use engraft_data::TrainingData;
use engraft_gan::{
    Event, GanError, Measurement, PseudoLabels, RunLayout, StepReport, TrainConfig, Trainer, TrainingOutcome,
};
use engraft_layers::parameter_count;
use engraft_metrics::{IMAGE, features};
use engraft_tensor::{Precision, has_bf16};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use std::path::Path;
use std::time::{Duration, Instant};

/// Time between two progress lines.
const TICK: Duration = Duration::from_secs(10);
/// Steps after which the remaining time is estimated.
const MEASURED: u64 = 5;

/// How a run is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// A progress bar on a terminal.
    Bar,
    /// Plain lines, if the output is not a terminal.
    Ticks,
    /// Lines of JSON.
    Json,
    /// Warnings and errors only.
    Quiet,
}

impl Style {
    pub(super) fn choose(quiet: bool, json: bool) -> Self {
        if quiet {
            Self::Quiet
        } else if json {
            Self::Json
        } else if has_terminal() {
            Self::Bar
        } else {
            Self::Ticks
        }
    }
}

pub(super) struct Display {
    style: Style,
    bar: Option<ProgressBar>,
    /// Steps that were done when the run began or resumed.
    first: u64,
    steps: u64,
    batch: usize,
    /// Whether the evaluation uses validation images.
    is_held_out: bool,
    last_tick: Option<Instant>,
    spent: f64,
    estimated: bool,
}

impl Display {
    pub(super) fn new(style: Style) -> Self {
        Self {
            style,
            bar: None,
            first: 0,
            steps: 0,
            batch: 0,
            is_held_out: true,
            last_tick: None,
            spent: 0.0,
            estimated: false,
        }
    }

    /// A line for a person.
    pub(super) fn say(&self, text: &str) {
        match (&self.bar, self.style) {
            (Some(bar), _) => bar.suspend(|| out(text)),
            (None, Style::Bar | Style::Ticks) => out(text),
            (None, Style::Json | Style::Quiet) => {}
        }
    }

    /// Whether [`Self::say`] prints anything.
    pub(super) fn shows_text(&self) -> bool {
        matches!(self.style, Style::Bar | Style::Ticks)
    }

    fn json(&self, value: &serde_json::Value) {
        if self.style == Style::Json {
            out(&value.to_string());
        }
    }

    /// A warning, in every style.
    pub(super) fn warn(&self, text: &str) {
        self.json(&json!({ "event": "warning", "text": text }));
        self.warn_people(text);
    }

    /// A warning on standard error. Events of their own tell programs.
    fn warn_people(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| err(&format!("warning: {text}"))),
            None => err(&format!("warning: {text}")),
        }
    }

    pub(super) fn plan(
        &self,
        config: &TrainConfig,
        data: &dyn TrainingData,
        out: &Path,
        threads: usize,
        is_dry_run: bool,
    ) -> Result<(), GanError> {
        let networks = engraft_gan::untrained_networks(config)?;
        let [generator, discriminator] =
            [&networks.generator, &networks.discriminator].map(|network| parameter_count(network));
        let (network, image, classes) = (&config.network, data.shape(), config.classes);
        let conditional = match classes {
            0 if config.pseudo_labels.is_on() => {
                format!(", conditioned on {} clusters", config.pseudo_labels.clusters)
            }
            0 => String::new(),
            _ => format!(", class-conditional ({classes} classes)"),
        };
        let [h, w, c] = image;
        let epochs = config.steps as f64 * config.images_per_step() as f64 / config.images as f64;
        let adam = config.generator;
        let memory = Memory::of(config, 1)?;
        let time = match is_dry_run && !memory.is_short() {
            true => Some(TrainingTime::measure(config, None)?),
            false => None,
        };
        let mut plan = json!({
            "event": "plan", "data": config.data, "source": data.provenance().to_string(), "images": config.images,
            "network": network.to_string(),
            "generator_parameters": generator, "discriminator_parameters": discriminator,
            "steps": config.steps, "batch": config.batch, "epochs": epochs, "seed": config.seed,
            "threads": threads, "out": out.display().to_string(),
            "memory": memory.needed, "free_memory": memory.free,
        });
        if let Some(time) = &time {
            plan["seconds"] = time.seconds().into();
            plan["seconds_per_step"] = time.seconds_per_step.into();
        }
        if config.pseudo_labels.is_on() {
            plan["pseudo_labels"] = config.pseudo_labels.clusters.into();
        }
        self.json(&plan);
        let names = match data.class_names() {
            names if classes > 0 && !names.is_empty() => format!("  classes        {}\n", names.join(", ")),
            _ => String::new(),
        };
        if memory.is_short() {
            self.warn(&memory.to_string());
        }
        let measured = match &config.evaluation {
            evaluation if evaluation.every > 0 => format!(
                "  evaluation     every {} steps on {}, features {}\n",
                evaluation.every,
                match config.validation_images {
                    0 => format!(
                        "the {} training images themselves, too few to hold some out (coverage and KID also praise copies)",
                        config.images
                    ),
                    count => format!("{count} validation images"),
                },
                evaluation
                    .features
                    .as_deref()
                    .unwrap_or(features::default_name(&config.data, IMAGE)),
            ),
            _ if config.images < FEWEST => format!(
                "  evaluation     none: fewer than {FEWEST} images, about which no metric says anything\n"
            ),
            _ => String::new(),
        };
        let augmentation = match augmentation(&config.augment) {
            Some(text) => format!("  augmentation   {text}\n"),
            None => String::new(),
        };
        let cut = match config.micro_batches {
            1 => String::new(),
            count => format!(" in {count} micro-batches"),
        };
        let precision = match (config.precision, has_bf16()) {
            (Precision::F32, _) => "",
            (Precision::Bf16, true) => ", bf16",
            (Precision::Bf16, false) => ", bf16 (this CPU has no instructions for it, so it saves no time)",
        };
        let time = match time {
            Some(time) => time.to_string(),
            None => format!("estimated after {MEASURED} steps"),
        };
        self.say(&format!(
            "  data           {}, {} images {h}x{w}x{c} ({})\n{names}  \
               generator      {} -> {h}x{w}x{c}, {generator} parameters{conditional}\n  \
               discriminator  {h}x{w}x{c} -> 1 logit, {discriminator} parameters\n  \
               training       {} steps of {} images{cut} ({epochs:.1} epochs), Adam {} beta {}/{}, seed {}, {threads} threads{precision}\n  \
               memory         {memory}\n{augmentation}{measured}  \
               output         {} (report.html, run.toml, metrics.jsonl, samples, checkpoints)\n  \
               time           {time}",
            config.data, config.images, data.provenance(), networks.latent_dim, config.steps, config.batch,
            adam.learning_rate, adam.beta1, adam.beta2, config.seed, out.display(),
        ));
        Ok(())
    }

    /// Shows the clusters that are the classes of a run.
    pub(super) fn clusters(&self, clusters: &PseudoLabels) {
        let prior = clusters.prior();
        let sizes = prior.counts().iter();
        let (most, fewest) = (
            sizes.clone().max().copied().unwrap_or(0),
            sizes.min().copied().unwrap_or(0),
        );
        let merged = match clusters.clusters() - prior.classes() {
            0 => String::new(),
            merged => format!("; {merged} small ones were merged into others"),
        };
        let ([h, w, _], [rows, columns]) = (clusters.image(), clusters.reduced_size());
        let reduced = match [h, w] == [rows, columns] {
            true => String::new(),
            false => format!(", pixels averaged to {rows}x{columns}"),
        };
        self.json(&json!({ "event": "clusters", "counts": prior.counts() }));
        self.say(&format!(
            "  pseudo-labels  {} clusters of {fewest} to {most} training images{merged}{reduced}",
            prior.classes()
        ));
    }

    /// Shows the beginning of a run that has done `step` steps.
    pub(super) fn begin(&mut self, step: u64, config: &TrainConfig) {
        (self.first, self.steps, self.batch) = (step, config.steps, config.batch);
        self.is_held_out = config.validation_images > 0;
        self.json(&json!({ "event": "begin", "step": step }));
        if step > 0 {
            self.say(&format!("resuming from step {step}"));
        }
        if self.style == Style::Bar && step < config.steps {
            let bar = ProgressBar::new(config.steps).with_position(step);
            let bar_part = if std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty()) {
                "{bar:24}"
            } else {
                "{bar:24.cyan/blue}"
            };
            let template = format!("{bar_part} {{pos}}/{{len}} eta {{eta}}  {{msg}}");
            bar.set_style(
                ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar()),
            );
            // Otherwise the bar would count the earlier steps as speed.
            bar.reset_eta();
            bar.enable_steady_tick(Duration::from_millis(500));
            self.bar = Some(bar);
        }
    }

    pub(super) fn event(&mut self, event: &Event, start: Instant) {
        match event {
            Event::Step {
                step,
                report,
                milliseconds,
            } => self.step(*step, report, *milliseconds, start),
            Event::Images { reals, augmented } => {
                let path = augmented.as_ref().map(|path| path.display().to_string());
                self.json(&json!({
                    "event": "images", "reals": reals.display().to_string(), "augmented": path,
                }));
                self.say(&image_grids(reals, augmented.as_deref()));
            }
            Event::Samples { step, path } => {
                self.json(&json!({ "event": "samples", "step": step, "path": path.display().to_string() }));
                if self.style == Style::Ticks {
                    self.say(&format!("step {step}: samples in {}", path.display()));
                }
            }
            Event::Checkpoint { step, path } => {
                self.json(
                    &json!({ "event": "checkpoint", "step": step, "path": path.display().to_string() }),
                );
            }
            Event::Measured { measurement, is_best } => self.measured(measurement, *is_best),
            Event::Alarm { step, message, .. } => {
                self.json(&json!({ "event": "alarm", "step": step, "text": message }));
                self.warn_people(&format!("step {step}: {message}"));
            }
            Event::RolledBack { step, reason, times } => {
                self.json(&json!({ "event": "rolled_back", "step": step, "reason": reason, "times": times }));
                self.warn_people(&format!(
                    "training diverged ({reason}); rolled back to step {step} with half the learning rates ({} rollback)",
                    ordinal(*times)
                ));
            }
            Event::Warning(text) => self.warn(text),
            _ => {}
        }
    }

    fn measured(&self, measurement: &Measurement, is_best: bool) {
        let mut value: serde_json::Value = serde_json::from_str(&measurement.to_json()).unwrap_or_default();
        value["event"] = "measured".into();
        value["best"] = is_best.into();
        self.json(&value);
        let best = if is_best { ", best so far" } else { "" };
        self.say(&format!(
            "step {}: {measurement}{best} ({})",
            measurement.step,
            if self.is_held_out {
                "validation"
            } else {
                "against the training images"
            }
        ));
    }

    fn step(&mut self, step: u64, report: &StepReport, milliseconds: f64, start: Instant) {
        self.spent += milliseconds / 1e3;
        let done = step - self.first;
        let per_step = start.elapsed().as_secs_f64() / done as f64;
        let left = per_step * (self.steps - step) as f64;
        let rate = self.batch as f64 / (self.spent / done as f64);
        self.json(&json!({
            "event": "step", "step": step, "loss_g": report.generator_loss, "loss_d": report.discriminator_loss,
            "d_real": report.real_output, "d_fake": report.fake_output, "accuracy": report.accuracy,
            "r_t": report.real_sign, "penalty": report.penalty,
            "augment": report.augment_probability, "ms": milliseconds,
        }));
        if done == MEASURED && !self.estimated && step < self.steps {
            self.estimated = true;
            self.json(&json!({ "event": "estimate", "seconds_per_step": per_step, "seconds_left": left }));
            self.say(&format!(
                "about {} left, {per_step:.2} s per step",
                duration(left)
            ));
        }
        let text = format!(
            "loss G {:.3} D {:.3}  D accuracy {:.0} %  {rate:.0} images/s",
            report.generator_loss,
            report.discriminator_loss,
            100.0 * report.accuracy
        );
        if let Some(bar) = &self.bar {
            bar.set_position(step);
            bar.set_message(text);
        } else if self.style == Style::Ticks {
            let due = self.last_tick.is_none_or(|t| t.elapsed() >= TICK) || step == self.steps;
            if due {
                self.last_tick = Some(Instant::now());
                out(&format!(
                    "step {step}/{}  {text}  eta {}",
                    self.steps,
                    duration(left)
                ));
            }
        }
    }

    /// Removes the bar.
    pub(super) fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    pub(super) fn end(&self, trainer: &Trainer, out: &Path, outcome: TrainingOutcome) {
        let step = trainer.step();
        let steps = trainer.config().steps;
        self.json(&json!({
            "event": "end", "step": step, "finished": outcome == TrainingOutcome::Finished, "seconds": self.spent,
        }));
        let headline = match outcome {
            TrainingOutcome::Finished if step == self.first => {
                format!("nothing to do: all {step} steps are done")
            }
            TrainingOutcome::Finished | TrainingOutcome::Complete => {
                format!("done: {step} steps; trained for {}", duration(self.spent))
            }
            TrainingOutcome::Stopped => format!("stopped and saved after step {step} of {steps}"),
            TrainingOutcome::Plateau => format!(
                "stopped early after step {step} of {steps}: no improvement in {} evaluations",
                trainer.config().evaluation.patience
            ),
        };
        if let Some(text) = trainer.second_opinion() {
            self.warn(&text);
        }
        let next = match outcome {
            TrainingOutcome::Finished | TrainingOutcome::Complete => {
                format!("to train longer: the same command with --steps {}", 2 * steps)
            }
            TrainingOutcome::Stopped => "to resume: the same command".into(),
            TrainingOutcome::Plateau => {
                "to continue anyway: the same command with a larger --patience".into()
            }
        };
        let run = RunLayout::new(out);
        self.say(&format!(
            "{headline}\n  samples      {}\n  report       {}\n  checkpoints  {}\n{next}",
            run.grid(step).display(),
            run.report().display(),
            run.checkpoints().display(),
        ));
    }
}

fn out(text: &str) {
    out!("{text}");
}

/// Prints a line to standard error.
pub(super) fn err(text: &str) {
    note!("{text}");
}

/// `2` as `2nd`.
fn ordinal(n: u32) -> String {
    let ending = match (n % 100, n % 10) {
        (11..=13, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    };
    format!("{n}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinal_numbers() {
        let text: Vec<_> = [1, 2, 3, 4, 11, 21].into_iter().map(ordinal).collect();
        assert_eq!(text, ["1st", "2nd", "3rd", "4th", "11th", "21st"]);
    }
}
