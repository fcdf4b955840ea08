//! Checkpoints of unfinished trainings, from which an interrupted command resumes.

use anyhow::Context;
use engraft_gan::checkpoint::{CheckpointStore, RunLock};
use engraft_transfer::semi_supervised::SemiSupervised;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// File of the test errors so far.
const CURVE: &str = "curve.json";
/// Number of checkpoints to keep: the last one, and the one before in case it is damaged.
const KEPT: usize = 2;
/// Time between two checkpoints.
const SAVE_AFTER: Duration = Duration::from_secs(60);

/// Ending of the names of their directories.
pub(super) const ENDING: &str = ".unfinished";

/// The directories in `out` of trainings with this name, for all settings.
pub(super) fn of(out: &Path, name: &str) -> impl Iterator<Item = PathBuf> {
    let begins = format!("{name}-");
    let entries = fs::read_dir(out).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(move |path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(&begins) && name.ends_with(ENDING)
    })
}

/// Number of misclassified test images, after each of some steps.
type Curve = Vec<(u64, usize)>;

/// The locked directory of the trainings of one result.
pub(super) struct Unfinished {
    path: PathBuf,
    _lock: RunLock,
}

impl Unfinished {
    /// Locks a directory, which need not exist. Its name must differ for settings with different results.
    ///
    /// # Errors
    /// If another process has locked it, or it cannot be written to.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        Ok(Self {
            path: path.into(),
            _lock: RunLock::acquire(path)?,
        })
    }

    /// Restores a training from its last checkpoint, if there is one, with its curve so far.
    ///
    /// # Errors
    /// If the checkpoint cannot be restored.
    pub(super) fn training<'d>(
        &self,
        name: &str,
        mut task: SemiSupervised<'d>,
        tell: &dyn Fn(&str),
    ) -> anyhow::Result<(Saves, SemiSupervised<'d>, Curve)> {
        let directory = self.path.join(name);
        let stuck = || {
            let shown = directory.display();
            format!("{shown}: cannot resume this training; move the directory away to start it again")
        };
        let store = CheckpointStore::open(&directory, KEPT)?;
        let mut curve = Vec::new();
        if let Some(loaded) = store.latest().with_context(stuck)? {
            loaded.warnings.iter().for_each(|warning| tell(warning));
            let checkpoint = loaded.checkpoint;
            curve =
                serde_json::from_slice(checkpoint.file(CURVE).with_context(stuck)?).with_context(stuck)?;
            task = task.resume(&checkpoint).with_context(stuck)?;
            tell(&format!(
                "resuming from step {} in {}",
                task.steps_done(),
                directory.display()
            ));
        }
        let saves = Saves {
            store,
            last: Instant::now(),
        };
        Ok((saves, task, curve))
    }

    /// Removes the directory, when its result is saved.
    pub(super) fn remove(self, tell: &dyn Fn(&str)) {
        remove(&self.path, tell);
    }
}

/// Removes the directory of trainings whose result is saved. A failure is only reported, because nothing is lost.
pub(super) fn remove(path: &Path, tell: &dyn Fn(&str)) {
    // Renamed first: half of a directory would look like a damaged training.
    let aside = path.with_extension("done");
    let ignore_missing = |found: std::io::Result<()>| match found {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    };
    let removed = ignore_missing(fs::remove_dir_all(&aside))
        .and_then(|()| ignore_missing(fs::rename(path, &aside)))
        .and_then(|()| ignore_missing(fs::remove_dir_all(&aside)));
    if let Err(error) = removed {
        tell(&format!(
            "{} is no longer needed, but cannot be removed: {error}",
            path.display()
        ));
    }
}

/// Checkpoints of one training.
pub(super) struct Saves {
    store: CheckpointStore,
    last: Instant,
}

impl Saves {
    /// Saves a checkpoint, if the last one is a minute old.
    ///
    /// # Errors
    /// Those of [`Saves::save`].
    pub(super) fn save_when_due(
        &mut self,
        task: &SemiSupervised<'_>,
        curve: &Curve,
        tell: &dyn Fn(&str),
    ) -> anyhow::Result<()> {
        if self.last.elapsed() < SAVE_AFTER {
            return Ok(());
        }
        self.save(task, curve, tell)
    }

    /// Saves a checkpoint.
    ///
    /// # Errors
    /// If the directory cannot be written to.
    pub(super) fn save(
        &mut self,
        task: &SemiSupervised<'_>,
        curve: &Curve,
        tell: &dyn Fn(&str),
    ) -> anyhow::Result<()> {
        let mut files = task.checkpoint_files()?;
        files.insert(CURVE.into(), serde_json::to_vec(curve)?);
        let saved = self.store.save(task.steps_done(), "", &files)?;
        saved.warnings.iter().for_each(|warning| tell(warning));
        self.last = Instant::now();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_data::{Dataset, Split, drawn_digits};
    use engraft_transfer::semi_supervised::{Examples, SemiSupervisedConfig, select_labeled};
    use std::cell::RefCell;

    fn task(train: &Dataset) -> SemiSupervised<'_> {
        let mut settings = SemiSupervisedConfig::new(4, 1);
        (settings.batch, settings.hidden) = (10, vec![8]);
        let labeled = vec![(train, select_labeled(train.labels(), 10, 1).unwrap())];
        let unlabeled = Some(train);
        SemiSupervised::new(Examples { labeled, unlabeled }, settings).unwrap()
    }

    #[test]
    fn a_training_resumes_and_its_directory_is_removed_afterwards() {
        let train = drawn_digits(Split::Train, 30, 1);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("feature-matching.unfinished");
        let printed = RefCell::new(String::new());
        let tell = |line: &str| *printed.borrow_mut() += line;

        let unfinished = Unfinished::open(&path).unwrap();
        let busy = Unfinished::open(&path).err().unwrap().to_string();
        assert!(busy.contains("feature-matching.unfinished"), "{busy}");
        let (mut saves, mut begun, curve) = unfinished.training("one", task(&train), &tell).unwrap();
        assert!((begun.steps_done(), curve.len()) == (0, 0) && printed.borrow().is_empty());
        for _ in 0..3 {
            begun.step().unwrap();
            saves.save(&begun, &vec![(1, 5)], &tell).unwrap();
        }
        let expected = begun.step().unwrap();
        saves.save_when_due(&begun, &vec![(2, 4)], &tell).unwrap();
        drop((saves, unfinished));

        let unfinished = Unfinished::open(&path).unwrap();
        let (saves, mut resumed, curve) = unfinished.training("one", task(&train), &tell).unwrap();
        assert_eq!((resumed.steps_done(), curve), (3, vec![(1, 5)]));
        assert_eq!(resumed.step().unwrap(), expected);
        assert!(printed.take().contains("step 3"));
        drop(saves);
        // The rest of an earlier removal whose process was killed.
        fs::create_dir_all(path.with_extension("done").join("checkpoints")).unwrap();
        unfinished.remove(&tell);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        remove(&path, &tell);
        assert_eq!(printed.take(), "");
    }

    #[test]
    fn damage_is_an_error_with_a_remedy() {
        let train = drawn_digits(Split::Train, 30, 1);
        let folder = tempfile::tempdir().unwrap();
        let unfinished = Unfinished::open(folder.path()).unwrap();
        let open = || unfinished.training("one", task(&train), &|_| ());
        let (mut saves, begun, curve) = open().unwrap();
        saves.save(&begun, &curve, &|_| ()).unwrap();
        drop(saves);
        let weights = folder
            .path()
            .join("one/checkpoints/step-000000/classifier.safetensors");
        let mut bytes = fs::read(&weights).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&weights, bytes).unwrap();
        let message = format!("{:#}", open().err().unwrap());
        assert!(
            message.contains("one") && message.contains("classifier"),
            "{message}"
        );
    }
}
