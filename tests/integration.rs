//! Integration tests across crates, in one binary so that they link once.

#![allow(clippy::unwrap_used)]

mod compatibility;
mod house;
mod overfit;
mod run_directory;
mod run_faults;
mod threads;
