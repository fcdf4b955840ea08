//! `engraft adapt`: a classifier for a target whose images have no labels.

use super::data_source::{self, ensure_labels, of_shape};
use super::options::Adapt;
use super::transfer::inversion;
use super::{pair_grid, parallel, result_cache};
use anyhow::{Context, ensure};
use engraft_base::argmax;
use engraft_data::Dataset;
use engraft_gan::dataset_tensor;
use engraft_layers::{Mode, Module, StateDict};
use engraft_metrics::{IMAGE, SeedSummary};
use engraft_tensor::no_grad;
use engraft_transfer::adapt::{
    AdaptationConfig, AdaptationEvaluation, AdaptationMethod, AdaptationResult, Domains, PixelStatsGap,
    Severity, adapt,
};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// The data of both domains.
struct Data {
    source: Dataset,
    source_test: Dataset,
    target: Dataset,
    target_test: Option<Dataset>,
    /// Names of the target's pictures, of a folder.
    files: Vec<PathBuf>,
    /// All that decides the results beside the settings.
    fingerprints: serde_json::Value,
}

/// A method with a seed: what is printed of it, and kept.
#[derive(Serialize, Deserialize)]
struct Cell {
    method: AdaptationMethod,
    seed: u64,
    /// Accuracy on the target's test images of the checkpoint chosen without labels.
    accuracy: Option<f64>,
    /// The same on the target's training images that were not chosen.
    unused: Option<f64>,
    last: Option<f64>,
    oracle: Option<f64>,
    chosen_step: u64,
    looks: Vec<AdaptationEvaluation>,
}

/// A method over all seeds.
#[derive(Serialize)]
struct Row {
    method: AdaptationMethod,
    accuracy: Option<SeedSummary>,
    unused: Option<SeedSummary>,
    last: Option<SeedSummary>,
    oracle: Option<SeedSummary>,
    /// Mean of the validator of the chosen checkpoints.
    validator: f64,
}

pub(super) fn run(options: &Adapt) -> anyhow::Result<()> {
    let data = both_domains(options)?;
    check(options, &data)?;
    ensure!(
        data.files.is_empty() || options.out.is_some(),
        "--target-data {}: its pictures have no labels to count errors by; name a directory by --out, where the class of each is written",
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
        None => eprintln!("the target has no labels: no row target-supervised, and no accuracy"),
    }
    if let Some(out) = &options.out {
        fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    }
    let pieces: Vec<(AdaptationMethod, u64)> = methods
        .iter()
        .flat_map(|&method| options.seeds.iter().map(move |seed| (method, seed)))
        .collect();
    if let Some(out) = &options.out {
        for &(method, seed) in &pieces {
            let path = out.join(format!("{method}-{seed}.json"));
            result_cache::ensure_free(&path, &settings(options, &data, seed))?;
        }
    }
    let cells = parallel::each(&pieces, options.threads, |&(method, seed)| {
        cell(options, &data, method, seed).with_context(|| format!("{method}, seed {seed}"))
    })?;
    let rows: Vec<Row> = methods
        .iter()
        .map(|&method| row(options, method, &cells))
        .collect();
    if options.json {
        let line = serde_json::json!({ "rows": rows, "cells": cells, "protocol": protocol(options, &data) });
        println!("{line}");
    } else {
        print!("{}", table(options, &rows, &data));
    }
    for &(method, seed) in &pieces {
        if let Some(sheet) = sheet(options, method, seed) {
            let line = format!(
                "{}: pairs of {method}, source above target, same noise",
                sheet.display()
            );
            // The line of JSON stands alone.
            if options.json {
                eprintln!("{line}");
            } else {
                println!("{line}");
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
        "--target-data {}: it is the source; expected another data set",
        options.target_data
    );
    let mut from = of_shape(IMAGE);
    let source = data_source::open("source-data", &options.source_data, &from)?;
    ensure_labels(
        "source-data",
        &options.source_data,
        &source.train,
        "which a classifier learns from",
    )?;
    let source_test = source.test.with_context(|| {
        format!(
            "--source-data {}: none of its images are held out; give more images",
            options.source_data
        )
    })?;
    let mut target = data_source::open("target-data", &options.target_data, &from)?;
    match (target.train.classes(), &target.test) {
        (1.., Some(_)) => target.files = Vec::new(),
        (_, None) => {}
        (0, Some(_)) => {
            // Nothing can be tested without labels, so every image is there to learn from and to be read.
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

/// Refuses domains that were prepared differently.
fn check(options: &Adapt, data: &Data) -> anyhow::Result<()> {
    let gap = PixelStatsGap::between(&data.source, &data.target);
    eprintln!("source and target: {gap}");
    let mut refusals = Vec::new();
    for (severity, problem) in gap.problems() {
        if severity == Severity::Refusal && !options.allow_domain_mismatch {
            refusals.push(problem);
        } else {
            eprintln!("warning: {problem}");
        }
    }
    if gap.is_inverted() && !options.allow_domain_mismatch {
        refusals.push(inversion(options.invert).into());
    }
    ensure!(
        refusals.is_empty(),
        "source and target look differently prepared, and a classifier would learn that: {}; --allow-domain-mismatch goes on \
         all the same",
        refusals.join("; ")
    );
    Ok(())
}

/// Steps between two checkpoints.
fn every(options: &Adapt) -> u64 {
    options.steps.div_ceil(10)
}

/// Where the pairs of a method that draws them are shown.
fn sheet(options: &Adapt, method: AdaptationMethod, seed: u64) -> Option<PathBuf> {
    let out = options
        .out
        .as_ref()
        .filter(|_| method == AdaptationMethod::Cogan)?;
    Some(out.join(format!("pairs-{method}-seed-{seed}.png")))
}

/// What decides the result of a seed.
fn settings(options: &Adapt, data: &Data, seed: u64) -> serde_json::Value {
    let mut settings = protocol(options, data);
    settings["seeds"] = serde_json::json!([seed]);
    settings["files"] = serde_json::json!(data.files);
    settings
}

fn cell(options: &Adapt, data: &Data, method: AdaptationMethod, seed: u64) -> anyhow::Result<Cell> {
    let [source, target] = [&data.source, &data.target].map(|all| options.protocol.select(all, seed));
    let domains = Domains {
        source: &source,
        target: &target,
        source_test: &data.source_test,
        target_test: data.target_test.as_ref(),
    };
    let at = |out: &Path, kind: &str| out.join(format!("{method}-{seed}.{kind}"));
    let settings = settings(options, data, seed);
    if let Some(out) = &options.out
        && let Some(cell) = result_cache::read::<Cell>(&at(out, "json"), &settings)
        && at(out, "safetensors").exists()
        && (data.files.is_empty() || at(out, "csv").exists())
        && sheet(options, method, seed).is_none_or(|sheet| sheet.exists())
    {
        eprintln!("{method} seed {seed}: kept from {}", at(out, "json").display());
        return Ok(cell);
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
        eprintln!(
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
    let cell = Cell {
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
    // Last, so that a cell that was interrupted is made again.
    if let Some(out) = &options.out {
        result_cache::write(&at(out, "json"), &settings, &cell)?;
    }
    Ok(cell)
}

/// The classifier, the pairs, and of a folder what it reads.
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
        .save(out.join(format!("{method}-{seed}.safetensors")))?;
    if let (Some(sheet), Some(drawn)) = (sheet(options, method, seed), &found.pairs) {
        fs::write(&sheet, pair_grid::sheet(drawn))
            .with_context(|| format!("cannot write {}", sheet.display()))?;
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
    let path = out.join(format!("{method}-{seed}.csv"));
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn row(options: &Adapt, method: AdaptationMethod, cells: &[Cell]) -> Row {
    let of = |value: fn(&Cell) -> Option<f64>| {
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
    Row {
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

fn table(options: &Adapt, rows: &[Row], data: &Data) -> String {
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
        "{size} protocol: {} labelled images of {}, {} unlabelled of {}, {}; {} steps of {} of each; mean ± standard \
         deviation over {} seed(s); of the checkpoints of every {} steps the one with the best {by}, which needs no label of the target; \
         controls: the last; unused images: the target's training images that were not chosen; oracle: the best by the test \
         labels, no result",
        images(&data.source),
        data.source.name(),
        images(&data.target),
        data.target.name(),
        data.target_test
            .as_ref()
            .map_or("no test images".into(), |test| format!(
                "{} test images that took no part",
                test.len()
            )),
        options.steps,
        options.batch,
        options.seeds.len(),
        every(options)
    );
    text
}
