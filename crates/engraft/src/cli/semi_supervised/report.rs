//! Output of `engraft semi-supervised`: test errors and the protocol.

use super::jobs::{MethodResults, RunResult, percent};
use engraft_metrics::SeedSummary;
use serde_json::{Value, json};
use std::fmt;
use std::path::PathBuf;

/// Results and the protocol.
pub(super) struct Report {
    pub(super) rows: Vec<MethodResults>,
    pub(super) protocol: Value,
    /// Number of test images.
    pub(super) test: usize,
    /// Directory of the label subsets.
    pub(super) out: PathBuf,
}

impl Report {
    /// Test errors in percent, one for each seed.
    fn errors(&self, row: &MethodResults) -> Vec<f64> {
        row.runs
            .iter()
            .map(|run| percent(run.wrong(), self.test))
            .collect()
    }

    pub(super) fn json(&self) -> Value {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                let errors = self.errors(row);
                let spread = spread(&errors);
                let each = |of: &dyn Fn(&RunResult) -> Value| row.runs.iter().map(of).collect::<Vec<_>>();
                json!({
                    "method": row.method, "errors_percent": errors, "mean": spread.mean, "deviation": spread.deviation,
                    "median": spread.median, "wrong": each(&|o| o.wrong().into()), "wrong_after_step": each(&|o| json!(o.curve)),
                    "generated_kept": each(&|o| json!(o.generated)),
                })
            })
            .collect();
        json!({ "rows": rows, "protocol": self.protocol })
    }
}

fn spread(errors: &[f64]) -> SeedSummary {
    SeedSummary::of(errors).expect("there is at least one seed")
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let p = |key: &str| match &self.protocol[key] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let longest = self.rows.iter().map(|row| row.method.len()).max().unwrap_or(0);
        write!(
            f,
            "{:<longest$}{:>8}{:>11}{:>8}  ",
            "test error, %", "mean", "deviation", "median"
        )?;
        let seeds = self.protocol["seeds"].as_array().cloned().unwrap_or_default();
        for seed in &seeds {
            write!(f, "{:>9}", format!("seed {seed}"))?;
        }
        writeln!(f)?;
        for row in &self.rows {
            let errors = self.errors(row);
            let SeedSummary {
                mean,
                deviation,
                median,
                ..
            } = spread(&errors);
            write!(
                f,
                "{:<longest$}{mean:>8.2}{deviation:>11.2}{median:>8.2}  ",
                row.method
            )?;
            for error in errors {
                write!(f, "{error:>9.2}")?;
            }
            writeln!(f)?;
        }
        writeln!(
            f,
            "{} of {} images of {} are labeled, the same number for each of {} classes; label subsets of the seeds are in {}",
            p("labels"),
            p("unlabelled"),
            p("data"),
            p("classes"),
            self.out.display()
        )?;
        let shots = &self.protocol["shots"];
        if !shots.is_null() {
            writeln!(
                f,
                "the {} images are a random subset (seed {}), the same for every row and seed",
                shots["images"], shots["seed"]
            )?;
        }
        writeln!(
            f,
            "network {}; {} epochs (budget: {}), {} steps per row with {} images of each kind; Adam, learning rate {}",
            p("network"),
            p("epochs"),
            p("budget"),
            p("steps"),
            p("batch"),
            p("learning_rate")
        )?;
        for row in &self.rows {
            let kept: Vec<String> = row
                .runs
                .iter()
                .filter_map(|o| o.generated)
                .map(|n| n.to_string())
                .collect();
            if !kept.is_empty() {
                let about = &self.protocol["generator"];
                writeln!(
                    f,
                    "generated images: {} by {} (trained on {}), of which {} have a confident label",
                    about["drawn"],
                    about["run"].as_str().unwrap_or_default(),
                    about["data"].as_str().unwrap_or_default(),
                    kept.join(", ")
                )?;
            }
        }
        write!(
            f,
            "{} test images; averaged weights of the last step; nothing was selected on the test images",
            p("test")
        )
    }
}
