//! Finding and loading checkpoints, without a lock and with full verification.

use super::bounded_read::{self, MAX_CHECKPOINT_BYTES};
use super::layout::{self, Candidate, FOLDER};
use super::manifest::{MANIFEST, MAX_MANIFEST_BYTES, Manifest, printable};
use crate::GanError;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A checkpoint in memory, verified by its checksums.
#[derive(Debug)]
#[non_exhaustive]
pub struct Checkpoint {
    /// The training step at which it was saved.
    pub step: u64,
    /// Its directory.
    pub path: PathBuf,
    /// Hash of the run's settings, as passed when it was saved.
    pub options_hash: String,
    /// Version of this crate that wrote it.
    pub crate_version: String,
    /// The files, by name.
    pub files: BTreeMap<String, Vec<u8>>,
}

impl Checkpoint {
    /// The bytes of a file.
    ///
    /// # Errors
    /// [`GanError::MissingFile`], with the existing names.
    pub fn file(&self, name: &str) -> Result<&[u8], GanError> {
        self.files
            .get(name)
            .map(Vec::as_slice)
            .ok_or_else(|| GanError::MissingFile {
                path: self.path.clone(),
                name: name.to_string(),
                available: self.files.keys().cloned().collect(),
            })
    }

    /// Path of a file, for messages.
    pub fn file_path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// The newest intact checkpoint.
#[derive(Debug)]
#[non_exhaustive]
pub struct Loaded {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// One error for each newer damaged checkpoint, newest first. Show them to the user, because their steps are
    /// lost.
    pub warnings: Vec<String>,
}

/// Reads the checkpoints of a run directory, even while a run writes to it.
#[derive(Clone, Debug)]
pub struct CheckpointReader {
    run: PathBuf,
    folder: PathBuf,
}

impl CheckpointReader {
    /// A reader for the run directory `run`. Nothing is opened yet.
    pub fn new(run: &Path) -> Self {
        Self {
            run: run.to_path_buf(),
            folder: run.join(FOLDER),
        }
    }

    /// The folder that holds the checkpoints.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Steps of all checkpoints, intact or not, newest first.
    ///
    /// # Errors
    /// [`GanError::Io`] if the run directory does not exist or cannot be listed.
    pub fn steps(&self) -> Result<Vec<u64>, GanError> {
        let mut steps: Vec<u64> = self
            .candidates()?
            .iter()
            .map(|candidate| candidate.step)
            .collect();
        steps.dedup();
        Ok(steps)
    }

    /// The newest intact checkpoint: all files are present with the right size and SHA-256. Damaged ones are
    /// skipped with a warning. `None` if there is no checkpoint.
    ///
    /// # Errors
    /// [`GanError::NoIntactCheckpoint`] if all are damaged. [`GanError::NewerFormat`] if an intact one has a newer
    /// format, since skipping it would lose work. [`GanError::Io`] if the run directory cannot be listed.
    pub fn latest(&self) -> Result<Option<Loaded>, GanError> {
        let mut candidates = self.candidates()?;
        // The run may remove checkpoints while they are read; there are newer ones then.
        for _ in 0..3 {
            let mut warnings = Vec::new();
            for candidate in &candidates {
                match read_checkpoint(candidate) {
                    Ok(checkpoint) => return Ok(Some(Loaded { checkpoint, warnings })),
                    Err(error @ GanError::NewerFormat { .. }) => return Err(error),
                    Err(error) => warnings.push(error.to_string()),
                }
            }
            let now = self.candidates()?;
            if now == candidates {
                return match warnings.is_empty() {
                    true => Ok(None),
                    false => Err(GanError::NoIntactCheckpoint {
                        dir: self.run.clone(),
                        reasons: warnings,
                    }),
                };
            }
            candidates = now;
        }
        let reasons = vec!["the checkpoints change faster than they can be read; try again".to_string()];
        Err(GanError::NoIntactCheckpoint {
            dir: self.run.clone(),
            reasons,
        })
    }

    /// The checkpoint of one step.
    ///
    /// # Errors
    /// [`GanError::NoSuchCheckpoint`] with the existing steps, or the error of the damaged checkpoint.
    pub fn load(&self, step: u64) -> Result<Checkpoint, GanError> {
        let mut outcome = None;
        for candidate in self
            .candidates()?
            .iter()
            .filter(|candidate| candidate.step == step)
        {
            match read_checkpoint(candidate) {
                Ok(checkpoint) => return Ok(checkpoint),
                // The error of the checkpoint itself is more useful than that of its `.old` copy.
                Err(error) => outcome = outcome.or(Some(error)),
            }
        }
        Err(match outcome {
            Some(error) => error,
            None => GanError::NoSuchCheckpoint {
                dir: self.run.clone(),
                step,
                available: self.steps()?,
            },
        })
    }

    pub(super) fn candidates(&self) -> Result<Vec<Candidate>, GanError> {
        if let Err(error) = fs::metadata(&self.run) {
            return Err(GanError::io(&self.run, "opening the run directory", error));
        }
        match layout::candidates(&self.folder) {
            Err(GanError::Io { reason, .. }) if reason.kind() == std::io::ErrorKind::NotFound => {
                Ok(Vec::new())
            }
            other => other,
        }
    }
}

/// Checks everything except the content of the files: names, limits, sizes.
pub(super) fn check(candidate: &Candidate) -> Result<Manifest, GanError> {
    let dir = &candidate.path;
    let found = fs::symlink_metadata(dir).map_err(|error| GanError::io(dir, "opening", error))?;
    if !found.is_dir() {
        return Err(bounded_read::not_regular(dir, &found));
    }
    let path = dir.join(MANIFEST);
    let bytes = bounded_read::read_capped(&path, MAX_MANIFEST_BYTES)?;
    let manifest = Manifest::parse(&bytes, &path, candidate.step, MAX_CHECKPOINT_BYTES)?;
    for file in &manifest.files {
        bounded_read::check_size(&dir.join(&file.name), file.size)?;
    }
    Ok(manifest)
}

/// Verifies all files of a checkpoint without keeping them.
pub(super) fn verify(candidate: &Candidate) -> Result<(), GanError> {
    for file in check(candidate)?.files {
        bounded_read::verify(&candidate.path.join(&file.name), file.size, &file.sha256)?;
    }
    Ok(())
}

fn read_checkpoint(candidate: &Candidate) -> Result<Checkpoint, GanError> {
    let manifest = check(candidate)?;
    let mut files = BTreeMap::new();
    for file in manifest.files {
        let bytes = bounded_read::read_verified(&candidate.path.join(&file.name), file.size, &file.sha256)?;
        files.insert(file.name, bytes);
    }
    Ok(Checkpoint {
        step: manifest.step,
        path: candidate.path.clone(),
        options_hash: manifest.options_hash,
        crate_version: printable(&manifest.crate_version),
        files,
    })
}
