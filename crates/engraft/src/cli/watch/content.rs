//! The answers: the page, the content of all runs, and their grids.

use super::page::page;
use super::request::{Answer, Request};
use crate::cli::progress::duration;
use engraft_base::read_bounded;
use engraft_gan::report::{Block, Report, Section, Table, grid_steps, run_summary, to_html_part};
use engraft_gan::{GanError, RunLayout, read_settings};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Largest picture that is sent, in bytes.
const LARGEST: u64 = 32 << 20;
/// A run whose record was not written for this long is taken for ended, in seconds. Steps are faster.
const SILENT: f64 = 120.0;

pub(super) fn answer(request: &Request, runs: &[PathBuf]) -> Answer {
    let picture = |index: usize, path: &dyn Fn(RunLayout) -> PathBuf| {
        let path = runs.get(index).map(|run| path(RunLayout::new(run)));
        match path.and_then(|path| read_bounded(&path, LARGEST).ok()) {
            Some(png) => Answer::found("image/png", png),
            None => Answer::refused("404 Not Found"),
        }
    };
    match *request {
        Request::Page => Answer::found("text/html; charset=utf-8", page().into_bytes()),
        Request::Live => Answer::found("application/json", live(runs).to_string().into_bytes()),
        Request::Grid(run, step) => picture(run, &|layout| layout.grid(step)),
        Request::Reals(run) => picture(run, &|layout| layout.reals()),
    }
}

/// Name, steps of the grids, and content as HTML of each run; how the settings differ.
fn live(runs: &[PathBuf]) -> Value {
    let of_run = |run: &PathBuf| {
        let html = match summary(run) {
            Ok(report) => to_html_part(&report),
            // A run that begins has no record yet.
            Err(error) => to_html_part(&told(&error)),
        };
        json!({
            "name": run.display().to_string(), "grids": grid_steps(run), "html": html,
            "reals": RunLayout::new(run).reals().is_file(),
        })
    };
    json!({ "runs": runs.iter().map(of_run).collect::<Vec<_>>(), "differences": differences(runs) })
}

fn summary(run: &Path) -> Result<Report, GanError> {
    let found = run_summary(run)?;
    let mut report = found.report;
    if let Some(seconds) = found.seconds_per_step {
        let time = match silence(run) {
            _ if found.steps_left == 0 => "all steps are done".into(),
            Some(silent) if silent > SILENT => {
                format!(
                    "no step for {}: the run has ended or was stopped",
                    duration(silent)
                )
            }
            _ => {
                let left = duration(seconds * found.steps_left as f64);
                format!("{seconds:.2} s per step, about {left} left")
            }
        };
        report.facts.push(("time".into(), time));
    }
    Ok(report)
}

/// Seconds since the record was written.
fn silence(run: &Path) -> Option<f64> {
    let written = RunLayout::new(run).record().metadata().ok()?.modified().ok()?;
    Some(written.elapsed().ok()?.as_secs_f64())
}

fn told(error: &GanError) -> Report {
    let mut report = Report::new("");
    report.warnings.push(error.to_string());
    report
}

/// A table of the settings in which the runs differ, as HTML; empty for one run.
fn differences(runs: &[PathBuf]) -> String {
    let settings: Vec<Vec<(String, String)>> = runs
        .iter()
        .map(|run| {
            read_settings(&RunLayout::new(run).settings())
                .map_or(Vec::new(), |config| config.names_and_values())
        })
        .collect();
    let rows = differing(&settings);
    if runs.len() < 2 || rows.is_empty() {
        return String::new();
    }
    let names = runs.iter().map(|run| run.display().to_string());
    let table = Table {
        head: std::iter::once(String::new()).chain(names).collect(),
        rows,
        ends_with_text: false,
        caption: "Settings of run.toml in which the runs differ; - is the default.".into(),
    };
    let mut report = Report::new("");
    report
        .sections
        .push(Section::new("Differences").block(Block::Table(table)));
    to_html_part(&report)
}

/// Name and values of the settings that are not the same everywhere.
fn differing(settings: &[Vec<(String, String)>]) -> Vec<Vec<String>> {
    let names: BTreeSet<&String> = settings.iter().flatten().map(|(name, _)| name).collect();
    let value = |of: &Vec<(String, String)>, name: &str| {
        let found = of.iter().find(|(other, _)| other == name);
        found.map_or("-".to_string(), |(_, value)| value.clone())
    };
    names
        .into_iter()
        .map(|name| {
            (
                name,
                settings.iter().map(|of| value(of, name)).collect::<Vec<_>>(),
            )
        })
        .filter(|(_, values)| values.windows(2).any(|pair| pair[0] != pair[1]))
        .map(|(name, values)| std::iter::once(name.clone()).chain(values).collect())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_settings_that_differ_are_shown() {
        let of = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect()
        };
        let runs = [
            of(&[("batch", "64"), ("seed", "1")]),
            of(&[("batch", "32"), ("seed", "1"), ("x.y", "2")]),
        ];
        assert_eq!(
            differing(&runs),
            [
                ["batch", "64", "32"].map(String::from),
                ["x.y", "-", "2"].map(String::from)
            ]
        );
        assert!(differing(&runs[..1]).is_empty());
    }
}
