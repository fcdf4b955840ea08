#![doc = include_str!("../README.md")]

pub mod files;
pub mod half;
pub mod hash;
pub mod indices;
pub mod machine;
pub mod pixels;
pub mod seeds;
pub mod text;

pub use files::{AtomicFile, FileError, open_regular, read_bounded, write_atomically};
pub use half::{MAX_HALF, half, half_bits};
pub use hash::{hex, sha256_hex, sha256_hex_of};
pub use indices::{argmax, batches, choose, equidistant};
pub use machine::{cpu_model, free_memory};
pub use pixels::{from_byte, to_byte, to_bytes};
pub use text::{escaped, escaped_lines, html_escaped};
/// Crates whose types appear in the public signatures of this crate.
pub use {rand, rand_pcg};
