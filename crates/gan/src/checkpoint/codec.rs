//! Encoding of the training state: `magic | format | payload length | SHA-256 | payload`.
//!
//! | bytes | content |
//! |---|---|
//! | 0..8 | `ENGRAFTS` |
//! | 8..12 | format version, `u32` little-endian |
//! | 12..20 | length of the payload, `u64` little-endian |
//! | 20..52 | SHA-256 of the payload |
//! | 52.. | payload: the state in the encoding of that format version |
//!
//! The header is checked before anything is decoded. Decoding reads a slice, not a stream, because a stream decoder
//! would trust a length before it can check it.

use super::manifest::printable;
use crate::GanError;
use bincode::Options;
use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};
use std::path::Path;

/// Maximum size of an encoded state, 16 MiB. Tensors belong in safetensors files.
pub const MAX_STATE_BYTES: u64 = 16 << 20;

const MAGIC: &[u8; 8] = b"ENGRAFTS";
const VERSION_AT: usize = 8;
const LENGTH_AT: usize = 12;
const CHECKSUM_AT: usize = 20;
const HEADER: usize = 52;
const DAMAGED: &str = "the file is damaged: resume from an older checkpoint or copy the file again";

/// An encoding of the payload. A new encoding gets the next version; old ones stay to read old files.
trait StateCodec {
    /// Format version of this encoding in the header.
    const VERSION: u32;
    fn encode<S: Serialize>(state: &S) -> Result<Vec<u8>, String>;
    fn decode<S: DeserializeOwned>(payload: &[u8]) -> Result<S, String>;
}

/// bincode 1.3.3, fixed-width little-endian integers.
struct Bincode;

impl Bincode {
    /// The only options used. The free functions of the library have no limit and accept trailing bytes.
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

/// The encoding that [`encode`] uses.
type Current = Bincode;

/// Encodes a training state with a header and a checksum.
///
/// The type must not have zero-sized elements in a sequence: a `Vec<()>` may claim 2^63 of them without any bytes,
/// so decoding would not end. It must not be recursive either, since a hostile file could nest until the stack
/// overflows.
///
/// # Errors
/// [`GanError::Unsaveable`] if the encoded state exceeds [`MAX_STATE_BYTES`] or serialization fails.
pub fn encode<S: Serialize>(state: &S) -> Result<Vec<u8>, GanError> {
    let payload = Current::encode(state).map_err(|error| GanError::Unsaveable {
        reason: format!("the training state cannot be encoded in {MAX_STATE_BYTES} bytes: {error}"),
    })?;
    let mut bytes = Vec::with_capacity(HEADER + payload.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&Current::VERSION.to_le_bytes());
    bytes.extend_from_slice(&(payload.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&Sha256::digest(&payload));
    bytes.extend_from_slice(&payload);
    Ok(bytes)
}

/// Decodes a state from [`encode`]; `path` is used in messages.
///
/// A hostile payload with a correct checksum causes little harm. A sequence reserves at most 1 MiB in advance (each
/// nested level again), and grows beyond that only with elements that are present.
///
/// # Errors
/// [`GanError::NewerFormat`] for a state of a newer build. [`GanError::Format`] if magic, version, length, checksum
/// or payload are wrong, checked in this order.
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
        let expected = format!("{length} payload bytes, as in the header");
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

    // There is one version so far; a second one needs a `match` here.
    Bincode::decode(payload).map_err(|reason| {
        let expected = format!("a training state of {} payload bytes", payload.len());
        let advice = "the file is intact but contains another kind of state: it was written by a different \
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
