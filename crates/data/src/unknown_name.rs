//! The error of an unknown name, with the names that are known.

use crate::shown::escaped;

/// An unknown name.
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

/// The one of `all` whose name is `name`.
pub(crate) fn find<K: Copy>(
    what: &'static str,
    name: &str,
    all: &[K],
    as_str: fn(K) -> &'static str,
) -> Result<K, UnknownName> {
    let known = all.iter().copied().find(|&known| as_str(known) == name);
    known.ok_or_else(|| UnknownName {
        what,
        name: name.into(),
        known: all.iter().copied().map(as_str).collect(),
    })
}

/// Parses an enum that has `ALL` and `as_str`; the text says what a value of it is.
macro_rules! parsed {
    ($kind:ty, $what:literal) => {
        impl std::str::FromStr for $kind {
            type Err = $crate::UnknownName;
            fn from_str(name: &str) -> Result<Self, Self::Err> {
                $crate::unknown_name::find($what, name, &Self::ALL, Self::as_str)
            }
        }
    };
}
pub(crate) use parsed;
