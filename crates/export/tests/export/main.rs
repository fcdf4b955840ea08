//! Tests of the exported files.
#![allow(clippy::unwrap_used)]

mod cases;
mod functions;
mod import;
mod interpreter;
mod own_networks;
mod pretrained;
mod python;
mod runs_of_onnx;
