//! `cargo xtask conformance DIR`: compares the public API with reference values of PyTorch.
//!
//! The directory has `index.json` and safetensors files in PyTorch's layouts. Nothing is skipped: an unknown case, setting or
//! tensor is a failure.

mod adam;
mod case;
mod dcgan;
mod index;
mod layers;
mod losses;
#[cfg(test)]
mod tests;

use anyhow::{Context, ensure};
use case::{Case, Score};
use engraft_base::read_bounded;
use engraft_tensor::Real;
use index::{Entry, Index, Tolerance};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// Largest `index.json`.
const MAX_INDEX_BYTES: u64 = 64 << 20;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Directory with index.json and the files that it lists
    dir: PathBuf,
    /// Run only cases whose name contains this text
    #[arg(long, default_value = "")]
    only: String,
}

/// Results of the cases of a directory.
#[derive(Default)]
struct Report {
    passed: usize,
    failed: Vec<String>,
    /// Worst comparison of each operation and precision, with its case.
    groups: BTreeMap<(String, &'static str), (String, Score)>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    // A panic of the library is reported in the line of the case; the default message would repeat it.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let report = check_directory(&args.dir, &args.only);
    std::panic::set_hook(hook);
    let report = report?;
    out!("\nlargest error of each group (error, tolerance, case and tensor):");
    for ((op, precision), (case, score)) in &report.groups {
        out!("  {op:<22} {precision}  {score} in {case}");
    }
    out!("{} passed, {} failed", report.passed, report.failed.len());
    for name in &report.failed {
        out!("  failed: {name}");
    }
    let cases = report.passed + report.failed.len();
    ensure!(
        report.failed.is_empty(),
        "{} of {cases} cases failed",
        report.failed.len()
    );
    Ok(())
}

/// Runs the cases of a directory and prints a line for each one and each precision.
fn check_directory(dir: &Path, only: &str) -> anyhow::Result<Report> {
    let path = dir.join("index.json");
    let bytes = read_bounded(&path, MAX_INDEX_BYTES)?;
    let index: Index = serde_json::from_slice(&bytes)
        .with_context(|| format!("{}: not an index of cases", path.display()))?;
    out!("reference values of PyTorch {}", index.torch.escape_debug());
    let mut report = Report::default();
    for file in unnamed_files(dir, &index)? {
        report.fail(&file, "-", &anyhow::anyhow!("the index does not list this file"));
    }
    let mut ran = 0;
    for entry in index.cases.iter().filter(|c| c.name.contains(only)) {
        if entry.files.is_empty() {
            report.fail(&entry.name, "-", &anyhow::anyhow!("the case has no file"));
        }
        for (precision, file) in &entry.files {
            ran += 1;
            match precision.as_str() {
                "f32" => report.add::<f32>(dir, entry, file, &index.tolerance),
                "f64" => report.add::<f64>(dir, entry, file, &index.tolerance),
                other => report.fail(&entry.name, "-", &anyhow::anyhow!("unknown precision {other:?}")),
            }
        }
    }
    anyhow::ensure!(
        ran > 0,
        "{}: no case has a name that contains {only:?}",
        path.display()
    );
    Ok(report)
}

/// Files of tensors that the index does not list.
fn unnamed_files(dir: &Path, index: &Index) -> anyhow::Result<Vec<String>> {
    let named: BTreeSet<&str> = index
        .cases
        .iter()
        .flat_map(|c| c.files.values())
        .map(String::as_str)
        .collect();
    let mut unnamed = Vec::new();
    for entry in std::fs::read_dir(dir).with_context(|| format!("{}: cannot be listed", dir.display()))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".safetensors") && !named.contains(name.as_str()) {
            unnamed.push(name);
        }
    }
    unnamed.sort();
    Ok(unnamed)
}

impl Report {
    fn add<T: Real>(&mut self, dir: &Path, entry: &Entry, file: &str, tolerance: &Tolerance) {
        // A damaged file may ask for shapes that the library refuses by a panic.
        let outcome = catch_unwind(AssertUnwindSafe(|| check_case::<T>(dir, entry, file, tolerance)));
        let outcome = outcome.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Err(anyhow::anyhow!("panic: {}", text.unwrap_or("without a message")))
        });
        match outcome {
            Err(error) => self.fail(&entry.name, T::NAME, &error),
            Ok(score) => {
                let passed = score.passes();
                out!(
                    "{} {:<34} {}  {score}",
                    if passed { "ok  " } else { "FAIL" },
                    entry.name,
                    T::NAME
                );
                if passed {
                    self.passed += 1;
                } else {
                    self.failed.push(format!("{} {}", entry.name, T::NAME));
                }
                let group = (entry.op.clone(), T::NAME);
                let worst = self
                    .groups
                    .entry(group)
                    .or_insert_with(|| (entry.name.clone(), score.clone()));
                if score.is_worse_than(&worst.1) {
                    *worst = (entry.name.clone(), score);
                }
            }
        }
    }

    fn fail(&mut self, name: &str, precision: &str, error: &anyhow::Error) {
        out!("FAIL {:<34} {precision}  {error:#}", name.escape_debug());
        self.failed.push(format!("{} {precision}", name.escape_debug()));
    }
}

/// Runs one case in one precision; the worst of its comparisons.
fn check_case<T: Real>(
    dir: &Path,
    entry: &Entry,
    file: &str,
    tolerance: &Tolerance,
) -> anyhow::Result<Score> {
    let mut case = Case::<T>::open(dir, entry, file, tolerance)?;
    match entry.op.as_str() {
        "conv2d" => layers::conv2d(&mut case)?,
        "conv_transpose2d" => layers::conv_transpose2d(&mut case)?,
        "batch_norm" => layers::batch_norm(&mut case)?,
        "linear" => layers::linear(&mut case)?,
        "leaky_relu" | "relu" | "tanh" | "sigmoid" | "softplus" => layers::activation(&mut case, &entry.op)?,
        "bce" | "bce_with_logits" | "mse" => losses::elementwise(&mut case, &entry.op)?,
        "softmax_cross_entropy" => losses::softmax_cross_entropy(&mut case)?,
        "adam" => adam::adam(&mut case)?,
        "dcgan" => dcgan::dcgan(&mut case, tolerance)?,
        other => anyhow::bail!("operation {other:?} is not known"),
    }
    case.finish()
}
