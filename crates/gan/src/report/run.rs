//! The report of a training run, from its settings, its record, its evaluations and its pictures.

use super::animation::{animation, frames};
use super::columns::{self, meaning};
use super::diagram::grouped;
use super::embedded::{MAX_FILE_BYTES, Shrink, picture};
use super::interpolation;
use super::page::{Block, Picture, Report, Section, Table};
use super::plots::{Losses, score_plots, step_plots};
use crate::config::TrainConfig;
use crate::error::GanError;
use crate::log::read_losses;
use crate::monitor::{Measurement, MonitorState, extractor_name};
use crate::run_layout::RunLayout;
use crate::saved_run::read_config;
use std::path::{Path, PathBuf};

/// Number of recent steps that the facts average.
const RECENT: usize = 100;

/// The report of a run directory, as `report.html` shows it; to be extended.
///
/// # Errors
/// If the settings, `metrics.jsonl` or `measures.jsonl` cannot be read.
pub fn run_report(directory: &Path) -> Result<Report, GanError> {
    let layout = RunLayout::new(directory);
    let config = read_config(directory)?;
    let losses = read_losses(&layout.record())?;
    let state = MonitorState::read(&layout.measurements())?;
    let step = losses.last().map_or(0, |last| last.step);
    Ok(report(&config, &losses, &state, step, &layout, None))
}

/// What a run directory says while its run trains, or after it ended.
pub struct RunSummary {
    /// Facts, alarms, curves, evaluations and settings, without pictures.
    pub report: Report,
    /// Mean duration of the last 100 steps in seconds. `None` before the first step.
    pub seconds_per_step: Option<f64>,
    /// Steps that are left.
    pub steps_left: u64,
}

/// Reads a run directory without its pictures. It costs milliseconds, so that it can be done again every few seconds.
///
/// # Errors
/// If the settings, `metrics.jsonl` or `measures.jsonl` cannot be read.
pub fn run_summary(directory: &Path) -> Result<RunSummary, GanError> {
    let layout = RunLayout::new(directory);
    let config = read_config(directory)?;
    let losses = read_losses(&layout.record())?;
    let state = MonitorState::read(&layout.measurements())?;
    let step = losses.last().map_or(0, |last| last.step);
    let mut report = Report::new(format!("Training run on {}", config.data));
    report.facts = facts(&config, &losses, step);
    report.warnings = warnings(&config, &state);
    report
        .sections
        .push(Section::new("Training").block(Block::Plots(step_plots(&losses))));
    report.sections.extend(scores(&config, &state, None));
    report.sections.push(settings(&config));
    let recent = &losses[losses.len().saturating_sub(RECENT)..];
    let total: f64 = recent.iter().map(|of| of.milliseconds / 1000.0).sum();
    Ok(RunSummary {
        report,
        seconds_per_step: (!recent.is_empty()).then(|| total / recent.len() as f64),
        steps_left: config.steps.saturating_sub(step),
    })
}

/// Steps of the sample grids of a run directory, oldest first.
pub fn grid_steps(directory: &Path) -> Vec<u64> {
    let grids = grids(&RunLayout::new(directory).samples(), u64::MAX);
    grids.into_iter().map(|(step, _)| step).collect()
}

/// The report of a run at a step.
pub(crate) fn report(
    config: &TrainConfig,
    record: &[Losses],
    state: &MonitorState,
    step: u64,
    layout: &RunLayout,
    extractor: Option<&str>,
) -> Report {
    let mut report = Report::new(format!("Training run on {}", config.data));
    report.facts = facts(config, record, step);
    report.warnings = warnings(config, state);
    let pictures = [
        samples(config, step, layout),
        motion(config, step, layout),
        nearest(layout),
    ];
    report.sections.extend(pictures.into_iter().flatten());
    report
        .sections
        .push(Section::new("Training").block(Block::Plots(step_plots(record))));
    report.sections.extend(scores(config, state, extractor));
    report.sections.push(settings(config));
    report
}

fn facts(config: &TrainConfig, record: &[Losses], step: u64) -> Vec<(String, String)> {
    let [h, w, c] = config.image;
    let color = match c {
        1 => "gray",
        3 => "color",
        _ => "",
    };
    let mut facts = vec![
        ("step", format!("{} of {}", grouped(step), grouped(config.steps))),
        (
            "images",
            format!("{} of {w}x{h} pixels, {color}", grouped(config.images as u64))
                .trim_end_matches(", ")
                .into(),
        ),
        ("batch size", config.batch.to_string()),
        ("seed", config.seed.to_string()),
    ];
    if config.pseudo_labels.is_on() {
        facts.push((
            "classes",
            format!(
                "{} clusters of the training images by their pixels (pseudo-labels), not human classes; generated images have the \
                 shares of the training images",
                config.pseudo_labels.clusters
            ),
        ));
    }
    let recent = &record[record.len().saturating_sub(RECENT)..];
    if !recent.is_empty() {
        let mean = |f: fn(&Losses) -> f64| recent.iter().map(f).sum::<f64>() / recent.len() as f64;
        facts.push((
            "recently",
            format!(
                "generator loss {:.3}, discriminator loss {:.3}, discriminator accuracy {:.0} % (mean of the last {} steps)",
                mean(|p| p.generator),
                mean(|p| p.discriminator),
                100.0 * mean(|p| p.accuracy),
                recent.len()
            ),
        ));
    }
    facts
        .into_iter()
        .map(|(name, value)| (name.into(), value))
        .collect()
}

fn warnings(config: &TrainConfig, state: &MonitorState) -> Vec<String> {
    let mut warnings = Vec::new();
    if state.rollbacks > 0 {
        warnings.push(format!(
            "Rollbacks after divergence: {}. Each one halved the learning rates.",
            state.rollbacks
        ));
    }
    if let Some(last) = state.measurements.last() {
        let alarms = last.alarms_of(config).into_iter();
        warnings.extend(
            alarms.map(|alarm| format!("Alarm at step {}: {}.", last.step, last.alarm_message(alarm))),
        );
    }
    warnings
}

/// The newest grid, with real images.
fn samples(config: &TrainConfig, step: u64, layout: &RunLayout) -> Option<Section> {
    let (at, path) = grids(&layout.samples(), step).pop()?;
    let rows = Shrink::Rows(config.image[0]);
    let files = [
        (path, format!("Generated images at step {}.", grouped(at))),
        (
            layout.reals(),
            "Real images: some of the training images, as the networks get them.".into(),
        ),
        (
            layout.augmented(),
            "The same training images with the augmentation that the discriminator sees.".into(),
        ),
    ];
    let found: Vec<Picture> = files
        .iter()
        .filter_map(|(path, caption)| picture(&read_file(path)?, rows, Some(caption)))
        .collect();
    (!found.is_empty()).then(|| Section::new("Samples").block(Block::Pictures(found)))
}

/// The grids so far and the interpolation, both animated.
fn motion(config: &TrainConfig, step: u64, layout: &RunLayout) -> Option<Section> {
    let grids = grids(&layout.samples(), step);
    let sizes = grids
        .iter()
        .map(|(_, path)| path.metadata().map_or(0, |about| about.len()));
    let shown: Vec<Vec<u8>> = frames(&sizes.collect::<Vec<_>>())
        .into_iter()
        .filter_map(|i| read_file(&grids[i].1))
        .collect();
    let [h, w, _] = config.image;
    let progress =
        "The training so far: the same latent vectors at each step, from the first grid to the last.";
    let path = "Interpolation: each image follows a closed path through the latent space. Smooth changes are a sign of \
                generalization; jumps between a few images are a sign of memorization.";
    let found: Vec<Picture> = [
        animation(&shown, [h, w], progress),
        read_file(&layout.interpolation()).and_then(|file| interpolation::picture(&file, path)),
    ]
    .into_iter()
    .flatten()
    .collect();
    (!found.is_empty()).then(|| Section::new("In motion").block(Block::Pictures(found)))
}

fn nearest(layout: &RunLayout) -> Option<Section> {
    let found = picture(&read_file(&layout.nearest())?, Shrink::Pixels, None)?;
    Some(Section::new("Nearest training images").block(Block::Pictures(vec![found])))
}

fn scores(config: &TrainConfig, state: &MonitorState, extractor: Option<&str>) -> Option<Section> {
    let table = measurement_table(config, state, extractor)?;
    let reference = match config.validation_images {
        0 => "training images",
        _ => "validation images",
    };
    let section = Section::new(format!("Scores on {reference}"))
        .block(Block::Table(table))
        .block(Block::Plots(score_plots(&state.measurements, reference)));
    Some(section)
}

fn settings(config: &TrainConfig) -> Section {
    let columns = columns::STEPS.map(|(name, meaning)| (name.into(), meaning.into()));
    Section::new("Settings and files")
        .block(Block::Verbatim("Settings (run.toml)".into(), config.to_toml()))
        .block(Block::Definitions {
            title: "Columns of metrics.jsonl, one line for each step".into(),
            definitions: columns.to_vec(),
            is_open: false,
        })
}

/// The best and the last measurement as a table, with a caption.
fn measurement_table(config: &TrainConfig, state: &MonitorState, extractor: Option<&str>) -> Option<Table> {
    let (best, last) = (state.best()?, state.measurements.last()?);
    let row = |name: &'static str, value: fn(&Measurement) -> String| {
        vec![name.into(), value(best), value(last), meaning(name).into()]
    };
    let mut rows = vec![
        row("step", |m| grouped(m.step)),
        row("KID", |m| format!("{:.4} ± {:.4}", m.kid, m.kid_se)),
        row("KID, second features", |m| {
            m.second_kid.map_or("-".into(), |kid| format!("{kid:.4}"))
        }),
        row("coverage", |m| format!("{:.3}", m.coverage)),
        row("memorized share", |m| format!("{:.3}", m.memorized)),
        row("feature variance, relative to real", |m| {
            format!("{:.2}", m.spread)
        }),
    ];
    if config.validation_images > 0 {
        rows.push(row("discriminator overfitting", |m| {
            format!("{:.2}", m.overfitting)
        }));
    }
    Some(Table {
        head: ["", "best", "last", "meaning"].map(String::from).to_vec(),
        rows,
        ends_with_text: true,
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

/// Step and path of the sample grids in a folder up to step `last`, oldest first. Later grids are from before a rollback.
fn grids(folder: &Path, last: u64) -> Vec<(u64, PathBuf)> {
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
    grids
}

/// The bytes of a picture; `None` if it cannot be read, since a missing picture must not stop the run.
fn read_file(path: &Path) -> Option<Vec<u8>> {
    let about = std::fs::metadata(path).ok()?;
    (about.is_file() && about.len() <= MAX_FILE_BYTES).then(|| std::fs::read(path).ok())?
}

/// A picture of the run directory for a section of your own; `None` if there is none.
///
/// - `height`: height of its images, in pixels. A grid that is too large is shown with fewer rows.
pub fn picture_of(path: &Path, height: usize, caption: &str) -> Option<Picture> {
    picture(&read_file(path)?, Shrink::Rows(height), Some(caption))
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
            let name = |(_, path): &(u64, PathBuf)| path.file_name().unwrap().to_string_lossy().into_owned();
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
