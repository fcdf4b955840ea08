//! Numbers and sizes as Python reads them.

use crate::graph::Dim;
use std::fmt::Write;

/// A number as Python reads it, with the precision of `f32`.
pub(super) fn number(value: f64) -> String {
    let value = value as f32;
    match value.is_finite() {
        true => format!("{value:?}"),
        false => format!("float(\"{value}\")"),
    }
}

/// Sizes with `batch` for the number of examples.
pub(super) fn sizes(shape: &[Dim], batch: &str) -> String {
    let size = |dim: &Dim| match dim {
        Dim::Fixed(size) => size.to_string(),
        Dim::Batch(1) => batch.to_string(),
        Dim::Batch(factor) => format!("{factor}{batch}"),
        Dim::Share(part) => format!("{batch}/{part}"),
    };
    format!("[{}]", shape.iter().map(size).collect::<Vec<_>>().join(", "))
}

/// Sizes as arguments, with -1 for the number of examples.
pub(super) fn arguments(shape: &[Dim]) -> String {
    let size = |dim: &Dim| match dim {
        Dim::Fixed(size) => size.to_string(),
        Dim::Batch(_) | Dim::Share(_) => "-1".into(),
    };
    shape.iter().map(size).collect::<Vec<_>>().join(", ")
}

/// Sizes as arguments, with the variable `n` for the number of examples.
pub(super) fn arguments_of(shape: &[Dim]) -> String {
    let size = |dim: &Dim| match dim {
        Dim::Fixed(size) => size.to_string(),
        Dim::Batch(1) => "n".into(),
        Dim::Batch(factor) => format!("{factor} * n"),
        Dim::Share(part) => format!("n // {part}"),
    };
    shape.iter().map(size).collect::<Vec<_>>().join(", ")
}

/// Two numbers as an argument; one if they are equal.
pub(super) fn pair([a, b]: [usize; 2]) -> String {
    if a == b {
        a.to_string()
    } else {
        format!("({a}, {b})")
    }
}

/// Adds an argument with two numbers that are not the default.
pub(super) fn add_pair(layer: &mut String, name: &str, values: [usize; 2], default: usize) {
    if values != [default; 2] {
        let _ = write!(layer, ", {name}={}", pair(values));
    }
}
