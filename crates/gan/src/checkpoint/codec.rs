//! The fence around the training state: `magic | format | payload length | SHA-256 | payload`.
//!
//! | bytes | content |
//! |---|---|
//! | 0..8 | `ENGRAFTS` |
//! | 8..12 | format version, `u32` little-endian |
//! | 12..20 | length of the payload, `u64` little-endian |
//! | 20..52 | SHA-256 of the payload |
//! | 52.. | payload: the state in the encoding of that format version |
//!
//! Nothing is decoded before all of the fence holds, and decoding reads a slice, never a stream: a stream decoder
//! would have to believe a length before it can see whether the bytes are there.

use super::manifest::printable;
use crate::GanError;
use bincode::Options;
use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};
use std::path::Path;

/// Longest encoded state, 16 MiB. Tensors belong into safetensors files beside it.
pub const MAX_STATE_BYTES: u64 = 16 << 20;

const MAGIC: &[u8; 8] = b"ENGRAFTS";
const VERSION_AT: usize = 8;
const LENGTH_AT: usize = 12;
const CHECKSUM_AT: usize = 20;
const HEADER: usize = 52;
const DAMAGED: &str = "the file is damaged: resume from an older checkpoint or copy the file again";

/// An encoding of the payload. Another one takes the next version; the old ones stay to read old files.
trait StateCodec {
    /// The format version that names this encoding in the header.
    const VERSION: u32;
    fn encode<S: Serialize>(state: &S) -> Result<Vec<u8>, String>;
    fn decode<S: DeserializeOwned>(payload: &[u8]) -> Result<S, String>;
}

/// bincode 1.3.3, fixed-width little-endian integers.
struct Bincode;

impl Bincode {
    /// The only options in use. The library's free functions have no limit and accept trailing bytes.
    fn options() -> impl Options {
        bincode::DefaultOptions::new()
            .with_fixint_encoding()
            .with_little_endian()
            .with_limit(MAX_STATE_BYTES)
            .reject_trailing_bytes()
    }
}

impl StateCodec for Bincode {
    const VERSION: u32 = 1;

    fn encode<S: Serialize>(state: &S) -> Result<Vec<u8>, String> {
        Self::options()
            .serialize(state)
            .map_err(|error| error.to_string())
    }

    fn decode<S: DeserializeOwned>(payload: &[u8]) -> Result<S, String> {
        Self::options()
            .deserialize(payload)
            .map_err(|error| error.to_string())
    }
}

/// What [`encode`] writes with.
type Current = Bincode;

/// Encodes a training state, fenced.
///
/// The state's type must have neither zero-sized elements in a sequence (a `Vec<()>` may claim 2^63 of them
/// without a byte to read, so decoding would not end) nor recursion (a hostile file could nest until the stack ends).
///
/// # Errors
/// [`GanError::Unsaveable`] when the encoded state is longer than [`MAX_STATE_BYTES`] or its `Serialize` fails.
pub fn encode<S: Serialize>(state: &S) -> Result<Vec<u8>, GanError> {
    let payload = Current::encode(state).map_err(|error| GanError::Unsaveable {
        reason: format!("the training state does not encode into {MAX_STATE_BYTES} bytes: {error}"),
    })?;
    let mut bytes = Vec::with_capacity(HEADER + payload.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&Current::VERSION.to_le_bytes());
    bytes.extend_from_slice(&(payload.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&Sha256::digest(&payload));
    bytes.extend_from_slice(&payload);
    Ok(bytes)
}

/// Decodes what [`encode`] wrote; `path` names the file in messages.
///
/// A hostile payload with a right checksum gains little: a sequence reserves at most 1 MiB for its claim (each level
/// of nested ones again), and grows beyond that only with elements whose bytes are there.
///
/// # Errors
/// [`GanError::NewerFormat`] for a state of a later build; [`GanError::Format`] when magic, version, length, checksum
/// or payload are not what they must be, checked in this order.
pub fn decode<S: DeserializeOwned>(bytes: &[u8], path: &Path) -> Result<S, GanError> {
    let wrong = |offset: usize, expected: String, found: String, advice| GanError::Format {
        path: path.to_path_buf(),
        offset: Some(offset as u64),
        expected,
        found,
        advice,
    };

    let start = &bytes[..bytes.len().min(MAGIC.len())];
    if !MAGIC.starts_with(start) {
        let found = format!("\"{}\"", start.escape_ascii());
        return Err(wrong(
            0,
            "\"ENGRAFTS\"".into(),
            found,
            "this is not a training state: check the path",
        ));
    }
    let Some((header, payload)) = bytes.split_first_chunk::<HEADER>() else {
        let (expected, found) = (
            format!("a header of {HEADER} bytes"),
            format!("the end after {} bytes", bytes.len()),
        );
        return Err(wrong(bytes.len(), expected, found, DAMAGED));
    };
    let version = u32::from_le_bytes(field(header, VERSION_AT));
    if version > Current::VERSION {
        return Err(GanError::NewerFormat {
            path: path.to_path_buf(),
            found: version,
            supported: Current::VERSION,
        });
    }
    if version == 0 {
        let expected = format!("a format version from 1 to {}", Current::VERSION);
        return Err(wrong(VERSION_AT, expected, "0".into(), DAMAGED));
    }
    let length = u64::from_le_bytes(field(header, LENGTH_AT));
    if length > MAX_STATE_BYTES {
        let expected = format!("a payload of at most {MAX_STATE_BYTES} bytes");
        return Err(wrong(
            LENGTH_AT,
            expected,
            format!("a length of {length}"),
            DAMAGED,
        ));
    }
    if length != payload.len() as u64 {
        let expected = format!("{length} payload bytes as the header says");
        return Err(wrong(
            LENGTH_AT,
            expected,
            format!("{} bytes", payload.len()),
            DAMAGED,
        ));
    }
    if *Sha256::digest(payload) != header[CHECKSUM_AT..] {
        let expected = "the checksum of the payload".into();
        return Err(wrong(CHECKSUM_AT, expected, "another checksum".into(), DAMAGED));
    }

    // One version so far; a second one becomes a `match` here.
    Bincode::decode(payload).map_err(|reason| {
        let expected = format!("a training state of {} payload bytes", payload.len());
        let advice = "the file is intact but holds another kind of state: it was written by a different \
                      program version or for a different trainer";
        wrong(HEADER, expected, printable(&reason), advice)
    })
}

/// The `N` bytes of the header from `at` on.
fn field<const N: usize>(header: &[u8; HEADER], at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&header[at..at + N]);
    bytes
}

#[cfg(test)]
mod tests;
