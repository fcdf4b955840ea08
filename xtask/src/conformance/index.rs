//! `index.json`: what each case is and which errors are allowed.

use serde::Deserialize;
use std::collections::BTreeMap;

/// The whole index.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Index {
    /// Version of PyTorch that computed the values.
    pub(crate) torch: String,
    #[serde(rename = "note")]
    _note: String,
    pub(crate) tolerance: Tolerance,
    pub(crate) cases: Vec<Entry>,
}

/// Allowed errors.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tolerance {
    #[serde(rename = "rule")]
    _rule: String,
    /// Relative to the largest value of a tensor.
    pub(crate) f64: f64,
    /// Relative to the largest value of a tensor.
    pub(crate) f32: f64,
    pub(crate) dcgan: TrajectoryTolerances,
}

/// Allowed errors after several training steps.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TrajectoryTolerances {
    pub(crate) f64: TrajectoryTolerance,
    pub(crate) f32: TrajectoryTolerance,
    #[serde(rename = "why")]
    _why: String,
}

/// Allowed errors after several training steps, in one precision.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TrajectoryTolerance {
    pub(crate) loss_relative: f64,
    pub(crate) weights_max_abs: f64,
    /// Absolute ones of single tensors.
    #[serde(default, rename = "except")]
    pub(crate) exceptions: BTreeMap<String, f64>,
}

/// One case.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) op: String,
    /// Settings of the operation; each reads its own type from this.
    pub(crate) params: serde_json::Value,
    /// File by precision.
    pub(crate) files: BTreeMap<String, String>,
    /// Shape by tensor.
    pub(crate) shapes: BTreeMap<String, Vec<usize>>,
}
