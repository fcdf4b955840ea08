//! What a transfer is going to do: its recipe, the plan that is printed, and warnings about the target.

use super::domains::Domains;
use super::{COMPARED, adjust, changes, inversion, label};
use crate::cli::data_source::FEWEST_HELD_OUT;
use crate::cli::memory::Memory;
use crate::cli::options::{PlanOptions, RecipeName, Transfer};
use crate::cli::step_time::TrainingTime;
use anyhow::ensure;
use engraft_base::to_bytes;
use engraft_data::{Dataset, Provenance, TrainingData};
use engraft_gan::check_planned;
use engraft_layers::Module;
use engraft_transfer::adapt::{PixelStatsGap, Severity};
use engraft_transfer::{
    DomainDistance, PretrainedGan, Recipe, TransferConfig, train_only, trainable_summary,
};
use rand::SeedableRng;
use rand_pcg::Pcg64;
use std::path::Path;

/// Recall below which a source has little in common with the target.
const LITTLE: f64 = 0.1;

/// The recipe, changed by the options.
///
/// `out` is the directory of the run. If there is one already, its warmup stays, and so does its recipe if its images have changed
/// since: the number of images and the distance may recommend another one now.
///
/// # Errors
/// If the options do not fit the source or each other.
pub(in crate::cli) fn recipe(
    options: &Transfer,
    domains: &Domains,
    out: Option<&Path>,
) -> anyhow::Result<Recipe> {
    let images = &domains.target.train;
    let out = out.filter(|_| !options.fresh);
    let usual = recipe_for(options, &domains.source, images.len(), &domains.found, out)?;
    let Some(saved) = out.and_then(changes::saved_settings) else {
        return Ok(usual);
    };
    let has_changed = saved.fingerprint != images.fingerprint() || !saved.earlier_data.is_empty();
    let plan = TransferConfig::from_table(&saved.plan).ok();
    let Some(plan) = plan.filter(|plan| has_changed && *plan != usual.plan) else {
        return Ok(usual);
    };
    let first = saved
        .earlier_data
        .first()
        .map_or(saved.images, |first| first.images);
    // A close target, one that overlaps with the source without being close, and a far one: each kind that a recipe distinguishes.
    for [a_distance, recall] in [[0.0, 1.0], [0.0, 0.0], [2.0, 0.0]] {
        let distance = DomainDistance {
            a_distance,
            recall: Some(recall),
            ..domains.found
        };
        let mut earlier = recipe_for(options, &domains.source, first, &distance, out)?;
        if earlier.plan == plan {
            let why = "the recipe is that of the earlier run in this directory, whose images have changed";
            earlier.reasons.push(why.into());
            return Ok(earlier);
        }
    }
    Ok(usual)
}

/// The recipe for a number of images and a distance, changed by the options.
fn recipe_for(
    options: &Transfer,
    source: &PretrainedGan,
    images: usize,
    distance: &DomainDistance,
    out: Option<&Path>,
) -> anyhow::Result<Recipe> {
    let mut recipe = match options.recipe {
        RecipeName::Auto => Recipe::recommended(source, images, distance, options.steps)?,
        RecipeName::FineTune => Recipe::fine_tune(source)?,
    };
    if let Some(out) = out {
        changes::keep_warmup(&mut recipe, out);
    }
    changes::change(&options.plan, &mut recipe, source, options.steps)?;
    if options.plan != PlanOptions::default() {
        // Baselines must not have the same name.
        recipe.name += "-changed";
        recipe
            .reasons
            .push("changed by the options of the command".into());
    }
    Ok(recipe)
}

/// Warns if the target is preprocessed differently from the source's images: the GAN would learn that first. Says so if the source has
/// little in common with the target.
pub(super) fn warn(options: &Transfer, domains: &Domains) -> anyhow::Result<()> {
    let Domains {
        untuned,
        target,
        found,
        ..
    } = domains;
    if found.recall.is_some_and(|recall| recall < LITTLE) && !options.baselines {
        note!(
            "hint      the source generates little like these images; --baselines also trains from scratch, and shows which is better"
        );
    }
    let generated = untuned.try_generate(COMPARED, &mut Pcg64::seed_from_u64(options.seed))?;
    let pixels = to_bytes(generated.as_slice());
    let size = target.train.image_size();
    let generated = Dataset::new("generated", Provenance::Memory, pixels, size, vec![0; COMPARED])?;
    let gap = PixelStatsGap::between(&generated, &target.train);
    for (severity, problem) in gap.problems() {
        if severity == Severity::Refusal {
            note!("warning: {problem}");
        }
    }
    if gap.is_inverted() {
        note!("warning: {}", inversion(options.invert));
    }
    Ok(())
}

/// Prints the plan and its reasons.
pub(super) fn explain(
    options: &Transfer,
    domains: &Domains,
    recipe: &Recipe,
    plan: &engraft_transfer::Transfer,
) -> anyhow::Result<()> {
    let Domains {
        from,
        source,
        target,
        found,
        ..
    } = domains;
    note!("source    {} ({})", from.display(), source.config.data);
    note!("target    {} images of {}", target.train.len(), options.data);
    note!("reference {}", target.about);
    note!("distance  {found}");
    note!("recipe    {}", label(&recipe.name));
    for reason in &recipe.reasons {
        note!("          - {reason}");
    }
    let mut config = recipe.train_config(source, &target.train, options.steps, options.seed);
    adjust(options, domains, &mut config)?;
    note!(
        "split     {} for training, {} for validation, {} for evaluation",
        config.trained_on(),
        config.validation_images,
        match target.is_held_out {
            true => target.reference.len().to_string(),
            false => "the same".into(),
        }
    );
    ensure!(
        (2..=config.trained_on()).contains(&config.batch),
        "--batch {}: expected from 2 to {}, the number of training images",
        config.batch,
        config.trained_on()
    );
    note!(
        "training  {} steps of {} images each, from {} training images and {} validation images",
        config.steps,
        config.batch,
        config.trained_on(),
        config.validation_images
    );
    ensure!(
        config.evaluation.patience == 0 || config.evaluation.every > 0,
        "--patience {}: this transfer has no evaluations{}; leave out --patience",
        config.evaluation.patience,
        match config.images {
            ..FEWEST_HELD_OUT => ", because it has fewer than 20 images",
            _ => "",
        }
    );
    check_planned(&config, plan)?;
    let memory = Memory::of(&config, 1)?;
    if memory.is_short() {
        note!("warning: {memory}");
    } else {
        note!("memory    {memory}");
    }
    config.check_data(&target.train)?;
    if options.dry_run && !memory.is_short() {
        note!("time      {}", TrainingTime::measure(&config, Some(plan))?);
    }
    let phases = recipe.plan.phases.clone();
    for (i, phase) in phases.iter().enumerate() {
        let engraft_gan::Networks {
            mut generator,
            mut discriminator,
            ..
        } = plan.initial_networks()?;
        let (roles, adapter) = (source.roles()?, recipe.plan.adapter);
        train_only(
            &mut generator,
            &phase.generator.param_filter(adapter, &roles.generator),
        )?;
        train_only(
            &mut discriminator,
            &phase.discriminator.param_filter(adapter, &roles.discriminator),
        )?;
        let length = match phase.steps {
            0 => "until the end".into(),
            steps => format!("at most {steps} steps"),
        };
        note!("phase {i}   {length}");
        for (name, network, adam) in [
            ("generator", &generator, config.generator),
            ("discriminator", &discriminator, config.discriminator),
        ] {
            let table = trainable_summary(network as &dyn Module, |_| adam.learning_rate);
            note!("  {name}");
            for line in table.to_string().lines() {
                note!("    {line}");
            }
        }
    }
    Ok(())
}
