//! Integration tests across crates, in one binary so that they link once.

mod house;
mod overfit;
mod run_directory;
mod threads;
