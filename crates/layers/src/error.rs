//! Errors of names typed by users, files and saved states.

use engraft_base::FileError;
use std::path::PathBuf;

/// Error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayersError {
    /// A name pattern has parts that match no parameter or buffer.
    #[error(
        "no parameter or buffer is under or ends in {}{}; there are {}",
        listed(.unmatched.iter().map(|name| format!("{name:?}"))),
        did_you_mean(.unmatched, .names),
        listed(.names.iter().map(|name| name.escape_debug().to_string()))
    )]
    NoSuchName {
        /// The parts of the pattern that match nothing.
        unmatched: Vec<String>,
        /// All known names.
        names: Vec<String>,
    },
    /// A saved state is of another kind of optimizer.
    #[error("the saved optimizer state is of kind {found:?}, this optimizer is {expected:?}")]
    OptimizerKind {
        /// Kind of this optimizer.
        expected: &'static str,
        /// Kind of the saved state.
        found: String,
    },
    /// A saved state and a module have different names or shapes. Lists all differences.
    #[error("{what} does not fit the module{}", differences(.missing, .unexpected, .shapes))]
    Mismatch {
        /// The state that was loaded.
        what: String,
        /// Names of the module that the state does not have.
        missing: Vec<String>,
        /// Names of the state that the module does not have.
        unexpected: Vec<String>,
        /// Name, shape in the module, shape in the state.
        shapes: Vec<(String, Vec<usize>, Vec<usize>)>,
    },
    /// A text is not the name of an adapter.
    #[error(
        "expected singular-values, output-scale, low-rank=RANK or modulation=RANK with a rank from 1 to {most}, got {found:?}"
    )]
    NoSuchAdapter {
        /// The largest rank.
        most: usize,
        /// The text.
        found: String,
    },
    /// The contents of a file do not follow the format.
    #[error("{}: {reason}", .path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The problem, its position, and what was expected.
        reason: String,
    },
    /// A state cannot be saved, because it could not be loaded again.
    #[error("the state cannot be saved: {reason}")]
    Unsavable {
        /// The tensor and its problem.
        reason: String,
    },
    /// A rule of a [`TorchLayout`](crate::TorchLayout) does not fit the state.
    #[error("layout rule {rule}: {reason}")]
    Layout {
        /// The rule, as written.
        rule: String,
        /// The tensor, what was expected and what was found.
        reason: String,
    },
    /// Reading or writing failed.
    #[error("{}: {action} failed: {reason}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The operation that failed.
        action: &'static str,
        /// The error of the operating system.
        reason: std::io::Error,
    },
}

impl From<FileError> for LayersError {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Io { path, action, reason } => Self::Io { path, action, reason },
            FileError::TooLong { path, size, limit } => Self::Format {
                path,
                reason: format!(
                    "the file has {size} bytes or more, the limit is {limit}; if the size is right, load it with a \
                     larger limit"
                ),
            },
            FileError::NotRegular { path, found } => Self::Format {
                path,
                reason: format!("expected a regular file, found {found}"),
            },
            error => Self::Io {
                path: error.path().to_path_buf(),
                action: "opening",
                reason: std::io::Error::other(error.to_string()),
            },
        }
    }
}

/// Names shown per list. A state of another network may have thousands of differences.
const SHOWN: usize = 20;

/// A comma-separated list of at most [`SHOWN`] items. Names from files are escaped, because control characters could
/// manipulate the terminal.
fn listed(items: impl ExactSizeIterator<Item = String>) -> String {
    let more = items.len().saturating_sub(SHOWN);
    let mut text = items.take(SHOWN).collect::<Vec<_>>().join(", ");
    if more > 0 {
        text += &format!(", and {more} more");
    }
    text
}

/// The prefix or suffix of a known name that is closest to the first unmatched part, if one is close.
fn did_you_mean(unmatched: &[String], names: &[String]) -> String {
    let Some(missed) = unmatched.first() else {
        return String::new();
    };
    let parts = names.iter().flat_map(|name| {
        let dots = name.match_indices('.');
        let cut = dots.flat_map(|(at, _)| [&name[..at], &name[at + 1..]]);
        cut.chain([name.as_str()])
    });
    let closest = parts
        .map(|part| (strsim::damerau_levenshtein(part, missed), part))
        .min()
        .filter(|(distance, _)| *distance <= missed.len().div_ceil(3));
    closest.map_or(String::new(), |(_, part)| format!("; did you mean {part:?}?"))
}

fn differences(
    missing: &[String],
    unexpected: &[String],
    shapes: &[(String, Vec<usize>, Vec<usize>)],
) -> String {
    let names = |names: &[String]| listed(names.iter().map(|n| n.escape_debug().to_string()));
    let mut text = String::new();
    if !missing.is_empty() {
        text += &format!("; missing: {}", names(missing));
    }
    if !unexpected.is_empty() {
        text += &format!("; unexpected: {}", names(unexpected));
    }
    if !shapes.is_empty() {
        let shape = |(name, module, state): &(String, Vec<usize>, Vec<usize>)| {
            format!(
                "{}: expected shape {module:?}, found {state:?}",
                name.escape_debug()
            )
        };
        text += &format!("; {}", listed(shapes.iter().map(shape)));
    }
    text
}
