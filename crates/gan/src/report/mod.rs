//! Gathers what `report.html` shows of a run directory.

pub(crate) mod animation;
pub(crate) mod html;
pub(crate) mod image_grid;
pub(crate) mod plots;

use crate::config::TrainConfig;
use crate::monitor::{Measurement, MonitorState, extractor_name};
use animation::{animation, frames};
use html::{Page, Table, html};
use plots::{Losses, coverage_curves, discriminator_curves, distance_curve, loss_curves};
use std::path::{Path, PathBuf};

/// Steps at the end over which the summary takes means.
const RECENT: usize = 100;
/// Bytes above which a sample grid is not a grid of this program.
const MAX_GRID_BYTES: u64 = 64 << 20;

/// The page of a run, from its settings, its record, the step it is at, and the sample grids in a folder.
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
        "Step {step} of {}, batches of {} of the {} images of {}, seed {}.",
        config.steps, config.batch, config.images, config.data, config.seed
    )];
    let recent = &record[record.len().saturating_sub(RECENT)..];
    if !recent.is_empty() {
        let mean = |f: fn(&Losses) -> f64| recent.iter().map(f).sum::<f64>() / recent.len() as f64;
        summary.push(format!(
            "Over the last {} steps, the mean loss was {:.3} for the generator and {:.3} for the discriminator, whose \
             judgements were right in {:.0} of 100 cases.",
            recent.len(),
            mean(|p| p.generator),
            mean(|p| p.discriminator),
            100.0 * mean(|p| p.accuracy)
        ));
    }
    if state.rollbacks > 0 {
        summary.push(format!(
            "The run diverged and went back {} times, each time with half the learning rates.",
            state.rollbacks
        ));
    }
    let alarms = state
        .measurements
        .last()
        .map(Measurement::alarms)
        .unwrap_or_default();
    summary.extend(alarms.iter().map(|alarm| format!("Alarm: {alarm}.")));
    let mut diagrams = vec![
        ("Losses", loss_curves(record)),
        ("Balance", discriminator_curves(record)),
    ];
    if !state.measurements.is_empty() {
        diagrams.push(("Distance to held-out images", distance_curve(&state.measurements)));
        diagrams.push(("Coverage and memorisation", coverage_curves(&state.measurements)));
    }
    html(&Page {
        title: &format!("{}, a run of engraft", config.data),
        summary: &summary,
        measurements: measurement_table(config, state, extractor),
        diagrams: &diagrams,
        grid: shown.last().map(Vec::as_slice),
        animation: animation.as_deref(),
        settings: &config.to_toml(),
    })
}

/// The best and the last measurement as a table, and how they were taken.
fn measurement_table(config: &TrainConfig, state: &MonitorState, extractor: Option<&str>) -> Option<Table> {
    let (best, last) = (state.best()?, state.measurements.last()?);
    let row = |name: &'static str, value: fn(&Measurement) -> String| [name.into(), value(best), value(last)];
    Some(Table {
        head: ["".into(), "best".into(), "last".into()],
        rows: vec![
            row("step", |m| m.step.to_string()),
            row("KID", |m| format!("{:.4} ± {:.4}", m.kid, m.kid_se)),
            row("coverage", |m| format!("{:.3}", m.coverage)),
            row("memorised", |m| format!("{:.3}", m.memorized)),
            row("spread", |m| format!("{:.2}", m.spread)),
            row("overfitting", |m| format!("{:.2}", m.overfitting)),
        ],
        caption: format!(
            "{} generated images against {} held-out ones, features of {}. They choose between the checkpoints of \
             this run; numbers to report come from engraft evaluate, on a test set.",
            config.watch.images,
            config.held_out,
            extractor.unwrap_or_else(|| extractor_name(config))
        ),
    })
}

/// The sample grids in a folder up to a step, the oldest first. Those of later steps were drawn before the run went
/// back, by a generator that is no longer its own.
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

/// A grid's bytes; `None` if it cannot be read: a picture more or less does not stop a run.
fn read_grid(path: &Path) -> Option<Vec<u8>> {
    let about = std::fs::metadata(path).ok()?;
    (about.is_file() && about.len() <= MAX_GRID_BYTES).then(|| std::fs::read(path).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grids_beyond_the_step_are_of_a_branch_that_was_left() {
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
