//! Commands in hints: the name of the program, and arguments as a shell reads them.

use std::path::Path;

/// How the program was called, for hints: `cargo engraft` or `engraft`.
pub(super) fn program() -> &'static str {
    // Cargo sets this variable to the name of the package that it runs.
    match std::env::var("CARGO_PKG_NAME").as_deref() {
        Ok("engraft" | "xtask") => "cargo engraft",
        _ => "engraft",
    }
}

/// An argument as a shell reads it.
pub(super) fn quoted(argument: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_=.,/".contains(c);
    match !argument.is_empty() && argument.chars().all(is_plain) {
        true => argument.into(),
        false => format!("'{}'", argument.replace('\'', "'\\''")),
    }
}

/// A path as a shell reads it.
pub(super) fn path(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_quoted_where_a_shell_needs_it() {
        for (argument, expected) in [
            ("runs/my-run_2", "runs/my-run_2"),
            ("my runs/try 1", "'my runs/try 1'"),
            ("it's", "'it'\\''s'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(argument), expected);
        }
    }
}
