//! Names of the files in a run directory.

use crate::checkpoint::{FOLDER, LOCK_FILE, directory_name};
use std::path::{Path, PathBuf};

/// Paths of the files in a run directory.
///
/// ```
/// use engraft_gan::RunLayout;
/// let run = RunLayout::new("runs/mnist");
/// assert_eq!(run.grid(100), std::path::Path::new("runs/mnist/samples/step-000100.png"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunLayout {
    directory: PathBuf,
}

impl RunLayout {
    /// Name of the file of settings.
    pub const SETTINGS: &str = "run.toml";
    /// Name of the record with one line for each step.
    pub const RECORD: &str = "metrics.jsonl";

    /// The layout of a run directory, which does not need to exist.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
        }
    }

    /// The run directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The [settings](crate::TrainConfig): `run.toml`.
    pub fn settings(&self) -> PathBuf {
        self.directory.join(Self::SETTINGS)
    }

    /// The record of every step: `metrics.jsonl`.
    pub fn record(&self) -> PathBuf {
        self.directory.join(Self::RECORD)
    }

    /// The [measurements](crate::Measurement): `measures.jsonl`.
    pub fn measurements(&self) -> PathBuf {
        self.directory.join("measures.jsonl")
    }

    /// The loss plots: `losses.svg`.
    pub fn plots(&self) -> PathBuf {
        self.directory.join("losses.svg")
    }

    /// The report: `report.html`.
    pub fn report(&self) -> PathBuf {
        self.directory.join("report.html")
    }

    /// Hashes of the images that the run trains on: `training-images.txt`.
    pub fn training_images(&self) -> PathBuf {
        self.directory.join("training-images.txt")
    }

    /// Names of the classes of a class-conditional run: `classes.json`.
    pub fn class_names(&self) -> PathBuf {
        self.directory.join("classes.json")
    }

    /// Grid of training images, as the networks get them: `reals.png`.
    pub fn reals(&self) -> PathBuf {
        self.directory.join("reals.png")
    }

    /// Grid of the same images after the run's augmentation: `augmented.png`.
    pub fn augmented(&self) -> PathBuf {
        self.directory.join("augmented.png")
    }

    /// Generated images with their nearest training images: `nearest.png`.
    pub fn nearest(&self) -> PathBuf {
        self.directory.join("nearest.png")
    }

    /// An animation of paths through the latent space: `interpolation.png`.
    pub fn interpolation(&self) -> PathBuf {
        self.directory.join("interpolation.png")
    }

    /// The lock file: `run.lock`.
    pub fn lock(&self) -> PathBuf {
        self.directory.join(LOCK_FILE)
    }

    /// The folder of sample grids.
    pub fn samples(&self) -> PathBuf {
        self.directory.join("samples")
    }

    /// The sample grid of a step.
    pub fn grid(&self, step: u64) -> PathBuf {
        self.samples().join(format!("step-{step:06}.png"))
    }

    /// The folder of checkpoints.
    pub fn checkpoints(&self) -> PathBuf {
        self.directory.join(FOLDER)
    }

    /// The directory of the checkpoint of a step.
    pub fn checkpoint(&self, step: u64) -> PathBuf {
        self.checkpoints().join(directory_name(step))
    }
}
