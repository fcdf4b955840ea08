#![doc = include_str!("../README.md")]

pub mod files;
pub mod hash;
pub mod indices;
pub mod seeds;

pub use files::{AtomicFile, FileError, open_regular, read_bounded, write_atomically};
pub use hash::{hex, sha256_hex};
pub use indices::{argmax, choose, equidistant};
/// The crates whose types stand in this crate's signatures.
pub use {rand, rand_pcg};
