//! The error of an unknown name, with the known names.

use crate::shown::escaped;

/// An unknown name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no {what} {:?}; {}the names are {}", escaped(.name), did_you_mean(.name, .known), .known.join(", "))]
#[non_exhaustive]
pub struct UnknownName {
    /// The kind of name, for example "data set".
    pub what: &'static str,
    /// The unknown name.
    pub name: String,
    /// All known names.
    pub known: Vec<&'static str>,
}

/// The name that was probably meant by `text`, if one is similar.
pub(crate) fn closest<'a>(text: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |name: &str| strsim::damerau_levenshtein(&name.to_lowercase(), &text.to_lowercase());
    let known = known.into_iter().map(|name| (distance(name), name));
    let (distance, name) = known.min()?;
    (distance <= text.chars().count().div_ceil(3)).then_some(name)
}

fn did_you_mean(name: &str, known: &[&'static str]) -> String {
    let closest = closest(name, known.iter().copied());
    closest.map_or(String::new(), |name| format!("did you mean {name}? "))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_name() {
        let names = ["mnist", "fashion-mnist", "usps"];
        for (typed, meant) in [
            ("mnits", Some("mnist")),
            ("MNIST", Some("mnist")),
            ("fashion_mnist", Some("fashion-mnist")),
            ("my-pictures", None),
            ("", None),
        ] {
            assert_eq!(closest(typed, names), meant, "{typed}");
        }
        let error = UnknownName {
            what: "data set",
            name: "upsp".into(),
            known: names.to_vec(),
        };
        assert!(error.to_string().contains("did you mean usps?"), "{error}");
    }
}
