//! What `engraft semi-supervised` prints: errors with their spread, and the protocol.

use super::jobs::{Outcome, Row, percent};
use engraft_metrics::SeedSummary;
use serde_json::{Value, json};
use std::fmt;
use std::path::PathBuf;

/// Rows and what they mean.
pub(super) struct Report {
    pub(super) rows: Vec<Row>,
    pub(super) protocol: Value,
    /// Number of test images.
    pub(super) test: usize,
    /// Where the subsets are.
    pub(super) out: PathBuf,
}

impl Report {
    /// Test errors in per cent, one for each seed.
    fn errors(&self, row: &Row) -> Vec<f64> {
        row.outcomes
            .iter()
            .map(|outcome| percent(outcome.wrong(), self.test))
            .collect()
    }

    pub(super) fn json(&self) -> Value {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                let errors = self.errors(row);
                let spread = spread(&errors);
                let each = |of: &dyn Fn(&Outcome) -> Value| row.outcomes.iter().map(of).collect::<Vec<_>>();
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
            "{} of {} images of {} have a label, as many of each of {} classes; the subset of each seed is in {}",
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
                "these {} images were chosen of all by seed {}, the same for every row and seed",
                shots["images"], shots["seed"]
            )?;
        }
        writeln!(
            f,
            "network {}; {} epochs (budget: {}), for every row {} steps of {} images of each kind; Adam, learning rate {}",
            p("network"),
            p("epochs"),
            p("budget"),
            p("steps"),
            p("batch"),
            p("learning_rate")
        )?;
        for row in &self.rows {
            let kept: Vec<String> = row
                .outcomes
                .iter()
                .filter_map(|o| o.generated)
                .map(|n| n.to_string())
                .collect();
            if !kept.is_empty() {
                let about = &self.protocol["generator"];
                writeln!(
                    f,
                    "generated images: of {} drawn by {} (trained on {}), {} were kept",
                    about["drawn"],
                    about["run"].as_str().unwrap_or_default(),
                    about["data"].as_str().unwrap_or_default(),
                    kept.join(", ")
                )?;
            }
        }
        write!(
            f,
            "{} test images, averaged weights at the end of the budget; nothing was selected on the test images",
            p("test")
        )
    }
}
