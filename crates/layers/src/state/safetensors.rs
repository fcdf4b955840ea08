//! The safetensors format: 8 bytes of header length, a JSON header, the elements.
//!
//! Writing uses the `safetensors` crate. Reading parses the header here, because the crate's errors
//! name neither tensors nor sizes. Its parser also needs tens of bytes per byte of a hostile
//! header.

use crate::error::LayersError;
use ::safetensors::tensor::{Dtype, View, serialize};
use engraft_base::{MAX_HALF, half, half_bits, sha256_hex, sha256_hex_of};
use engraft_tensor::{Real, Tensor};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// Largest file that [`StateDict::load`](crate::StateDict::load) reads: 2 GiB.
pub const MAX_FILE_BYTES: u64 = 2 << 30;

/// Maximum header length: about ten thousand tensors.
const MAX_HEADER_BYTES: u64 = 1 << 20;

/// Maximum number of axes of a tensor.
const MAX_RANK: usize = 8;

const METADATA: &str = "__metadata__";

/// Metadata of a sealed file: SHA-256 of the file with zeros in place of these 64 digits.
const SEAL: &str = "engraft_sha256";
const DIGITS: usize = 64;

type Parts<T> = (BTreeMap<String, Tensor<T>>, BTreeMap<String, String>);

/// Handling of tensors that are not floating point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extra {
    /// They are an error.
    Refuse,
    /// A counter (`I64` without axes) is dropped. Anything else is an error.
    DropCounter,
}

/// An entry to write: a tensor, a tensor as halves, or a zero counter.
enum Entry<'a, T: Real> {
    Tensor(&'a Tensor<T>),
    Half(&'a Tensor<T>),
    Counter,
}

impl<T: Real> View for Entry<'_, T> {
    fn dtype(&self) -> Dtype {
        match self {
            Self::Tensor(_) if size_of::<T>() == 4 => Dtype::F32,
            Self::Tensor(_) => Dtype::F64,
            Self::Half(_) => Dtype::F16,
            Self::Counter => Dtype::I64,
        }
    }

    fn shape(&self) -> &[usize] {
        match self {
            Self::Tensor(tensor) | Self::Half(tensor) => tensor.shape(),
            Self::Counter => &[],
        }
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let tensor = match self {
            Self::Tensor(tensor) => tensor,
            Self::Half(tensor) => {
                let values = tensor.as_slice().iter().map(|x| half_bits(x.into_f64()));
                return Cow::Owned(values.flat_map(u16::to_le_bytes).collect());
            }
            Self::Counter => return Cow::Borrowed(&[0; 8]),
        };
        let values = tensor.as_slice().iter().map(|x| x.into_f64());
        Cow::Owned(if size_of::<T>() == 4 {
            values.flat_map(|x| (x as f32).to_le_bytes()).collect()
        } else {
            values.flat_map(f64::to_le_bytes).collect()
        })
    }

    fn data_len(&self) -> usize {
        match self {
            Self::Tensor(tensor) => size_of_val(tensor.as_slice()),
            Self::Half(tensor) => 2 * tensor.len(),
            Self::Counter => 8,
        }
    }
}

/// Writes tensors, metadata and counters.
pub(crate) fn encode<T: Real>(
    tensors: &BTreeMap<String, Tensor<T>>,
    metadata: &BTreeMap<String, String>,
    counters: &[String],
) -> Result<Vec<u8>, LayersError> {
    encode_with(tensors, metadata, counters, |_| false)
}

/// [`encode`] that writes the tensors selected by `is_half` as `F16`.
pub(crate) fn encode_with<T: Real>(
    tensors: &BTreeMap<String, Tensor<T>>,
    metadata: &BTreeMap<String, String>,
    counters: &[String],
    is_half: impl Fn(&Tensor<T>) -> bool,
) -> Result<Vec<u8>, LayersError> {
    let unsavable = |reason| LayersError::Unsavable { reason };
    for (name, tensor) in tensors {
        if name == METADATA {
            return Err(unsavable(format!("the tensor name {name:?} is reserved")));
        }
        if tensor.rank() > MAX_RANK {
            return Err(unsavable(format!(
                "tensor {name:?} has shape {:?}, more than {MAX_RANK} axes",
                tensor.shape()
            )));
        }
        if let Some((i, x)) = tensor.as_slice().iter().enumerate().find(|(_, x)| !x.is_finite()) {
            return Err(unsavable(format!(
                "tensor {name:?} is {x} at index {i}; training has diverged"
            )));
        }
        if is_half(tensor) && tensor.as_slice().iter().any(|x| x.into_f64().abs() > MAX_HALF) {
            return Err(unsavable(format!(
                "tensor {name:?} has values above {MAX_HALF}, the largest F16"
            )));
        }
    }
    let entries = tensors
        .iter()
        .map(|(name, tensor)| match is_half(tensor) {
            true => (name, Entry::Half(tensor)),
            false => (name, Entry::Tensor(tensor)),
        })
        .chain(counters.iter().map(|name| (name, Entry::Counter)));
    let mut bytes = serialize(entries, None).map_err(|e| unsavable(e.to_string()))?;
    let (length, _) = header_length(&bytes).map_err(unsavable)?;
    if metadata.is_empty() {
        return Ok(bytes);
    }
    // The crate writes metadata in the random order of a hash map, so equal states would give different bytes.
    // Offsets count from the end of the header, so the header may grow.
    let entries = &bytes[9..8 + length];
    let text = serde_json::to_string(metadata).map_err(|e| unsavable(e.to_string()))?;
    let comma = if tensors.is_empty() && counters.is_empty() {
        ""
    } else {
        ","
    };
    let mut header = format!("{{\"{METADATA}\":{text}{comma}").into_bytes();
    header.extend_from_slice(entries);
    header.resize(header.len().next_multiple_of(8), b' ');
    let front = (header.len() as u64).to_le_bytes().into_iter().chain(header);
    bytes.splice(..8 + length, front);
    header_length(&bytes).map_err(unsavable)?;
    Ok(bytes)
}

/// The file with a SHA-256 of itself in its metadata, which reading checks.
pub(crate) fn sealed(bytes: Vec<u8>) -> Result<Vec<u8>, LayersError> {
    let unsavable = |reason| LayersError::Unsavable { reason };
    let (length, _) = header_length(&bytes).map_err(unsavable)?;
    let (header, elements) = bytes[8..].split_at(length);
    let header = header.trim_ascii_end();
    let entry = format!("\"{SEAL}\":\"{}\"", "0".repeat(DIGITS));
    let front = format!("{{\"{METADATA}\":{{");
    let (start, rest): (_, &[u8]) = match header.strip_prefix(front.as_bytes()) {
        Some(rest) if rest.starts_with(b"}") => (format!("{front}{entry}"), rest),
        Some(rest) => (format!("{front}{entry},"), rest),
        None if header == b"{}" => (format!("{front}{entry}}}"), b"}"),
        None => (format!("{front}{entry}}},"), &header[1..]),
    };
    let mut header = [start.as_bytes(), rest].concat();
    header.resize(header.len().next_multiple_of(8), b' ');
    let place = 8 + front.len() + SEAL.len() + 4;
    let mut file = [&(header.len() as u64).to_le_bytes(), header.as_slice(), elements].concat();
    header_length(&file).map_err(unsavable)?;
    let seal = sha256_hex(&file);
    file[place..place + DIGITS].copy_from_slice(seal.as_bytes());
    Ok(file)
}

/// Compares a sealed file with its SHA-256.
fn check_seal(bytes: &[u8], header: usize, seal: &str) -> Result<(), String> {
    let entry = format!("\"{SEAL}\":\"{seal}\"");
    let found = bytes[..8 + header]
        .windows(entry.len())
        .position(|part| part == entry.as_bytes());
    let is_intact = seal.len() == DIGITS
        && found.is_some_and(|at| {
            let at = at + SEAL.len() + 4;
            let (before, after) = (&bytes[..at], &bytes[at + DIGITS..]);
            sha256_hex_of(&[before, "0".repeat(DIGITS).as_bytes(), after]) == seal
        });
    match is_intact {
        true => Ok(()),
        false => Err("the SHA-256 of the file differs from the one that was written into it; the file was damaged or changed: copy it again".into()),
    }
}

/// Length of the header, and of the elements after it.
fn header_length(bytes: &[u8]) -> Result<(usize, usize), String> {
    let Some((claim, rest)) = bytes.split_first_chunk::<8>() else {
        return Err(format!(
            "expected a safetensors file, which starts with 8 bytes of header length, found {} bytes; the file is empty or cut off",
            bytes.len()
        ));
    };
    let claim = u64::from_le_bytes(*claim);
    if claim > MAX_HEADER_BYTES {
        return Err(format!(
            "bytes 0 to 8 claim a header of {claim} bytes, the limit is {MAX_HEADER_BYTES}; is it a safetensors file?"
        ));
    }
    match usize::try_from(claim)
        .ok()
        .and_then(|h| Some((h, rest.len().checked_sub(h)?)))
    {
        Some(lengths) => Ok(lengths),
        None => Err(format!(
            "bytes 0 to 8 claim a header of {claim} bytes, but only {} follow; the file is cut off: copy it again",
            rest.len()
        )),
    }
}

/// Reads tensors and metadata. `extra` decides about tensors that are not floating point.
pub(crate) fn decode<T: Real>(
    bytes: &[u8],
    path: &Path,
    extra: impl Fn(&str) -> Extra,
) -> Result<Parts<T>, LayersError> {
    parse(bytes, extra).map_err(|reason| LayersError::Format {
        path: path.into(),
        reason,
    })
}

fn parse<T: Real>(bytes: &[u8], extra: impl Fn(&str) -> Extra) -> Result<Parts<T>, String> {
    let (length, _) = header_length(bytes)?;
    let (header, elements) = bytes[8..].split_at(length);
    let Header {
        mut metadata,
        mut tensors,
    } = serde_json::from_slice(header)
        .map_err(|e| format!("the header (bytes 8 to {}) is damaged: {e}", 8 + length))?;
    if let Some(seal) = metadata.remove(SEAL) {
        check_seal(bytes, length, &seal)?;
    }
    tensors.sort_by_key(|(_, info)| info.data_offsets);
    let mut end = 0;
    let mut found = BTreeMap::new();
    for (name, info) in tensors {
        let range = info.range(&name, end, elements.len())?;
        end = range.end;
        let values = &elements[range];
        let value = match info.dtype {
            Dtype::F16 => convert(&name, values, |b: [u8; 2]| half(u16::from_le_bytes(b)))?,
            Dtype::BF16 => convert(&name, values, |b: [u8; 2]| bfloat(u16::from_le_bytes(b)))?,
            Dtype::F32 => convert(&name, values, |b: [u8; 4]| f64::from(f32::from_le_bytes(b)))?,
            Dtype::F64 => convert(&name, values, f64::from_le_bytes)?,
            Dtype::I64 if info.shape.0.is_empty() && extra(&name) == Extra::DropCounter => continue,
            other => {
                return Err(format!(
                    "tensor {name:?} has elements of type {other}, expected F16, BF16, F32 or F64; convert it \
                     before saving"
                ));
            }
        };
        let tensor = Tensor::from_vec(&info.shape.0, value);
        if found.insert(name.clone(), tensor).is_some() {
            return Err(format!("tensor {name:?} occurs twice"));
        }
    }
    if end != elements.len() {
        return Err(format!(
            "its tensors end at offset {end} of the data, but the data has {} bytes; bytes were added or the header \
             is of another file",
            elements.len()
        ));
    }
    Ok((found, metadata))
}

/// Elements of `N` bytes as `T`. Each must be finite.
fn convert<T: Real, const N: usize>(
    name: &str,
    bytes: &[u8],
    read: impl Fn([u8; N]) -> f64,
) -> Result<Vec<T>, String> {
    let mut values = Vec::with_capacity(bytes.len() / N);
    for (i, element) in bytes.as_chunks::<N>().0.iter().enumerate() {
        let value = read(*element);
        let converted = T::from_f64(value);
        if !converted.is_finite() {
            return Err(format!(
                "tensor {name:?} is {value} at index {i}, which is not a finite {}; the network that wrote it had diverged",
                T::NAME
            ));
        }
        values.push(converted);
    }
    Ok(values)
}

/// The value of a bfloat16, the upper half of an `f32`.
fn bfloat(bits: u16) -> f64 {
    f64::from(f32::from_bits(u32::from(bits) << 16))
}

struct Header {
    metadata: BTreeMap<String, String>,
    tensors: Vec<(String, Info)>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Info {
    dtype: Dtype,
    shape: Shape,
    data_offsets: [u64; 2],
}

impl Info {
    /// Byte range of the elements: directly after the tensor before, inside the file, with the size of the shape.
    fn range(&self, name: &str, start: usize, available: usize) -> Result<std::ops::Range<usize>, String> {
        let [from, to] = self.data_offsets;
        let within = |x: u64| usize::try_from(x).ok().filter(|&x| x <= available);
        let range = match (within(from), within(to)) {
            (Some(from), Some(to)) if from == start && from <= to => from..to,
            (Some(from), Some(to)) if from <= to => {
                return Err(format!(
                    "tensor {name:?} lies at offset {from} of the data, expected {start}: tensors must follow each \
                     other without gap or overlap"
                ));
            }
            _ => {
                return Err(format!(
                    "tensor {name:?} claims bytes {from} to {to} of the data, which has {available}; the file is cut \
                     off or damaged: copy it again"
                ));
            }
        };
        // Sizes of 0 are skipped first: `[0, 2^63]` has no elements, but is still not a valid array shape.
        let sizes = &self.shape.0;
        let bits = sizes
            .iter()
            .filter(|&&d| d > 0)
            .try_fold(self.dtype.bitsize(), |n, &d| {
                n.checked_mul(d).filter(|&n| n <= isize::MAX as usize)
            });
        let bits = bits.map(|n| if sizes.contains(&0) { 0 } else { n });
        if bits.is_none() || bits != range.len().checked_mul(8) {
            return Err(format!(
                "tensor {name:?} has {} bytes, which does not match shape {:?} of {}",
                range.len(),
                sizes,
                self.dtype
            ));
        }
        Ok(range)
    }
}

/// Sizes of at most [`MAX_RANK`] axes.
struct Shape(Vec<usize>);

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Axes;
        impl<'de> Visitor<'de> for Axes {
            type Value = Shape;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of at most {MAX_RANK} sizes")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut sizes: A) -> Result<Shape, A::Error> {
                let mut shape = Vec::new();
                while let Some(size) = sizes.next_element()? {
                    if shape.len() == MAX_RANK {
                        return Err(A::Error::invalid_length(MAX_RANK + 1, &self));
                    }
                    shape.push(size);
                }
                Ok(Shape(shape))
            }
        }
        deserializer.deserialize_seq(Axes)
    }
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Header;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let (mut metadata, mut tensors) = (None, Vec::new());
                while let Some(name) = map.next_key::<String>()? {
                    let named = |e: A::Error| A::Error::custom(format!("{name:?}: {e}"));
                    if name != METADATA {
                        let info = map.next_value().map_err(named)?;
                        tensors.push((name, info));
                    } else if metadata.replace(map.next_value().map_err(named)?).is_some() {
                        return Err(A::Error::duplicate_field(METADATA));
                    }
                }
                let metadata = metadata.unwrap_or_default();
                Ok(Header { metadata, tensors })
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bfloats_are_upper_halves() {
        assert_eq!([0x3f80, 0xc000, 0x3e80].map(bfloat), [1.0, -2.0, 0.25]);
        assert_eq!(bfloat(0x7f80), f64::INFINITY);
        assert!(bfloat(0x7fc0).is_nan());
    }
}
