//! What a run records about its data: hashes and names of its images, and names of its classes.
//!
//! Only readers of a finished run need these files. A run resumes without them, and writes them again.

use crate::config::TrainConfig;
use crate::error::GanError;
use crate::run_layout::RunLayout;
use engraft_base::{read_bounded, write_atomically};
use engraft_data::TrainingData;
use std::collections::{HashMap, HashSet};
use std::path::Path;

/// Largest file that is read, in bytes.
const MAX_BYTES: u64 = 256 << 20;

/// Writes the files that do not exist yet, or replaces all.
///
/// Data whose examples have no hashes, and classes without names, leave no file.
pub(crate) fn write(
    layout: &RunLayout,
    config: &TrainConfig,
    data: &dyn TrainingData,
    replace: bool,
) -> Result<(), GanError> {
    let path = layout.training_images();
    if replace || !path.exists() {
        let hashes = data.image_hashes();
        if !hashes.is_empty() {
            let mut names = data.image_names().into_iter();
            let lines: String = hashes
                .iter()
                .map(|hash| match names.next() {
                    Some(name) => format!("{hash} {}\n", name.replace('\n', " ")),
                    None => format!("{hash}\n"),
                })
                .collect();
            write_atomically(&path, lines.as_bytes())?;
        }
    }
    let (path, names) = (layout.class_names(), data.class_names());
    if config.classes > 0 && !names.is_empty() && (replace || !path.exists()) {
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
    let hash = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
    Ok(text.map(|text| text.lines().map(hash).collect()))
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

/// How the images of `data` differ from those of a run: one text each for added, removed and changed images.
///
/// # Errors
/// If the record cannot be read.
pub(crate) fn changes(layout: &RunLayout, data: &dyn TrainingData) -> Result<Vec<String>, GanError> {
    let Some(recorded) = read(&layout.training_images())? else {
        return Ok(vec!["the run has no record of its single images".into()]);
    };
    let before: Vec<(&str, &str)> = recorded
        .lines()
        .map(|line| line.split_once(' ').unwrap_or((line, "")))
        .collect();
    let (hashes, names) = (data.image_hashes(), data.image_names());
    let now: Vec<(&str, &str)> = hashes
        .iter()
        .enumerate()
        .map(|(i, hash)| (hash.as_str(), names.get(i).map_or("", String::as_str)))
        .collect();
    Ok(differences(&before, &now))
}

/// As [`changes`], of the hashes and names before and now. An image without a name has an empty one.
fn differences(before: &[(&str, &str)], now: &[(&str, &str)]) -> Vec<String> {
    let mut left: HashMap<&str, Vec<&str>> = HashMap::new();
    for (hash, name) in before {
        left.entry(hash).or_default().push(name);
    }
    let mut added: Vec<&str> = Vec::new();
    for (hash, name) in now {
        let same = left.get_mut(hash).filter(|names| !names.is_empty());
        match same {
            Some(names) => {
                let at = names.iter().position(|other| other == name).unwrap_or(0);
                names.swap_remove(at);
            }
            None => added.push(name),
        }
    }
    let mut removed: Vec<&str> = left.into_values().flatten().collect();
    removed.sort_unstable();
    let changed: Vec<&str> = added
        .iter()
        .copied()
        .filter(|name| !name.is_empty() && removed.binary_search(name).is_ok())
        .collect();
    added.retain(|name| !changed.contains(name));
    removed.retain(|name| !changed.contains(name));
    let text = |what: &str, names: &[&str]| {
        let named: Vec<&str> = names
            .iter()
            .copied()
            .filter(|name| !name.is_empty())
            .take(3)
            .collect();
        let more = if names.len() > named.len() && !named.is_empty() {
            ", .."
        } else {
            ""
        };
        let list = if named.is_empty() {
            String::new()
        } else {
            format!(" ({}{more})", named.join(", "))
        };
        (!names.is_empty()).then(|| format!("{} {what}{list}", names.len()))
    };
    let texts: Vec<String> = [("added", &added), ("removed", &removed), ("changed", &changed)]
        .into_iter()
        .filter_map(|(what, names)| text(what, names))
        .collect();
    match texts.is_empty() {
        true => vec!["the same images in another order".into()],
        false => texts,
    }
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
    fn differences_name_what_was_added_removed_and_changed() {
        let before = [("1", "a"), ("2", "b"), ("2", "b-again"), ("3", "c")];
        assert_eq!(
            differences(&before, &before),
            ["the same images in another order"]
        );
        let now = [
            ("1", "a"),
            ("9", "b"),
            ("2", "b-again"),
            ("4", "d"),
            ("5", "e"),
            ("6", "f"),
            ("7", "g"),
        ];
        assert_eq!(
            differences(&before, &now),
            ["4 added (d, e, f, ..)", "1 removed (c)", "1 changed (b)"]
        );
        // Without names, only hashes are compared.
        assert_eq!(differences(&[("1", "")], &[("1", ""), ("1", "")]), ["1 added"]);
    }

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
