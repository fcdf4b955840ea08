//! `engraft adapt`: unsupervised domain adaptation of a classifier.

use super::advice::on_run;
use super::data_source::{self, ensure_labels, of_shape};
use super::options::Adapt;
use super::output_dir::ensure_usable;
use super::process::{Interrupted, catch_interrupts, stop_or_continue};
use super::ranks::Ranks;
use super::transfer::inversion;
use super::{pair_grid, result_cache, spread};
use anyhow::{Context, ensure};
use engraft_base::{argmax, write_atomically};
use engraft_data::Dataset;
use engraft_gan::checkpoint::RunLock;
use engraft_gan::{PictureConfig, dataset_tensor};
use engraft_layers::{Mode, Module, StateDict};
use engraft_metrics::{IMAGE, SeedSummary};
use engraft_tensor::no_grad;
use engraft_transfer::adapt::{
    AdaptationConfig, AdaptationEvaluation, AdaptationMethod, AdaptationResult, Domains, PixelStatsGap,
    Severity, adapt,
};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The data of both domains.
struct Data {
    source: Dataset,
    source_test: Dataset,
    target: Dataset,
    target_test: Option<Dataset>,
    /// File names of the target's images, for a folder.
    files: Vec<PathBuf>,
    /// SHA-256 of the images and labels, which decide the results together with the settings.
    fingerprints: serde_json::Value,
}

/// Result of a method with one seed, as it is cached.
#[derive(Serialize, Deserialize)]
struct SeedResult {
    method: AdaptationMethod,
    seed: u64,
    /// Test accuracy on the target, of the selected checkpoint.
    accuracy: Option<f64>,
    /// Accuracy on the target's training images that are not part of the subset.
    unused: Option<f64>,
    last: Option<f64>,
    oracle: Option<f64>,
    chosen_step: u64,
    looks: Vec<AdaptationEvaluation>,
}

impl SeedResult {
    /// A share that is out of range.
    fn problem(&self) -> Option<String> {
        let shares = [self.accuracy, self.unused, self.last, self.oracle];
        let wrong = shares
            .into_iter()
            .flatten()
            .find(|share| !(0.0..=1.0).contains(share))?;
        Some(format!("an accuracy of {wrong}; expected a share from 0 to 1"))
    }
}

/// Summary of a method over all seeds.
#[derive(Serialize)]
struct MethodSummary {
    method: AdaptationMethod,
    accuracy: Option<SeedSummary>,
    unused: Option<SeedSummary>,
    last: Option<SeedSummary>,
    oracle: Option<SeedSummary>,
    /// Mean of the selection criterion of the selected checkpoints.
    validator: f64,
}

pub(super) fn run(options: &Adapt) -> anyhow::Result<()> {
    run_on(options, None)
}

/// [`run`] on the ranks of a distributed run, among which the trainings are divided. Each of them calls this.
pub(super) fn run_on(options: &Adapt, ranks: Option<&Ranks>) -> anyhow::Result<()> {
    if let Some(out) = &options.out {
        ensure_usable(Some(out))?;
    }
    let data = both_domains(options)?;
    check(options, &data)?;
    ensure!(
        data.files.is_empty() || options.out.is_some(),
        "--target-data {}: the images have no labels, so there is no accuracy; use --out for a directory, where predictions are \
         written",
        options.target_data
    );
    let mut methods = vec![AdaptationMethod::SourceOnly, AdaptationMethod::TargetStatistics];
    for method in &options.method {
        if !methods.contains(method) {
            methods.push(*method);
        }
    }
    match data.target_test {
        Some(_) => methods.push(AdaptationMethod::TargetSupervised),
        None => note!("the target has no labels: no accuracy, and no baseline target-supervised"),
    }
    // Held to the end: two commands would train the same.
    let is_first = ranks.is_none_or(Ranks::is_first);
    let _lock = match &options.out {
        Some(out) if is_first => Some(RunLock::acquire(out).map_err(|error| on_run(error.into()))?),
        _ => None,
    };
    if let Some(ranks) = ranks {
        ranks.ensure_same(&protocol(options, &data), options.out.as_deref())?;
    }
    let jobs: Vec<(AdaptationMethod, u64)> = methods
        .iter()
        .flat_map(|&method| options.seeds.iter().map(move |seed| (method, seed)))
        .collect();
    if let Some(out) = &options.out {
        for &(method, seed) in &jobs {
            let path = file_of(out, method, seed, "json");
            result_cache::ensure_free(&path, &settings(options, &data, seed), SeedResult::problem)?;
        }
        catch_interrupts("finishing and saving the trainings that have begun; no other training begins")?;
    }
    let is_done =
        |&(method, seed): &(AdaptationMethod, u64)| reusable(options, &data, method, seed).is_some();
    let cells = spread::each(ranks, &jobs, options.threads, is_done, |&(method, seed)| {
        cell(options, &data, method, seed).with_context(|| format!("{method}, seed {seed}"))
    });
    let cells = cells.inspect_err(|error| {
        if let (true, Some(out)) = (error.is::<Interrupted>(), &options.out) {
            note!("stopped, saved in {}; the same command resumes", out.display());
        }
    })?;
    let rows: Vec<MethodSummary> = methods
        .iter()
        .map(|&method| row(options, method, &cells))
        .collect();
    if options.json {
        let line = serde_json::json!({ "rows": rows, "cells": cells, "protocol": protocol(options, &data) });
        out!("{line}");
    } else {
        out!("{}", table(options, &rows, &data).trim_end());
    }
    for &(method, seed) in &jobs {
        if let Some(path) = grid_path(options, method, seed) {
            let line = format!(
                "{}: image pairs of {method}, source above target, same noise",
                path.display()
            );
            // Standard output has the line of JSON only.
            if options.json {
                note!("{line}");
            } else {
                out!("{line}");
            }
        }
    }
    Ok(())
}

fn both_domains(options: &Adapt) -> anyhow::Result<Data> {
    let mut data = read(options)?;
    if options.invert {
        data.target = data.target.inverted();
        data.target_test = data.target_test.map(|test| test.inverted());
    }
    let test = data.target_test.as_ref();
    let sets = [&data.source, &data.source_test, &data.target]
        .into_iter()
        .chain(test);
    let sets = sets
        .map(result_cache::fingerprint)
        .collect::<anyhow::Result<Vec<_>>>()?;
    data.fingerprints = serde_json::json!(sets);
    Ok(data)
}

fn read(options: &Adapt) -> anyhow::Result<Data> {
    ensure!(
        options.target_data != options.source_data,
        "--target-data {}: this is the source; expected another data set",
        options.target_data
    );
    let mut from = of_shape(IMAGE);
    options.pictures.apply(PictureConfig::default(), &mut from);
    let source = data_source::open("source-data", &options.source_data, &from)?;
    ensure_labels(
        "source-data",
        &options.source_data,
        &source.train,
        "which the classifier needs",
    )?;
    let source_test = source.test.with_context(|| {
        format!(
            "--source-data {}: there are no held-out images; expected at least 100 images or a test set",
            options.source_data
        )
    })?;
    let mut target = data_source::open("target-data", &options.target_data, &from)?;
    match (target.train.classes(), &target.test) {
        (1.., Some(_)) => target.files = Vec::new(),
        (_, None) => {}
        (0, Some(_)) => {
            // Without labels nothing can be tested, so all images are used for training and prediction.
            from.held_out = false;
            target = data_source::open("target-data", &options.target_data, &from)?;
        }
    }
    Ok(Data {
        source: source.train,
        source_test,
        target: target.train,
        target_test: target.test,
        files: target.files,
        fingerprints: serde_json::Value::Null,
    })
}

/// Refuses domains that are preprocessed differently.
fn check(options: &Adapt, data: &Data) -> anyhow::Result<()> {
    let gap = PixelStatsGap::between(&data.source, &data.target);
    note!("source and target: {gap}");
    let mut refusals = Vec::new();
    for (severity, problem) in gap.problems() {
        if severity == Severity::Refusal && !options.allow_domain_mismatch {
            refusals.push(problem);
        } else {
            note!("warning: {problem}");
        }
    }
    if gap.is_inverted() && !options.allow_domain_mismatch {
        refusals.push(inversion(options.invert).into());
    }
    ensure!(
        refusals.is_empty(),
        "source and target seem to be preprocessed differently: {}; use --allow-domain-mismatch to train anyway",
        refusals.join("; ")
    );
    Ok(())
}

/// Steps between two checkpoints.
fn every(options: &Adapt) -> u64 {
    options.steps.div_ceil(10)
}

/// The file of the image pairs of a method that generates them.
fn grid_path(options: &Adapt, method: AdaptationMethod, seed: u64) -> Option<PathBuf> {
    let out = options
        .out
        .as_ref()
        .filter(|_| method == AdaptationMethod::Cogan)?;
    Some(out.join(format!("pairs-{method}-seed-{seed}.png")))
}

/// The settings that decide the result of a seed.
fn settings(options: &Adapt, data: &Data, seed: u64) -> serde_json::Value {
    let mut settings = protocol(options, data);
    settings["seeds"] = serde_json::json!([seed]);
    // A name need not be UTF-8.
    settings["files"] = data.files.iter().map(|file| file.to_string_lossy()).collect();
    settings
}

fn cell(options: &Adapt, data: &Data, method: AdaptationMethod, seed: u64) -> anyhow::Result<SeedResult> {
    let [source, target] = [&data.source, &data.target].map(|all| options.protocol.select(all, seed));
    let domains = Domains {
        source: &source,
        target: &target,
        source_test: &data.source_test,
        target_test: data.target_test.as_ref(),
    };
    if let Some((cell, path)) = reusable(options, data, method, seed) {
        note!("{method} seed {seed}: reused from {}", path.display());
        return Ok(cell);
    }
    if stop_or_continue().is_break() {
        return Err(Interrupted.into());
    }
    let config = AdaptationConfig {
        steps: options.steps,
        batch: options.batch,
        eval_every: every(options),
        validator: options.validator,
        seed,
        ..AdaptationConfig::new(method)
    };
    let percent =
        |accuracy: Option<f64>| accuracy.map_or(String::new(), |a| format!(", test {:.2} %", 100.0 * a));
    let found = adapt(&domains, &config, &mut |look| {
        note!(
            "{method} seed {seed} step {}/{}: loss {:.3}, information {:.3}, source {:.2} %{}",
            look.step,
            options.steps,
            look.loss,
            look.validators.information,
            100.0 * look.validators.source,
            percent(look.accuracy)
        );
    })?;
    if let Some(out) = &options.out {
        save(options, out, &found, data, method, seed)?;
    }
    let cell = SeedResult {
        method,
        seed,
        accuracy: found.accuracy(),
        unused: data
            .target_test
            .as_ref()
            .and_then(|_| options.protocol.unselected(&data.target, seed))
            .map(|rest| found.accuracy_on(&rest)),
        last: found.last_accuracy(),
        oracle: found.oracle_accuracy(),
        chosen_step: found.evaluations[found.selected].step,
        looks: found.evaluations,
    };
    // Last, so that an interrupted job is run again.
    if let Some(out) = &options.out {
        let path = file_of(out, method, seed, "json");
        result_cache::write(&path, &settings(options, data, seed), &cell)?;
    }
    Ok(cell)
}

/// A file of a training.
fn file_of(out: &Path, method: AdaptationMethod, seed: u64, kind: &str) -> PathBuf {
    out.join(format!("{method}-{seed}.{kind}"))
}

/// The cached result of a training and its file, if all its files are there.
fn reusable(
    options: &Adapt,
    data: &Data,
    method: AdaptationMethod,
    seed: u64,
) -> Option<(SeedResult, PathBuf)> {
    let out = options.out.as_ref()?;
    let at = |kind: &str| file_of(out, method, seed, kind);
    let cell = result_cache::read(&at("json"), &settings(options, data, seed))?;
    let is_complete = at("safetensors").exists()
        && (data.files.is_empty() || at("csv").exists())
        && grid_path(options, method, seed).is_none_or(|path| path.exists());
    is_complete.then(|| (cell, at("json")))
}

/// Saves the classifier, the image pairs, and the predictions for a folder.
fn save(
    options: &Adapt,
    out: &Path,
    found: &AdaptationResult,
    data: &Data,
    method: AdaptationMethod,
    seed: u64,
) -> anyhow::Result<()> {
    StateDict::of(&found.classifier)
        .with_metadata("method", method.as_str())
        .with_metadata("source", options.source_data.as_str())
        .with_metadata("target", options.target_data.as_str())
        .with_metadata("seed", seed.to_string())
        .save(file_of(out, method, seed, "safetensors"))?;
    if let (Some(path), Some(pairs)) = (grid_path(options, method, seed), &found.pairs) {
        write_atomically(&path, &pair_grid::grid(pairs))?;
    }
    if data.files.is_empty() {
        return Ok(());
    }
    let mut text = String::from("file,class,probability\n");
    for (i, file) in data.files.iter().enumerate() {
        let image = dataset_tensor(&data.target, &[i]);
        let p = no_grad(|| found.classifier.forward(&image, Mode::Eval).softmax(1));
        let class = argmax(p.as_slice());
        let p = p.as_slice()[class];
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        writeln!(text, "\"{}\",{class},{p:.4}", name.replace('"', "\"\""))?;
    }
    let path = file_of(out, method, seed, "csv");
    Ok(write_atomically(&path, text.as_bytes())?)
}

fn row(options: &Adapt, method: AdaptationMethod, cells: &[SeedResult]) -> MethodSummary {
    let of = |value: fn(&SeedResult) -> Option<f64>| {
        let cells = cells.iter().filter(|cell| cell.method == method);
        SeedSummary::of(&cells.filter_map(value).collect::<Vec<f64>>())
    };
    let by = options.validator;
    let scores: Vec<f64> = cells
        .iter()
        .filter(|cell| cell.method == method)
        .filter_map(|cell| cell.looks.iter().find(|look| look.step == cell.chosen_step))
        .map(|look| look.validators.score(by))
        .collect();
    MethodSummary {
        method,
        accuracy: of(|cell| cell.accuracy),
        unused: of(|cell| cell.unused),
        last: of(|cell| cell.last),
        oracle: of(|cell| cell.oracle),
        validator: SeedSummary::of(&scores).map_or(f64::NAN, |spread| spread.mean),
    }
}

fn protocol(options: &Adapt, data: &Data) -> serde_json::Value {
    let size = options.protocol;
    let images = |d: &Dataset| d.len().min(size.max_images(d.name()));
    serde_json::json!({
        "protocol": size.to_string(),
        "source": data.source.name(),
        "sha256": data.fingerprints,
        "source_images": images(&data.source),
        "target": data.target.name(),
        "target_images": images(&data.target),
        "test_images": data.target_test.as_ref().map(Dataset::len),
        "unused_images": data.target_test.as_ref().map(|_| data.target.len() - images(&data.target)),
        "image": data.source.image_size(),
        "network": "LeNet 32-48 with batch norm, classifier 100-100",
        "steps": options.steps,
        "batch": options.batch,
        "measured_every": every(options),
        "validator": options.validator.as_str(),
        "seeds": options.seeds.to_json(),
    })
}

fn table(options: &Adapt, rows: &[MethodSummary], data: &Data) -> String {
    let mut text = String::new();
    let by = options.validator;
    let _ = writeln!(
        text,
        "| method | test accuracy, % | median | unused images | last checkpoint | oracle | {by} |"
    );
    let _ = writeln!(text, "|---|---|---|---|---|---|---|");
    let show = |spread: Option<SeedSummary>| spread.map_or("-".into(), |s| s.scaled(100.0).to_string());
    for row in rows {
        let median = row
            .accuracy
            .map_or("-".into(), |s| format!("{:.2}", 100.0 * s.median));
        let _ = writeln!(
            text,
            "| {} | {} | {median} | {} | {} | {} | {:.3} |",
            row.method,
            show(row.accuracy),
            show(row.unused),
            show(row.last),
            show(row.oracle),
            row.validator
        );
    }
    let size = options.protocol;
    let images = |d: &Dataset| d.len().min(size.max_images(d.name()));
    let _ = writeln!(
        text,
        "{size} protocol: {} labeled images of {}, {} unlabeled images of {}, {}; {} steps of {} images of each domain; mean ± \
         standard deviation over {} seed(s). The checkpoint has the best {by} of those every {} steps, without target labels; \
         baselines use the last one. Unused images: training images of the target outside the subset. Oracle: best test accuracy \
         of all checkpoints, for reference only.",
        images(&data.source),
        data.source.name(),
        images(&data.target),
        data.target.name(),
        data.target_test
            .as_ref()
            .map_or("no test images".into(), |test| format!(
                "{} test images",
                test.len()
            )),
        options.steps,
        options.batch,
        options.seeds.len(),
        every(options)
    );
    text
}
