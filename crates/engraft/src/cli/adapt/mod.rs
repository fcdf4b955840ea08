//! `engraft adapt`: unsupervised domain adaptation of a classifier.

mod domains;
mod protocol;
mod seed_result;
mod table;

use super::advice::on_run;
use super::options::Adapt;
use super::output_dir::ensure_usable;
use super::process::{Interrupted, catch_interrupts};
use super::ranks::Ranks;
use super::spread;
use anyhow::{Context, ensure};
use engraft_gan::checkpoint::RunLock;
use engraft_transfer::adapt::{AdaptationEvaluation, AdaptationMethod};
use protocol::protocol;
use seed_result::{grid_path, reusable};
use table::{MethodSummary, row, table};

pub(super) use domains::Data;
pub(super) use protocol::settings;
pub(super) use seed_result::{cell, ensure_free};

pub(super) fn run(options: &Adapt) -> anyhow::Result<()> {
    run_on(options, None)
}

/// [`run`] on the ranks of a distributed run, among which the trainings are divided. Each of them calls this.
pub(super) fn run_on(options: &Adapt, ranks: Option<&Ranks>) -> anyhow::Result<()> {
    if let Some(out) = &options.out {
        ensure_usable(Some(out))?;
    }
    let data = Data::read(options)?.prepared(options)?;
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
    if options.out.is_some() {
        for &(method, seed) in &jobs {
            ensure_free(options, &data, method, seed)?;
        }
        catch_interrupts("finishing and saving the trainings that have begun; no other training begins")?;
    }
    let is_done =
        |&(method, seed): &(AdaptationMethod, u64)| reusable(options, &data, method, seed).is_some();
    let cells = spread::each(ranks, &jobs, options.threads, is_done, |&(method, seed)| {
        let mut show = |look: &AdaptationEvaluation| note!("{}", look_line(options, method, seed, look));
        cell(options, &data, method, seed, &mut show).with_context(|| format!("{method}, seed {seed}"))
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

/// An evaluation during training, for a person.
fn look_line(options: &Adapt, method: AdaptationMethod, seed: u64, look: &AdaptationEvaluation) -> String {
    let accuracy = look
        .accuracy
        .map_or(String::new(), |a| format!(", test {:.2} %", 100.0 * a));
    format!(
        "{method} seed {seed} step {}/{}: loss {:.3}, information {:.3}, source {:.2} %{accuracy}",
        look.step,
        options.steps,
        look.loss,
        look.validators.information,
        100.0 * look.validators.source
    )
}
