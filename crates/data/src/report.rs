//! What was done to the files of a user: totals first, then one line for each file that was changed or left out.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use crate::shown::shown;

/// What was done to one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileReport {
    /// The file; of an archive, its path inside.
    pub path: PathBuf,
    /// What was done, or why it was left out.
    pub what: Treatment,
}

/// How a file differed from what was wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Treatment {
    /// Taken, after these changes.
    Changed(Vec<Note>),
    /// Left out, for this reason.
    LeftOut(Note),
}

/// A change of one file, or the reason to leave it out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The same words for every file that it happened to, for totals: `scaled`.
    pub kind: &'static str,
    /// What happened to this file: `scaled from 72x72 to 64x64`.
    pub text: String,
}

impl Note {
    pub(crate) fn new(kind: &'static str, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { kind, text }
    }
}

impl FileReport {
    pub(crate) fn left_out(path: impl Into<PathBuf>, kind: &'static str, text: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            what: Treatment::LeftOut(Note::new(kind, text)),
        }
    }
}

impl fmt::Display for FileReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            Treatment::Changed(changes) => {
                let texts: Vec<&str> = changes.iter().map(|change| &*change.text).collect();
                write!(f, "{}: {}", shown(&self.path), texts.join(", "))
            }
            Treatment::LeftOut(reason) => write!(f, "{}: left out: {}", shown(&self.path), reason.text),
        }
    }
}

/// What was found, and what was done to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What there is in all, how it is split, and how many files were changed or left out in which way.
    pub totals: Vec<String>,
    /// Each file that was changed or left out.
    pub files: Vec<FileReport>,
}

impl Report {
    /// The totals of `found`, then those of `files`.
    pub(crate) fn new(found: Vec<String>, files: Vec<FileReport>) -> Self {
        let (mut changed, mut left_out) = (BTreeMap::new(), BTreeMap::new());
        for file in &files {
            match &file.what {
                Treatment::Changed(notes) => {
                    for note in notes {
                        *changed.entry(note.kind).or_insert(0) += 1;
                    }
                }
                Treatment::LeftOut(note) => *left_out.entry(note.kind).or_insert(0) += 1,
            }
        }
        let counted = |what: &str, counts: BTreeMap<&str, usize>| -> Vec<String> {
            let line =
                |(kind, n): (&str, usize)| format!("{what}{kind}: {n} file{}", if n == 1 { "" } else { "s" });
            counts.into_iter().map(line).collect()
        };
        let totals = [found, counted("", changed), counted("left out, ", left_out)].concat();
        Self { totals, files }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_count_each_kind() {
        let changed = |path: &str| FileReport {
            path: path.into(),
            what: Treatment::Changed(vec![
                Note::new("scaled", "scaled from 8x8 to 4x4"),
                Note::new("turned", "turned"),
            ]),
        };
        let files = vec![
            changed("a"),
            changed("b"),
            FileReport::left_out("c\n", "damaged", "no end"),
        ];
        let report = Report::new(vec!["2 pictures".into()], files);
        assert_eq!(
            report.totals,
            [
                "2 pictures",
                "scaled: 2 files",
                "turned: 2 files",
                "left out, damaged: 1 file"
            ]
        );
        assert_eq!(report.files[0].to_string(), "a: scaled from 8x8 to 4x4, turned");
        assert_eq!(report.files[2].to_string(), "c\\n: left out: no end");
    }
}
