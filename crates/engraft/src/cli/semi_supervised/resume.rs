//! Trainings on the way, so that an interrupted command goes on where it stood.

use anyhow::Context;
use engraft_gan::checkpoint::{CheckpointStore, RunLock};
use engraft_transfer::semi_supervised::SemiSupervised;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The test errors so far.
const CURVE: &str = "curve.json";
/// Checkpoints that are kept: the last one, and one before it should that be damaged.
const KEPT: usize = 2;
/// What may be lost of a training.
const SAVE_AFTER: Duration = Duration::from_secs(60);

/// How the names of their directories end.
pub(super) const ENDING: &str = ".unfinished";

/// The directories in `out` of trainings with this name, whatever their settings.
pub(super) fn of(out: &Path, name: &str) -> impl Iterator<Item = PathBuf> {
    let begins = format!("{name}-");
    let entries = fs::read_dir(out).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(move |path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(&begins) && name.ends_with(ENDING)
    })
}

/// Test images that were wrong, after steps.
type Curve = Vec<(u64, usize)>;

/// The directory of trainings that lead to one result, which no other process may touch meanwhile.
pub(super) struct Unfinished {
    path: PathBuf,
    _lock: RunLock,
}

impl Unfinished {
    /// Takes a directory, which need not exist. Its name must tell settings apart that give other results.
    ///
    /// # Errors
    /// If another process holds it, or it cannot be written to.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        Ok(Self {
            path: path.into(),
            _lock: RunLock::acquire(path)?,
        })
    }

    /// A training that has not begun, moved to where it was interrupted, and its curve so far.
    ///
    /// # Errors
    /// If what is saved cannot be gone on with.
    pub(super) fn training<'d>(
        &self,
        name: &str,
        mut task: SemiSupervised<'d>,
        tell: &dyn Fn(&str),
    ) -> anyhow::Result<(Saves, SemiSupervised<'d>, Curve)> {
        let directory = self.path.join(name);
        let stuck = || {
            let shown = directory.display();
            format!(
                "{shown}: cannot go on with the training saved here; move the directory away to begin it anew"
            )
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
                "goes on from step {} in {}",
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

    /// Removes the directory, whose result is safe elsewhere.
    pub(super) fn remove(self, tell: &dyn Fn(&str)) {
        remove(&self.path, tell);
    }
}

/// Removes what may be left of trainings whose result is safe elsewhere. A failure is told, for nothing is lost by it.
pub(super) fn remove(path: &Path, tell: &dyn Fn(&str)) {
    // Renamed first: half a directory would look like a damaged training.
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
            "{} is not needed any more, but cannot be removed: {error}",
            path.display()
        ));
    }
}

/// Where one training is saved.
pub(super) struct Saves {
    store: CheckpointStore,
    last: Instant,
}

impl Saves {
    /// Saves how far a training is, if that was last done a minute ago.
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

    /// Saves how far a training is.
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
    fn a_training_goes_on_and_what_is_done_with_is_removed() {
        let train = drawn_digits(Split::Train, 30, 1);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("feature-matching.unfinished");
        let told = RefCell::new(String::new());
        let tell = |line: &str| *told.borrow_mut() += line;

        let unfinished = Unfinished::open(&path).unwrap();
        let busy = Unfinished::open(&path).err().unwrap().to_string();
        assert!(busy.contains("feature-matching.unfinished"), "{busy}");
        let (mut saves, mut begun, curve) = unfinished.training("one", task(&train), &tell).unwrap();
        assert!((begun.steps_done(), curve.len()) == (0, 0) && told.borrow().is_empty());
        for _ in 0..3 {
            begun.step().unwrap();
            saves.save(&begun, &vec![(1, 5)], &tell).unwrap();
        }
        let expected = begun.step().unwrap();
        saves.save_when_due(&begun, &vec![(2, 4)], &tell).unwrap();
        drop((saves, unfinished));

        let unfinished = Unfinished::open(&path).unwrap();
        let (saves, mut goes_on, curve) = unfinished.training("one", task(&train), &tell).unwrap();
        assert_eq!((goes_on.steps_done(), curve), (3, vec![(1, 5)]));
        assert_eq!(goes_on.step().unwrap(), expected);
        assert!(told.take().contains("goes on from step 3"));
        drop(saves);
        // What a kill left of an earlier removal.
        fs::create_dir_all(path.with_extension("done").join("checkpoints")).unwrap();
        unfinished.remove(&tell);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        remove(&path, &tell);
        assert_eq!(told.take(), "");
    }

    #[test]
    fn damage_is_told_with_what_to_do() {
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
            message.contains("move the directory away") && message.contains("classifier"),
            "{message}"
        );
    }
}
