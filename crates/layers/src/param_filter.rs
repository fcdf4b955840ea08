//! Filters of parameter names, for optimizer groups and freezing.

use std::fmt;

/// A filter of dotted names. It compares whole components: `block1` does not match `block10.weight`.
///
/// ```
/// use engraft_layers::ParamFilter;
/// let names = ParamFilter::under(["block1"]).except(["block1.norm"]);
/// assert!(names.matches("block1.conv.weight"));
/// assert!(!names.matches("block1.norm.weight"));
/// assert!(!names.matches("block10.conv.weight"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamFilter {
    include: Include,
    except: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Include {
    All,
    Under(Vec<String>),
    Ending(Vec<String>),
}

fn owned<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Vec<String> {
    names.into_iter().map(Into::into).collect()
}

fn is_under(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn is_ending(name: &str, suffix: &str) -> bool {
    name.strip_suffix(suffix)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

impl ParamFilter {
    /// Matches every name.
    pub fn all() -> Self {
        Self {
            include: Include::All,
            except: Vec::new(),
        }
    }

    /// Matches the given names and everything below them.
    pub fn under<S: Into<String>>(prefixes: impl IntoIterator<Item = S>) -> Self {
        Self {
            include: Include::Under(owned(prefixes)),
            except: Vec::new(),
        }
    }

    /// Matches names that end in the given components, for example `bias` or `norm.weight`.
    pub fn ending<S: Into<String>>(suffixes: impl IntoIterator<Item = S>) -> Self {
        Self {
            include: Include::Ending(owned(suffixes)),
            except: Vec::new(),
        }
    }

    /// Excludes the given names and everything below them.
    #[must_use]
    pub fn except<S: Into<String>>(mut self, prefixes: impl IntoIterator<Item = S>) -> Self {
        self.except.extend(owned(prefixes));
        self
    }

    /// Whether the filter matches the name.
    pub fn matches(&self, name: &str) -> bool {
        let included = match &self.include {
            Include::All => true,
            Include::Under(prefixes) => prefixes.iter().any(|p| is_under(name, p)),
            Include::Ending(suffixes) => suffixes.iter().any(|s| is_ending(name, s)),
        };
        included && !self.except.iter().any(|p| is_under(name, p))
    }

    /// The parts of the filter that match none of the names, usually typing errors.
    pub fn unmatched<'a>(&'a self, names: &[String]) -> Vec<&'a str> {
        let parts: &[String] = match &self.include {
            Include::All => &[],
            Include::Under(parts) | Include::Ending(parts) => parts,
        };
        let ending = matches!(self.include, Include::Ending(_));
        let hits = |part: &str, name: &str| {
            if ending {
                is_ending(name, part)
            } else {
                is_under(name, part)
            }
        };
        let missed = parts.iter().filter(|p| !names.iter().any(|n| hits(p, n)));
        let missed_exceptions = self
            .except
            .iter()
            .filter(|p| !names.iter().any(|n| is_under(n, p)));
        missed.chain(missed_exceptions).map(String::as_str).collect()
    }
}

impl fmt::Display for ParamFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.include {
            Include::All => write!(f, "all")?,
            Include::Under(parts) => write!(f, "under {parts:?}")?,
            Include::Ending(parts) => write!(f, "ending {parts:?}")?,
        }
        if self.except.is_empty() {
            Ok(())
        } else {
            write!(f, " except {:?}", self.except)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_are_compared_whole() {
        assert!(ParamFilter::under(["a.b"]).matches("a.b"));
        assert!(!ParamFilter::under(["a.b"]).matches("a.bc"));
        assert!(ParamFilter::ending(["norm.weight"]).matches("block.norm.weight"));
        assert!(!ParamFilter::ending(["norm.weight"]).matches("block.batchnorm.weight"));
        assert!(ParamFilter::ending(["bias"]).matches("bias"));
    }

    #[test]
    fn what_matches_nothing_is_reported() {
        let names = ["block1.weight".to_string(), "block1.bias".to_string()];
        assert_eq!(ParamFilter::under(["blok1"]).unmatched(&names), ["blok1"]);
        assert_eq!(
            ParamFilter::under(["block1"])
                .except(["block2"])
                .unmatched(&names),
            ["block2"]
        );
        assert!(ParamFilter::ending(["bias"]).unmatched(&names).is_empty());
    }
}
