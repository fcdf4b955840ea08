//! `engraft transfer`: adapts a trained GAN to a new domain.

mod changes;
mod page;
mod results;
mod second;

use super::advice;
use super::data_source::{of_shape, write_report};
use super::extract::Reader;
use super::memory::memory_line;
use super::options::{PlanOptions, RecipeName, Transfer};
use super::output_dir::ensure_usable;
use super::process::{Interrupted, catch_interrupts, pool, stop_or_continue};
use super::program::program;
use super::progress::{TrainingProgress, image_grids};
use super::rank_sources::{self, Comparison};
use super::target::Target;
use super::tensorboard::EventFile;
use anyhow::{Context, ensure};
use engraft_base::{to_bytes, write_atomically};
use engraft_data::{DataSource, Dataset, Provenance::Memory, plain_name};
use engraft_gan::{CheckpointChoice, Event, Sampler, TrainConfig, Trainer};
use engraft_layers::Module;
use engraft_metrics::Features;
use engraft_transfer::adapt::{PixelStatsGap, Severity};
use engraft_transfer::{
    AdapterFile, DomainDistance, Experiment, ExperimentResult, FeatureSets, PretrainedGan, Recipe,
    TransferMethod, copied_share, dataset_features, domain_distance, evaluate, train_only, trainable_summary,
};
use rand::SeedableRng;
use rand_pcg::Pcg64;
use results::{before_and_after, protocol, report, without_measures};
use second::Second;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Fewest reference images that the metrics need.
const FEWEST_REAL: usize = 6;
/// Share of copies from which on a generator copies. If the untuned source has more, the share means nothing.
const MANY_COPIES: f64 = 0.2;
/// Images of the source whose pixel statistics are compared with the target's.
const COMPARED: usize = 64;
/// Most target images that rank the shipped sources.
const RANKED: usize = 1000;
/// Images of the grid of source and result.
const SHOWN: usize = 32;
const COLUMNS: usize = 8;

/// The evaluated generator of a method.
struct Evaluated {
    result: ExperimentResult,
    sampler: Sampler,
    features: Features,
}

/// The hint for a target of the other polarity.
pub(super) fn inversion(is_inverted: bool) -> &'static str {
    if is_inverted {
        "--invert makes the polarity of source and target differ; remove it"
    } else {
        "--invert inverts the target's pixel values"
    }
}

/// How a method is called in tables; results and directories have its name.
fn label(method: &str) -> String {
    let (name, changed) = match method.strip_suffix("-changed") {
        Some(name) => (name, ", changed"),
        None => (method, ""),
    };
    let name = match name {
        "source-as-is" => "untuned source".into(),
        "from-scratch" => "from scratch".into(),
        "fine-tune" => "fine-tuning".into(),
        recipe => format!("auto: {recipe}"),
    };
    format!("{name}{changed}")
}

/// Runs the command.
///
/// # Errors
/// If source or target cannot be used, or training fails. [`Interrupted`] after a signal.
pub(super) fn run(options: &Transfer) -> anyhow::Result<()> {
    ensure_usable(options.out.as_deref())?;
    let done = pool(options.training.threads)?.install(|| transfer(options));
    done.map_err(advice::on_run)
}

/// The shipped source that is closest to the target; prints the ranking.
fn best_source(options: &Transfer) -> anyhow::Result<PathBuf> {
    let comparison = Comparison {
        data: &options.data,
        train_images: options.train_images.unwrap_or(RANKED),
        features: &options.features,
        pictures: &options.pictures,
        count: options.count,
        seed: options.seed,
    };
    let (ranked, reader) = comparison.rank(&rank_sources::shipped())?;
    for line in rank_sources::lines(&ranked) {
        note!("{line}");
    }
    let best = ranked.into_iter().next().context("no source is shipped")?;
    note!(
        "source    {} is the closest by recall and KID on the features {}; another one: --from RUN",
        best.source.display(),
        reader.extractor.name()
    );
    Ok(best.source)
}

fn transfer(options: &Transfer) -> anyhow::Result<()> {
    let out = match &options.out {
        Some(out) => out.clone(),
        None => {
            let file = Path::new(&options.data).file_name().unwrap_or_default();
            let name = match file.to_string_lossy() {
                name if plain_name(&name) == name => name.into_owned(),
                // Such as `.`: the folder has a name.
                _ => DataSource::parse(&options.data)
                    .with_context(|| format!("--data {}", options.data))?
                    .name(),
            };
            Path::new("runs").join(format!("transfer-{name}"))
        }
    };
    let is_source = std::fs::canonicalize(&out).is_ok_and(|out| {
        let from = options.from.as_ref().map(std::fs::canonicalize);
        matches!(from, Some(Ok(from)) if from == out)
    });
    ensure!(
        !is_source,
        "--out {}: this is the run of --from; choose another directory",
        out.display()
    );
    let from = &match &options.from {
        Some(from) => from.clone(),
        None => best_source(options)?,
    };
    let source = advice::source_at("from", from, CheckpointChoice::Last)?;
    let [height, width, _] = source.config.image;
    if let Some(size) = options.size {
        ensure!(
            [height, width] == [size; 2],
            "--size {size}: the source {} generates {width}x{height} images; leave out --size, or choose another source",
            from.display()
        );
    }
    let mut how = of_shape(source.config.image);
    options.pictures.apply(source.config.pictures, &mut how);
    let mut target = Target::load(&options.data, &how, options.train_images, options.seed)?;
    if options.invert {
        target = target.inverted();
    }
    ensure!(
        target.train.len() >= 2,
        "--data {}: found {} training images, expected at least 2",
        options.data,
        target.train.len()
    );
    ensure!(
        source.config.classes == 0 || target.train.classes() > 0,
        "--data {}: the images have no labels, but the source {} is class-conditional; use an unconditional source, a known data \
         set, or a folder with one subfolder of images per class",
        options.data,
        from.display()
    );
    let experiment = Experiment {
        source: &source,
        target: &target.train,
        steps: options.steps,
        seed: options.seed,
    };
    let reader = Reader::choose_for(&options.features, &options.data, &target.train)?;
    let network = &*reader.extractor;
    let trained_on = dataset_features(network, &target.train)?;
    let untuned = experiment.train(&TransferMethod::Untuned, from, &mut |_| ControlFlow::Continue(()))?;
    let (untuned, _) = untuned.context("nothing to stop")?;
    let of_source = experiment.generate_features(network, &untuned, options.count)?;
    let found = domain_distance(&trained_on, &of_source)?;
    let recipe = recipe(options, &source, &target, &found, &out)?;
    // Refuses settings that cannot be written before they are.
    let plan = engraft_transfer::Transfer::new(source.clone(), recipe.plan.clone())?;
    explain(options, (from, &source), (&target, &found), &recipe, &plan)?;
    warn(options, &untuned, &target)?;
    if options.dry_run {
        return Ok(());
    }
    if options.fresh
        && let Some(old) = Trainer::set_aside(&out)?
    {
        note!("moved the earlier run to {}", old.display());
    }
    catch_interrupts("finishing this step, then saving")?;
    let is_plain = recipe.is_fine_tuning(&source)?;
    let mut methods = vec![TransferMethod::Recipe(Box::new(recipe.clone()))];
    if options.baselines {
        if is_plain {
            note!("baseline  fine-tuning is left out: the recipe is the same");
        } else {
            methods.push(TransferMethod::Recipe(Box::new(Recipe::fine_tune(&source)?)));
        }
        methods.push(TransferMethod::FromScratch);
        methods.push(TransferMethod::Untuned);
    }
    let reference = reader.read_data("real images", &target.reference)?.features;
    let points = reader.reference_points(&target.reference, options.seed)?;
    let (mut evaluated, mut unmeasured) = (Vec::new(), Vec::new());
    for (i, method) in methods.iter().enumerate() {
        let directory = match i {
            0 => out.clone(),
            // The name of the directory in an earlier version, whose runs are resumed.
            _ => out.join("controls").join(method.name()),
        };
        let trained = train(options, &experiment, method, &directory, &out)?;
        if i == 0 {
            write_report(&out, &target.report)?;
        }
        let Some((sampler, steps)) = trained else {
            return Err(Interrupted.into());
        };
        if reference.len() < FEWEST_REAL {
            unmeasured.push((method.name(), steps, sampler));
            continue;
        }
        let features = experiment.generate_features(network, &sampler, options.count)?;
        let sets = FeatureSets {
            real: &reference,
            training: &trained_on,
            generated: &features,
        };
        let result = evaluate(method.name(), steps, sets)?;
        evaluated.push(Evaluated {
            result,
            sampler,
            features,
        });
    }
    let grid = out.join("source-and-adapted.png");
    let first = evaluated.first().map(|d: &Evaluated| &d.sampler);
    let adapted = first.unwrap_or_else(|| &unmeasured[0].2);
    write_atomically(&grid, &before_and_after(options, &untuned, adapted))?;
    let untuned_share = copied_share(&trained_on, &of_source);
    let mut json = match evaluated.is_empty() {
        true => without_measures(&unmeasured, reference.len(), protocol(options, &reader, &target)),
        false => report(
            options,
            &reader,
            &target,
            (&reference, points.as_ref()),
            &found,
            &evaluated,
            untuned_share,
        ),
    };
    if !evaluated.is_empty()
        && let Some(second) = Second::measure(&reader, &experiment, &target, &evaluated)?
    {
        for line in second.lines(&evaluated) {
            out!("{line}");
        }
        json["second"] = second.json(&evaluated);
    }
    page::write(&page::Content {
        options,
        out: &out,
        from,
        source: &source,
        target: &target,
        found: &found,
        recipe: &recipe,
        adapted,
        points: points.as_ref(),
        result: &json,
    })?;
    out!(
        "  report                         {}",
        out.join("report.html").display()
    );
    out!("  source and result, same noise  {}", grid.display());
    out!("  run                            {}", out.display());
    out!(
        "to generate images: {} generate --from {} --checkpoint best",
        program(),
        out.display()
    );
    let adapter = out.join(AdapterFile::NAME);
    if let Ok(about) = std::fs::metadata(&adapter) {
        out!(
            "or with the adapter file ({} KiB) and the source: {} generate --from {} --adapter {}",
            about.len().div_ceil(1024),
            program(),
            from.display(),
            adapter.display()
        );
    }
    if options.json {
        out!("{json}");
    }
    Ok(())
}

/// Changes the settings of a run by the options.
fn adjust(options: &Transfer, source: &PretrainedGan, config: &mut TrainConfig) {
    options.training.apply(config);
    config.pictures = options.pictures.over(source.config.pictures);
    config.pictures.mirror = options.mirror;
}

/// The recipe, changed by the options.
fn recipe(
    options: &Transfer,
    source: &PretrainedGan,
    target: &Target,
    found: &DomainDistance,
    out: &Path,
) -> anyhow::Result<Recipe> {
    let mut recipe = match options.recipe {
        RecipeName::Auto => Recipe::recommended(source, target.train.len(), found, options.steps)?,
        RecipeName::FineTune => Recipe::fine_tune(source)?,
    };
    if !options.fresh {
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

/// Warns if the target is preprocessed differently from the source's images: the GAN would learn that first.
fn warn(options: &Transfer, untuned: &Sampler, target: &Target) -> anyhow::Result<()> {
    let generated = untuned.generate(COMPARED, &mut Pcg64::seed_from_u64(options.seed));
    let pixels = to_bytes(generated.as_slice());
    let size = target.train.image_size();
    let generated = Dataset::new("generated", Memory, pixels, size, vec![0; COMPARED])?;
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
fn explain(
    options: &Transfer,
    (from, source): (&Path, &PretrainedGan),
    (target, found): (&Target, &DomainDistance),
    recipe: &Recipe,
    plan: &engraft_transfer::Transfer,
) -> anyhow::Result<()> {
    note!("source    {} ({})", from.display(), source.config.data);
    note!("target    {} images of {}", target.train.len(), options.data);
    note!("reference {}", target.about);
    note!("distance  {found}");
    note!("recipe    {}", label(&recipe.name));
    for reason in &recipe.reasons {
        note!("          - {reason}");
    }
    let mut config = recipe.train_config(source, &target.train, options.steps, options.seed);
    adjust(options, source, &mut config);
    note!(
        "split     {} for training, {} for validation, {} for evaluation",
        config.trained_on(),
        config.validation_images,
        target.reference.len()
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
    let (memory, is_short) = memory_line(&config)?;
    if is_short {
        note!("warning: {memory}");
    } else {
        note!("memory    {memory}");
    }
    config.check_data(&target.train)?;
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

/// Trains with a method, or resumes; `None` after a signal, when the work is saved.
fn train(
    options: &Transfer,
    experiment: &Experiment<'_>,
    method: &TransferMethod,
    directory: &Path,
    out: &Path,
) -> anyhow::Result<Option<(Sampler, u64)>> {
    let mut progress = TrainingProgress::new(&label(method.name()), options.steps)?;
    let mut board = EventFile::create(options.tensorboard, directory)?;
    let found = experiment.train_adjusted(
        method,
        directory,
        &|config| adjust(options, experiment.source, config),
        &mut |event| {
            if let Some(problem) = board.record(&event) {
                progress.say(&format!("warning: {problem}"));
            }
            match event {
                Event::Images { reals, augmented } => {
                    progress.say(&image_grids(&reals, augmented.as_deref()))
                }
                Event::Step { step, .. } => progress.set(step),
                Event::Measured { measurement, .. } => {
                    progress.say(&format!("step {}: {measurement} (validation)", measurement.step));
                }
                Event::Alarm { step, message, .. } => {
                    progress.say(&format!("warning: step {step}: {message}"))
                }
                Event::Phase { step, phase, reason } => {
                    progress.say(&format!("step {step}: phase {phase} begins: {reason}"));
                }
                Event::RolledBack { step, reason, .. } => progress.say(&format!(
                    "warning: training diverged ({reason}); rolled back to step {step}"
                )),
                Event::Warning(text) => progress.say(&format!("warning: {text}")),
                _ => {}
            }
            stop_or_continue()
        },
    )?;
    progress.finish();
    // A signal in the last step, or after it.
    let is_stopped = stop_or_continue().is_break();
    if found.is_none() || is_stopped {
        progress.say(&match progress.step() {
            0 => format!("stopped, saved in {}; the same command resumes", out.display()),
            step => format!(
                "{}: stopped at step {step}, saved in {}; the same command resumes",
                label(method.name()),
                directory.display()
            ),
        });
        return Ok(None);
    }
    Ok(found)
}
