//! The files of a run: its lock, settings, record, checkpoints, grids and page.

use crate::checkpoint::{CheckpointReader, CheckpointStore, Loaded, RunLock, write_atomically};
use crate::config::TrainConfig;
use crate::error::GanError;
use crate::log::{Line, Log};
use crate::monitor::MonitorState;
use crate::report::plots::loss_curves;
use crate::report::report;
use crate::run_layout::RunLayout;
use crate::sample_writer::SampleWriter;
use crate::saved_run::read_config;
use engraft_tensor::Tensor;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The directory of a run that nobody else writes to meanwhile, before it is known how far the run has come.
pub(super) struct LockedDirectory {
    layout: RunLayout,
    store: CheckpointStore,
}

impl LockedDirectory {
    /// Locks a directory for a run; one that is somebody else's is left without a trace.
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

    /// Opens the files of a run that resumes after `step`; what was wrong with the record beside them.
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

    /// Adds the line of a step to the record.
    pub(super) fn push(&mut self, line: &Line) -> Result<(), GanError> {
        self.log.push(line)
    }

    /// Waits until the record is on the disk: a checkpoint must not outlive the lines before it.
    pub(super) fn sync(&self) -> Result<(), GanError> {
        self.log.sync()
    }

    /// Saves a checkpoint: its directory, and what went wrong once it was in place.
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

    /// The checkpoint to go back to.
    pub(super) fn latest(&self) -> Result<Loaded, GanError> {
        self.store.latest()?.ok_or_else(|| GanError::NoCheckpoint {
            path: self.layout.directory().into(),
        })
    }

    /// Cuts the record back to the step of the newest checkpoint; what was wrong with it.
    pub(super) fn roll_back(&mut self, step: u64, best: Option<u64>) -> Result<Option<String>, GanError> {
        self.saved = step;
        let (log, warning) = Log::open(&self.layout.record(), step)?;
        self.log = log;
        self.store.protect(best);
        Ok(warning)
    }

    /// Writes the measurements, and keeps the checkpoint of the best one.
    pub(super) fn write_measurements(&mut self, state: &MonitorState) -> Result<(), GanError> {
        self.store.protect(state.best_step());
        write_atomically(&self.layout.measurements(), state.to_lines().as_bytes())
    }

    /// Where the samples of a step are.
    pub(super) fn samples_path(&self, step: u64, writer: &dyn SampleWriter) -> PathBuf {
        self.layout.grid(step).with_extension(writer.extension())
    }

    /// Writes the samples of a step and the plots of the losses; gives the samples' path.
    pub(super) fn write_samples(
        &self,
        step: u64,
        samples: &Tensor,
        writer: &dyn SampleWriter,
    ) -> Result<PathBuf, GanError> {
        create_folder(&self.layout.samples())?;
        let path = self.samples_path(step, writer);
        writer.write(samples, &path)?;
        let plots = loss_curves(self.log.losses());
        write_atomically(&self.layout.plots(), plots.as_bytes())?;
        Ok(path)
    }

    /// Writes the page that shows it all.
    pub(super) fn write_report(
        &self,
        step: u64,
        config: &TrainConfig,
        state: &MonitorState,
        extractor: Option<&str>,
    ) -> Result<(), GanError> {
        let samples = self.layout.samples();
        let page = report(config, self.log.losses(), state, step, &samples, extractor);
        write_atomically(&self.layout.report(), page.as_bytes())
    }
}

/// Writes the settings of a run.
pub(super) fn write_settings(layout: &RunLayout, config: &TrainConfig) -> Result<(), GanError> {
    write_atomically(&layout.settings(), config.to_toml().as_bytes())
}

/// Fails if a new run would replace the settings or the record of another one, or of another program.
pub(super) fn check_no_earlier_run(layout: &RunLayout) -> Result<(), GanError> {
    let found = if layout.settings().symlink_metadata().is_ok() {
        Some(RunLayout::SETTINGS)
    } else {
        let record = layout.record().metadata();
        // A run that was killed before its first checkpoint leaves an empty one.
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

/// The error for a run that was begun with other settings, with the differences if its `run.toml` tells them.
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

/// Moves an earlier run out of the way; gives its new place, or `None` if there was none.
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
    // A run that was killed before it wrote its settings has its lock already.
    if !layout.settings().is_file() && !layout.lock().is_file() {
        return Err(GanError::NotARun {
            path: directory.into(),
        });
    }
    // Held until the directory has its new name, so that no other run begins in it meanwhile.
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
