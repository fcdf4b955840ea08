//! Reader and writer of NPY files, numpy's format for one array. Safe for hostile files.
//!
//! A header contains type, order and shape. The numbers follow. All claims are compared with the length of the file
//! before memory is reserved. Numbers are converted as they are read, so there is no second copy of the
//! file in memory.
//!
//! Source of the format: numpy, `numpy/lib/format.py`, versions 1.0 to 3.0.

use crate::error::{DataError, Offset, io_error};
use crate::idx::no_memory;
use engraft_base::{open_regular, write_atomically};
use std::io::{BufReader, ErrorKind, Read};
use std::path::Path;

#[cfg(test)]
mod tests;

const MAGIC: &[u8] = b"\x93NUMPY";
/// Maximum bytes of a header. numpy's own headers for arrays of numbers are below 200 bytes.
const MAX_HEADER: usize = 1 << 16;
/// Maximum number of elements: 1 GiB of double precision, over 170 000 images of 28x28.
const MAX_NUMBERS: u64 = 1 << 27;
/// Maximum number of axes.
const MAX_AXES: usize = 8;
/// Bytes that are read and converted at a time, a multiple of the size of all types.
const PIECE: usize = 1 << 16;

const ADVICE: &str = "save a C-ordered array of float32, float64 or uint8 with numpy.save";

/// An array of numbers from an NPY file, in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub struct Npy {
    shape: Vec<usize>,
    numbers: Numbers,
}

/// The numbers of an [`Npy`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Numbers {
    /// Unsigned bytes, `|u1`.
    U8(Vec<u8>),
    /// Single precision, `<f4`.
    F32(Vec<f32>),
    /// Double precision, `<f8`.
    F64(Vec<f64>),
}

impl Npy {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// [`DataError::File`] if the file cannot be read or is not a regular file. [`DataError::Format`] if it is not
    /// exactly one C-ordered array of little-endian float32, float64 or uint8 numbers, or has more than 2²⁷ of them.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, DataError> {
        let path = path.as_ref();
        let (file, len) = open_regular(path)?;
        Self::from_reader(BufReader::new(file), len, path)
    }

    /// Reads the file contents `bytes`. `path` only appears in errors.
    ///
    /// # Errors
    /// See [`open`](Self::open).
    pub fn from_bytes(bytes: &[u8], path: impl AsRef<Path>) -> Result<Self, DataError> {
        Self::from_reader(bytes, bytes.len() as u64, path.as_ref())
    }

    fn from_reader(mut reader: impl Read, len: u64, path: &Path) -> Result<Self, DataError> {
        let mut parser = Parser {
            reader: &mut reader,
            at: 0,
            path,
        };
        let magic = parser.bytes(8, "the magic number of NPY and its version")?;
        if !magic.starts_with(MAGIC) {
            return Err(parser.fault("the magic number of an NPY file", "other bytes"));
        }
        let length_bytes = match magic[6] {
            1 => 2,
            2 | 3 => 4,
            other => return Err(parser.fault("version 1, 2 or 3 of NPY", &format!("version {other}"))),
        };
        let length = parser.bytes(length_bytes, "the length of the header")?;
        let length = length
            .iter()
            .rev()
            .fold(0, |sum, &byte| sum << 8 | usize::from(byte));
        if length > MAX_HEADER {
            let expected = format!("a header of at most {MAX_HEADER} bytes");
            return Err(parser.fault(&expected, &format!("{length}")));
        }
        let header = parser.bytes(length, "the header")?;
        let header = String::from_utf8_lossy(&header).into_owned();
        let Some((kind, shape)) = parse_header(&header) else {
            return Err(parser.fault(
                "a C-ordered array of <f4, <f8 or |u1 with at most 8 axes",
                &format!("{:?}", header.trim_end()),
            ));
        };
        let count = shape
            .iter()
            .try_fold(1_u64, |n, &size| n.checked_mul(size as u64));
        let needed = count.and_then(|n| n.checked_mul(kind.size() as u64));
        let left = len.saturating_sub(parser.at);
        let (Some(count), true) = (count, needed == Some(left)) else {
            let expected = format!("the numbers of an array of shape {shape:?}");
            return Err(parser.fault(&expected, &format!("{left} bytes")));
        };
        if count > MAX_NUMBERS {
            let expected = format!("at most {MAX_NUMBERS} numbers");
            let found = format!("{count}, of shape {shape:?}");
            return Err(parser.fault_with(&expected, &found, "save fewer rows in the file"));
        }
        let count = count as usize;
        let numbers = match kind {
            Kind::U8 => Numbers::U8(parser.numbers(count, u8::from_le_bytes)?),
            Kind::F32 => Numbers::F32(parser.numbers(count, f32::from_le_bytes)?),
            Kind::F64 => Numbers::F64(parser.numbers(count, f64::from_le_bytes)?),
        };
        Ok(Self { shape, numbers })
    }

    /// Sizes of the axes.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The numbers, without a copy.
    pub fn into_numbers(self) -> Numbers {
        self.numbers
    }

    /// The numbers in row-major order.
    pub fn numbers(&self) -> &Numbers {
        &self.numbers
    }
}

/// Writes a single-precision array as an NPY file of version 1.0. An existing file is replaced atomically.
///
/// # Errors
/// [`DataError::File`] if it cannot be written.
///
/// # Panics
/// If the shape does not match the number of elements.
pub fn write_npy(path: impl AsRef<Path>, shape: &[usize], numbers: &[f32]) -> Result<(), DataError> {
    let path = path.as_ref();
    assert_eq!(
        shape.iter().product::<usize>(),
        numbers.len(),
        "write_npy: the shape {shape:?} does not hold {} numbers",
        numbers.len()
    );
    let sizes: String = shape.iter().map(|size| format!("{size}, ")).collect();
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({sizes}), }}");
    // The numbers begin at a multiple of 64 bytes, after ten bytes of fixed size and a line feed.
    let padding = (10 + header.len() + 1).next_multiple_of(64) - (10 + header.len() + 1);
    header.extend(std::iter::repeat_n(' ', padding));
    header.push('\n');
    let mut bytes = MAGIC.to_vec();
    bytes.extend([1, 0]);
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(numbers.iter().flat_map(|x| x.to_le_bytes()));
    Ok(write_atomically(path, &bytes)?)
}

#[derive(Clone, Copy)]
enum Kind {
    U8,
    F32,
    F64,
}

impl Kind {
    fn size(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }
}

/// Type and shape from a header such as `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`.
fn parse_header(header: &str) -> Option<(Kind, Vec<usize>)> {
    let value = |key: &str| {
        let (_, rest) = header.split_once(&format!("'{key}'"))?;
        Some(rest.trim_start().strip_prefix(':')?.trim_start())
    };
    let descr = value("descr")?.strip_prefix('\'')?.split('\'').next()?;
    let kind = match descr {
        "|u1" | "<u1" => Kind::U8,
        "<f4" => Kind::F32,
        "<f8" => Kind::F64,
        _ => return None,
    };
    let shape = value("shape")?.strip_prefix('(')?.split(')').next()?;
    let sizes = shape.split(',').map(str::trim).filter(|size| !size.is_empty());
    let shape: Vec<usize> = sizes.map(|size| size.parse().ok()).collect::<Option<_>>()?;
    // For an array of at most one axis the order does not matter.
    let in_order = value("fortran_order")?.starts_with("False") || shape.len() < 2;
    (in_order && shape.len() <= MAX_AXES).then_some((kind, shape))
}

struct Parser<'a, R> {
    reader: &'a mut R,
    at: u64,
    path: &'a Path,
}

impl<R: Read> Parser<'_, R> {
    /// Exactly `count` bytes. Only for small `count`, because memory is reserved first.
    fn bytes(&mut self, count: usize, what: &str) -> Result<Vec<u8>, DataError> {
        let mut bytes = vec![0; count];
        self.fill(&mut bytes, what)?;
        Ok(bytes)
    }

    /// `count` numbers of `N` bytes, converted piece by piece. The file is known to be long enough.
    fn numbers<T, const N: usize>(
        &mut self,
        count: usize,
        number: impl Fn([u8; N]) -> T,
    ) -> Result<Vec<T>, DataError> {
        let mut numbers = Vec::new();
        numbers
            .try_reserve_exact(count)
            .map_err(|_| no_memory(self.path))?;
        let mut piece = vec![0; PIECE.min(N * count)];
        while numbers.len() < count {
            let size = piece.len().min(N * (count - numbers.len()));
            self.fill(&mut piece[..size], "the numbers")?;
            numbers.extend(piece[..size].as_chunks().0.iter().map(|&bytes| number(bytes)));
        }
        Ok(numbers)
    }

    /// Fills `bytes`, or returns how many bytes there are.
    fn fill(&mut self, bytes: &mut [u8], what: &str) -> Result<(), DataError> {
        let mut filled = 0;
        while filled < bytes.len() {
            match self.reader.read(&mut bytes[filled..]) {
                Ok(0) => {
                    let expected = format!("{} bytes of {what}", bytes.len());
                    return Err(self.fault(&expected, &format!("{filled}")));
                }
                Ok(read) => filled += read,
                Err(reason) if reason.kind() == ErrorKind::Interrupted => {}
                Err(reason) => return Err(io_error(self.path, "reading", reason)),
            }
        }
        self.at += filled as u64;
        Ok(())
    }

    fn fault(&self, expected: &str, found: &str) -> DataError {
        self.fault_with(expected, found, ADVICE)
    }

    fn fault_with(&self, expected: &str, found: &str, advice: &'static str) -> DataError {
        DataError::Format {
            path: self.path.into(),
            offset: Offset::File(self.at),
            expected: expected.into(),
            found: found.chars().take(300).collect(),
            advice,
        }
    }
}
