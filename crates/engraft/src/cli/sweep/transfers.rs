//! The runs of `engraft sweep transfer`.

use super::{Combination, Common, Runs};
use crate::cli::options::{SweepOf, Transfer};
use crate::cli::process::stop_or_continue;
use crate::cli::program::program;
use crate::cli::transfer::{Domains, adjust, recipe};
use anyhow::{Context, ensure};
use engraft_transfer::{Recipe, TransferMethod};
use std::path::Path;

/// Transfers from the same source to the same images.
pub(super) struct Transfers {
    domains: Domains,
    options: Vec<Transfer>,
    recipes: Vec<Recipe>,
    arguments: Vec<Vec<String>>,
}

/// What the options say about the sweep.
pub(super) fn common(options: &Transfer) -> anyhow::Result<Common> {
    for (is_given, name) in [
        (options.fresh, "--fresh"),
        (options.baselines, "--baselines"),
        (options.json, "--json"),
        (options.tensorboard, "--tensorboard"),
    ] {
        super::refuse(is_given, name)?;
    }
    Ok(Common {
        out: match &options.out {
            Some(out) => out.clone(),
            None => super::default_directory("transfer", &options.data)?,
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
        let (mut of_runs, mut recipes) = (Vec::new(), Vec::new());
        for (one, of) in tried.iter().zip(all) {
            let SweepOf::Transfer(of) = of else { continue };
            let found = recipe(&of.options, &domains, None)?;
            let mut config = found.train_config(source, images, options.steps, options.seed);
            adjust(&of.options, source, &mut config)
                .and_then(|()| config.check())
                .and_then(|()| config.check_data(images))
                .with_context(|| format!("--over {}", one.label))?;
            engraft_transfer::Transfer::new(source.clone(), found.plan.clone())
                .with_context(|| format!("--over {}", one.label))?;
            ensure!(
                config.validation_images > 0,
                "--data {}: {} training images are too few to keep some for validation, which decides a sweep; expected at least 100",
                options.data,
                config.images
            );
            of_runs.push(of.options.clone());
            recipes.push(found);
        }
        Ok(Self {
            domains,
            options: of_runs,
            recipes,
            arguments: tried.iter().map(|one| one.arguments.clone()).collect(),
        })
    }
}

impl Runs for Transfers {
    fn steps(&self) -> u64 {
        self.options.first().map_or(1, |options| options.steps)
    }

    fn train(&self, at: usize, directory: &Path, steps: u64, every: u64) -> anyhow::Result<bool> {
        let options = &self.options[at];
        let experiment = self.domains.experiment(options);
        let method = TransferMethod::Recipe(Box::new(self.recipes[at].clone()));
        let adjusted = |config: &mut engraft_gan::TrainConfig| {
            adjust(options, &self.domains.source, config)?;
            (config.steps, config.evaluation.every) = (steps, every);
            Ok(())
        };
        let found = experiment.train_adjusted(&method, directory, &adjusted, &mut |_| stop_or_continue())?;
        Ok(found.is_some())
    }

    fn advice(&self, at: usize, directory: &Path) -> String {
        format!(
            "{0} generate --from {1} --checkpoint best, or {0} transfer with the options of this sweep and {2}",
            program(),
            directory.display(),
            self.arguments[at].join(" ")
        )
    }
}
