//! The table of the transfer benchmark.

use super::{Args, Cell, Found, GENERATED, REAL, classifier_score, spread};
use engraft_transfer::ExperimentResult;
use std::collections::BTreeMap;

/// Smallest KID that is used as a denominator.
const TINY: f64 = 1e-3;

/// The table with what it says below.
pub(super) fn lines(args: &Args, found: &Found) -> Vec<String> {
    let mut lines = vec![
        "| source | target | images | method | KID | FID | coverage | diversity | copies | second features: KID | coverage | copies \
         | CAS, % |"
            .to_string(),
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|".into(),
    ];
    for (&[s, t, n, m], rows) in &found.cells {
        let of = |value: fn(&ExperimentResult) -> f64, digits: usize| {
            spread(rows.iter().map(|cell| Some(value(&cell.row))), digits)
        };
        let of_second = |value: fn(&ExperimentResult) -> f64| {
            spread(rows.iter().map(|cell| cell.second.as_ref().map(value)), 3)
        };
        lines.push(format!(
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            found.sources[s].0,
            args.targets[t],
            args.train_images[n],
            args.methods[m],
            of(|r| r.kid, 4),
            of(|r| r.fid, 1),
            of(|r| r.coverage, 3),
            of(|r| r.diversity, 2),
            of(|r| r.copies, 3),
            of_second(|r| r.kid),
            of_second(|r| r.coverage),
            of_second(|r| r.copies),
            spread(rows.iter().map(|cell| Some(100.0 * cell.classifier_accuracy?)), 1)
        ));
    }
    lines.extend(found.baseline_scores.iter().cloned());
    lines.extend(against_auto(args, &found.sources, &found.cells));
    for ((data, hash), path) in found.sources.iter().zip(&args.from) {
        lines.push(format!(
            "source {data}: {} (SHA-256 {}..)",
            path.display(),
            &hash[..12]
        ));
    }
    lines.push(format!(
        "{} steps; mean ± standard deviation over the seeds {}; {GENERATED} generated images against up to {REAL} test images of \
         the target",
        args.steps, args.seeds
    ));
    lines.extend(found.measured.iter().cloned());
    if !found.baseline_scores.is_empty() {
        lines.push(format!(
            "CAS (classification accuracy score): accuracy on all test images of the target of a classifier trained on {} generated \
             images for {} epochs",
            classifier_score::IMAGES,
            classifier_score::EPOCHS
        ));
    }
    lines
}

/// KID of each other method by that of `auto`, seed by seed: of few seeds a spread says less than whether all agree.
fn against_auto(
    args: &Args,
    sources: &[(String, String)],
    cells: &BTreeMap<[usize; 4], Vec<Cell>>,
) -> Vec<String> {
    let Some(auto) = args.methods.iter().position(|method| method == "auto") else {
        return Vec::new();
    };
    let mut lines = Vec::new();
    for (&[s, t, n, m], rows) in cells.iter().filter(|(at, _)| at[3] != auto) {
        let ratios = rows.iter().zip(&cells[&[s, t, n, auto]]);
        let ratios: Vec<String> = ratios
            .map(|(other, own)| times(other.row.kid, own.row.kid))
            .collect();
        lines.push(format!(
            "{} to {}, {} images: KID of {} divided by that of auto: {}",
            sources[s].0,
            args.targets[t],
            args.train_images[n],
            args.methods[m],
            ratios.join(", ")
        ));
    }
    lines
}

/// `a / b` of two KIDs. Unbiased estimates near 0 may be negative, so a small denominator gives no ratio.
fn times(a: f64, b: f64) -> String {
    if b > TINY {
        format!("{:.2}", a / b)
    } else {
        "-".into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_near_zero_give_no_ratio() {
        assert_eq!(times(0.3, 0.2), "1.50");
        assert_eq!(times(0.3, -0.001), "-");
        assert_eq!(times(0.3, 0.0), "-");
    }
}
