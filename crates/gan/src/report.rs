//! Gathers what `report.html` shows of a run directory.

use crate::config::TrainConfig;
use crate::curves::{Losses, loss_curves, output_curves};
use crate::error::GanError;
use crate::film::{film, frames};
use crate::page::{Page, html};
use std::path::{Path, PathBuf};

/// The page's file in a run directory.
pub(crate) const REPORT: &str = "report.html";
/// Steps at the end over which the summary takes means.
const RECENT: usize = 100;
/// Bytes above which a sheet of samples is not a sheet of this program.
const MOST_SHEET_BYTES: u64 = 64 << 20;

/// The page of a run, from its settings, its record, and the sheets of samples in a folder.
pub(crate) fn report(config: &TrainConfig, record: &[Losses], samples: &Path) -> Result<String, GanError> {
    let sheets = sheets(samples)?;
    let shown: Vec<Vec<u8>> = frames(sheets.len())
        .into_iter()
        .filter_map(|i| read_sheet(&sheets[i]))
        .collect();
    let film = (shown.len() > 1).then(|| film(&shown)).flatten();
    let step = record.last().map_or(0, |point| point.step);
    let mut summary = vec![format!(
        "Step {step} of {}, batches of {} of the {} images of {}, seed {}.",
        config.steps, config.batch, config.images, config.data, config.seed
    )];
    let recent = &record[record.len().saturating_sub(RECENT)..];
    if !recent.is_empty() {
        let mean = |f: fn(&Losses) -> f64| recent.iter().map(f).sum::<f64>() / recent.len() as f64;
        summary.push(format!(
            "Over the last {} steps, the mean loss was {:.3} for the generator and {:.3} for the discriminator, which took \
             real images for real with {:.2} on the mean and generated ones with {:.2}.",
            recent.len(),
            mean(|p| p.generator),
            mean(|p| p.discriminator),
            mean(|p| p.real),
            mean(|p| p.fake)
        ));
    }
    Ok(html(&Page {
        title: &format!("{}, a run of engraft", config.data),
        summary: &summary,
        diagrams: &[
            ("Losses", loss_curves(record)),
            ("What the discriminator says", output_curves(record)),
        ],
        sheet: shown.last().map(Vec::as_slice),
        film: film.as_deref(),
        settings: &config.to_toml(),
    }))
}

/// The sheets of samples in a folder, the oldest first.
fn sheets(folder: &Path) -> Result<Vec<PathBuf>, GanError> {
    let listing = std::fs::read_dir(folder).map_err(|e| GanError::io(folder, "listing", e))?;
    let mut sheets: Vec<PathBuf> = listing
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("step-") && name.ends_with(".png")
        })
        .collect();
    // The steps have six digits until the millionth.
    sheets.sort_by_key(|path| (path.as_os_str().len(), path.clone()));
    Ok(sheets)
}

/// A sheet's bytes; `None` if it cannot be read: a picture more or less does not stop a run.
fn read_sheet(path: &Path) -> Option<Vec<u8>> {
    let about = std::fs::metadata(path).ok()?;
    (about.is_file() && about.len() <= MOST_SHEET_BYTES).then(|| std::fs::read(path).ok())?
}
