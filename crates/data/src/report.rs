//! A report of what was done to the user's files: totals, then one line per changed or skipped file.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use crate::shown::shown;

/// What was done to one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileReport {
    /// The file. For an archive, its path inside.
    pub path: PathBuf,
    /// The changes, or why the file was skipped.
    pub what: Treatment,
}

/// How a file was treated.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Treatment {
    /// Used, after these changes.
    Changed(Vec<Note>),
    /// Used, but its pixels equal those of this earlier picture.
    Copy(PathBuf),
    /// Skipped, for this reason.
    LeftOut(Note),
}

/// A change of one file, or the reason for skipping it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Key for the totals, the same for all files: `scaled`.
    pub kind: &'static str,
    /// Details for this file: `scaled from 72x72 to 64x64`.
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
            Treatment::Copy(original) => write!(f, "{}: equal to {}", shown(&self.path), shown(original)),
            Treatment::LeftOut(reason) => write!(f, "{}: left out: {}", shown(&self.path), reason.text),
        }
    }
}

/// What was found, and what was done to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The total number of images, the split, and the numbers of changed and skipped files.
    pub totals: Vec<String>,
    /// Each changed or skipped file.
    pub files: Vec<FileReport>,
}

/// The number of files that are left out.
pub(crate) fn left_out(files: &[FileReport]) -> usize {
    let is_left_out = |file: &&FileReport| matches!(file.what, Treatment::LeftOut(_));
    files.iter().filter(is_left_out).count()
}

impl Report {
    /// The number of files with a change of this kind, such as `color to gray`.
    pub fn changed(&self, kind: &str) -> usize {
        let is_changed = |file: &&FileReport| match &file.what {
            Treatment::Changed(notes) => notes.iter().any(|note| note.kind == kind),
            Treatment::LeftOut(_) | Treatment::Copy(_) => false,
        };
        self.files.iter().filter(is_changed).count()
    }

    /// The totals of `found`, then those of `files`.
    pub(crate) fn new(found: Vec<String>, files: Vec<FileReport>) -> Self {
        let (mut changed, mut left_out, mut copies) = (BTreeMap::new(), BTreeMap::new(), 0);
        for file in &files {
            match &file.what {
                Treatment::Changed(notes) => {
                    for note in notes {
                        *changed.entry(note.kind).or_insert(0) += 1;
                    }
                }
                Treatment::Copy(_) => copies += 1,
                Treatment::LeftOut(note) => *left_out.entry(note.kind).or_insert(0) += 1,
            }
        }
        let counted = |what: &str, counts: BTreeMap<&str, usize>| -> Vec<String> {
            let line =
                |(kind, n): (&str, usize)| format!("{what}{kind}: {n} file{}", if n == 1 { "" } else { "s" });
            counts.into_iter().map(line).collect()
        };
        let copies = (copies > 0).then(|| {
            let of = if copies == 1 {
                "picture equals"
            } else {
                "pictures equal"
            };
            format!("{copies} {of} an earlier one; equal pictures stay on one side of a split")
        });
        let copies = copies.into_iter().collect();
        let totals = [
            found,
            counted("", changed),
            copies,
            counted("left out, ", left_out),
        ]
        .concat();
        Self { totals, files }
    }
}

impl fmt::Display for Report {
    /// All totals, then one line for each changed or skipped file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.totals {
            writeln!(f, "{line}")?;
        }
        if !self.files.is_empty() {
            writeln!(f)?;
        }
        for file in &self.files {
            writeln!(f, "{file}")?;
        }
        Ok(())
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
