//! The runs of `engraft sweep train`.

use super::gans::{GanRuns, Span, as_swept, show};
use super::{Combination, Common};
use crate::cli::memory::Memory;
use crate::cli::options::{SweepOf, Train};
use crate::cli::process::stop_or_continue;
use crate::cli::program::{path, program, quoted};
use crate::cli::train::{Prepared, prepare};
use anyhow::{Context, ensure};
use engraft_base::write_atomically;
use engraft_gan::{FEW_IMAGES, TrainConfig, Trainer, TrainingOutcome, step_time};
use std::ops::ControlFlow;
use std::path::Path;

/// Trainings on the same images.
pub(super) struct Trainings {
    prepared: Prepared,
    configs: Vec<TrainConfig>,
    /// The same as a training without a sweep has them.
    given: Vec<TrainConfig>,
    /// The options that name the images.
    images: String,
}

/// The options that name the images, as on a command line. How picture files are read is in the settings.
fn images(options: &Train) -> String {
    let data = options
        .data
        .as_ref()
        .map(|data| format!(" --data {}", quoted(data)));
    let all = if options.train_on_all {
        " --train-on-all"
    } else {
        ""
    };
    data.unwrap_or_default() + all
}

/// What the options say about the sweep.
pub(super) fn common(options: &Train) -> anyhow::Result<Common> {
    for (is_given, name) in [
        (options.fresh, "--fresh"),
        (options.accept_changed_data, "--accept-changed-data"),
        (options.json, "--json"),
        (options.tensorboard, "--tensorboard"),
        (options.eval_every.is_some(), "--eval-every"),
        (options.epochs.is_some(), "--epochs"),
        (options.quiet, "--quiet"),
    ] {
        super::refuse(is_given, name)?;
    }
    let data = options.data.as_deref().unwrap_or("mnist");
    Ok(Common {
        out: match &options.out {
            Some(out) => out.clone(),
            None => super::default_directory("train", &[("data", data)])?,
        },
        threads: options.threads,
        is_dry_run: options.dry_run,
        seed: options.seed.unwrap_or(1),
    })
}

impl Trainings {
    /// Reads the images, and checks the settings of all combinations.
    pub(super) fn new(options: &Train, tried: &[Combination], all: &[SweepOf]) -> anyhow::Result<Self> {
        let prepared = prepare(options)?;
        let (mut configs, mut given) = (Vec::new(), Vec::new());
        for (one, of) in tried.iter().zip(all) {
            let SweepOf::Train(of) = of else { continue };
            let config = prepared
                .config(&of.options, false)
                .with_context(|| format!("--over {}", one.label))?;
            ensure!(
                config.validation_images > 0,
                "--data {}: {} training images are too few to keep some for validation, which decides a sweep; expected at least \
                 {FEW_IMAGES}{}",
                config.data,
                config.images,
                match prepared.holds_out() {
                    true => " (--train-on-all holds none out for evaluate)",
                    false => "",
                }
            );
            given.push(config.clone());
            configs.push(as_swept(config, &configs, &one.label)?);
        }
        Ok(Self {
            prepared,
            configs,
            given,
            images: images(options),
        })
    }
}

impl GanRuns for Trainings {
    fn steps(&self) -> u64 {
        self.configs.iter().map(|config| config.steps).min().unwrap_or(1)
    }

    fn config(&self, at: usize) -> &TrainConfig {
        &self.configs[at]
    }

    fn count(&self) -> usize {
        self.configs.len()
    }

    fn settings(&self, at: usize) -> String {
        self.configs[at].to_toml()
    }

    fn cost(&self, at: usize, count: usize) -> anyhow::Result<(f64, Memory)> {
        let config = &self.configs[at];
        Ok((step_time(config, None)?.as_secs_f64(), Memory::of(config, count)?))
    }

    fn train(&self, at: usize, directory: &Path, span: Span) -> anyhow::Result<bool> {
        let mut config = self.configs[at].clone();
        (config.steps, config.evaluation.every) = (span.total(&config), span.every);
        let builder = Trainer::builder(config.clone(), self.prepared.data.clone());
        if span.is_over(&config, &builder, directory)? {
            return Ok(true);
        }
        let mut trainer = builder.open(directory)?;
        let outcome = trainer.train(&mut |event| {
            show(at, &event);
            match span.ends_with(&event) {
                true => ControlFlow::Break(()),
                false => stop_or_continue(),
            }
        })?;
        Ok(outcome != TrainingOutcome::Stopped || span.ends_at(trainer.step()))
    }

    fn advice(&self, at: usize, out: &Path) -> anyhow::Result<String> {
        let settings = out.join(super::BEST);
        write_atomically(&settings, self.given[at].to_toml().as_bytes())?;
        Ok(format!(
            "{} train --config {}{} --out DIR",
            program(),
            path(&settings),
            self.images
        ))
    }
}
