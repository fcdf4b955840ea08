//! Tests of the exported files.
#![allow(clippy::unwrap_used)]

mod cases;
mod import;
mod interpreter;
mod own_networks;
mod python;
mod runs_of_onnx;
