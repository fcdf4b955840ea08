//! Labels in a file `dataset.json`, as in the archives that StyleGAN's `dataset_tool.py` writes.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// Labels by the path of the picture.
///
/// *Source*: Karras et al., StyleGAN2-ADA, `dataset_tool.py`, 2020: `{"labels": [["00000/img00000000.png", 3], ..]}`, or
/// `{"labels": null}`.
#[derive(Debug, Default)]
pub(crate) struct GivenLabels {
    pub(crate) labels: HashMap<PathBuf, u8>,
    /// Largest label plus 1; 0 without labels.
    pub(crate) classes: usize,
    /// Why the labels are not used, if they are not.
    pub(crate) problem: Option<String>,
}

#[derive(Deserialize)]
struct File {
    /// `Some(None)` is `null`.
    #[serde(default, deserialize_with = "present")]
    labels: Option<Option<Vec<(String, serde_json::Value)>>>,
}

fn present<'de, D, T>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Some)
}

impl GivenLabels {
    /// Name of the file.
    pub(crate) const FILE: &str = "dataset.json";

    /// Parses the file in `folder`. `None` if it is not such a file.
    pub(crate) fn parse(bytes: &[u8], folder: &Path) -> Option<Self> {
        let file: File = serde_json::from_slice(bytes).ok()?;
        let mut given = Self::default();
        for (path, label) in file.labels?.into_iter().flatten() {
            let label = label.as_u64().and_then(|label| u8::try_from(label).ok());
            let Some(label) = label else {
                given.problem = Some(format!(
                    "{}: not used, because a label is not a number from 0 to 255",
                    Self::FILE
                ));
                (given.labels, given.classes) = (HashMap::new(), 0);
                break;
            };
            given.classes = given.classes.max(usize::from(label) + 1);
            given.labels.insert(folder.join(path), label);
        }
        Some(given)
    }

    /// The label of a picture.
    pub(crate) fn of(&self, path: &Path) -> Option<u8> {
        self.labels.get(path).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_those_of_the_file() {
        let parse = |text: &str| GivenLabels::parse(text.as_bytes(), Path::new("set"));
        let given = parse(r#"{"labels": [["0/a.png", 3], ["0/b.png", 0]]}"#).unwrap();
        let label = |path: &str| given.of(Path::new(path));
        assert_eq!(
            (label("set/0/a.png"), label("0/a.png"), given.classes),
            (Some(3), None, 4)
        );
        assert_eq!(parse(r#"{"labels": null}"#).unwrap().classes, 0);
        let vectors = parse(r#"{"labels": [["0/a.png", [0.5, 1]]]}"#).unwrap();
        assert!(vectors.classes == 0 && vectors.problem.is_some());
        for other in ["{}", "[]", "", "{\"labels\": 3}"] {
            assert!(parse(other).is_none(), "{other}");
        }
    }
}
