//! `engraft transfer`: a trained GAN carried to another domain.

mod changes;

use super::extract::Reader;
use super::options::{PlanOptions, RecipeName, Transfer};
use super::process::{Interrupted, catch_interrupts, go_on, program};
use super::progress::bar;
use super::target::Target;
use anyhow::{Context, ensure};
use engraft_base::to_bytes;
use engraft_data::{Dataset, Provenance::Memory};
use engraft_gan::{CheckpointChoice, Event, Sampler, sample_grid};
use engraft_layers::Module;
use engraft_metrics::Features;
use engraft_transfer::adapt::{PixelStatsGap, Severity};
use engraft_transfer::{
    AdapterFile, DomainDistance, Experiment, ExperimentResult, FeatureSets, PretrainedGan, Recipe,
    TransferMethod, compare, dataset_features, domain_distance, evaluate, open_source, train_only,
    trainable_summary,
};
use indicatif::ProgressBar;
use rand::SeedableRng;
use rand_pcg::Pcg64;
use serde_json::json;
use std::ops::ControlFlow;
use std::path::Path;

/// Images that are generated for measuring.
const GENERATED: usize = 1000;
/// Fewest images of the target that all measures can be taken of.
const FEWEST_REAL: usize = 6;
/// Images of the source whose shades are looked at.
const LOOKED_AT: usize = 64;
/// Images on the sheet that shows source and result.
const SHOWN: usize = 32;
const COLUMNS: usize = 8;

/// What a method's generator drew.
struct Drawn {
    row: ExperimentResult,
    sampler: Sampler,
    features: Features,
}

/// What to do about a target of the other polarity.
pub(super) fn inversion(is_inverted: bool) -> &'static str {
    if is_inverted {
        "without --invert the target's shades would be the source's"
    } else {
        "--invert turns the target's shades round"
    }
}

/// Runs the command.
///
/// # Errors
/// If source or target cannot be used, or training fails.
pub(super) fn run(options: &Transfer) -> anyhow::Result<()> {
    let out = options.out.clone().unwrap_or_else(|| {
        let name = Path::new(&options.data).file_name().unwrap_or_default();
        Path::new("runs").join(format!("transfer-{}", name.to_string_lossy()))
    });
    let is_source = std::fs::canonicalize(&out).is_ok_and(|out| {
        let from = std::fs::canonicalize(&options.from);
        from.is_ok_and(|from| from == out)
    });
    ensure!(
        !is_source,
        "--out {}: that is the run of --from; name another directory",
        out.display()
    );
    let source = open_source(&options.from, CheckpointChoice::Last)
        .with_context(|| format!("--from {}", options.from.display()))?;
    let mut target = Target::load(
        &options.data,
        source.config.image,
        options.train_images,
        options.seed,
    )?;
    if options.invert {
        target = target.inverted();
    }
    ensure!(
        target.train.len() >= 2,
        "--data {}: a transfer needs at least 2 images, found {}",
        options.data,
        target.train.len()
    );
    ensure!(
        target.reference.len() >= FEWEST_REAL,
        "--data {}: coverage needs at least {FEWEST_REAL} images to measure with, found {}; add pictures, or take more of them by --train-images",
        options.data,
        target.reference.len()
    );
    ensure!(
        source.config.classes == 0 || target.train.classes() > 0,
        "--data {}: the source {} is class-conditional, and these images have no labels; name a source without classes, or images \
         with labels: a known data set, or a folder of pictures for each class",
        options.data,
        options.from.display()
    );
    let experiment = Experiment {
        source: &source,
        target: &target.train,
        steps: options.steps,
        seed: options.seed,
    };
    let reader = Reader::choose(options.features.as_deref(), &options.data, source.config.image)?;
    let network = &*reader.extractor;
    let trained_on = dataset_features(network, &target.train)?;
    let as_is = experiment.train(&TransferMethod::Untuned, &options.from, &mut |_| {
        ControlFlow::Continue(())
    })?;
    let (as_is, _) = as_is.context("nothing to stop")?;
    let of_source = experiment.generate_features(network, &as_is, GENERATED)?;
    let found = domain_distance(&trained_on, &of_source)?;
    let recipe = recipe(options, &source, &target, &found)?;
    explain(options, &source, &target, &found, &recipe)?;
    warn(options, &as_is, &target)?;
    if options.dry_run {
        return Ok(());
    }
    catch_interrupts("finishing this step and saving")?;
    let is_plain = recipe.is_fine_tuning(&source)?;
    let mut methods = vec![TransferMethod::Recipe(Box::new(recipe))];
    if options.baselines {
        if is_plain {
            eprintln!("controls  without plain fine-tuning, which the recipe is");
        } else {
            methods.push(TransferMethod::Recipe(Box::new(Recipe::fine_tune(&source)?)));
        }
        methods.push(TransferMethod::FromScratch);
        methods.push(TransferMethod::Untuned);
    }
    let reference = dataset_features(network, &target.reference)?;
    let mut drawn = Vec::new();
    for (i, method) in methods.iter().enumerate() {
        let directory = match i {
            0 => out.clone(),
            _ => out.join("controls").join(method.name()),
        };
        let Some((sampler, steps)) = train(options, &experiment, method, &directory)? else {
            eprintln!("stopped and saved; to go on: the same command again");
            return Err(Interrupted.into());
        };
        let features = experiment.generate_features(network, &sampler, GENERATED)?;
        let sets = FeatureSets {
            real: &reference,
            training: &trained_on,
            generated: &features,
        };
        let row = evaluate(method.name(), steps, sets)?;
        drawn.push(Drawn {
            row,
            sampler,
            features,
        });
    }
    let sheet = out.join("source-and-adapted.png");
    std::fs::write(&sheet, before_and_after(options, &as_is, &drawn[0].sampler))
        .with_context(|| format!("writing {}", sheet.display()))?;
    let json = report(options, &reader, &target, &reference, &found, &drawn);
    println!("  same noise through source and result  {}", sheet.display());
    println!("  the run                                {}", out.display());
    println!(
        "to draw more: {} generate --from {} --checkpoint best",
        program(),
        out.display()
    );
    let small = out.join(AdapterFile::NAME);
    if let Ok(about) = std::fs::metadata(&small) {
        println!(
            "or, with these {} KiB beside the source: {} generate --from {} --adapter {}",
            about.len().div_ceil(1024),
            program(),
            options.from.display(),
            small.display()
        );
    }
    if options.json {
        println!("{json}");
    }
    Ok(())
}

/// The recipe, with what the arguments change.
fn recipe(
    options: &Transfer,
    source: &PretrainedGan,
    target: &Target,
    found: &DomainDistance,
) -> anyhow::Result<Recipe> {
    let mut recipe = match options.recipe {
        RecipeName::Auto => Recipe::recommended(source, target.train.len(), found, options.steps)?,
        RecipeName::FineTune => Recipe::fine_tune(source)?,
    };
    changes::change(&options.plan, &mut recipe, source, options.steps)?;
    if options.plan != PlanOptions::default() {
        // So that no control has its name.
        recipe.name += "-changed";
        recipe
            .reasons
            .push("but with the parts that were given by options in the place of its own".into());
    }
    Ok(recipe)
}

/// Tells of a target that is prepared otherwise than what the source draws: then it learns the preparation first.
fn warn(options: &Transfer, as_is: &Sampler, target: &Target) -> anyhow::Result<()> {
    let drawn = as_is.generate(LOOKED_AT, &mut Pcg64::seed_from_u64(options.seed));
    let pixels = to_bytes(drawn.as_slice());
    let size = target.train.image_size();
    let drawn = Dataset::new("drawn", Memory, pixels, size, vec![0; LOOKED_AT])?;
    let gap = PixelStatsGap::between(&drawn, &target.train);
    for (severity, problem) in gap.problems() {
        if severity == Severity::Refusal {
            eprintln!("warning: {problem}");
        }
    }
    if gap.is_inverted() {
        eprintln!("warning: {}", inversion(options.invert));
    }
    Ok(())
}

/// Tells what will be done and why.
fn explain(
    options: &Transfer,
    source: &PretrainedGan,
    target: &Target,
    found: &DomainDistance,
    recipe: &Recipe,
) -> anyhow::Result<()> {
    eprintln!("source    {} ({})", options.from.display(), source.config.data);
    eprintln!("target    {} images of {}", target.train.len(), options.data);
    eprintln!("measured  against {}", target.about);
    eprintln!("distance  {found}");
    eprintln!("recipe    {}", recipe.name);
    for reason in &recipe.reasons {
        eprintln!("          - {reason}");
    }
    let config = recipe.train_config(source, &target.train, options.steps, options.seed);
    config.check_data(&target.train)?;
    let phases = recipe.plan.phases.clone();
    for (i, phase) in phases.iter().enumerate() {
        let plan = engraft_transfer::Transfer::new(source.clone(), recipe.plan.clone())?;
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
            0 => "to the end".into(),
            steps => format!("up to {steps} steps"),
        };
        eprintln!("phase {i}   {length}");
        for (name, network, adam) in [
            ("generator", &generator, config.generator),
            ("discriminator", &discriminator, config.discriminator),
        ] {
            let table = trainable_summary(network as &dyn Module, |_| adam.learning_rate);
            eprintln!("  {name}");
            for line in table.to_string().lines() {
                eprintln!("    {line}");
            }
        }
    }
    Ok(())
}

fn train(
    options: &Transfer,
    experiment: &Experiment<'_>,
    method: &TransferMethod,
    directory: &Path,
) -> anyhow::Result<Option<(Sampler, u64)>> {
    let bar: ProgressBar = bar(method.name(), options.steps as usize)?;
    let found = experiment.train(method, directory, &mut |event| {
        match event {
            Event::Step { step, .. } => bar.set_position(step),
            Event::Measured { measurement, .. } => {
                bar.suspend(|| eprintln!("step {}: {measurement} (on held-out images)", measurement.step));
            }
            Event::Alarm { step, message, .. } => {
                bar.suspend(|| eprintln!("warning: step {step}: {message}"))
            }
            Event::Phase { step, phase, reason } => {
                bar.suspend(|| eprintln!("step {step}: phase {phase} begins, {reason}"));
            }
            Event::RolledBack { step, reason, .. } => {
                bar.suspend(|| eprintln!("warning: diverged ({reason}): back to step {step}"));
            }
            Event::Warning(text) => bar.suspend(|| eprintln!("warning: {text}")),
            _ => {}
        }
        go_on()
    })?;
    bar.finish();
    Ok(found)
}

/// The same noise through two generators, in rows one under the other.
fn before_and_after(options: &Transfer, source: &Sampler, adapted: &Sampler) -> Vec<u8> {
    let images = [source, adapted].map(|s| s.generate(SHOWN, &mut Pcg64::seed_from_u64(options.seed)));
    let rows: Vec<_> = (0..SHOWN)
        .step_by(COLUMNS)
        .flat_map(|start| images.each_ref().map(|i| i.narrow(0, start, COLUMNS)))
        .collect();
    sample_grid(
        &engraft_tensor::concat(&rows.iter().collect::<Vec<_>>(), 0),
        COLUMNS,
    )
}

/// Prints the table, and gives it as JSON.
fn report(
    options: &Transfer,
    reader: &Reader,
    target: &Target,
    reference: &Features,
    found: &DomainDistance,
    drawn: &[Drawn],
) -> serde_json::Value {
    let sets: Vec<&Features> = drawn.iter().map(|d| &d.features).collect();
    let comparison = compare(reference, &sets, options.seed);
    // One alone has nothing to win against.
    let winner = comparison.winner().filter(|_| drawn.len() > 1);
    let winner = winner.map(|i| drawn[i].row.method.clone());
    println!(
        "{:<20}{:>9}  {:<18}{:>9}{:>10}{:>11}{:>9}{:>7}",
        "method", "KID", "95 % interval", "FID", "coverage", "diversity", "copies", "step"
    );
    for (i, Drawn { row, .. }) in drawn.iter().enumerate() {
        let [low, high] = comparison.interval(i);
        println!(
            "{:<20}{:>9.4}  {:<18}{:>9.2}{:>10.3}{:>11.3}{:>9.3}{:>7}",
            row.method,
            row.kid,
            format!("{low:.4} to {high:.4}"),
            row.fid,
            row.coverage,
            row.diversity,
            row.copies,
            row.steps
        );
    }
    println!(
        "{GENERATED} generated images each, against {}; features {} ({}..); seed {}",
        target.about,
        reader.extractor.name(),
        reader.short_hash(),
        options.seed
    );
    if drawn.len() > 1 {
        match &winner {
            Some(name) => println!("lowest KID: {name}, certain at 95 % over the choice of images"),
            None => println!("no method is certainly better: the intervals of the differences hold 0"),
        }
    }
    let copying = drawn[0].row.copies;
    if copying > 0.2 {
        println!(
            "warning: {:.0} of 100 generated images are copies of training images; fewer steps or more images help",
            100.0 * copying
        );
    }
    let rows: Vec<_> = drawn
        .iter()
        .enumerate()
        .map(|(i, d)| {
            let mut value = serde_json::to_value(&d.row).unwrap_or_default();
            value["kid_interval"] = json!(comparison.interval(i));
            value
        })
        .collect();
    json!({
        "rows": rows, "winner": winner, "proximity": found,
        "protocol": {
            "features": reader.extractor.name(), "features_sha256": reader.extractor.hash(), "fit": reader.fit.to_string(), "data": options.data,
            "images": target.train.len(), "real": target.reference.len(),
            "real_is_held_out": target.is_held_out, "generated": GENERATED, "steps": options.steps,
            "seed": options.seed, "inverted": options.invert,
        },
    })
}
