//! `engraft adapt`: a classifier for a target whose images have no labels.

use super::adapt_options::{Adaptation, By, Size};
use super::transfer::inversion;
use super::{kept, pairs, workers};
use anyhow::{Context, bail, ensure};
use clap::Args;
use engraft_data::{Dataset, DatasetName, LoadOptions, Split, load, load_folder};
use engraft_layers::{Mode, Module, StateDict};
use engraft_metrics::Spread;
use engraft_tensor::{Tensor, no_grad};
use engraft_transfer::adapt::{
    AdaptConfig, Adapted, DomainGap, Domains, Measured, Method, Protocol, Severity, Validator, adapt,
};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Learn a classifier for a target domain without labels, from a source domain with labels.
///
/// The rows source-only, target-statistics and, where the target has labels, target-supervised are always there. The
/// checkpoint that is reported is chosen without a label of the target; beside it stand the last one and, marked as
/// oracle, the best by the test labels.
#[derive(Args)]
pub struct Adapt {
    /// Data set of the source: a name
    #[arg(long, value_name = "NAME")]
    source: String,

    /// Data set of the target: a name, or a folder of pictures without labels
    #[arg(long, value_name = "NAME|DIR")]
    target: String,

    /// Methods
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "mcd",
        value_name = "METHOD,.."
    )]
    method: Vec<Adaptation>,

    /// How many images of each domain: 2000 (of USPS 1800), or all
    #[arg(long, value_enum, default_value = "small")]
    protocol: Size,

    /// Number of seeds: of the choice of images, of weights, order and noise
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: u64,

    /// Training steps
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u64).range(1..))]
    steps: u64,

    /// Images of each domain in a step
    #[arg(long, value_name = "N", default_value_t = 64)]
    batch: usize,

    /// By what the checkpoint is chosen, without labels of the target
    #[arg(long, value_enum, default_value = "information")]
    validator: By,

    /// Directory for the results and classifiers of every method and seed, for the classes that they read in a folder, and
    /// for sheets of pairs; the same command again takes what is there
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Turn the target's shades round first
    #[arg(long)]
    invert: bool,

    /// Go on although the images of the two domains look differently prepared
    #[arg(long)]
    mismatch_is_meant: bool,

    /// Methods and seeds that run at a time; the result does not depend on it [default: one for each core]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,

    /// Print one line of JSON instead of the table
    #[arg(long)]
    json: bool,
}

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
    method: Method,
    seed: u64,
    /// Accuracy on the target's test images of the checkpoint chosen without labels.
    accuracy: Option<f64>,
    /// The same on the target's training images that were not chosen.
    unused: Option<f64>,
    last: Option<f64>,
    oracle: Option<f64>,
    chosen_step: u64,
    looks: Vec<Measured>,
}

/// A method over all seeds.
#[derive(Serialize)]
struct Row {
    method: Method,
    accuracy: Option<Spread>,
    unused: Option<Spread>,
    last: Option<Spread>,
    oracle: Option<Spread>,
    /// Mean of the validator of the chosen checkpoints.
    validator: f64,
}

impl Adapt {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let data = self.load()?;
        self.check(&data)?;
        ensure!(
            data.files.is_empty() || self.out.is_some(),
            "--target {}: its pictures have no labels to count errors by; name a directory by --out, where the class of each is written",
            self.target
        );
        let mut methods = vec![Method::SourceOnly, Method::TargetStatistics];
        for method in &self.method {
            let method = Method::from(*method);
            if !methods.contains(&method) {
                methods.push(method);
            }
        }
        match data.target_test {
            Some(_) => methods.push(Method::TargetSupervised),
            None => eprintln!("the target has no labels: no row target-supervised, and no accuracy"),
        }
        if let Some(out) = &self.out {
            fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
        }
        let pieces: Vec<(Method, u64)> = methods
            .iter()
            .flat_map(|&method| (1..=self.seeds).map(move |seed| (method, seed)))
            .collect();
        if let Some(out) = &self.out {
            for &(method, seed) in &pieces {
                let path = out.join(format!("{method}-{seed}.json"));
                kept::ensure_free(&path, &self.settings(&data, seed))?;
            }
        }
        let cells = workers::each(&pieces, self.threads, |&(method, seed)| {
            self.cell(&data, method, seed)
                .with_context(|| format!("{method}, seed {seed}"))
        })?;
        let rows: Vec<Row> = methods.iter().map(|&method| self.row(method, &cells)).collect();
        if self.json {
            let line = serde_json::json!({ "rows": rows, "cells": cells, "protocol": self.protocol(&data) });
            println!("{line}");
        } else {
            print!("{}", self.table(&rows, &data));
        }
        for &(method, seed) in &pieces {
            if let Some(sheet) = self.sheet(method, seed) {
                let line = format!(
                    "{}: pairs of {method}, source above target, same noise",
                    sheet.display()
                );
                // The line of JSON stands alone.
                if self.json {
                    eprintln!("{line}");
                } else {
                    println!("{line}");
                }
            }
        }
        Ok(())
    }

    fn load(&self) -> anyhow::Result<Data> {
        let mut data = self.read()?;
        if self.invert {
            data.target = data.target.inverted();
            data.target_test = data.target_test.map(|test| test.inverted());
        }
        let test = data.target_test.as_ref();
        let sets = [&data.source, &data.source_test, &data.target]
            .into_iter()
            .chain(test);
        let sets = sets.map(kept::fingerprint).collect::<anyhow::Result<Vec<_>>>()?;
        data.fingerprints = serde_json::json!(sets);
        Ok(data)
    }

    fn read(&self) -> anyhow::Result<Data> {
        let options = LoadOptions::new().notify(|line| eprintln!("{line}"));
        let known = |name: &str| name.parse::<DatasetName>();
        let source = known(&self.source).with_context(|| {
            "--source: a folder of pictures has no labels, and the source needs them".to_string()
        })?;
        let read = |name, split| -> anyhow::Result<Dataset> {
            let data = load(name, split, &options)?;
            Ok(data.resized(28, 28))
        };
        let [source, source_test] = [Split::Train, Split::Test].map(|split| read(source, split));
        let (source, source_test) = (source?, source_test?);
        if let Ok(target) = known(&self.target) {
            ensure!(
                self.target != self.source,
                "--target {}: it is the source; expected another data set",
                self.target
            );
            return Ok(Data {
                source,
                source_test,
                target: read(target, Split::Train)?,
                target_test: Some(read(target, Split::Test)?),
                files: Vec::new(),
                fingerprints: serde_json::Value::Null,
            });
        }
        if !Path::new(&self.target).is_dir() {
            bail!(
                "--target {}: neither a directory nor one of {}",
                self.target,
                DatasetName::ALL.map(DatasetName::as_str).join(", ")
            );
        }
        let folder = load_folder(&self.target, source.image_size())?;
        for report in &folder.reports {
            eprintln!("{report}");
        }
        Ok(Data {
            source,
            source_test,
            target: folder.data,
            target_test: None,
            files: folder.files,
            fingerprints: serde_json::Value::Null,
        })
    }

    /// Refuses domains that were prepared differently.
    fn check(&self, data: &Data) -> anyhow::Result<()> {
        let gap = DomainGap::between(&data.source, &data.target);
        eprintln!("source and target: {gap}");
        let mut refusals = Vec::new();
        for (severity, problem) in gap.problems() {
            if severity == Severity::Refusal && !self.mismatch_is_meant {
                refusals.push(problem);
            } else {
                eprintln!("warning: {problem}");
            }
        }
        if gap.is_inverted() && !self.mismatch_is_meant {
            refusals.push(inversion(self.invert).into());
        }
        ensure!(
            refusals.is_empty(),
            "source and target look differently prepared, and a classifier would learn that: {}; --mismatch-is-meant goes on \
             all the same",
            refusals.join("; ")
        );
        Ok(())
    }

    fn size(&self) -> Protocol {
        match self.protocol {
            Size::Small => Protocol::Small,
            Size::Full => Protocol::Full,
        }
    }

    /// Steps between two checkpoints.
    fn every(&self) -> u64 {
        self.steps.div_ceil(10)
    }

    /// Where the pairs of a method that draws them are shown.
    fn sheet(&self, method: Method, seed: u64) -> Option<PathBuf> {
        let out = self.out.as_ref().filter(|_| method == Method::Cogan)?;
        Some(out.join(format!("pairs-{method}-seed-{seed}.png")))
    }

    /// What decides the result of a seed.
    fn settings(&self, data: &Data, seed: u64) -> serde_json::Value {
        let mut settings = self.protocol(data);
        settings["seeds"] = serde_json::json!([seed]);
        settings["files"] = serde_json::json!(data.files);
        settings
    }

    fn cell(&self, data: &Data, method: Method, seed: u64) -> anyhow::Result<Cell> {
        let [source, target] = [&data.source, &data.target].map(|all| self.size().choose(all, seed));
        let domains = Domains {
            source: &source,
            target: &target,
            source_test: &data.source_test,
            target_test: data.target_test.as_ref(),
        };
        let at = |out: &Path, kind: &str| out.join(format!("{method}-{seed}.{kind}"));
        let settings = self.settings(data, seed);
        if let Some(out) = &self.out
            && let Some(cell) = kept::read::<Cell>(&at(out, "json"), &settings)
            && at(out, "safetensors").exists()
            && (data.files.is_empty() || at(out, "csv").exists())
            && self.sheet(method, seed).is_none_or(|sheet| sheet.exists())
        {
            eprintln!("{method} seed {seed}: kept from {}", at(out, "json").display());
            return Ok(cell);
        }
        let config = AdaptConfig {
            steps: self.steps,
            batch: self.batch,
            measure_every: self.every(),
            validator: self.validator.into(),
            seed,
            ..AdaptConfig::new(method)
        };
        let percent =
            |accuracy: Option<f64>| accuracy.map_or(String::new(), |a| format!(", test {:.2} %", 100.0 * a));
        let found = adapt(&domains, &config, &mut |look| {
            eprintln!(
                "{method} seed {seed} step {}/{}: loss {:.3}, information {:.3}, source {:.2} %{}",
                look.step,
                self.steps,
                look.loss,
                look.validators.information,
                100.0 * look.validators.source,
                percent(look.accuracy)
            );
        })?;
        if let Some(out) = &self.out {
            self.save(out, &found, data, method, seed)?;
        }
        let cell = Cell {
            method,
            seed,
            accuracy: found.accuracy(),
            unused: data
                .target_test
                .as_ref()
                .and_then(|_| self.size().rest(&data.target, seed))
                .map(|rest| found.accuracy_on(&rest)),
            last: found.last(),
            oracle: found.oracle(),
            chosen_step: found.measured[found.chosen].step,
            looks: found.measured,
        };
        // Last, so that a cell that was interrupted is made again.
        if let Some(out) = &self.out {
            kept::write(&at(out, "json"), &settings, &cell)?;
        }
        Ok(cell)
    }

    /// The classifier, the pairs, and of a folder what it reads.
    fn save(
        &self,
        out: &Path,
        found: &Adapted,
        data: &Data,
        method: Method,
        seed: u64,
    ) -> anyhow::Result<()> {
        StateDict::of(&found.model)
            .with_metadata("method", method.as_str())
            .with_metadata("source", self.source.as_str())
            .with_metadata("target", self.target.as_str())
            .with_metadata("seed", seed.to_string())
            .save(out.join(format!("{method}-{seed}.safetensors")))?;
        if let (Some(sheet), Some(drawn)) = (self.sheet(method, seed), &found.pairs) {
            fs::write(&sheet, pairs::sheet(drawn))
                .with_context(|| format!("cannot write {}", sheet.display()))?;
        }
        if data.files.is_empty() {
            return Ok(());
        }
        let mut text = String::from("file,class,probability\n");
        for (i, file) in data.files.iter().enumerate() {
            let [height, width, channels] = data.target.image_size();
            let image = Tensor::from_vec([1, height, width, channels], data.target.batch_f32(&[i]));
            let p = no_grad(|| found.model.forward(&image, Mode::Eval).softmax(1));
            let (class, p) = p
                .as_slice()
                .iter()
                .enumerate()
                .max_by(|a, b| a.1.total_cmp(b.1))
                .context("a classifier without classes")?;
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            writeln!(text, "\"{}\",{class},{p:.4}", name.replace('"', "\"\""))?;
        }
        let path = out.join(format!("{method}-{seed}.csv"));
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    fn row(&self, method: Method, cells: &[Cell]) -> Row {
        let of = |value: fn(&Cell) -> Option<f64>| {
            let cells = cells.iter().filter(|cell| cell.method == method);
            Spread::of(&cells.filter_map(value).collect::<Vec<f64>>())
        };
        let by = Validator::from(self.validator);
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
            validator: Spread::of(&scores).map_or(f64::NAN, |spread| spread.mean),
        }
    }

    fn protocol(&self, data: &Data) -> serde_json::Value {
        let size = self.size();
        let images = |d: &Dataset| d.len().min(size.count(d.name()));
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
            "steps": self.steps,
            "batch": self.batch,
            "measured_every": self.every(),
            "validator": Validator::from(self.validator).as_str(),
            "seeds": self.seeds,
        })
    }

    fn table(&self, rows: &[Row], data: &Data) -> String {
        let mut text = String::new();
        let by = Validator::from(self.validator);
        let _ = writeln!(
            text,
            "| method | test accuracy, % | median | unused images | last checkpoint | oracle | {by} |"
        );
        let _ = writeln!(text, "|---|---|---|---|---|---|---|");
        let show = |spread: Option<Spread>| spread.map_or("-".into(), |s| s.scaled(100.0).to_string());
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
        let size = self.size();
        let images = |d: &Dataset| d.len().min(size.count(d.name()));
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
            self.steps,
            self.batch,
            self.seeds,
            self.every()
        );
        text
    }
}
