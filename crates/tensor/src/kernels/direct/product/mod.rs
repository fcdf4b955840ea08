//! Sums of products of operands: the inner loop of the direct convolution.
//!
//! A result tile of a few rows and one or two panels of 16 columns stays in registers while the inner index runs over all
//! segments. Each number of the result is one chain of sums in ascending order of the inner index, so its bits depend on
//! nothing else.
#![allow(unsafe_code)]

use crate::kernels::direct::operand::{Operand, Pair};
use crate::kernels::gemm::Accum;
#[cfg(target_arch = "x86_64")]
use crate::kernels::simd::has_bf16;
use crate::kernels::simd::{Level, level};
use crate::kernels::tile_product::PANEL;

/// The largest tile whose sums stay in the registers of the CPU.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Rows that lie anywhere.
    pub(crate) rows: usize,
    /// Rows that lie next to each other.
    pub(crate) neighbors: usize,
    pub(crate) panels: usize,
}

impl Limits {
    /// For 32 registers of 16 numbers. The neighbors divide a block of [`PANEL`] channels.
    const WIDE: Self = Self {
        rows: 12,
        neighbors: 8,
        panels: 2,
    };
    /// For 16 registers of 8 numbers.
    const NARROW: Self = Self {
        rows: 6,
        neighbors: 4,
        panels: 1,
    };

    /// Those of the instruction set in use.
    pub(crate) fn of_this_cpu() -> Self {
        match level() {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => Self::WIDE,
            _ => Self::NARROW,
        }
    }
}

/// The left operand: `row[i] + segment[0] + k · step` for row `i`.
#[derive(Clone, Copy)]
pub(crate) struct Left<'a, E> {
    pub(crate) data: &'a [E],
    pub(crate) rows: Rows<'a>,
    /// Distance of two operands of the inner index.
    pub(crate) step: usize,
}

/// Where the rows of the left operand start.
#[derive(Clone, Copy)]
pub(crate) enum Rows<'a> {
    /// Anywhere, at most [`Limits::rows`].
    At(&'a [usize]),
    /// Next to each other, at most [`Limits::neighbors`]: the start and the number.
    Contiguous(usize, usize),
}

/// The right operand: panels of [`PANEL`] columns. Element `k` of a segment at `segment[1] + k · PANEL`.
#[derive(Clone, Copy)]
pub(crate) struct Right<'a, E> {
    pub(crate) data: &'a [E],
    /// Start of the first panel.
    pub(crate) start: usize,
    /// Distance of two panels.
    pub(crate) panel: usize,
}

/// The result: row `i` at `rows[i]`, `columns` numbers long.
pub(crate) struct Target<'a> {
    pub(crate) data: &'a mut [f32],
    pub(crate) rows: &'a [usize],
    pub(crate) columns: usize,
}

/// Pieces of the inner index: the offsets `[left, right]` of each, and the number of operands in each.
#[derive(Clone, Copy)]
pub(crate) struct Inner<'a> {
    segments: &'a [[usize; 2]],
    depth: usize,
    /// The largest offsets; none without segments.
    last: Option<[usize; 2]>,
}

impl<'a> Inner<'a> {
    pub(crate) fn new(segments: &'a [[usize; 2]], depth: usize) -> Self {
        let larger = |a: [usize; 2], b: [usize; 2]| [a[0].max(b[0]), a[1].max(b[1])];
        let last = segments.iter().copied().reduce(larger);
        Self {
            segments,
            depth,
            last,
        }
    }
}

/// Operands that have an inner loop for every instruction set.
pub(crate) trait Multiply: Operand {
    /// # Safety
    /// Every element that the offsets and steps reach lies in its slice, and the tile is within [`Limits::WIDE`].
    #[doc(hidden)]
    unsafe fn multiply(inner: Inner<'_>, a: Left<'_, Self>, b: Right<'_, Self>, c: Target<'_>, accum: Accum);
}

/// 16 sums of an instruction set.
trait Sums<E>: Copy {
    type Operands: Copy;
    fn zero() -> Self;
    /// # Safety
    /// `from` is valid for reads of [`PANEL`] numbers.
    unsafe fn read(from: *const f32) -> Self;
    /// # Safety
    /// `to` is valid for writes of [`PANEL`] numbers.
    unsafe fn write(self, to: *mut f32);
    /// # Safety
    /// `from` is valid for reads of [`PANEL`] operands.
    unsafe fn operands(from: *const E) -> Self::Operands;
    fn splat(operand: E) -> Self::Operands;
    /// Adds the products. Of a pair, the upper one first.
    fn add(self, left: Self::Operands, right: Self::Operands) -> Self;
}

/// Sums of any CPU.
macro_rules! portable {
    ($operand:ty, $add:expr) => {
        impl Sums<$operand> for [f32; PANEL] {
            type Operands = [$operand; PANEL];
            #[inline(always)]
            fn zero() -> Self {
                [0.0; PANEL]
            }
            #[inline(always)]
            unsafe fn read(from: *const f32) -> Self {
                // SAFETY: the caller's contract; an array has the alignment of its elements.
                unsafe { from.cast::<Self>().read() }
            }
            #[inline(always)]
            unsafe fn write(self, to: *mut f32) {
                // SAFETY: the caller's contract; an array has the alignment of its elements.
                unsafe { to.cast::<Self>().write(self) }
            }
            #[inline(always)]
            unsafe fn operands(from: *const $operand) -> Self::Operands {
                // SAFETY: the caller's contract; an array has the alignment of its elements.
                unsafe { from.cast::<Self::Operands>().read() }
            }
            #[inline(always)]
            fn splat(operand: $operand) -> Self::Operands {
                [operand; PANEL]
            }
            #[inline(always)]
            fn add(self, left: Self::Operands, right: Self::Operands) -> Self {
                let mut sums = self;
                for (j, sum) in sums.iter_mut().enumerate() {
                    *sum = $add(*sum, left[j], right[j]);
                }
                sums
            }
        }
    };
}

portable!(f32, |sum: f32, left: f32, right: f32| left * right + sum);
portable!(Pair, add_pair);

/// The instruction of AVX512-BF16: two products, each exact, and two rounded sums, the upper half first. Numbers below the
/// smallest normal one count as zero.
#[inline(always)]
fn add_pair(sum: f32, Pair(left): Pair, Pair(right): Pair) -> f32 {
    let flushed = |x: f32| if x.is_subnormal() { 0.0_f32.copysign(x) } else { x };
    let product = |left: u32, right: u32| flushed(f32::from_bits(left)) * flushed(f32::from_bits(right));
    let upper = product(left & 0xffff_0000, right & 0xffff_0000);
    let lower = product(left << 16, right << 16);
    flushed(lower + flushed(upper + flushed(sum)))
}

impl Multiply for f32 {
    #[inline]
    unsafe fn multiply(inner: Inner<'_>, a: Left<'_, f32>, b: Right<'_, f32>, c: Target<'_>, accum: Accum) {
        match level() {
            // SAFETY: the caller's contract.
            Level::Portable => unsafe { run::<f32, [f32; PANEL]>(inner, a, b, c, accum) },
            // SAFETY: the caller's contract; `level` has detected the instructions.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => unsafe { x86::avx2(inner, a, b, c, accum) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => unsafe { x86::avx512(inner, a, b, c, accum) },
        }
    }
}

impl Multiply for Pair {
    #[inline]
    unsafe fn multiply(inner: Inner<'_>, a: Left<'_, Pair>, b: Right<'_, Pair>, c: Target<'_>, accum: Accum) {
        #[cfg(target_arch = "x86_64")]
        if has_bf16() {
            // SAFETY: the caller's contract; `has_bf16` has detected the instructions.
            return unsafe { x86::avx512_bf16(inner, a, b, c, accum) };
        }
        // SAFETY: the caller's contract.
        unsafe { run::<Pair, [f32; PANEL]>(inner, a, b, c, accum) }
    }
}

/// Computes a tile within [`Limits::WIDE`]. One beyond the limits of the CPU is slow.
///
/// # Panics
/// If an element lies outside its slice, or the tile is too large.
pub(crate) fn tile<E: Multiply>(
    inner: Inner<'_>,
    a: Left<'_, E>,
    b: Right<'_, E>,
    c: Target<'_>,
    accum: Accum,
) {
    let rows = match a.rows {
        Rows::At(rows) => rows.len(),
        Rows::Contiguous(_, count) => count,
    };
    let panels = c.columns.div_ceil(PANEL);
    let most = match a.rows {
        Rows::At(_) => Limits::WIDE.rows,
        Rows::Contiguous(..) => Limits::WIDE.neighbors,
    };
    assert!(
        rows == c.rows.len() && (1..=most).contains(&rows) && (1..=Limits::WIDE.panels).contains(&panels),
        "direct product: {rows} rows and {panels} panels for {} rows of the result",
        c.rows.len()
    );
    if inner.depth > 0
        && let Some([left, right]) = inner.last
    {
        let last_row = match a.rows {
            Rows::At(rows) => rows.iter().copied().max().unwrap_or(0),
            Rows::Contiguous(first, count) => first + count - 1,
        };
        assert!(
            last_row + left + (inner.depth - 1) * a.step < a.data.len()
                && b.start + (panels - 1) * b.panel + right + inner.depth * PANEL <= b.data.len(),
            "direct product: an operand ends early"
        );
    }
    assert!(
        c.rows.iter().all(|row| row + c.columns <= c.data.len()),
        "direct product: the result ends early"
    );
    // SAFETY: the assertions above compare the last elements with the slices.
    unsafe { E::multiply(inner, a, b, c, accum) }
}

/// [`Multiply::multiply`] with the sums of an instruction set.
///
/// # Safety
/// See [`Multiply::multiply`].
#[inline(always)]
unsafe fn run<E: Operand, S: Sums<E>>(
    inner: Inner<'_>,
    a: Left<'_, E>,
    b: Right<'_, E>,
    c: Target<'_>,
    accum: Accum,
) {
    macro_rules! of {
        ($rows:expr, $width:literal, $contiguous:literal, $($count:literal)*) => {
            match $rows {
                // SAFETY: the caller's contract.
                $($count => unsafe { sized::<E, S, $count, $width, $contiguous>(inner, a, b, c, accum) },)*
                _ => unreachable!("direct product: {} rows", $rows),
            }
        };
    }
    match (a.rows, c.columns > PANEL) {
        (Rows::Contiguous(_, rows), false) => of!(rows, 1, true, 1 2 3 4 5 6 7 8),
        (Rows::Contiguous(_, rows), true) => of!(rows, 2, true, 1 2 3 4 5 6 7 8),
        (Rows::At(rows), false) => of!(rows.len(), 1, false, 1 2 3 4 5 6 7 8 9 10 11 12),
        (Rows::At(rows), true) => of!(rows.len(), 2, false, 1 2 3 4 5 6 7 8 9 10 11 12),
    }
}

/// Operands of `W` panels.
///
/// # Safety
/// They are valid for reads.
#[inline(always)]
unsafe fn panels<E: Operand, S: Sums<E>, const W: usize>(from: *const E, panel: usize) -> [S::Operands; W] {
    let mut found = [S::splat(E::ZERO); W];
    for (j, found) in found.iter_mut().enumerate() {
        // SAFETY: the caller's contract.
        *found = unsafe { S::operands(from.add(j * panel)) };
    }
    found
}

/// [`run`] for `R` rows and `W` panels.
///
/// # Safety
/// See [`run`].
#[inline(always)]
unsafe fn sized<E: Operand, S: Sums<E>, const R: usize, const W: usize, const CONTIGUOUS: bool>(
    inner: Inner<'_>,
    a: Left<'_, E>,
    b: Right<'_, E>,
    c: Target<'_>,
    accum: Accum,
) {
    let left = a.data.as_ptr();
    let mut starts = [left; R];
    for (i, start) in starts.iter_mut().enumerate() {
        *start = left.wrapping_add(match a.rows {
            Rows::At(rows) => rows[i],
            Rows::Contiguous(first, _) => first + i,
        });
    }
    let right = b.data.as_ptr().wrapping_add(b.start);
    let mut sums = [[S::zero(); W]; R];
    // The last panel may have fewer columns.
    let rest = c.columns - (W - 1) * PANEL;
    // SAFETY: the caller's contract. The pointers are read only up to the last element. Columns of the last panel that do
    // not exist are read and written in a copy.
    unsafe {
        if accum == Accum::Add {
            for (sums, &row) in sums.iter_mut().zip(c.rows) {
                for (j, sum) in sums.iter_mut().enumerate() {
                    let from = c.data.as_ptr().add(row + j * PANEL);
                    *sum = if j + 1 == W && rest < PANEL {
                        let mut part = [0.0; PANEL];
                        std::ptr::copy_nonoverlapping(from, part.as_mut_ptr(), rest);
                        S::read(part.as_ptr())
                    } else {
                        S::read(from)
                    };
                }
            }
        }
        for &[from, to] in inner.segments {
            let mut right = right.wrapping_add(to);
            if CONTIGUOUS {
                let mut row = starts[0].wrapping_add(from);
                for _ in 0..inner.depth {
                    let factors = panels::<E, S, W>(right, b.panel);
                    for (i, sums) in sums.iter_mut().enumerate() {
                        let factor = S::splat(*row.add(i));
                        for (sum, &right) in sums.iter_mut().zip(&factors) {
                            *sum = sum.add(factor, right);
                        }
                    }
                    row = row.wrapping_add(a.step);
                    right = right.wrapping_add(PANEL);
                }
            } else {
                let rows = starts.map(|start| start.wrapping_add(from));
                for k in 0..inner.depth {
                    let factors = panels::<E, S, W>(right, b.panel);
                    for (row, sums) in rows.iter().zip(&mut sums) {
                        let factor = S::splat(*row.add(k * a.step));
                        for (sum, &right) in sums.iter_mut().zip(&factors) {
                            *sum = sum.add(factor, right);
                        }
                    }
                    right = right.wrapping_add(PANEL);
                }
            }
        }
        for (sums, &row) in sums.iter().zip(c.rows) {
            for (j, sum) in sums.iter().enumerate() {
                let to = c.data.as_mut_ptr().add(row + j * PANEL);
                if j + 1 == W && rest < PANEL {
                    let mut part = [0.0; PANEL];
                    sum.write(part.as_mut_ptr());
                    std::ptr::copy_nonoverlapping(part.as_ptr(), to, rest);
                } else {
                    sum.write(to);
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(test)]
mod tests;
