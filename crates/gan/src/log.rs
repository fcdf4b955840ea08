//! The record with one line for each step: `metrics.jsonl`.

use crate::error::GanError;
use crate::gan::StepReport;
use crate::report::plots::Losses;
use engraft_base::AtomicFile;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

/// Longest line that is read, in bytes; a run writes fewer than 300.
const MAX_LINE: u64 = 4096;

/// One line of `metrics.jsonl`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) step: u64,
    /// Epochs so far: passes over the training images.
    pub(crate) epoch: f64,
    pub(crate) loss_g: f64,
    pub(crate) loss_d: f64,
    /// Mean of `σ(D(x))` over the batch.
    pub(crate) d_real: f64,
    /// Mean of `σ(D(G(z)))` over the batch.
    pub(crate) d_fake: f64,
    /// Accuracy of the discriminator.
    #[serde(default)]
    pub(crate) accuracy: f64,
    /// `r_t`: mean sign of the logits on real images.
    #[serde(default)]
    pub(crate) r_t: f64,
    /// Penalty of the discriminator; omitted if 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) penalty: f64,
    /// Probability of each augmentation; omitted if 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) augment: f64,
    /// Duration of the step in milliseconds, the only value that differs between two runs with the same seed.
    pub(crate) ms: f64,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // as serde calls it
fn is_zero(value: &f64) -> bool {
    *value == 0.0
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
            accuracy: report.accuracy,
            r_t: report.real_sign,
            penalty: report.penalty,
            augment: report.augment_probability,
            ms: (ms * 1000.0).round() / 1000.0,
        }
    }

    fn losses(&self) -> Losses {
        Losses {
            step: self.step,
            generator: self.loss_g,
            discriminator: self.loss_d,
            accuracy: self.accuracy,
            real_sign: self.r_t,
            milliseconds: self.ms,
        }
    }
}

/// An open `metrics.jsonl`, with its losses in memory for the plots.
pub(crate) struct Log {
    path: PathBuf,
    file: File,
    losses: Vec<Losses>,
}

impl Log {
    /// Opens the record of a run that resumes after `step`.
    ///
    /// Lines of later steps are dropped, because these steps are repeated. So is a last line that is cut off. If a
    /// line in between is damaged, the old file is kept under another name, and a warning is returned.
    pub(crate) fn open(path: &Path, step: u64) -> Result<(Self, Option<String>), GanError> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        let (mut file, length) = engraft_base::files::open_regular_with(path, &options)?;
        let mut losses = Vec::new();
        let found = scan(&file, length, step, |_, line| losses.push(line.losses()))
            .map_err(|e| GanError::io(path, "reading", e))?;
        let mut warning = None;
        if let Some(at) = found.damaged {
            let aside = keep_aside(path)?;
            losses.clear();
            file = rewrite(path, &aside, step, &mut losses)?;
            warning = Some(format!(
                "{}: line {at} is damaged and was removed; the old file is kept as {}",
                path.display(),
                aside.display()
            ));
        } else {
            let write = |e| GanError::io(path, "cutting back", e);
            if found.kept < length {
                file.set_len(found.kept).map_err(write)?;
            }
            if found.lacks_newline {
                file.write_all(b"\n").map_err(write)?;
            }
        }
        let log = Self {
            path: path.into(),
            file,
            losses,
        };
        Ok((log, warning))
    }

    /// Appends a line, without buffering, so that `tail -f` shows it at once.
    pub(crate) fn push(&mut self, line: &Line) -> Result<(), GanError> {
        let mut text = serde_json::to_string(line).expect("numbers always have a JSON form");
        text.push('\n');
        self.file
            .write_all(text.as_bytes())
            .map_err(|e| GanError::io(&self.path, "writing", e))?;
        self.losses.push(line.losses());
        Ok(())
    }

    /// Syncs the file to disk, so that no checkpoint is ahead of the record.
    pub(crate) fn sync(&self) -> Result<(), GanError> {
        self.file
            .sync_data()
            .map_err(|e| GanError::io(&self.path, "syncing", e))
    }

    pub(crate) fn losses(&self) -> &[Losses] {
        &self.losses
    }
}

/// The losses of a record, without opening it for writing. Damaged lines are left out.
pub(crate) fn read_losses(path: &Path) -> Result<Vec<Losses>, GanError> {
    let (file, length) = engraft_base::files::open_regular(path)?;
    let mut losses = Vec::new();
    scan(file, length, u64::MAX, |_, line| losses.push(line.losses()))
        .map_err(|e| GanError::io(path, "reading", e))?;
    Ok(losses)
}

/// Result of a pass over a record.
struct Scan {
    /// Bytes up to the end of the last valid line.
    kept: u64,
    /// Number, from 1, of the first damaged line that other lines follow.
    damaged: Option<u64>,
    /// Whether the last valid line has no newline.
    lacks_newline: bool,
}

/// Reads the first `length` bytes, one line at a time in memory, and calls `each` for every valid line up to
/// `step`.
fn scan(
    source: impl Read,
    length: u64,
    step: u64,
    mut each: impl FnMut(&[u8], &Line),
) -> std::io::Result<Scan> {
    let mut reader = BufReader::new(source.take(length));
    let mut found = Scan {
        kept: 0,
        damaged: None,
        lacks_newline: false,
    };
    let (mut read, mut last) = (0, 0);
    let mut text = Vec::new();
    for number in 1.. {
        text.clear();
        let count = (&mut reader).take(MAX_LINE).read_until(b'\n', &mut text)? as u64;
        read += count;
        if count == 0 || last == step {
            // The steps after this one are repeated.
            break;
        }
        let mut ended = text.last() == Some(&b'\n');
        let line = serde_json::from_slice::<Line>(&text).ok();
        match line.filter(|line| (last + 1..=step).contains(&line.step)) {
            Some(line) if ended || read == length => {
                last = line.step;
                each(text.trim_ascii_end(), &line);
                (found.kept, found.lacks_newline) = (read, !ended);
            }
            _ => {
                while !ended && read < length {
                    text.clear();
                    let more = (&mut reader).take(MAX_LINE).read_until(b'\n', &mut text)? as u64;
                    read += more;
                    ended = more == 0 || text.last() == Some(&b'\n');
                }
                if read < length && found.damaged.is_none() {
                    found.damaged = Some(number);
                }
            }
        }
    }
    Ok(found)
}

/// Copies a record to an unused name in the same folder and syncs it.
fn keep_aside(path: &Path) -> Result<PathBuf, GanError> {
    let aside = (1..)
        .map(|i| path.with_extension(format!("damaged-{i}.jsonl")))
        .find(|aside| aside.symlink_metadata().is_err())
        .expect("some number is free");
    std::fs::copy(path, &aside)
        .and_then(|_| File::open(&aside)?.sync_all())
        .map_err(|e| GanError::io(&aside, "copying the record", e))?;
    Ok(aside)
}

/// Writes the valid lines of `from` up to `step` to `path` atomically, and opens it.
fn rewrite(path: &Path, from: &Path, step: u64, losses: &mut Vec<Losses>) -> Result<File, GanError> {
    let fail = |e| GanError::io(path, "writing", e);
    let source = File::open(from).map_err(fail)?;
    let length = source.metadata().map_err(fail)?.len();
    let mut target = BufWriter::new(AtomicFile::create(path)?);
    let mut written = Ok(());
    scan(source, length, step, |text, line| {
        losses.push(line.losses());
        if written.is_ok() {
            written = target.write_all(text).and_then(|()| target.write_all(b"\n"));
        }
    })
    .and(written)
    .map_err(fail)?;
    let target = target.into_inner().map_err(|e| fail(e.into_error()))?;
    target.commit()?;
    OpenOptions::new().append(true).open(path).map_err(fail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn line(step: u64) -> Line {
        let report = StepReport {
            generator_loss: 0.5,
            discriminator_loss: 1.25,
            penalty: 0.0,
            augment_probability: 0.0,
            real_output: 0.75,
            fake_output: 0.25,
            accuracy: 0.75,
            real_sign: 0.5,
        };
        Line::new(step, 0.5, &report, 12.3456)
    }

    /// A record of the steps 1 to `last`.
    fn written(path: &Path, last: u64) -> String {
        let _ = fs::remove_file(path);
        let (mut log, warning) = Log::open(path, 0).unwrap();
        assert!(warning.is_none());
        (1..=last).for_each(|s| log.push(&line(s)).unwrap());
        fs::read_to_string(path).unwrap()
    }

    fn steps(path: &Path) -> Vec<u64> {
        let text = fs::read_to_string(path).unwrap();
        text.lines()
            .map(|line| serde_json::from_str::<Line>(line).unwrap().step)
            .collect()
    }

    #[test]
    fn lines_after_the_checkpoint_are_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        // A line that is cut off, and zeros as after a power loss.
        for tail in ["{\"step\": 6, \"ep", "\0\0\0\n\0\0\n"] {
            let text = written(&path, 5);
            fs::write(&path, text + tail).unwrap();
            let (mut log, warning) = Log::open(&path, 3).unwrap();
            assert_eq!((log.losses().len(), warning), (3, None));
            log.push(&line(4)).unwrap();
            let text = fs::read_to_string(&path).unwrap();
            assert_eq!(text.lines().count(), 4);
            assert!(text.lines().last().unwrap().starts_with("{\"step\":4,"), "{text}");
            assert!(text.contains("\"ms\":12.346"), "{text}");
        }
    }

    #[test]
    fn a_last_line_that_is_cut_off_is_dropped_and_one_without_its_end_gets_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        let text = written(&path, 3);
        for (cut, kept) in [(1, 3), (2, 2), (20, 2)] {
            fs::write(&path, &text[..text.len() - cut]).unwrap();
            let (mut log, warning) = Log::open(&path, 3).unwrap();
            assert_eq!((log.losses().len(), warning), (kept, None));
            log.push(&line(4)).unwrap();
            assert_eq!(steps(&path).len(), kept + 1);
        }
    }

    #[test]
    fn a_damaged_line_costs_no_other_and_the_old_file_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        let text = written(&path, 6);
        let long = format!("{}\n", "x".repeat(3 * MAX_LINE as usize));
        for (i, bad) in ["\n", "{\"step\":2,\n", "{}\n", &long].into_iter().enumerate() {
            let second = text.lines().nth(1).unwrap();
            let damaged = text.replace(&format!("{second}\n"), bad);
            fs::write(&path, &damaged).unwrap();
            let (mut log, warning) = Log::open(&path, 5).unwrap();
            let warning = warning.unwrap();
            assert!(warning.contains("line 2 is damaged"), "{warning}");
            assert_eq!(log.losses().len(), 4);
            log.push(&line(6)).unwrap();
            assert_eq!(steps(&path), [1, 3, 4, 5, 6]);
            let aside = dir.path().join(format!("metrics.damaged-{}.jsonl", i + 1));
            assert_eq!(fs::read_to_string(aside).unwrap(), damaged);
            assert!(Log::open(&path, 6).unwrap().1.is_none());
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_named_pipe_is_refused_and_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        let text = Log::open(&path, 0).err().unwrap().to_string();
        assert!(text.contains("pipe"), "{text}");
    }
}
