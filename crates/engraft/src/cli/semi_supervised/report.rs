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
    /// Labeled images of each class in each subset, if they were not chosen by class.
    pub(super) per_class: Option<Vec<Vec<usize>>>,
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
                let mut fields = json!({
                    "method": row.method, "errors_percent": errors, "mean": spread.mean, "deviation": spread.deviation,
                    "median": spread.median, "wrong": each(&|o| o.wrong().into()), "wrong_after_step": each(&|o| json!(o.curve)),
                    "generated_kept": each(&|o| json!(o.generated)),
                });
                if let Some(wrong) = row.consensus {
                    fields["consensus_wrong"] = json!(wrong);
                    fields["consensus_percent"] = json!(percent(wrong, self.test));
                }
                fields
            })
            .collect();
        let mut report = json!({ "rows": rows, "protocol": self.protocol });
        if let Some(counts) = &self.per_class {
            report["labels_per_class"] = json!(counts);
        }
        report
    }

    /// The line with the errors of the mean predictions, if the seeds share their labels.
    fn consensus(&self) -> Option<String> {
        let each = self.rows.iter().filter_map(|row| {
            let error = percent(row.consensus?, self.test);
            Some(format!("{} {error:.2}", row.method))
        });
        let each: Vec<String> = each.collect();
        let seeds = self.rows.first()?.runs.len();
        (!each.is_empty()).then(|| {
            format!(
                "consensus, the mean probability of the {seeds} classifiers of a row, test error, %: {}",
                each.join(", ")
            )
        })
    }

    /// How the labeled images were chosen, and how many each class has.
    fn choice(&self) -> String {
        let Some(counts) = &self.per_class else {
            return format!("the same number for each of {} classes", self.protocol["classes"]);
        };
        let all = || counts.iter().flatten();
        let (fewest, most) = (all().min().unwrap_or(&0), all().max().unwrap_or(&0));
        let without = all().filter(|count| **count == 0).count();
        let none = match without {
            0 => String::new(),
            _ => format!(" (a class without any occurs {without} times)"),
        };
        format!(
            "those nearest to the centroids of {} clusters, which is another protocol than the same number for each class; a class \
             has {fewest} to {most} of them{none}",
            self.protocol["labels"]
        )
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
        if let Some(line) = self.consensus() {
            writeln!(f, "{line}")?;
        }
        let subsets = match &self.protocol["label_seed"] {
            Value::Null => "label subsets of the seeds are in".to_owned(),
            seed => format!("all seeds have the label subset of seed {seed}, which is in"),
        };
        writeln!(
            f,
            "{} of {} images of {} are labeled, {}; {subsets} {}",
            p("labels"),
            p("unlabelled"),
            p("data"),
            self.choice(),
            self.out.display()
        )?;
        let shift = &self.protocol["shift"];
        if !shift.is_null() {
            writeln!(
                f,
                "augmentation of all rows: random shifts of up to {shift} pixels in both directions"
            )?;
        }
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
