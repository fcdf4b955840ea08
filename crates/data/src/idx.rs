//! Reader of IDX files, the format of MNIST, raw or gzip. Safe for hostile files.
//!
//! A header is four bytes `00 00 type rank` and `rank` sizes of four bytes each, big-endian. The elements
//! follow. All claims are compared with the length of the file before memory is reserved. A raw file must
//! have exactly the claimed length. A gzip file cannot unpack to more than [`MAX_GZIP`] times its own length,
//! and memory for it grows only with the bytes that are really unpacked.
//!
//! Source of the format: LeCun, Cortes, Burges, "The MNIST database of handwritten digits".

use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::path::Path;

use engraft_base::open_regular;
use flate2::bufread::MultiGzDecoder;

use crate::error::{DataError, Offset, io_error};

#[cfg(test)]
mod tests;

/// Maximum number of elements: 2 GiB, thirty times the largest file of the MNIST family.
const MAX_ELEMENTS: u64 = 1 << 31;
/// Maximum number of bytes that one byte of a deflate stream unpacks to (a match of 258 bytes takes two bits).
const MAX_GZIP: u64 = 1032;
/// Allowance for the fixed parts of very small gzip files, and the first reservation.
const SLACK: u64 = 1 << 16;

const FETCH_AGAIN: &str = "the file is damaged or incomplete, fetch it again";
const NOT_IDX: &str = "is this an idx file of unsigned bytes?";

/// An array of unsigned bytes of rank 1 (labels) or 3 (images) from an IDX file.
///
/// ```
/// use engraft_data::Idx;
///
/// let labels = Idx::from_bytes(&[0, 0, 8, 1, 0, 0, 0, 2, 7, 9], "labels")?;
/// assert_eq!((labels.shape(), labels.elements()), (&[2][..], &[7, 9][..]));
/// # Ok::<(), engraft_data::DataError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idx {
    shape: Vec<usize>,
    elements: Vec<u8>,
}

impl Idx {
    /// Reads the file at `path`. Its first bytes decide whether it is gzip, not its name.
    ///
    /// # Errors
    /// [`DataError::File`] if the file cannot be read or is not a regular file. [`DataError::Format`] if it is
    /// not exactly one array of unsigned bytes of rank 1 or 3. Examples are a wrong magic number, type or rank, missing
    /// or extra bytes, more than 2 GiB, and a damaged gzip stream.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, DataError> {
        let path = path.as_ref();
        let (file, len) = open_regular(path)?;
        Self::from_reader(BufReader::new(file), len, path)
    }

    /// Reads the file contents `bytes`, raw or gzip. `path` only appears in errors.
    ///
    /// # Errors
    /// See [`open`](Self::open).
    pub fn from_bytes(bytes: &[u8], path: impl AsRef<Path>) -> Result<Self, DataError> {
        Self::from_reader(bytes, bytes.len() as u64, path.as_ref())
    }

    fn from_reader(mut reader: impl BufRead, len: u64, path: &Path) -> Result<Self, DataError> {
        let first = reader
            .fill_buf()
            .map_err(|reason| io_error(path, "reading", reason))?;
        if first.starts_with(&[0x1f, 0x8b]) {
            let limit = len.saturating_mul(MAX_GZIP).saturating_add(SLACK);
            Parser {
                reader: MultiGzDecoder::new(reader),
                at: 0,
                path,
                size: Size::AtMost(limit),
            }
            .parse()
        } else {
            Parser {
                reader,
                at: 0,
                path,
                size: Size::Exactly(len),
            }
            .parse()
        }
    }

    /// Sizes of the array: `[n]` or `[n, h, w]`.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The elements in row-major order.
    pub fn elements(&self) -> &[u8] {
        &self.elements
    }

    /// The elements, without a copy.
    pub fn into_elements(self) -> Vec<u8> {
        self.elements
    }
}

/// The error of a valid file that is larger than the available memory.
pub(crate) fn no_memory(path: &Path) -> DataError {
    let reason = io::Error::new(ErrorKind::OutOfMemory, "not enough memory");
    io_error(path, "reading", reason)
}

/// What the length of the file implies for the number of bytes.
#[derive(Clone, Copy)]
enum Size {
    /// A raw file: exactly this many.
    Exactly(u64),
    /// A gzip file: at most this many.
    AtMost(u64),
}

struct Parser<'a, R> {
    reader: R,
    /// Number of bytes read from `reader`.
    at: u64,
    path: &'a Path,
    size: Size,
}

impl<R: Read> Parser<'_, R> {
    fn parse(mut self) -> Result<Idx, DataError> {
        let magic = self.four("an idx header of at least 8 bytes")?;
        self.check_magic(magic)?;
        let mut shape = Vec::with_capacity(3);
        let mut count = 1_u64;
        for _ in 0..magic[3] {
            let size = u64::from(u32::from_be_bytes(self.four("the four bytes of a size")?));
            shape.push(size);
            // A later zero would make the product small again, but the sizes before it must be valid too.
            count = count
                .checked_mul(size.max(1))
                .filter(|&count| count <= MAX_ELEMENTS)
                .ok_or_else(|| {
                    let expected = format!("at most {MAX_ELEMENTS} elements in all");
                    self.fault(self.at - 4, expected, format!("the sizes {shape:?}"), NOT_IDX)
                })?;
        }
        if shape.contains(&0) {
            count = 0;
        }
        self.check_length(count, &shape)?;
        let elements = self.take(count)?;
        self.expect_end(count)?;
        // Every size is at most 2^31 here, which fits into a 32-bit usize.
        Ok(Idx {
            shape: shape.into_iter().map(|size| size as usize).collect(),
            elements,
        })
    }

    fn check_magic(&self, magic: [u8; 4]) -> Result<(), DataError> {
        let found = || {
            format!(
                "{:02x} {:02x} {:02x} {:02x}",
                magic[0], magic[1], magic[2], magic[3]
            )
        };
        if magic[..2] != [0, 0] {
            return Err(self.fault(0, "an idx file, which begins with 00 00".into(), found(), NOT_IDX));
        }
        if magic[2] != 0x08 {
            let expected = "the type 08 (unsigned byte)".into();
            return Err(self.fault(
                2,
                expected,
                format!("{:02x}{}", magic[2], type_name(magic[2])),
                NOT_IDX,
            ));
        }
        if magic[3] != 1 && magic[3] != 3 {
            let expected = "rank 1 (labels) or 3 (images)".into();
            return Err(self.fault(3, expected, format!("rank {}", magic[3]), NOT_IDX));
        }
        Ok(())
    }

    /// Compares the claim of the header with the length of the file, before memory is reserved.
    fn check_length(&self, count: u64, shape: &[u64]) -> Result<(), DataError> {
        let whole = self.at + count;
        match self.size {
            Size::Exactly(len) if len < whole => {
                let expected = format!("{whole} bytes in all for the sizes {shape:?}");
                Err(self.fault(
                    len,
                    expected,
                    format!("the end of the file after {len}"),
                    FETCH_AGAIN,
                ))
            }
            Size::Exactly(len) if len > whole => Err(self.surplus(whole, format!("{} more", len - whole))),
            Size::AtMost(limit) if limit < whole => {
                let found = format!("a claim of {whole} in its header, for the sizes {shape:?}");
                let expected = format!("at most {limit} bytes from a gzip file of this length");
                Err(self.fault(4, expected, found, FETCH_AGAIN))
            }
            _ => Ok(()),
        }
    }

    /// The next `count` bytes.
    ///
    /// The buffer starts small and doubles up to `count`. For a raw file the length is known at the start.
    fn take(&mut self, count: u64) -> Result<Vec<u8>, DataError> {
        let count = count as usize;
        let mut buffer: Vec<u8> = Vec::new();
        let mut filled = 0;
        while filled < count {
            if filled == buffer.len() {
                let target = match self.size {
                    Size::Exactly(_) => count,
                    Size::AtMost(_) => count.min((2 * filled).max(SLACK as usize)),
                };
                buffer
                    .try_reserve_exact(target - filled)
                    .map_err(|_| no_memory(self.path))?;
                buffer.resize(target, 0);
            }
            match self.read(&mut buffer[filled..])? {
                0 => return Err(self.cut_short(format!("{} more bytes of elements", count - filled))),
                read => filled += read,
            }
        }
        Ok(buffer)
    }

    /// Checks that nothing follows, which also verifies the checksum of a gzip file.
    fn expect_end(&mut self, count: u64) -> Result<(), DataError> {
        let end = self.at;
        match self.read(&mut [0])? {
            0 => Ok(()),
            _ => Err(self.surplus(end, format!("more bytes after {count} elements"))),
        }
    }

    fn four(&mut self, what: &str) -> Result<[u8; 4], DataError> {
        let mut bytes = [0; 4];
        let mut filled = 0;
        while filled < 4 {
            match self.read(&mut bytes[filled..])? {
                0 => return Err(self.cut_short(what.to_owned())),
                read => filled += read,
            }
        }
        Ok(bytes)
    }

    fn read(&mut self, into: &mut [u8]) -> Result<usize, DataError> {
        loop {
            match self.reader.read(into) {
                Ok(read) => {
                    self.at += read as u64;
                    return Ok(read);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.read_error(error)),
            }
        }
    }

    /// The decoder reports a bad stream as an I/O error. All others come from the system.
    fn read_error(&self, error: io::Error) -> DataError {
        let of_the_stream = matches!(
            error.kind(),
            ErrorKind::UnexpectedEof | ErrorKind::InvalidInput | ErrorKind::InvalidData
        );
        match self.size {
            Size::AtMost(_) if error.kind() == ErrorKind::UnexpectedEof => self.fault(
                self.at,
                "a whole gzip stream".into(),
                "the end of the file".into(),
                FETCH_AGAIN,
            ),
            Size::AtMost(_) if of_the_stream => self.fault(
                self.at,
                "a sound gzip stream".into(),
                error.to_string(),
                FETCH_AGAIN,
            ),
            _ => io_error(self.path, "reading", error),
        }
    }

    fn cut_short(&self, expected: String) -> DataError {
        self.fault(self.at, expected, "the end of the data".into(), FETCH_AGAIN)
    }

    fn surplus(&self, at: u64, found: String) -> DataError {
        self.fault(
            at,
            "the end of the data".into(),
            found,
            "remove the extra bytes or fetch the file again",
        )
    }

    fn fault(&self, at: u64, expected: String, found: String, advice: &'static str) -> DataError {
        let offset = match self.size {
            Size::Exactly(_) => Offset::File(at),
            Size::AtMost(_) => Offset::Unpacked(at),
        };
        DataError::Format {
            path: self.path.to_owned(),
            offset,
            expected,
            found,
            advice,
        }
    }
}

fn type_name(code: u8) -> &'static str {
    match code {
        0x09 => " (signed byte)",
        0x0b => " (16-bit integer)",
        0x0c => " (32-bit integer)",
        0x0d => " (32-bit float)",
        0x0e => " (64-bit float)",
        _ => "",
    }
}
