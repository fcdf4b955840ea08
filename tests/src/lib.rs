//! Integration tests of the project; see `integration.rs`.
