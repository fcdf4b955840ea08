//! `engraft transfer`: adapts a trained GAN to a new domain.

mod changes;
mod directory;
mod domains;
mod page;
mod plan;
mod results;
mod second;

use super::advice;
use super::data_source::write_report;
use super::options::{FEWEST_COMPARED, Transfer};
use super::output_dir::{ensure_not_data, ensure_usable};
use super::process::{Interrupted, catch_interrupts, ensure_not_interrupted, pool, stop_or_continue};
use super::program::{path, program};
use super::progress::{TrainingProgress, image_grids};
use super::tensorboard::EventFile;
pub(super) use domains::Domains;
use engraft_base::write_atomically;
use engraft_gan::{Event, GanError, Sampler, TrainConfig, Trainer};
use engraft_metrics::Features;
use engraft_transfer::{
    AdapterFile, Experiment, ExperimentResult, FeatureSets, Recipe, TransferMethod, copied_share, evaluate,
};
pub(super) use plan::recipe;
use plan::{explain, warn};
use results::{before_and_after, protocol, report, without_measures};
use second::Second;
use std::path::Path;

/// What happens after a signal while images are measured. A training is saved by then.
const MEASURING: &str = "stopping when these images are measured";
/// Share of copies from which on a generator copies. If the untuned source has more, the share means nothing.
const MANY_COPIES: f64 = 0.2;
/// Images of the source whose pixel statistics are compared with the target's.
const COMPARED: usize = 64;
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
    ensure_not_data(options.out.as_deref(), &options.data)?;
    let done = pool(options.training.threads)?.install(|| transfer(options));
    done.map_err(advice::on_run)
}

fn transfer(options: &Transfer) -> anyhow::Result<()> {
    directory::ensure_not_source(options)?;
    // Before images are read and measured.
    options.plan.regularizers()?;
    let domains = Domains::open(options)?;
    let out = directory::of(options, &domains)?;
    let Domains {
        from,
        source,
        target,
        reader,
        trained_on,
        untuned,
        of_source,
        found,
    } = &domains;
    let network = &*reader.extractor;
    let experiment = domains.experiment(options);
    let recipe = recipe(options, &domains, Some(&out))?;
    // Refuses settings that cannot be written before they are.
    let plan = engraft_transfer::Transfer::new(source.clone(), recipe.plan.clone())?;
    explain(options, &domains, &recipe, &plan)?;
    note!("output    {}", out.display());
    warn(options, &domains)?;
    if options.dry_run {
        return Ok(());
    }
    if options.fresh
        && let Some(old) = Trainer::set_aside(&out)?
    {
        note!("moved the earlier run to {}", old.display());
    }
    catch_interrupts(MEASURING)?;
    let is_plain = recipe.is_fine_tuning(source)?;
    let mut methods = vec![TransferMethod::Recipe(Box::new(recipe.clone()))];
    if options.baselines {
        if is_plain {
            note!("baseline  fine-tuning is left out: the recipe is the same");
        } else {
            methods.push(TransferMethod::Recipe(Box::new(Recipe::fine_tune(source)?)));
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
        catch_interrupts("finishing this step, then saving")?;
        let trained = train(options, &domains, &experiment, method, &directory, &out)?;
        catch_interrupts(MEASURING)?;
        if i == 0 {
            write_report(&out, &target.report)?;
        }
        let Some((sampler, steps)) = trained else {
            return Err(Interrupted.into());
        };
        if reference.len() < FEWEST_COMPARED {
            unmeasured.push((method.name(), steps, sampler));
            continue;
        }
        stop_if_interrupted()?;
        let features = experiment.generate_features(network, &sampler, options.count)?;
        let sets = FeatureSets {
            real: &reference,
            training: trained_on,
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
    write_atomically(&grid, &before_and_after(options, untuned, adapted))?;
    let untuned_share = copied_share(trained_on, of_source);
    let mut json = match evaluated.is_empty() {
        true => without_measures(&unmeasured, reference.len(), protocol(options, reader, target)),
        false => report(
            options,
            reader,
            target,
            (&reference, points.as_ref()),
            found,
            &evaluated,
            untuned_share,
        ),
    };
    let second = match evaluated.is_empty() {
        true => None,
        false => match Second::measure(reader, &experiment, target, &evaluated) {
            // The results are there, and are written without it.
            Err(error) if error.is::<Interrupted>() => None,
            found => found?,
        },
    };
    if let Some(second) = second {
        for line in second.lines(&evaluated) {
            out!("{line}");
        }
        json["second"] = second.json(&evaluated);
    }
    page::write(&page::Content {
        options,
        out: &out,
        from,
        source,
        target,
        found,
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
        path(&out)
    );
    let adapter = out.join(AdapterFile::NAME);
    if let Ok(about) = std::fs::metadata(&adapter) {
        out!(
            "or with the adapter file ({} KiB) and the source: {} generate --from {} --adapter {}",
            about.len().div_ceil(1024),
            program(),
            path(from),
            path(&adapter)
        );
    }
    if options.json {
        out!("{json}");
    }
    Ok(())
}

/// Stops after a signal. All trainings are saved.
///
/// # Errors
/// [`Interrupted`] after a signal.
fn stop_if_interrupted() -> Result<(), Interrupted> {
    ensure_not_interrupted()
        .inspect_err(|_| note!("stopped, the training is saved; the same command resumes"))
}

/// Changes the settings of a run by the options. The run is evaluated with the features that also compare the domains.
///
/// # Errors
/// If a setting is invalid.
pub(super) fn adjust(
    options: &Transfer,
    domains: &Domains,
    config: &mut TrainConfig,
) -> Result<(), GanError> {
    options.training.apply(config)?;
    config.pictures = options.pictures.over(domains.source.config.pictures);
    config.pictures.mirror = options.mirror;
    let named = &domains.reader.named;
    if named.features.is_some() {
        config.evaluation.features = named.features.clone();
        config.evaluation.weights = named.weights.clone();
    }
    Ok(())
}

/// Trains with a method, or resumes; `None` after a signal, when the work is saved.
fn train(
    options: &Transfer,
    domains: &Domains,
    experiment: &Experiment<'_>,
    method: &TransferMethod,
    directory: &Path,
    out: &Path,
) -> anyhow::Result<Option<(Sampler, u64)>> {
    let mut progress = TrainingProgress::new(&label(method.name()), options.steps)?;
    let mut board = EventFile::create(options.tensorboard, directory)?;
    let reference = match experiment.validation_images() {
        0 => "against the training images",
        _ => "validation",
    };
    let adjusted = |config: &mut TrainConfig| adjust(options, domains, config);
    let on_event = &mut |event: Event| {
        if let Some(problem) = board.record(&event) {
            progress.say(&format!("warning: {problem}"));
        }
        match event {
            Event::Images { reals, augmented } => progress.say(&image_grids(&reals, augmented.as_deref())),
            Event::Step { step, .. } => progress.set(step),
            Event::Measured { measurement, .. } => {
                progress.say(&format!("step {}: {measurement} ({reference})", measurement.step));
            }
            Event::Alarm { step, message, .. } => progress.say(&format!("warning: step {step}: {message}")),
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
    };
    let found = match options.accept_changed_data {
        true => experiment.train_on_changed_data(method, directory, &adjusted, on_event)?,
        false => experiment.train_adjusted(method, directory, &adjusted, on_event)?,
    };
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
    if (1..options.steps).contains(&progress.step()) {
        let why = match options.plan.stop_at_equilibrium {
            true => "",
            false => ", because the last evaluations were no better than the best one before",
        };
        let (name, step) = (label(method.name()), progress.step());
        progress.say(&format!("{name}: stopped early at step {step}{why}"));
    }
    Ok(found)
}
