//! Finding and loading checkpoints, without a lock and without trust.

use super::bounded_read::{self, MAX_CHECKPOINT_BYTES};
use super::layout::{self, Candidate, FOLDER};
use super::manifest::{MANIFEST, MAX_MANIFEST_BYTES, Manifest, printable};
use crate::GanError;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A checkpoint in memory; every byte of it has been verified.
#[derive(Debug)]
#[non_exhaustive]
pub struct Checkpoint {
    /// The training step it was saved at.
    pub step: u64,
    /// Its directory.
    pub path: PathBuf,
    /// Hash of the run's options, as given when it was saved.
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
    /// [`GanError::MissingFile`], with the names there are.
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

    /// Where a file stands, for messages.
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
    /// What was wrong with each newer one, newest first; show them to the user, for their work is lost.
    pub warnings: Vec<String>,
}

/// Reads the checkpoints of a run directory, even while a run writes to it.
#[derive(Clone, Debug)]
pub struct CheckpointReader {
    run: PathBuf,
    folder: PathBuf,
}

impl CheckpointReader {
    /// A reader for the run directory `run`; nothing is opened yet.
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

    /// Steps of all checkpoints, intact or not, the newest first.
    ///
    /// # Errors
    /// [`GanError::Io`] when the run directory does not exist or cannot be listed.
    pub fn steps(&self) -> Result<Vec<u64>, GanError> {
        let mut steps: Vec<u64> = self
            .candidates()?
            .iter()
            .map(|candidate| candidate.step)
            .collect();
        steps.dedup();
        Ok(steps)
    }

    /// The newest intact checkpoint; damaged ones are passed over with a warning. `None` when there is no checkpoint.
    ///
    /// The highest step is not chosen for being the highest: all files must be there with the right size and SHA-256.
    ///
    /// # Errors
    /// [`GanError::NoIntactCheckpoint`] when all are damaged; [`GanError::NewerFormat`] when an intact one is of a later
    /// format, since passing over it would throw work away; [`GanError::Io`] when the run directory cannot be listed.
    pub fn latest(&self) -> Result<Option<Loaded>, GanError> {
        let mut candidates = self.candidates()?;
        // The run may remove the listed ones while they are read; then there are newer ones.
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
    /// [`GanError::NoSuchCheckpoint`] with the steps there are; otherwise what is wrong with it.
    pub fn load(&self, step: u64) -> Result<Checkpoint, GanError> {
        let mut outcome = None;
        for candidate in self
            .candidates()?
            .iter()
            .filter(|candidate| candidate.step == step)
        {
            match read_checkpoint(candidate) {
                Ok(checkpoint) => return Ok(checkpoint),
                // What is wrong with the checkpoint itself says more than what is wrong with its stand-in.
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

/// Reads and checks everything that can be checked without reading the files: names, claims, real sizes.
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

/// Whether all of a checkpoint is intact, read but not kept.
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
