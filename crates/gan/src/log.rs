//! The record of every step: `metrics.jsonl`.

use crate::checkpoint::write_atomically;
use crate::curves::Losses;
use crate::error::GanError;
use crate::gan::StepReport;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

/// Size above which a record is not read: a hundred million steps have less.
const MAX_BYTES: u64 = 1 << 34;

/// One line of `metrics.jsonl`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) step: u64,
    /// Passes over the images so far.
    pub(crate) epoch: f64,
    pub(crate) loss_g: f64,
    pub(crate) loss_d: f64,
    /// Mean of `σ(D(x))` over the batch.
    pub(crate) d_real: f64,
    /// Mean of `σ(D(G(z)))` over the batch.
    pub(crate) d_fake: f64,
    /// Duration of the step; the only value that differs between two runs with one seed.
    pub(crate) ms: f64,
}

impl Line {
    pub(crate) fn new(step: u64, epoch: f64, report: &StepReport, ms: f64) -> Self {
        Self {
            step,
            epoch,
            loss_g: report.generator_loss,
            loss_d: report.discriminator_loss,
            d_real: report.real_output,
            d_fake: report.fake_output,
            ms: (ms * 1000.0).round() / 1000.0,
        }
    }

    fn losses(&self) -> Losses {
        Losses {
            step: self.step,
            generator: self.loss_g,
            discriminator: self.loss_d,
        }
    }
}

/// An open `metrics.jsonl`, and the losses in it for the curves.
pub(crate) struct Log {
    path: PathBuf,
    file: File,
    losses: Vec<Losses>,
}

impl Log {
    /// Opens the record of a run that goes on after `step`. Lines of later steps, which a killed run wrote
    /// after its last checkpoint, are dropped, for those steps are done again.
    pub(crate) fn open(path: &Path, step: u64) -> Result<Self, GanError> {
        let mut kept = String::new();
        let mut losses = Vec::new();
        for line in read(path)?.lines() {
            // A line cut off by a kill does not parse, and nothing after it counts.
            let Ok(entry) = serde_json::from_str::<Line>(line) else {
                break;
            };
            if entry.step > step {
                break;
            }
            kept.push_str(line);
            kept.push('\n');
            losses.push(entry.losses());
        }
        write_atomically(path, kept.as_bytes())?;
        let file = OpenOptions::new()
            .append(true)
            .open(path)
            .map_err(|e| GanError::io(path, "opening", e))?;
        Ok(Self {
            path: path.into(),
            file,
            losses,
        })
    }

    /// Adds a line; it is with the system at once, so that `tail -f` shows it.
    pub(crate) fn push(&mut self, line: &Line) -> Result<(), GanError> {
        let mut text = serde_json::to_string(line).expect("numbers always have a JSON form");
        text.push('\n');
        self.file
            .write_all(text.as_bytes())
            .map_err(|e| GanError::io(&self.path, "writing", e))?;
        self.losses.push(line.losses());
        Ok(())
    }

    /// Waits until the lines are on the disk: a checkpoint of a step must not outlive the lines before it.
    pub(crate) fn sync(&self) -> Result<(), GanError> {
        self.file
            .sync_data()
            .map_err(|e| GanError::io(&self.path, "syncing", e))
    }

    pub(crate) fn losses(&self) -> &[Losses] {
        &self.losses
    }
}

/// The text so far; empty if there is no file.
fn read(path: &Path) -> Result<String, GanError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(String::new()),
        Err(e) => return Err(GanError::io(path, "opening", e)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_BYTES)
        .read_to_end(&mut bytes)
        .map_err(|e| GanError::io(path, "reading", e))?;
    // What is not text does not parse as a line either.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(step: u64) -> Line {
        let report = StepReport {
            generator_loss: 0.5,
            discriminator_loss: 1.25,
            real_output: 0.75,
            fake_output: 0.25,
        };
        Line::new(step, 0.5, &report, 12.3456)
    }

    #[test]
    fn what_came_after_the_checkpoint_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        let mut log = Log::open(&path, 0).unwrap();
        (1..=5).for_each(|s| log.push(&line(s)).unwrap());
        std::fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap()
            .write_all(b"{\"step\": 6, \"ep")
            .unwrap();
        let mut log = Log::open(&path, 3).unwrap();
        assert_eq!(log.losses().len(), 3);
        log.push(&line(4)).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 4);
        assert!(text.lines().last().unwrap().starts_with("{\"step\":4,"), "{text}");
        assert!(text.contains("\"ms\":12.346"), "{text}");
    }
}
