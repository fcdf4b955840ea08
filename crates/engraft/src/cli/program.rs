//! The name of the program in hints.

/// How the program was called, for hints: `cargo engraft` or `engraft`.
pub(super) fn program() -> &'static str {
    // Cargo sets this variable to the name of the package that it runs.
    match std::env::var("CARGO_PKG_NAME").as_deref() {
        Ok("engraft" | "xtask") => "cargo engraft",
        _ => "engraft",
    }
}
