//! The meaning of folders of pictures: training and test parts, and classes.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::given_labels::GivenLabels;
use crate::shown::escaped;

/// Maximum number of classes, because a label is a byte.
const MAX_CLASSES: usize = 256;
/// A class with fewer pictures gets a warning.
const FEW: usize = 10;

/// Files by their part.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Parts {
    /// Training files, by index.
    pub(crate) train: Vec<usize>,
    /// Test files, if there is a folder for them.
    pub(crate) test: Option<Vec<usize>>,
    /// Number of path components before the class folder.
    depth: usize,
    /// Notes for the user.
    pub(crate) notes: Vec<String>,
}

impl Parts {
    /// Splits files into parts by their paths.
    ///
    /// A single folder that holds everything is skipped. If the top-level folders include `train` or
    /// `training`, and one for other parts (`test`, `testing`, `val`, `valid` or `validation`, or `dev`, `holdout` and the like, which are not used), these are the parts, and all other files are
    /// not used. Otherwise all files are for training, unless `train` has folders of its own or is the only folder: then it has the
    /// training files. Beside other folders, a `train` that holds pictures is a class like them.
    pub(crate) fn of(paths: &[&Path]) -> Self {
        let mut depth = 0;
        // Skip single folders without files next to them, repeatedly, unless the name is that of a part.
        while let Some(first) = paths.first().and_then(|path| folder_at(path, depth))
            && part_of(first).is_none()
            && paths.iter().all(|path| folder_at(path, depth) == Some(first))
        {
            depth += 1;
        }
        let mut folders: BTreeMap<Option<&OsStr>, Vec<usize>> = BTreeMap::new();
        for (i, path) in paths.iter().enumerate() {
            folders.entry(folder_at(path, depth)).or_default().push(i);
        }
        let has = |part| {
            folders
                .keys()
                .flatten()
                .any(|folder| part_of(folder) == Some(part))
        };
        let has_test = has(Part::Test) || has(Part::Validation) || has(Part::Unused);
        let has_folders = |path: &&Path| {
            folder_at(path, depth).and_then(part_of) == Some(Part::Train)
                && folder_at(path, depth + 1).is_some()
        };
        let is_only_folder = folders.keys().flatten().count() == 1;
        let is_class = has(Part::Train) && !(has_test || is_only_folder || paths.iter().any(has_folders));
        if is_class || !has(Part::Train) {
            let note = "the folder for training counts as a class, like the folders beside it: there is no folder for testing";
            return Self {
                train: (0..paths.len()).collect(),
                test: None,
                // If `test` is the only folder, its pictures are all there is.
                depth: depth + usize::from(folders.len() == 1 && (has(Part::Test) || has(Part::Validation))),
                notes: is_class.then(|| note.into()).into_iter().collect(),
            };
        }
        let test = if has(Part::Test) {
            Part::Test
        } else {
            Part::Validation
        };
        let (mut train, mut tests, mut unused) = (Vec::new(), Vec::new(), Vec::new());
        for (folder, files) in folders {
            match folder.and_then(part_of) {
                Some(Part::Train) => train.extend(files),
                Some(part) if part == test => tests.extend(files),
                _ => unused.push(format!(
                    "{}: {} file(s)",
                    escaped(&folder.map_or("no folder".into(), OsStr::to_string_lossy)),
                    files.len()
                )),
            }
        }
        let notes = if unused.is_empty() {
            Vec::new()
        } else {
            vec![format!(
                "not used, outside the folders for training and testing: {}",
                unused.join(", ")
            )]
        };
        train.sort_unstable();
        tests.sort_unstable();
        Self {
            train,
            test: (!tests.is_empty()).then_some(tests),
            depth: depth + 1,
            notes,
        }
    }

    /// The class folder of a file, if any.
    fn class_folder<'a>(&self, path: &'a Path) -> Option<&'a OsStr> {
        folder_at(path, self.depth)
    }
}

/// Classes by folder name.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Classes {
    /// Names in order. Empty if there are no classes.
    pub(crate) names: Vec<String>,
    folders: Vec<PathBuf>,
    depth: usize,
    /// Labels by path instead of by folder.
    given: HashMap<PathBuf, u8>,
    /// Notes for the user.
    pub(crate) notes: Vec<String>,
}

impl Classes {
    /// The classes of training pictures: the labels of a file, or their folders.
    ///
    /// Folders are classes if there are at least two and every picture is in one. If there is a file with labels, folders have
    /// no meaning.
    pub(crate) fn new<'a>(
        parts: &Parts,
        pictures: impl Iterator<Item = &'a Path>,
        given: Option<&GivenLabels>,
    ) -> Self {
        match given {
            Some(given) => Self::given(pictures, given),
            None => Self::of(parts, pictures),
        }
    }

    fn given<'a>(pictures: impl Iterator<Item = &'a Path>, given: &GivenLabels) -> Self {
        let without = |notes: Vec<String>| Self {
            notes,
            ..Self::default()
        };
        if given.classes == 0 {
            return without(given.problem.clone().into_iter().collect());
        }
        let (mut total, mut missing, mut counts) = (0, 0, vec![0_usize; given.classes]);
        for path in pictures {
            total += 1;
            match given.of(path) {
                Some(label) => counts[usize::from(label)] += 1,
                None => missing += 1,
            }
        }
        if missing > 0 {
            return without(vec![format!(
                "no classes: {} has no label for {missing} of {total} pictures",
                GivenLabels::FILE
            )]);
        }
        let names: Vec<String> = (0..given.classes).map(|label| label.to_string()).collect();
        Self {
            notes: few_pictures(names.iter().map(String::as_str).zip(counts)),
            names,
            given: given.labels.clone(),
            ..Self::default()
        }
    }

    fn of<'a>(parts: &Parts, pictures: impl Iterator<Item = &'a Path>) -> Self {
        let mut counts: BTreeMap<&OsStr, usize> = BTreeMap::new();
        let mut outside = 0;
        for path in pictures {
            match parts.class_folder(path) {
                Some(folder) => *counts.entry(folder).or_default() += 1,
                None => outside += 1,
            }
        }
        let without = |note: String| Self {
            notes: vec![note],
            ..Self::default()
        };
        match counts.len() {
            0 | 1 => Self::default(),
            n if outside > 0 => without(format!(
                "no classes: {outside} pictures are outside the {n} folders; move every picture into a folder to get classes"
            )),
            n if n > MAX_CLASSES => without(format!(
                "no classes: found {n} folders, but at most {MAX_CLASSES} classes are supported"
            )),
            _ => {
                let names: Vec<String> = counts
                    .keys()
                    .map(|folder| folder.to_string_lossy().into_owned())
                    .collect();
                Self {
                    notes: few_pictures(names.iter().map(String::as_str).zip(counts.values().copied())),
                    names,
                    given: HashMap::new(),
                    folders: counts.keys().map(PathBuf::from).collect(),
                    depth: parts.depth,
                }
            }
        }
    }

    /// The class of a picture by its path. 0 if there are no classes, `None` if it is in none of them.
    pub(crate) fn label(&self, path: &Path) -> Option<u8> {
        if !self.given.is_empty() {
            return self.given.get(path).copied();
        }
        if self.folders.is_empty() {
            return Some(0);
        }
        let folder = Path::new(folder_at(path, self.depth)?);
        let found = self
            .folders
            .binary_search_by(|known| known.as_os_str().cmp(folder.as_os_str()));
        found.ok().map(|class| class as u8)
    }
}

/// A warning that names the classes with few pictures, if there are any.
fn few_pictures<'a>(counts: impl Iterator<Item = (&'a str, usize)>) -> Vec<String> {
    let few: Vec<String> = counts
        .filter(|(_, n)| *n < FEW)
        .map(|(name, n)| format!("{} {n}", escaped(name)))
        .collect();
    match few.len() {
        0 => Vec::new(),
        _ => vec![format!(
            "warning: classes with fewer than {FEW} pictures: {}",
            few.join(", ")
        )],
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Train,
    Test,
    Validation,
    /// Beside a folder for training, neither for training nor for testing.
    Unused,
}

fn part_of(folder: &OsStr) -> Option<Part> {
    match folder.to_str()?.to_ascii_lowercase().as_str() {
        "train" | "training" => Some(Part::Train),
        "test" | "testing" => Some(Part::Test),
        "val" | "valid" | "validation" => Some(Part::Validation),
        "eval" | "dev" | "holdout" | "held-out" | "unlabeled" | "unlabelled" | "unused" | "extra" => {
            Some(Part::Unused)
        }
        _ => None,
    }
}

/// The folder at some depth of a path, unless that component is the file itself.
fn folder_at(path: &Path, depth: usize) -> Option<&OsStr> {
    let mut rest = path.components().skip(depth);
    let folder = rest.next()?;
    rest.next().map(|_| folder.as_os_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parts, names of the classes, and the label of each file.
    fn read(paths: &[&str]) -> (Parts, Classes, Vec<Option<u8>>) {
        let paths: Vec<&Path> = paths.iter().map(Path::new).collect();
        let parts = Parts::of(&paths);
        let classes = Classes::of(&parts, parts.train.iter().map(|&i| paths[i]));
        let labels = paths.iter().map(|path| classes.label(path)).collect();
        (parts, classes, labels)
    }

    #[test]
    fn files_alone_have_no_classes() {
        let (parts, classes, labels) = read(&["a.png", "b.png"]);
        assert_eq!((parts.train, parts.test), (vec![0, 1], None));
        assert_eq!((classes.names.len(), labels), (0, vec![Some(0); 2]));
        assert!(read(&[]).0.train.is_empty());
    }

    #[test]
    fn folders_are_classes_and_what_lies_deeper_belongs_to_them() {
        let (parts, classes, labels) = read(&["cat/a.png", "cat/old/b.png", "dog/c.png"]);
        assert_eq!((parts.train.len(), parts.test), (3, None));
        assert_eq!(classes.names, ["cat", "dog"]);
        assert_eq!(labels, [Some(0), Some(0), Some(1)]);
        assert_eq!(
            classes.notes,
            ["warning: classes with fewer than 10 pictures: cat 2, dog 1"]
        );
    }

    #[test]
    fn a_folder_around_all_is_looked_through() {
        let (_, classes, labels) = read(&["set/v1/cat/a.png", "set/v1/dog/c.png"]);
        assert_eq!(
            (classes.names, labels),
            (vec!["cat".into(), "dog".into()], vec![Some(0), Some(1)])
        );
        let (_, classes, _) = read(&["set/a.png", "set/b.png"]);
        assert!(classes.names.is_empty() && classes.notes.is_empty());
    }

    #[test]
    fn parts_are_found_by_their_names() {
        let (parts, classes, labels) = read(&[
            "x/Test/cat/a.png",
            "x/Test/eel/b.png",
            "x/other/c.png",
            "x/train/cat/d.png",
            "x/train/dog/e.png",
        ]);
        assert_eq!((parts.train, parts.test), (vec![3, 4], Some(vec![0, 1])));
        assert_eq!(classes.names, ["cat", "dog"]);
        assert_eq!(labels, [Some(0), None, None, Some(0), Some(1)]);
        assert_eq!(
            parts.notes,
            ["not used, outside the folders for training and testing: other: 1 file(s)"]
        );
        let (parts, ..) = read(&["train/a.png", "val/b.png"]);
        assert_eq!((parts.train, parts.test), (vec![0], Some(vec![1])));
        let (parts, ..) = read(&["test/a.png", "train/b.png", "val/c.png"]);
        assert_eq!((parts.train, parts.test), (vec![1], Some(vec![0])));
    }

    #[test]
    fn one_part_alone_is_all_there_is() {
        for part in ["train", "test"] {
            let (parts, classes, _) = read(&[&format!("{part}/cat/a.png"), &format!("{part}/dog/b.png")]);
            assert_eq!((parts.train, parts.test), (vec![0, 1], None));
            assert_eq!(classes.names, ["cat", "dog"], "{part}");
        }
    }

    /// Vehicles: a folder `train` of pictures, beside other folders of pictures.
    #[test]
    fn a_class_may_be_called_train() {
        let (parts, classes, _) = read(&["bus/a.png", "car/b.png", "train/c.png"]);
        assert_eq!((parts.train.len(), parts.test, parts.notes.len()), (3, None, 1));
        assert_eq!(classes.names, ["bus", "car", "train"]);
        let (parts, classes, _) = read(&["more/a.png", "train/cat/b.png", "train/dog/c.png"]);
        assert_eq!((parts.train, parts.test), (vec![1, 2], None));
        assert_eq!(classes.names, ["cat", "dog"]);
        let (parts, ..) = read(&["holdout/a.png", "train/b.png"]);
        assert_eq!((parts.train, parts.test, parts.notes.len()), (vec![1], None, 1));
        let (parts, ..) = read(&["cover.png", "train/b.png"]);
        assert_eq!(parts.train, [1]);
    }

    #[test]
    fn pictures_outside_the_folders_give_no_classes() {
        let (_, classes, labels) = read(&["a.png", "cat/b.png", "dog/c.png"]);
        assert_eq!((classes.names.len(), labels), (0, vec![Some(0); 3]));
        assert!(classes.names.is_empty() && classes.notes[0].contains("2 folders"));
    }

    #[test]
    fn more_folders_than_labels_are_no_classes() {
        let paths: Vec<String> = (0..257).map(|i| format!("{i:03}/a.png")).collect();
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        let (_, classes, _) = read(&paths);
        assert!(classes.names.is_empty() && classes.notes[0].contains("257 folders"));
        assert_eq!(read(&paths[1..]).1.names.len(), 256);
    }
}
