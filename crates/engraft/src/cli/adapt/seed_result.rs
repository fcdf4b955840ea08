//! The training of a method with one seed, and its files.

use super::super::options::Adapt;
use super::super::process::{Interrupted, stop_or_continue};
use super::super::{pair_grid, result_cache};
use super::domains::Data;
use super::protocol::{every, settings};
use anyhow::Context;
use engraft_base::{argmax, write_atomically};
use engraft_gan::dataset_tensor;
use engraft_layers::{Mode, Module, StateDict};
use engraft_tensor::no_grad;
use engraft_transfer::adapt::{
    AdaptationConfig, AdaptationEvaluation, AdaptationMethod, AdaptationResult, Domains, Validator, adapt,
};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Result of a method with one seed, as it is cached.
#[derive(Serialize, Deserialize)]
pub(in crate::cli) struct SeedResult {
    pub(super) method: AdaptationMethod,
    seed: u64,
    /// Test accuracy on the target, of the selected checkpoint.
    pub(super) accuracy: Option<f64>,
    /// Accuracy on the target's training images that are not part of the subset.
    pub(super) unused: Option<f64>,
    pub(super) last: Option<f64>,
    pub(super) oracle: Option<f64>,
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

    /// The score of the selected checkpoint by a validator; higher is better.
    pub(in crate::cli) fn score(&self, by: Validator) -> Option<f64> {
        let chosen = self.looks.iter().find(|look| look.step == self.chosen_step);
        chosen.map(|look| look.validators.score(by))
    }
}

/// Trains a method with a seed, or takes its kept result.
///
/// # Errors
/// If the training diverges or a file cannot be written. [`Interrupted`] after a signal, before a training begins.
pub(in crate::cli) fn cell(
    options: &Adapt,
    data: &Data,
    method: AdaptationMethod,
    seed: u64,
    on_evaluation: &mut dyn FnMut(&AdaptationEvaluation),
) -> anyhow::Result<SeedResult> {
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
        learning_rate_factor: match method.is_baseline() {
            true => 1.0,
            false => options.learning_rate_factor,
        },
        ..AdaptationConfig::new(method)
    };
    let found = adapt(&domains, &config, on_evaluation)?;
    if let Some(out) = &options.out {
        fs::create_dir_all(out).with_context(|| out.display().to_string())?;
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

/// Checks that the directory has no result of a training, or a plausible one of the same settings.
///
/// # Errors
/// If it has another one, or a damaged one.
pub(in crate::cli) fn ensure_free(
    options: &Adapt,
    data: &Data,
    method: AdaptationMethod,
    seed: u64,
) -> anyhow::Result<()> {
    let Some(out) = &options.out else { return Ok(()) };
    let path = file_of(out, method, seed, "json");
    result_cache::ensure_free(&path, &settings(options, data, seed), SeedResult::problem)
}

/// A file of a training.
fn file_of(out: &Path, method: AdaptationMethod, seed: u64, kind: &str) -> PathBuf {
    out.join(format!("{method}-{seed}.{kind}"))
}

/// The cached result of a training and its file, if all its files are there.
pub(super) fn reusable(
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
    let state = StateDict::of(&found.classifier)
        .with_metadata("method", method.as_str())
        .with_metadata("source", options.source_data.as_str())
        .with_metadata("target", options.target_data.as_str())
        .with_metadata("seed", seed.to_string());
    // Whoever uses the classifier must prepare images in the same way.
    let state = match options.even_frames {
        true => state.with_metadata("even_frames", "true"),
        false => state,
    };
    state.save(file_of(out, method, seed, "safetensors"))?;
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

/// The file of the image pairs of a method that generates them.
pub(super) fn grid_path(options: &Adapt, method: AdaptationMethod, seed: u64) -> Option<PathBuf> {
    let out = options
        .out
        .as_ref()
        .filter(|_| method == AdaptationMethod::Cogan)?;
    Some(out.join(format!("pairs-{method}-seed-{seed}.png")))
}
