//! Sums of products of tiles: what a matrix unit computes, and the same in plain Rust.
//!
//! A unit multiplies a left tile of 16 rows and 32 numbers with a right tile of 32 rows and 16 columns, both of bfloat16
//! numbers, and adds the product to 16 × 16 sums in `f32`. A block has up to 2 × 2 tiles of sums.
#![allow(unsafe_code)]

use crate::kernels::gemm::Accum;
use crate::kernels::scratch::{Pool, Pooled};
use std::marker::PhantomData;

/// Rows of a left tile, and columns of a right tile.
pub(crate) const SIDE: usize = 16;
/// Inner indices of a tile.
pub(crate) const DEPTH: usize = 32;
/// Left or right tiles of a block.
pub(crate) const BLOCK: usize = 2;

/// 16 rows of 16 pairs of bfloat16 numbers, the first of a pair in the lower half.
///
/// In a left tile, row `i` holds the pairs of neighboring inner indices of row `i`. In a right tile, row `k` holds for every
/// column the pair of the inner indices `2 k` and `2 k + 1`.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Tile(pub(super) [[u32; SIDE]; SIDE]);

impl Pooled for Tile {
    fn pool() -> &'static Pool<Self> {
        static POOL: Pool<Tile> = Pool::new();
        &POOL
    }
    const NOTHING: Self = Self([[0; SIDE]; SIDE]);
}

/// Rows of the two left tiles of a block and columns of its two right tiles. 0 in the second place: there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(super) rows: [usize; BLOCK],
    pub(super) columns: [usize; BLOCK],
}

impl Shape {
    /// # Panics
    /// If a number is 0 or above 32.
    pub(crate) fn new(rows: usize, columns: usize) -> Self {
        let halves = |all: usize| {
            assert!((1..=BLOCK * SIDE).contains(&all), "a block of {rows} x {columns}");
            [all.min(SIDE), all.saturating_sub(SIDE)]
        };
        Self {
            rows: halves(rows),
            columns: halves(columns),
        }
    }
}

/// Pieces of the inner index: the first operands `[left, right]` of each, and the number of operands in each. An operand
/// holds, for each part of the numbers, the two tiles of a block.
#[derive(Clone, Copy)]
pub(crate) struct Inner<'a> {
    pub(crate) segments: &'a [[usize; 2]],
    pub(crate) depth: usize,
}

/// [`Inner`] with its own memory, and where both operands end.
pub(crate) struct Segments {
    all: Vec<[usize; 2]>,
    depth: usize,
    ends: [usize; 2],
}

impl Segments {
    /// # Panics
    /// If `depth` is 0.
    pub(crate) fn new(all: Vec<[usize; 2]>, depth: usize) -> Self {
        assert!(depth > 0, "an inner index of no operands");
        let mut ends = [0; 2];
        for segment in &all {
            for (end, first) in ends.iter_mut().zip(segment) {
                *end = (first + depth).max(*end);
            }
        }
        Self { all, depth, ends }
    }
}

/// A result that several threads write, each other numbers of it.
#[derive(Clone, Copy)]
pub(crate) struct Output<'a> {
    start: *mut f32,
    len: usize,
    slice: PhantomData<&'a mut [f32]>,
}

// SAFETY: only `Block::compute` uses the pointer. Its contract gives the numbers of a block to one thread.
unsafe impl Send for Output<'_> {}
// SAFETY: as above.
unsafe impl Sync for Output<'_> {}

impl<'a> Output<'a> {
    pub(crate) fn new(all: &'a mut [f32]) -> Self {
        Self {
            start: all.as_mut_ptr(),
            len: all.len(),
            slice: PhantomData,
        }
    }
}

/// Where the sums of a block lie: row `i` at `first + i · step`.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(super) first: usize,
    pub(super) step: usize,
}

/// A matrix unit, or what stands in for it.
pub(crate) trait Unit {
    /// Whether this CPU has the unit. The maps of this module assert it before they use the other functions.
    fn is_available() -> bool;

    /// Rounds and orders operands with the instructions of this unit.
    fn pack<T: Pack>(task: T);

    /// Prepares this thread for blocks of a shape.
    fn new(shape: Shape) -> Self;

    /// The sums of a block. With two parts, the products of the first parts, of the first and the second, and of the second and
    /// the first.
    ///
    /// # Safety
    /// `left` and `right` are valid for reads of all operands of `inner`, whose depth is not 0. `to` is valid for reads and
    /// writes of all numbers of a block of the shape, and no other thread uses them. No other unit was prepared on this thread after
    /// this one.
    unsafe fn multiply<const PARTS: usize>(
        &mut self,
        inner: Inner<'_>,
        left: *const Tile,
        right: *const Tile,
        to: (*mut f32, usize),
        accum: Accum,
    );
}

/// Work that rounds numbers.
///
/// `run` and everything it calls must be `#[inline(always)]`, as in [`crate::kernels::simd::Task`].
pub(crate) trait Pack {
    fn run<C: Convert>(self);
}

/// Rounding to bfloat16. The first part is the nearest number. The second is the nearest to what is left; if the first is not
/// finite, it is NaN.
pub(crate) trait Convert {
    /// A row of a left tile, for each part.
    fn row<const PARTS: usize>(from: &[f32; DEPTH]) -> [[u32; SIDE]; PARTS];
    /// A row of a right tile, for each part.
    fn pairs<const PARTS: usize>(first: &[f32; SIDE], second: &[f32; SIDE]) -> [[u32; SIDE]; PARTS];
    /// Turns a left tile into a right one, and back.
    fn transpose(tile: &mut Tile);
    /// Prefetches a cache line. Any address is allowed.
    #[inline(always)]
    fn prefetch(_from: *const f32) {}
}

/// A matrix unit prepared for blocks of a shape.
pub(crate) struct Block<U>(Option<(Shape, U)>);

impl<U: Unit> Block<U> {
    pub(crate) fn empty() -> Self {
        Self(None)
    }

    /// Prepares the unit, if it is not yet.
    pub(crate) fn shape(&mut self, shape: Shape) {
        if self.0.as_ref().is_none_or(|(old, _)| *old != shape) {
            // The old unit goes first: dropping it clears the registers.
            self.0 = None;
            self.0 = Some((shape, U::new(shape)));
        }
    }

    /// Computes a block. See [`Unit::multiply`] for the order of the sums.
    ///
    /// # Panics
    /// If an operand or a number of the result lies outside its slice, or the block has no shape.
    ///
    /// # Safety
    /// No other thread uses the numbers of the block, and no other [`Block`] got a shape on this thread after this one.
    pub(crate) unsafe fn compute<const PARTS: usize>(
        &mut self,
        segments: &Segments,
        [left, right]: [&[Tile]; 2],
        to: Output<'_>,
        place: Place,
        accum: Accum,
    ) {
        let (shape, unit) = self.0.as_mut().expect("a shape");
        let operand = PARTS * BLOCK;
        assert!(
            segments.ends[0] * operand <= left.len() && segments.ends[1] * operand <= right.len(),
            "matrix unit: an operand ends early"
        );
        let [rows, columns] = [shape.rows, shape.columns].map(|halves| halves[0] + halves[1]);
        assert!(
            place.first + (rows - 1) * place.step + columns <= to.len,
            "matrix unit: the result ends early"
        );
        let inner = Inner {
            segments: &segments.all,
            depth: segments.depth,
        };
        // SAFETY: the assertions above compare the last elements with the slices; the rest is the caller's contract.
        unsafe {
            let start = to.start.add(place.first);
            unit.multiply::<PARTS>(inner, left.as_ptr(), right.as_ptr(), (start, place.step), accum);
        }
    }
}
