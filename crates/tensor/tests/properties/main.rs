//! Properties that every operation of the engine must have.
//!
//! One registry ([`strategies::registry`]) lists every public operation with a strategy of settings and
//! shapes. The modules use it to check derivatives, precision, determinism and empty inputs. Separate tests cover
//! adjoint pairs, wrong rules that must be caught, and graphs.
//! `PROPTEST_CASES` scales the number of points; the default is 256.

mod adjoints;
mod gradients;
mod graph;
mod mutants;
mod operations;
mod panics;
mod penalty;
mod precision;
mod programs;
mod pytorch;
mod random;
mod registry;
mod shards;
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
