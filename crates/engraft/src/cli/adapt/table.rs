//! The table of an adaptation.

use super::super::options::Adapt;
use super::domains::Data;
use super::protocol::every;
use super::seed_result::SeedResult;
use engraft_data::Dataset;
use engraft_metrics::SeedSummary;
use engraft_transfer::adapt::AdaptationMethod;
use serde::Serialize;
use std::fmt::Write as _;

/// Summary of a method over all seeds.
#[derive(Serialize)]
pub(super) struct MethodSummary {
    method: AdaptationMethod,
    accuracy: Option<SeedSummary>,
    unused: Option<SeedSummary>,
    last: Option<SeedSummary>,
    oracle: Option<SeedSummary>,
    /// Mean of the selection criterion of the selected checkpoints.
    validator: f64,
}

/// The summary of a method.
pub(super) fn row(options: &Adapt, method: AdaptationMethod, cells: &[SeedResult]) -> MethodSummary {
    let of = |value: fn(&SeedResult) -> Option<f64>| {
        let cells = cells.iter().filter(|cell| cell.method == method);
        SeedSummary::of(&cells.filter_map(value).collect::<Vec<f64>>())
    };
    let scores: Vec<f64> = cells
        .iter()
        .filter(|cell| cell.method == method)
        .filter_map(|cell| cell.score(options.validator))
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

/// The table of all methods, with the protocol below it.
pub(super) fn table(options: &Adapt, rows: &[MethodSummary], data: &Data) -> String {
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
        "{size} protocol: {} labeled images of {}, {} unlabeled images of {}, {}{}; {} steps of {} images of each domain{}; mean ± \
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
        match options.even_frames {
            true => ", all with even frames",
            false => "",
        },
        options.steps,
        options.batch,
        match options.learning_rate_factor {
            1.0 => String::new(),
            factor => format!(", {factor} times the learning rates of the methods"),
        },
        options.seeds.len(),
        every(options)
    );
    text
}
