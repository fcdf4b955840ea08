//! The files of a run: lock, settings, metrics, checkpoints, samples and report.

use crate::checkpoint::{CheckpointReader, CheckpointStore, Loaded, RunLock, write_atomically};
use crate::config::TrainConfig;
use crate::error::GanError;
use crate::log::{Line, Log};
use crate::monitor::MonitorState;
use crate::report::plots::loss_file;
use crate::report::{report, to_html};
use crate::run_layout::RunLayout;
use crate::sample_writer::SampleWriter;
use crate::saved_run::read_config;
use engraft_tensor::Tensor;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A locked run directory, before its progress is known.
pub(super) struct LockedDirectory {
    layout: RunLayout,
    store: CheckpointStore,
}

impl LockedDirectory {
    /// Locks a run directory. Changes nothing in a directory that is refused.
    pub(super) fn lock(directory: &Path, config: &TrainConfig) -> Result<Self, GanError> {
        let layout = RunLayout::new(directory);
        let has_checkpoint = CheckpointReader::new(directory)
            .steps()
            .is_ok_and(|steps| !steps.is_empty());
        if !layout.lock().exists() && !has_checkpoint {
            check_no_earlier_run(&layout)?;
        }
        Ok(Self {
            store: CheckpointStore::open(directory, config.output.keep_checkpoints)?,
            layout,
        })
    }

    /// The newest intact checkpoint.
    pub(super) fn latest(&self) -> Result<Option<Loaded>, GanError> {
        self.store.latest()
    }

    pub(super) fn layout(&self) -> &RunLayout {
        &self.layout
    }

    /// Opens the files of a run that resumes after `step`. Also returns a warning if `metrics.jsonl` was damaged.
    pub(super) fn open(
        mut self,
        step: u64,
        best: Option<u64>,
    ) -> Result<(RunFiles, Option<String>), GanError> {
        create_folder(&self.layout.samples())?;
        let (log, warning) = Log::open(&self.layout.record(), step)?;
        self.store.protect(best);
        let files = RunFiles {
            layout: self.layout,
            store: self.store,
            log,
            saved: step,
        };
        Ok((files, warning))
    }
}

/// The files of a run in progress.
pub(super) struct RunFiles {
    layout: RunLayout,
    store: CheckpointStore,
    log: Log,
    /// Step of the newest checkpoint.
    saved: u64,
}

impl RunFiles {
    pub(super) fn layout(&self) -> &RunLayout {
        &self.layout
    }

    /// The record of all steps so far.
    pub(super) fn log(&self) -> &Log {
        &self.log
    }

    /// Step of the newest checkpoint.
    pub(super) fn saved(&self) -> u64 {
        self.saved
    }

    /// Appends the line of a step to the record.
    pub(super) fn push(&mut self, line: &Line) -> Result<(), GanError> {
        self.log.push(line)
    }

    /// Syncs the record to disk, which a checkpoint must not be ahead of.
    pub(super) fn sync(&self) -> Result<(), GanError> {
        self.log.sync()
    }

    /// Saves a checkpoint. Returns its directory and warnings about the clean-up.
    pub(super) fn save(
        &mut self,
        step: u64,
        config: &TrainConfig,
        files: &BTreeMap<String, Vec<u8>>,
    ) -> Result<(PathBuf, Vec<String>), GanError> {
        let saved = self.store.save(step, &config.fixed_hash(), files)?;
        self.saved = step;
        Ok((saved.path, saved.warnings))
    }

    /// The checkpoint to roll back to.
    pub(super) fn latest(&self) -> Result<Loaded, GanError> {
        self.store.latest()?.ok_or_else(|| GanError::NoCheckpoint {
            path: self.layout.directory().into(),
        })
    }

    /// Truncates the record to the step of the newest checkpoint. Returns a warning if it was damaged.
    pub(super) fn roll_back(&mut self, step: u64, best: Option<u64>) -> Result<Option<String>, GanError> {
        self.saved = step;
        let (log, warning) = Log::open(&self.layout.record(), step)?;
        self.log = log;
        self.store.protect(best);
        Ok(warning)
    }

    /// Writes `measures.jsonl` and protects the checkpoint of the best measurement.
    pub(super) fn write_measurements(&mut self, state: &MonitorState) -> Result<(), GanError> {
        self.store.protect(state.best_step());
        write_atomically(&self.layout.measurements(), state.to_lines().as_bytes())
    }

    /// Path of the samples of a step.
    pub(super) fn samples_path(&self, step: u64, writer: &dyn SampleWriter) -> PathBuf {
        self.layout.grid(step).with_extension(writer.extension())
    }

    /// Writes the loss plots and the samples of a step. Returns the path of the samples.
    ///
    /// The samples come last: a run that was killed before writes both again, because they are missing. If the plots cannot be
    /// written, the samples are.
    pub(super) fn write_samples(
        &self,
        step: u64,
        samples: &Tensor,
        writer: &dyn SampleWriter,
    ) -> Result<PathBuf, GanError> {
        create_folder(&self.layout.samples())?;
        let path = self.samples_path(step, writer);
        let plots = loss_file(self.log.losses());
        let plotted = write_atomically(&self.layout.plots(), plots.as_bytes());
        writer.write(samples, &path)?;
        plotted?;
        Ok(path)
    }

    /// Writes `report.html`.
    pub(super) fn write_report(
        &self,
        step: u64,
        config: &TrainConfig,
        state: &MonitorState,
        extractor: Option<&str>,
    ) -> Result<(), GanError> {
        let page = report(config, self.log.losses(), state, step, &self.layout, extractor);
        write_atomically(&self.layout.report(), to_html(&page).as_bytes())
    }
}

/// Writes `run.toml`.
pub(super) fn write_settings(layout: &RunLayout, config: &TrainConfig) -> Result<(), GanError> {
    write_atomically(&layout.settings(), config.to_toml().as_bytes())
}

/// Fails if a new run would overwrite an existing `run.toml` or `metrics.jsonl`.
pub(super) fn check_no_earlier_run(layout: &RunLayout) -> Result<(), GanError> {
    let found = if layout.settings().symlink_metadata().is_ok() {
        Some(RunLayout::SETTINGS)
    } else {
        let record = layout.record().metadata();
        // A run killed before its first checkpoint leaves an empty record.
        record.is_ok_and(|m| m.len() > 0).then_some(RunLayout::RECORD)
    };
    match found {
        None => Ok(()),
        Some(found) => Err(GanError::Occupied {
            path: layout.directory().into(),
            found,
        }),
    }
}

/// The error for a run with different settings, with the differences if its `run.toml` can be read.
pub(super) fn other_settings(config: &TrainConfig, directory: &Path) -> GanError {
    let saved = read_config(directory);
    let differences = match saved {
        Ok(saved) => saved.fixed_differences(config),
        Err(e) => vec![e.to_string()],
    };
    GanError::OtherSettings {
        path: directory.into(),
        differences,
    }
}

/// Renames an earlier run. Returns its new path, or `None` if there is no run.
pub(super) fn set_aside(directory: &Path) -> Result<Option<PathBuf>, GanError> {
    let is_empty = match std::fs::read_dir(directory) {
        Ok(mut entries) => entries.next().is_none(),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => true,
        Err(e) => return Err(GanError::io(directory, "listing", e)),
    };
    if is_empty {
        return Ok(None);
    }
    let layout = RunLayout::new(directory);
    // A run killed before it wrote its settings already has its lock.
    if !layout.settings().is_file() && !layout.lock().is_file() {
        return Err(GanError::NotARun {
            path: directory.into(),
        });
    }
    // Held until the directory is renamed, so that no other run starts in it meanwhile.
    let _lock = RunLock::acquire(directory)?;
    let target = (1..)
        .map(|i| {
            let mut name = directory.file_name().unwrap_or_default().to_os_string();
            name.push(format!(".old-{i}"));
            directory.with_file_name(name)
        })
        .find(|path| !path.exists())
        .expect("some number is free");
    std::fs::rename(directory, &target).map_err(|e| GanError::io(directory, "renaming", e))?;
    Ok(Some(target))
}

fn create_folder(folder: &Path) -> Result<(), GanError> {
    std::fs::create_dir_all(folder).map_err(|e| GanError::io(folder, "creating", e))
}
