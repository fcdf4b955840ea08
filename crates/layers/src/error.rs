//! What can go wrong outside the program: names typed by a user, files, saved states.

use std::path::PathBuf;

/// Error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayersError {
    /// A name pattern has parts that match no parameter.
    #[error("no parameter is under or ends in {unmatched:?}; the names are {names:?}")]
    NoSuchName {
        /// What matches nothing.
        unmatched: Vec<String>,
        /// Every name there is.
        names: Vec<String>,
    },
    /// A saved state belongs to another kind of optimiser.
    #[error("the saved optimiser state is of kind {found:?}, this optimiser is {expected:?}")]
    OptimizerKind {
        /// Kind of this optimiser.
        expected: &'static str,
        /// Kind in the state.
        found: String,
    },
    /// A saved state lacks a tensor that its counters speak of.
    #[error("the saved optimiser state has no tensor {name:?}")]
    MissingMoment {
        /// Name of the tensor.
        name: String,
    },
    /// A state dict and a module have different names or shapes; all differences at once.
    #[error("{what} does not fit the module{}", differences(.missing, .unexpected, .shapes))]
    Mismatch {
        /// What was to be loaded.
        what: String,
        /// Names of the module that the state lacks.
        missing: Vec<String>,
        /// Names of the state that the module lacks.
        unexpected: Vec<String>,
        /// Name, shape in the module, shape in the state.
        shapes: Vec<(String, Vec<usize>, Vec<usize>)>,
    },
    /// A file's content is not what its format demands.
    #[error("{}: {reason}", .path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong, where, and what was expected.
        reason: String,
    },
    /// Reading or writing failed.
    #[error("{}: {action} failed: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The reason of the system.
        source: std::io::Error,
    },
}

fn differences(
    missing: &[String],
    unexpected: &[String],
    shapes: &[(String, Vec<usize>, Vec<usize>)],
) -> String {
    let mut text = String::new();
    if !missing.is_empty() {
        text += &format!("; missing: {}", missing.join(", "));
    }
    if !unexpected.is_empty() {
        text += &format!("; unexpected: {}", unexpected.join(", "));
    }
    for (name, module, state) in shapes {
        text += &format!("; {name}: expected shape {module:?}, found {state:?}");
    }
    text
}
