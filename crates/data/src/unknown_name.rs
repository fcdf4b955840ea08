//! The error of an unknown name, with the known names.

use crate::shown::escaped;

/// An unknown name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no {what} {:?}; the names are {}", escaped(.name), .known.join(", "))]
#[non_exhaustive]
pub struct UnknownName {
    /// The kind of name, for example "data set".
    pub what: &'static str,
    /// The unknown name.
    pub name: String,
    /// All known names.
    pub known: Vec<&'static str>,
}

/// The element of `all` with the name `name`.
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

/// Implements `FromStr` for an enum with `ALL` and `as_str`. The text is the kind of name.
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
