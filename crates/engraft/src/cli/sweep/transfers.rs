//! The runs of `engraft sweep transfer`.

use super::gans::{GanRuns, Span, as_swept, show};
use super::{Combination, Common};
use crate::cli::memory::Memory;
use crate::cli::options::{SweepOf, Transfer};
use crate::cli::process::stop_or_continue;
use crate::cli::program::{path, program, quoted};
use crate::cli::transfer::{Domains, adjust, recipe};
use anyhow::{Context, ensure};
use engraft_gan::{Event, TrainConfig, Trainer, check_planned, step_time};
use engraft_transfer::{Recipe, TransferMethod};
use std::ops::ControlFlow;
use std::path::Path;

/// Transfers from the same source to the same images.
pub(super) struct Transfers {
    domains: Domains,
    options: Vec<Transfer>,
    configs: Vec<TrainConfig>,
    recipes: Vec<Recipe>,
    arguments: Vec<Vec<String>>,
}

/// What the options say about the sweep.
pub(super) fn common(options: &Transfer) -> anyhow::Result<Common> {
    for (is_given, name) in [
        (options.fresh, "--fresh"),
        (options.accept_changed_data, "--accept-changed-data"),
        (options.baselines, "--baselines"),
        (options.json, "--json"),
        (options.tensorboard, "--tensorboard"),
    ] {
        super::refuse(is_given, name)?;
    }
    Ok(Common {
        out: match &options.out {
            Some(out) => out.clone(),
            None => super::default_directory("transfer", &[("data", &options.data)])?,
        },
        threads: options.training.threads,
        is_dry_run: options.dry_run,
        seed: options.seed,
    })
}

impl Transfers {
    /// Reads source and target, and checks the recipes and settings of all combinations.
    pub(super) fn new(options: &Transfer, tried: &[Combination], all: &[SweepOf]) -> anyhow::Result<Self> {
        let domains = Domains::open(options)?;
        let (source, images) = (&domains.source, &domains.target.train);
        note!("source    {} ({})", domains.from.display(), source.config.data);
        note!("target    {} images of {}", images.len(), options.data);
        let (mut of_runs, mut configs, mut recipes) = (Vec::new(), Vec::new(), Vec::new());
        for (one, of) in tried.iter().zip(all) {
            let SweepOf::Transfer(of) = of else { continue };
            let found = recipe(&of.options, &domains, None)?;
            let mut config = found.train_config(source, images, options.steps, options.seed);
            let plan = engraft_transfer::Transfer::new(source.clone(), found.plan.clone())
                .with_context(|| format!("--over {}", one.label))?;
            adjust(&of.options, &domains, &mut config)
                .and_then(|()| check_planned(&config, &plan))
                .and_then(|()| config.check_data(images))
                .with_context(|| format!("--over {}", one.label))?;
            ensure!(
                config.validation_images > 0,
                "--data {}: {} training images are too few to keep some for validation, which decides a sweep; expected at least 100",
                options.data,
                config.images
            );
            configs.push(as_swept(config, &configs, &one.label)?);
            of_runs.push(of.options.clone());
            recipes.push(found);
        }
        Ok(Self {
            domains,
            options: of_runs,
            configs,
            recipes,
            arguments: tried.iter().map(|one| one.arguments.clone()).collect(),
        })
    }
}

impl GanRuns for Transfers {
    fn steps(&self) -> u64 {
        self.options.first().map_or(1, |options| options.steps)
    }

    fn config(&self, at: usize) -> &TrainConfig {
        &self.configs[at]
    }

    fn count(&self) -> usize {
        self.configs.len()
    }

    fn settings(&self, at: usize) -> String {
        // Plain fine-tuning may be written in several ways.
        let recipe = match self.recipes[at].is_fine_tuning(&self.domains.source) {
            Ok(true) => String::new(),
            _ => format!("{:?}", self.recipes[at].plan),
        };
        self.configs[at].to_toml() + &recipe
    }

    fn cost(&self, at: usize, count: usize) -> anyhow::Result<(f64, Memory)> {
        let (config, recipe) = (&self.configs[at], &self.recipes[at]);
        let plan = engraft_transfer::Transfer::new(self.domains.source.clone(), recipe.plan.clone())?;
        let seconds = step_time(config, Some(&plan))?.as_secs_f64();
        Ok((seconds, Memory::of(config, count)?))
    }

    fn train(&self, at: usize, directory: &Path, span: Span) -> anyhow::Result<bool> {
        let config = &self.configs[at];
        let builder = Trainer::builder(config.clone(), self.domains.target.train.clone());
        if span.is_over(config, &builder, directory)? {
            return Ok(true);
        }
        let options = &self.options[at];
        let experiment = self.domains.experiment(options);
        let method = TransferMethod::Recipe(Box::new(self.recipes[at].clone()));
        let adjusted = |config: &mut TrainConfig| {
            adjust(options, &self.domains, config)?;
            (config.steps, config.evaluation.every) = (span.total(config), span.every);
            config.evaluation.rollbacks = 0;
            Ok(())
        };
        let mut has_ended = false;
        let on_event = &mut |event: Event| {
            show(at, &event);
            has_ended |= span.ends_with(&event);
            match has_ended {
                true => ControlFlow::Break(()),
                false => stop_or_continue(),
            }
        };
        let found = experiment.train_adjusted(&method, directory, &adjusted, on_event)?;
        Ok(found.is_some() || has_ended)
    }

    fn advice(&self, at: usize, out: &Path) -> anyhow::Result<String> {
        let arguments: Vec<String> = self.arguments[at]
            .iter()
            .map(|argument| quoted(argument))
            .collect();
        Ok(format!(
            "{} generate --from {} --checkpoint best; or transfer with the options of this sweep, in place of --over: {}",
            program(),
            path(&out.join(super::run_name(at))),
            match arguments.is_empty() {
                true => "nothing".into(),
                false => arguments.join(" "),
            }
        ))
    }
}
