//! A generator as bytes.
//!
//! All numbers are little-endian. The bytes are: `EGPG`, the version, the length of a latent vector, the number of classes, the
//! nodes of the program, and the tensors of the classes. A list begins with its length. Weight matrices and kernels can be 16-bit
//! floating point numbers; other tensors are 32-bit ones.

use crate::generator::{Generator, PlaygroundError};
use engraft_base::{MAX_HALF, half, half_bits};
use engraft_tensor::{Node, Operation, Program, ProgramError, Step, Tensor};
use std::fmt;

const MAGIC: [u8; 4] = *b"EGPG";
const VERSION: u32 = 1;

const INPUT: u8 = 0;
const CONSTANT: u8 = 1;
const STEP: u8 = 2;

const SINGLE: u8 = 0;
const HALF: u8 = 1;

/// Tensors with fewer numbers are not rounded to 16 bits.
const FEWEST_ROUNDED: usize = 256;
/// Most axes of a tensor.
const MOST_AXES: usize = 8;

/// Why bytes are not a generator.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodingError {
    /// They are not in this format, or not complete: what is wrong.
    Malformed(&'static str),
    /// The nodes are not a program.
    Program(ProgramError),
    /// The program is not a generator.
    Generator(PlaygroundError),
}

impl fmt::Display for EncodingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(what) => write!(f, "not a generator of a playground: {what}"),
            Self::Program(error) => error.fmt(f),
            Self::Generator(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for EncodingError {}

impl Generator {
    /// The generator as bytes, for [`Generator::from_bytes`]. With `is_rounded`, weight matrices and kernels are rounded to
    /// 16 bits.
    pub fn to_bytes(&self, is_rounded: bool) -> Vec<u8> {
        let mut out = Writer {
            bytes: MAGIC.to_vec(),
            is_rounded,
        };
        out.count(VERSION as usize);
        out.count(self.latent_dim());
        out.count(self.class_count());
        out.count(self.program().nodes().len());
        for node in self.program().nodes() {
            match node {
                Node::Input(index) => {
                    out.bytes.push(INPUT);
                    out.count(*index);
                }
                Node::Constant(value) => {
                    out.bytes.push(CONSTANT);
                    out.tensor(value);
                }
                Node::Step(step) => {
                    let (name, sizes, numbers) = step.operation.parts();
                    out.bytes.push(STEP);
                    out.count(name.len());
                    out.bytes.extend_from_slice(name.as_bytes());
                    out.counts(&sizes);
                    out.count(numbers.len());
                    numbers
                        .iter()
                        .for_each(|number| out.bytes.extend_from_slice(&number.to_le_bytes()));
                    out.counts(&step.operands);
                    out.counts(&step.shape);
                }
            }
        }
        out.count(self.by_class().len());
        for tensor in self.by_class().iter().flatten() {
            out.tensor(tensor);
        }
        out.bytes
    }

    /// The generator with these bytes.
    ///
    /// # Errors
    /// If they are not those of a generator.
    ///
    /// # Panics
    /// If the shapes of the operations do not fit.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, EncodingError> {
        let mut from = Reader(bytes);
        if from.take(MAGIC.len())? != MAGIC {
            return Err(EncodingError::Malformed("the first bytes differ"));
        }
        if from.count()? != VERSION as usize {
            return Err(EncodingError::Malformed("the version is unknown"));
        }
        let (latent, classes, count) = (from.count()?, from.count()?, from.count()?);
        let mut nodes = Vec::new();
        for _ in 0..count {
            nodes.push(match from.byte()? {
                INPUT => Node::Input(from.count()?),
                CONSTANT => Node::Constant(from.tensor()?),
                STEP => {
                    let length = from.count()?;
                    let name = str::from_utf8(from.take(length)?).unwrap_or_default();
                    let sizes = from.counts()?;
                    let mut numbers = Vec::new();
                    for _ in 0..from.count()? {
                        numbers.push(f64::from_le_bytes(from.array()?));
                    }
                    let operation = Operation::from_parts(name, &sizes, &numbers);
                    Node::Step(Step {
                        operation: operation.ok_or(EncodingError::Malformed("an operation is unknown"))?,
                        operands: from.counts()?,
                        shape: from.counts()?,
                    })
                }
                _ => return Err(EncodingError::Malformed("a node is of no kind")),
            });
        }
        let mut by_class = Vec::new();
        for _ in 0..from.count()? {
            let tensors = (0..classes).map(|_| from.tensor());
            by_class.push(tensors.collect::<Result<Vec<_>, _>>()?);
        }
        let is_input = |node: &Node| matches!(node, Node::Input(index) if *index > by_class.len());
        if !from.0.is_empty() || nodes.iter().any(is_input) {
            return Err(EncodingError::Malformed("the parts do not belong together"));
        }
        let program = Program::new(nodes).map_err(EncodingError::Program)?;
        Self::of_parts(program, by_class, latent, classes).map_err(EncodingError::Generator)
    }
}

struct Writer {
    bytes: Vec<u8>,
    is_rounded: bool,
}

impl Writer {
    fn count(&mut self, count: usize) {
        self.bytes.extend_from_slice(&(count as u32).to_le_bytes());
    }

    fn counts(&mut self, counts: &[usize]) {
        self.count(counts.len());
        counts.iter().for_each(|&count| self.count(count));
    }

    fn tensor(&mut self, tensor: &Tensor) {
        let values = tensor.as_slice();
        self.counts(tensor.shape());
        let is_weight = self.is_rounded && tensor.rank() > 1 && values.len() >= FEWEST_ROUNDED;
        if is_weight && values.iter().all(|x| f64::from(x.abs()) <= MAX_HALF) {
            self.bytes.push(HALF);
            for &x in values {
                self.bytes
                    .extend_from_slice(&half_bits(f64::from(x)).to_le_bytes());
            }
        } else {
            self.bytes.push(SINGLE);
            values
                .iter()
                .for_each(|x| self.bytes.extend_from_slice(&x.to_le_bytes()));
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], EncodingError> {
        let parts = self.0.split_at_checked(count);
        let (taken, rest) = parts.ok_or(EncodingError::Malformed("it ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], EncodingError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn byte(&mut self) -> Result<u8, EncodingError> {
        Ok(self.array::<1>()?[0])
    }

    fn count(&mut self) -> Result<usize, EncodingError> {
        Ok(u32::from_le_bytes(self.array()?) as usize)
    }

    fn counts(&mut self) -> Result<Vec<usize>, EncodingError> {
        let bytes = self.count()?.checked_mul(4);
        let bytes = self.take(bytes.ok_or(EncodingError::Malformed("a list is too long"))?)?;
        let count = |b: &[u8]| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize;
        Ok(bytes.chunks_exact(4).map(count).collect())
    }

    fn tensor(&mut self) -> Result<Tensor, EncodingError> {
        let shape = self.counts()?;
        let kind = self.byte()?;
        let width = if kind == HALF { 2 } else { 4 };
        let bytes = shape
            .iter()
            .try_fold(width, |bytes: usize, &size| bytes.checked_mul(size))
            .filter(|_| kind <= HALF && shape.len() <= MOST_AXES)
            .ok_or(EncodingError::Malformed("a tensor has no valid shape"))?;
        let bytes = self.take(bytes)?;
        let values = if kind == HALF {
            let value = |b: &[u8]| half(u16::from_le_bytes([b[0], b[1]])) as f32;
            bytes.chunks_exact(2).map(value).collect()
        } else {
            let value = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
            bytes.chunks_exact(4).map(value).collect()
        };
        Ok(Tensor::from_vec(shape, values))
    }
}
