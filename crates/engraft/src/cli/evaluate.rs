//! `engraft evaluate`: how good generated images are.

use super::classifier::classifier_accuracy;
use super::images::{Fit, LEAST_HELD_OUT, Network, Real, choose, read_data, read_run};
use super::options::Evaluate;
use super::samples::read_samples;
use super::stacked;
use anyhow::{Context, ensure};
use engraft_data::Split;
use engraft_metrics::{ClassCounts, EvaluationInput, Protocol, RealDataInfo, evaluate};

/// Runs the command.
///
/// # Errors
/// If images are missing, damaged or too few, with what to do.
pub(super) fn run(options: &Evaluate) -> anyhow::Result<()> {
    ensure!(
        options.count >= LEAST_HELD_OUT,
        "--count {}: expected at least {LEAST_HELD_OUT}, as some measures need that many images",
        options.count
    );
    if options.data == stacked::NAME {
        ensure!(
            options.features.is_none() && !options.classifier_accuracy,
            "--data {}: its modes are counted by the feature network of mnist; leave out --features and --classifier-accuracy",
            options.data
        );
        let run = options.from.as_deref().with_context(|| {
            format!(
                "--data {}: the modes are counted of a run, given by --from",
                options.data
            )
        })?;
        return stacked::report(run, options.checkpoint, options.count, options.seed, options.json);
    }
    let network = Network::choose(options.features, &options.data);
    // What may be wrong comes before what takes long.
    let named = Real::find(&options.data)?;
    named.ensure_held_out()?;
    let (test, fit_of_real) = named.part(Split::Test)?;
    let (train_images, _) = named.part(Split::Train)?;
    let (generated, fit) = match (&options.from, &options.samples) {
        (Some(run), _) => read_run(&network, run, options.checkpoint, options.count, options.seed)?,
        (None, Some(path)) => read_samples(&network, path, options.count, options.seed)?,
        (None, None) => unreachable!("clap requires one of them"),
    };
    let classifiers = match &options.from {
        Some(run) if options.classifier_accuracy => Some(classifier_accuracy(
            run,
            options.checkpoint,
            [&train_images, &test],
            options.count,
            options.seed,
        )?),
        _ => None,
    };
    let real = choose(test, options.count, options.seed);
    let sha256 = real.sha256();
    let real = read_data(&network, "real (test)", &real)?.features;
    let train = read_data(&network, "real (all of train)", &train_images)?.features;
    let images = RealDataInfo {
        data: &options.data,
        split: "test",
        sha256: &sha256,
    };
    let protocol = Protocol::new(&network, images, Fit::rule(&[fit_of_real, fit]), options.seed);
    let compared = EvaluationInput {
        real: &real,
        train: &train,
        generated: &generated.features,
    };
    let found = evaluate(compared, protocol)?;
    let read = generated.classes.unwrap_or_default();
    let classes = ClassCounts::new(&read, engraft_metrics::CLASSES);
    if options.json {
        let mut json = serde_json::to_value(&found)?;
        json["classes"] = classes.counts().into();
        json["class_divergence"] = classes.divergence_from_uniform().into();
        if let Some(found) = &classifiers {
            json["classifier_accuracy"] = serde_json::to_value(found)?;
        }
        println!("{json}");
    } else {
        println!("{found}");
        let shares = classes.counts().iter().enumerate();
        let shares: Vec<String> = shares
            .map(|(class, &count)| format!("{class}: {:.1} %", 100.0 * count as f64 / read.len() as f64))
            .collect();
        println!(
            "classes, as the feature network reads them: {}",
            shares.join("  ")
        );
        if let Some(found) = &classifiers {
            println!("{found}");
        }
    }
    Ok(())
}
