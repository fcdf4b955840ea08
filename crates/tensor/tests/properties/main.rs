//! Properties that every operation of the engine must have.
//!
//! One registry ([`strategies::registry`]) names every public operation with a strategy of settings and
//! shapes; the modules check derivatives, precision, determinism and empty inputs over it, and what
//! a registry cannot say (adjoint pairs, wrong rules that must be caught, graphs) in tests of their own.
//! `PROPTEST_CASES` scales the number of points tried, 256 being the ordinary amount.

mod adjoints;
mod gradients;
mod graph;
mod mutants;
mod operations;
mod panics;
mod penalty;
mod precision;
mod registry;
mod strategies;
mod threads;

use engraft_tensor::{Real, Tensor};

/// `Σ a_i b_i`.
fn dot<T: Real>(a: &Tensor<T>, b: &Tensor<T>) -> f64 {
    (a * b).sum().item().into_f64()
}

/// Euclidean length.
fn norm<T: Real>(a: &Tensor<T>) -> f64 {
    dot(a, a).sqrt()
}
