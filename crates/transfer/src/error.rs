//! What can be wrong with a request to transfer.

/// Why a transfer cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// A pattern names nothing in a network.
    #[error("no parameter or buffer is {pattern}{}; there are {}", suggestion(.closest), .available.join(", "))]
    NoSuchName {
        /// What was asked for, as `under "blok1"`.
        pattern: String,
        /// The name that is closest to it.
        closest: Option<String>,
        /// Every name that may be given.
        available: Vec<String>,
    },
}

fn suggestion(closest: &Option<String>) -> String {
    match closest {
        Some(name) => format!("; did you mean {name:?}?"),
        None => String::new(),
    }
}
