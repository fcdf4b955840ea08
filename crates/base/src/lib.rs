#![doc = include_str!("../README.md")]

pub mod files;
pub mod hash;
pub mod indices;
pub mod pixels;
pub mod seeds;

pub use files::{AtomicFile, FileError, open_regular, read_bounded, write_atomically};
pub use hash::{hex, sha256_hex};
pub use indices::{argmax, batches, choose, equidistant};
pub use pixels::{from_byte, to_byte, to_bytes};
/// Crates whose types appear in the public signatures of this crate.
pub use {rand, rand_pcg};
