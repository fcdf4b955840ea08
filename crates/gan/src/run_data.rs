//! What a run records about its data: hashes of its images and names of its classes.
//!
//! Only readers of a finished run need these files. A run resumes without them, and writes them again.

use crate::config::TrainConfig;
use crate::error::GanError;
use crate::run_layout::RunLayout;
use engraft_base::{read_bounded, write_atomically};
use engraft_data::TrainingData;
use std::collections::HashSet;
use std::path::Path;

/// Largest file that is read, in bytes.
const MAX_BYTES: u64 = 256 << 20;

/// Writes the files that do not exist yet.
///
/// Data whose examples have no hashes, and classes without names, leave no file.
pub(crate) fn write(
    layout: &RunLayout,
    config: &TrainConfig,
    data: &dyn TrainingData,
) -> Result<(), GanError> {
    let path = layout.training_images();
    if !path.exists() {
        let hashes = data.image_hashes();
        if !hashes.is_empty() {
            let lines: String = hashes.iter().map(|hash| format!("{hash}\n")).collect();
            write_atomically(&path, lines.as_bytes())?;
        }
    }
    let (path, names) = (layout.class_names(), data.class_names());
    if config.classes > 0 && !names.is_empty() && !path.exists() {
        let text = serde_json::to_string(names).expect("strings have a JSON form");
        write_atomically(&path, text.as_bytes())?;
    }
    Ok(())
}

/// [Hashes](TrainingData::image_hashes) of the images that a run uses for training and validation. `None` if the run has no
/// record, as runs of earlier versions.
///
/// # Errors
/// If the file cannot be read.
pub fn training_image_hashes(directory: &Path) -> Result<Option<HashSet<String>>, GanError> {
    let text = read(&RunLayout::new(directory).training_images())?;
    Ok(text.map(|text| text.lines().map(str::to_owned).collect()))
}

/// Names of the classes of a class-conditional run, by label. Empty if the run has no names.
///
/// # Errors
/// If the file cannot be read.
pub fn class_names(directory: &Path) -> Result<Vec<String>, GanError> {
    let text = read(&RunLayout::new(directory).class_names())?;
    let names: Vec<String> = text
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default();
    Ok(names)
}

fn read(path: &Path) -> Result<Option<String>, GanError> {
    if !path.exists() {
        return Ok(None);
    }
    let bytes = read_bounded(path, MAX_BYTES)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Trainer;
    use engraft_data::{Dataset, Split, drawn_digits};
    use std::ops::ControlFlow;

    #[test]
    fn a_run_records_its_images_and_classes() {
        let folder = tempfile::tempdir().unwrap();
        let digits = drawn_digits(Split::Train, 40, 1);
        let names: Vec<String> = (0..10).map(|digit| format!("digit\n{digit}")).collect();
        let data: Dataset = digits.clone().with_class_names(names.clone());
        let mut config = TrainConfig::standard(&data);
        (config.network, config.batch, config.steps) = ("mlp".into(), 8, 1);
        config.classes = 10;
        let run = folder.path().join("run");
        assert_eq!(training_image_hashes(&run).unwrap(), None);
        let train = || {
            let mut trainer = Trainer::open(config.clone(), data.clone(), &run).unwrap();
            trainer.train(&mut |_| ControlFlow::Continue(())).unwrap();
        };
        train();
        let recorded = training_image_hashes(&run).unwrap().unwrap();
        assert_eq!(recorded, digits.image_hashes().into_iter().collect());
        let others = drawn_digits(Split::Test, 40, 1).image_hashes();
        assert!(others.iter().all(|hash| !recorded.contains(hash)));
        assert_eq!(class_names(&run).unwrap(), names);
        // A run from before these files gets them.
        std::fs::remove_file(RunLayout::new(&run).training_images()).unwrap();
        train();
        assert_eq!(training_image_hashes(&run).unwrap(), Some(recorded));
    }
}
