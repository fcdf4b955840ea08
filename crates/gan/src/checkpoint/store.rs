//! Saving checkpoints: write to a temporary directory, sync, rename, then remove old ones.
//!
//! | step of [`CheckpointStore::save`] | state after a crash in this step |
//! |---|---|
//! | write and sync each file into `.step-N.PID.tmp/`, the manifest last; sync that directory | a temporary directory, removed by the next [`CheckpointStore::open`] |
//! | rename a checkpoint of the same step to `.step-N.PID.old` | the old checkpoint under the `.old` name, which readers use and the next `open` restores |
//! | rename the new one to `step-N`; sync the folder | the old or the new checkpoint, complete |
//! | remove the `.old` one and checkpoints beyond the newest `keep` intact ones | one checkpoint more than needed |

use super::bounded_read::MAX_CHECKPOINT_BYTES;
use super::layout::{self, Candidate, FOLDER};
use super::manifest::{MANIFEST, MAX_MANIFEST_BYTES, Manifest};
use super::reader::{self, Checkpoint, CheckpointReader, Loaded};
use super::{RunLock, atomic, failpoint};
use crate::GanError;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Saves and loads the checkpoints of a run directory, which it locks.
#[derive(Debug)]
pub struct CheckpointStore {
    reader: CheckpointReader,
    keep: usize,
    /// Step whose checkpoint is never removed.
    protected: Option<u64>,
    /// Steps whose files this process has written or verified, so they need not be hashed again.
    verified: BTreeSet<u64>,
    _lock: RunLock,
}

/// A saved checkpoint.
#[derive(Debug)]
#[non_exhaustive]
pub struct Saved {
    /// Its directory.
    pub path: PathBuf,
    /// Problems after it was saved: it may not survive a power loss, or old checkpoints could not be removed.
    pub warnings: Vec<String>,
}

impl CheckpointStore {
    /// Locks the run directory `run`, creates missing directories, checks that they are writable, and cleans up
    /// after a killed run. The newest `keep` intact checkpoints are kept.
    ///
    /// # Errors
    /// [`GanError::Locked`] if another run is writing to it. [`GanError::Io`] if it cannot be created or written.
    /// [`GanError::Unsaveable`] if `keep` is 0.
    pub fn open(run: &Path, keep: usize) -> Result<Self, GanError> {
        if keep == 0 {
            return Err(GanError::Unsaveable {
                reason: "keep must be at least 1, got 0".into(),
            });
        }
        let lock = RunLock::acquire(run)?;
        let folder = run.join(FOLDER);
        fs::create_dir_all(&folder)
            .map_err(|error| GanError::io(&folder, "creating the directory", error))?;
        atomic::probe(&folder)?;
        if let Some(parent) = run.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            // The run directory may be new, so its parent is synced if possible.
            let _ = atomic::sync_directory(parent);
        }
        atomic::sync_directory(run).map_err(|error| GanError::io(run, "syncing the directory", error))?;
        atomic::remove_leftovers(&folder)?;
        let store = Self {
            reader: CheckpointReader::new(run),
            keep,
            protected: None,
            verified: BTreeSet::new(),
            _lock: lock,
        };
        store.recover()?;
        Ok(store)
    }

    /// Saves `files` as the checkpoint of `step`, replacing an existing one.
    ///
    /// File names consist of letters, digits, dots, dashes and underscores, have at most 100 bytes, and do not
    /// start or end with a dot. There are at most 256 files of [`MAX_CHECKPOINT_BYTES`] in total. `options_hash`,
    /// at most 256 bytes, identifies the settings of the run, so that a resumed run can detect changes.
    ///
    /// # Errors
    /// [`GanError::Unsaveable`] for files that violate these rules, [`GanError::Io`] if writing fails. Earlier
    /// checkpoints then stay intact, and no partial one is left.
    pub fn save(
        &mut self,
        step: u64,
        options_hash: &str,
        files: &BTreeMap<String, Vec<u8>>,
    ) -> Result<Saved, GanError> {
        let manifest = Manifest::describe(step, options_hash, files, MAX_CHECKPOINT_BYTES)?.to_bytes()?;
        if manifest.len() as u64 > MAX_MANIFEST_BYTES {
            return Err(GanError::Unsaveable {
                reason: format!("the manifest would be {} bytes long", manifest.len()),
            });
        }
        let temporary = self.reader.folder().join(layout::temporary(step, ""));
        let path = self.reader.folder().join(layout::name(step));
        let aside = self.reader.folder().join(layout::aside(step));
        layout::remove(&temporary)?;
        let needed = files.values().map(Vec::len).sum::<usize>() + manifest.len();
        atomic::ensure_space(&path, needed as u64)?;
        let written =
            write_set(&temporary, files, &manifest).and_then(|()| publish(&temporary, &path, &aside));
        if let Err(error) = written {
            // Report the first error; leftovers are removed by the next save or open.
            let _ = layout::remove(&temporary);
            return Err(error);
        }
        self.verified.insert(step);
        let mut warnings = Vec::new();
        match atomic::sync_directory(self.reader.folder()) {
            // Keep the older checkpoints: after a power loss they may be the only ones.
            Err(error) => warnings.push(format!(
                "{}: saved, but it may not survive a power loss: syncing its folder failed: {error}",
                path.display()
            )),
            Ok(()) => {
                let removed = layout::remove(&aside).and_then(|()| self.prune(step));
                warnings.extend(removed.err().map(|error| format!("saved, but {error}")));
            }
        }
        Ok(Saved { path, warnings })
    }

    /// Protects the checkpoint of a step from removal, instead of the previously protected one.
    pub fn protect(&mut self, step: Option<u64>) {
        self.protected = step;
    }

    /// Same as [`CheckpointReader::latest`].
    ///
    /// # Errors
    /// Those of [`CheckpointReader::latest`].
    pub fn latest(&self) -> Result<Option<Loaded>, GanError> {
        self.reader.latest()
    }

    /// Same as [`CheckpointReader::load`].
    ///
    /// # Errors
    /// Those of [`CheckpointReader::load`].
    pub fn load(&self, step: u64) -> Result<Checkpoint, GanError> {
        self.reader.load(step)
    }

    /// A reader for the same directory, which can outlive the store.
    pub fn reader(&self) -> &CheckpointReader {
        &self.reader
    }

    /// Cleans up after a killed run: removes partial checkpoints, and restores `.old` ones whose replacement is
    /// missing.
    fn recover(&self) -> Result<(), GanError> {
        let folder = self.reader.folder();
        let fail = |error| GanError::io(folder, "listing", error);
        for entry in fs::read_dir(folder).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            if entry.file_name().to_str().is_some_and(layout::is_temporary) {
                layout::remove(&entry.path())?;
            }
        }
        let candidates = self.reader.candidates()?;
        for aside in candidates.iter().filter(|candidate| candidate.aside) {
            let path = folder.join(layout::name(aside.step));
            let arrived = Candidate {
                step: aside.step,
                path: path.clone(),
                aside: false,
            };
            if reader::verify(&arrived).is_err() {
                layout::remove(&path)?;
                fs::rename(&aside.path, &path)
                    .map_err(|error| GanError::io(&aside.path, "putting back", error))?;
            }
            layout::remove(&aside.path)?;
        }
        atomic::sync_directory(folder).map_err(|error| GanError::io(folder, "syncing the directory", error))
    }

    /// Removes checkpoints older than the newest `keep` intact ones, except the one just saved and the protected
    /// one.
    ///
    /// Damaged checkpoints do not count, so they never displace an intact one.
    fn prune(&mut self, saved: u64) -> Result<(), GanError> {
        let mut intact = 0;
        for candidate in self.reader.candidates()? {
            if intact >= self.keep && candidate.step != saved && Some(candidate.step) != self.protected {
                let doomed = self
                    .reader
                    .folder()
                    .join(layout::temporary(candidate.step, "-pruned"));
                layout::remove(&doomed)?;
                // Rename first, so that a crash leaves no partial checkpoint under this name.
                fs::rename(&candidate.path, &doomed)
                    .map_err(|error| GanError::io(&candidate.path, "renaming before removal", error))?;
                failpoint::point().map_err(|error| GanError::io(&doomed, "removing", error))?;
                layout::remove(&doomed)?;
                self.verified.remove(&candidate.step);
            } else if self.is_intact(&candidate) {
                intact += 1;
            }
        }
        Ok(())
    }

    fn is_intact(&mut self, candidate: &Candidate) -> bool {
        if self.verified.contains(&candidate.step) {
            return reader::check(candidate).is_ok();
        }
        let intact = reader::verify(candidate).is_ok();
        if intact && !candidate.aside {
            self.verified.insert(candidate.step);
        }
        intact
    }
}

/// Writes all files and then the manifest to a new directory, each synced.
fn write_set(dir: &Path, files: &BTreeMap<String, Vec<u8>>, manifest: &[u8]) -> Result<(), GanError> {
    fs::create_dir(dir)
        .and_then(|()| failpoint::point())
        .map_err(|error| GanError::io(dir, "creating the directory", error))?;
    for (name, bytes) in files {
        atomic::write_new(&dir.join(name), bytes)?;
    }
    atomic::write_new(&dir.join(MANIFEST), manifest)?;
    atomic::sync_directory(dir).map_err(|error| GanError::io(dir, "syncing the directory", error))
}

/// Renames the complete directory to its final name. An existing one is moved aside first, and restored on failure.
fn publish(temporary: &Path, path: &Path, aside: &Path) -> Result<(), GanError> {
    let occupied = fs::symlink_metadata(path).is_ok();
    if occupied {
        layout::remove(aside)?;
        fs::rename(path, aside)
            .map_err(|error| GanError::io(path, "moving the older checkpoint aside", error))?;
    }
    let placed = failpoint::point().and_then(|()| fs::rename(temporary, path));
    if let Err(error) = placed {
        if occupied {
            // If this fails too, readers use the `.old` one, and the next open restores it.
            let _ = fs::rename(aside, path);
        }
        return Err(GanError::io(
            path,
            "renaming the finished checkpoint into place",
            error,
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
