//! What is said of a name that is none of the known ones.

use crate::shown::escaped;

/// A name that is none of those that there are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no {what} {:?}; the names are {}", escaped(.name), .known.join(", "))]
#[non_exhaustive]
pub struct UnknownName {
    /// What was asked for, as "data set".
    pub what: &'static str,
    /// The name asked for.
    pub name: String,
    /// Every name there is.
    pub known: Vec<&'static str>,
}

impl UnknownName {
    pub(crate) fn new(what: &'static str, name: &str, known: impl Into<Vec<&'static str>>) -> Self {
        Self {
            what,
            name: name.into(),
            known: known.into(),
        }
    }
}
