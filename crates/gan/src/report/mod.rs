//! The content of `report.html`.

pub(crate) mod animation;
pub(crate) mod html;
pub(crate) mod image_grid;
pub(crate) mod plots;

use crate::config::TrainConfig;
use crate::monitor::{Measurement, MonitorState, extractor_name};
use animation::{animation, frames};
use html::{Page, Plot, Table, html};
use plots::{Losses, coverage_curves, discriminator_curves, distance_curve, loss_curves};
use std::path::{Path, PathBuf};

/// Number of recent steps that the summary averages.
const RECENT: usize = 100;
/// Largest sample grid that is read, in bytes.
const MAX_GRID_BYTES: u64 = 64 << 20;

/// The report of a run as HTML, from its settings, its record, its measurements and the grids in a folder.
pub(crate) fn report(
    config: &TrainConfig,
    record: &[Losses],
    state: &MonitorState,
    step: u64,
    samples: &Path,
    extractor: Option<&str>,
) -> String {
    let grids = grids(samples, step);
    let sizes = grids
        .iter()
        .map(|path| path.metadata().map_or(0, |about| about.len()));
    let shown: Vec<Vec<u8>> = frames(&sizes.collect::<Vec<_>>())
        .into_iter()
        .filter_map(|i| read_grid(&grids[i]))
        .collect();
    let animation = (shown.len() > 1).then(|| animation(&shown)).flatten();
    let mut summary = vec![format!(
        "Step {step} of {}, batch size {}, {} images of {}, seed {}.",
        config.steps, config.batch, config.images, config.data, config.seed
    )];
    let recent = &record[record.len().saturating_sub(RECENT)..];
    if !recent.is_empty() {
        let mean = |f: fn(&Losses) -> f64| recent.iter().map(f).sum::<f64>() / recent.len() as f64;
        summary.push(format!(
            "Mean of the last {} steps: generator loss {:.3}, discriminator loss {:.3}, discriminator accuracy {:.0} %.",
            recent.len(),
            mean(|p| p.generator),
            mean(|p| p.discriminator),
            100.0 * mean(|p| p.accuracy)
        ));
    }
    if state.rollbacks > 0 {
        summary.push(format!(
            "Rollbacks after divergence: {}. Each one halved the learning rates.",
            state.rollbacks
        ));
    }
    if let Some(last) = state.measurements.last() {
        let alarms = last.alarms().into_iter();
        summary.extend(
            alarms.map(|alarm| format!("Alarm at step {}: {}.", last.step, last.alarm_message(alarm))),
        );
    }
    let mut plots = vec![
        Plot {
            heading: "Losses",
            explanation: "Adversarial losses before each update, without penalties.",
            svg: loss_curves(record),
        },
        Plot {
            heading: "Discriminator",
            explanation: "Accuracy: share of correct decisions; 0.5 is chance. r_t: mean sign of D on real images, \
                          ADA's measure of overfitting. It is 0 if D cannot separate real from generated images, and \
                          1 if D calls every real image real.",
            svg: discriminator_curves(record),
        },
    ];
    if !state.measurements.is_empty() {
        plots.push(Plot {
            heading: "KID to validation images",
            explanation: "Kernel inception distance; lower is better.",
            svg: distance_curve(&state.measurements),
        });
        plots.push(Plot {
            heading: "Coverage and memorized share",
            explanation: "Coverage: share of validation images with a generated image nearby; higher is better. \
                          Memorized share: samples that are closer to a training image than real images are; 0.05 is \
                          chance.",
            svg: coverage_curves(&state.measurements),
        });
    }
    html(&Page {
        title: &format!("Training run on {}", config.data),
        summary: &summary,
        measurements: measurement_table(config, state, extractor),
        plots: &plots,
        grid: shown.last().map(Vec::as_slice),
        animation: animation.as_deref(),
        settings: &config.to_toml(),
    })
}

/// The best and the last measurement as a table, with a caption.
fn measurement_table(config: &TrainConfig, state: &MonitorState, extractor: Option<&str>) -> Option<Table> {
    let (best, last) = (state.best()?, state.measurements.last()?);
    let row = |name: &'static str, value: fn(&Measurement) -> String| [name.into(), value(best), value(last)];
    Some(Table {
        head: ["".into(), "best".into(), "last".into()],
        rows: vec![
            row("step", |m| m.step.to_string()),
            row("KID", |m| format!("{:.4} ± {:.4}", m.kid, m.kid_se)),
            row("KID, second features", |m| {
                m.second_kid.map_or("-".into(), |kid| format!("{kid:.4}"))
            }),
            row("coverage", |m| format!("{:.3}", m.coverage)),
            row("memorized share", |m| format!("{:.3}", m.memorized)),
            row("feature variance, relative to real", |m| {
                format!("{:.2}", m.spread)
            }),
            row("discriminator overfitting", |m| format!("{:.2}", m.overfitting)),
        ],
        caption: format!(
            "{} generated images, {}, features of {}. These scores choose between the checkpoints of this run. To report \
             results, use engraft evaluate, which uses a test set.{}",
            config.evaluation.images,
            match config.validation_images {
                0 => "the training images themselves, because there are few".into(),
                count => format!("{count} validation images"),
            },
            extractor.unwrap_or_else(|| extractor_name(config)),
            match state.disagreement() {
                Some(other) => format!(
                    " Warning: second features prefer step {}; compare the grids of both steps.",
                    other.step
                ),
                None => String::new(),
            }
        ),
    })
}

/// The sample grids in a folder up to step `last`, oldest first. Later grids are from before a rollback.
fn grids(folder: &Path, last: u64) -> Vec<PathBuf> {
    let Ok(listing) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut grids: Vec<(u64, PathBuf)> = listing
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let name = path.file_name()?.to_str()?;
            let step = name.strip_prefix("step-")?.strip_suffix(".png")?.parse().ok()?;
            (step <= last).then_some((step, path))
        })
        .collect();
    grids.sort();
    grids.into_iter().map(|(_, path)| path).collect()
}

/// The bytes of a grid; `None` if it cannot be read, since a missing image must not stop the run.
fn read_grid(path: &Path) -> Option<Vec<u8>> {
    let about = std::fs::metadata(path).ok()?;
    (about.is_file() && about.len() <= MAX_GRID_BYTES).then(|| std::fs::read(path).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grids_from_before_a_rollback_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "step-1000000.png",
            "step-000100.png",
            "step-000020.png",
            "step-000120.png",
        ] {
            std::fs::write(folder.path().join(name), b"").unwrap();
        }
        for other in ["step-000010.jpg", "step-last.png", "grid.png"] {
            std::fs::write(folder.path().join(other), b"").unwrap();
        }
        let names = |last| -> Vec<String> {
            let found = grids(folder.path(), last);
            let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
            found.iter().map(name).collect()
        };
        assert_eq!(names(100), ["step-000020.png", "step-000100.png"]);
        let all = [
            "step-000020.png",
            "step-000100.png",
            "step-000120.png",
            "step-1000000.png",
        ];
        assert_eq!(names(u64::MAX), all);
    }
}
