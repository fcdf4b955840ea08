//! Trainings on the way, so that an interrupted command goes on where it stood.

use crate::cli::kept;
use anyhow::Context;
use engraft_gan::checkpoint::CheckpointStore;
use engraft_transfer::semi_supervised::SemiSupervised;
use serde_json::Value;
use std::path::Path;

/// The test errors so far, with the settings that they belong to.
const CURVE: &str = "curve.json";
/// Checkpoints that are kept: the last one, and one before it should that be damaged.
const KEPT: usize = 2;

/// Test images that were wrong, after steps.
type Curve = Vec<(u64, usize)>;

/// Where a training is saved on the way.
pub(super) struct Unfinished {
    store: CheckpointStore,
    settings: Value,
}

impl Unfinished {
    /// Takes a directory for a training that has not begun, and goes on from what is saved there with the same settings.
    ///
    /// # Errors
    /// If another process trains there, what is saved is damaged, or nothing can be written.
    pub(super) fn open<'d>(
        directory: &Path,
        settings: Value,
        task: SemiSupervised<'d>,
        tell: &dyn Fn(&str),
    ) -> anyhow::Result<(Self, SemiSupervised<'d>, Curve)> {
        let named = || format!("{}; remove it to begin anew", directory.display());
        let mut store = CheckpointStore::open(directory, KEPT)?;
        if let Some(loaded) = store.latest().with_context(named)? {
            for warning in &loaded.warnings {
                tell(warning);
            }
            let checkpoint = loaded.checkpoint;
            let curve = checkpoint.file(CURVE).with_context(named)?;
            if let Some(curve) = kept::decode(curve, &settings) {
                let task = task.resume(&checkpoint).with_context(named)?;
                tell(&format!(
                    "goes on from step {} in {}",
                    task.steps_done(),
                    directory.display()
                ));
                return Ok((Self { store, settings }, task, curve));
            }
            // Its checkpoints would count as newer than those to come.
            tell(&format!(
                "{} was begun with other settings: begins anew",
                directory.display()
            ));
            drop(store);
            std::fs::remove_dir_all(directory)
                .with_context(|| format!("removing {}", directory.display()))?;
            store = CheckpointStore::open(directory, KEPT)?;
        }
        Ok((Self { store, settings }, task, Vec::new()))
    }

    /// Saves how far the training is.
    ///
    /// # Errors
    /// If the directory cannot be written to.
    pub(super) fn save(
        &mut self,
        task: &SemiSupervised<'_>,
        curve: &Curve,
        tell: &dyn Fn(&str),
    ) -> anyhow::Result<()> {
        let mut files = task.save()?;
        files.insert(CURVE.into(), kept::encode(&self.settings, curve).into_bytes());
        let saved = self.store.save(task.steps_done(), "", &files)?;
        saved.warnings.iter().for_each(|warning| tell(warning));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_data::{Dataset, Split, drawn_digits};
    use engraft_transfer::semi_supervised::{Examples, Settings, choose_labels};
    use serde_json::json;
    use std::cell::RefCell;

    fn task(train: &Dataset) -> SemiSupervised<'_> {
        let mut settings = Settings::new(4, 1);
        (settings.batch, settings.hidden) = (10, vec![8]);
        let labelled = vec![(train, choose_labels(train.labels(), 10, 1).unwrap())];
        let unlabelled = Some(train);
        SemiSupervised::new(Examples { labelled, unlabelled }, settings).unwrap()
    }

    #[test]
    fn the_same_settings_go_on_and_others_begin_anew() {
        let train = drawn_digits(Split::Train, 30, 1);
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("feature-matching");
        let told = RefCell::new(String::new());
        let tell = |line: &str| *told.borrow_mut() += line;
        let open = |settings| Unfinished::open(&directory, json!(settings), task(&train), &tell);

        let (mut unfinished, mut begun, curve) = open(1).unwrap();
        assert!((begun.steps_done(), curve.len()) == (0, 0) && told.borrow().is_empty());
        let busy = open(1).err().unwrap().to_string();
        assert!(busy.contains("feature-matching"), "{busy}");
        for _ in 0..3 {
            begun.step().unwrap();
            unfinished.save(&begun, &vec![(1, 5)], &tell).unwrap();
        }
        let expected = begun.step().unwrap();
        drop(unfinished);

        let (_, mut goes_on, curve) = open(1).unwrap();
        assert_eq!((goes_on.steps_done(), curve), (3, vec![(1, 5)]));
        assert_eq!(goes_on.step().unwrap(), expected);
        assert!(told.take().contains("goes on from step 3"));

        let (mut unfinished, mut anew, curve) = open(2).unwrap();
        assert!((anew.steps_done(), curve.len()) == (0, 0));
        assert!(told.take().contains("begun with other settings"));
        anew.step().unwrap();
        unfinished.save(&anew, &curve, &tell).unwrap();
        drop(unfinished);
        assert_eq!(open(2).unwrap().1.steps_done(), 1);
    }

    #[test]
    fn damage_is_told_with_what_to_do() {
        let train = drawn_digits(Split::Train, 30, 1);
        let folder = tempfile::tempdir().unwrap();
        let open = || Unfinished::open(folder.path(), json!(1), task(&train), &|_| ());
        let (mut unfinished, begun, curve) = open().unwrap();
        unfinished.save(&begun, &curve, &|_| ()).unwrap();
        drop(unfinished);
        let weights = folder
            .path()
            .join("checkpoints/step-000000/classifier.safetensors");
        let mut bytes = std::fs::read(&weights).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&weights, bytes).unwrap();
        let message = format!("{:#}", open().err().unwrap());
        assert!(
            message.contains("remove it to begin anew") && message.contains("classifier"),
            "{message}"
        );
    }
}
