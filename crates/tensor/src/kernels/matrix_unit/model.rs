//! A matrix unit in plain Rust: the reference in tests.
#![allow(unsafe_code)]

use super::product::{BLOCK, Convert, DEPTH, Inner, Pack, SIDE, Shape, Tile, Unit};
use crate::kernels::direct::bits;
use crate::kernels::gemm::Accum;

/// The parts of a number.
#[inline(always)]
fn parts<const PARTS: usize>(x: f32) -> [u32; PARTS] {
    let mut found = [0; PARTS];
    let first = bits(flushed(x));
    found[0] = first;
    let rounded = f32::from_bits(first << 16);
    if PARTS > 1 {
        found[1] = bits(flushed(flushed(x) - rounded));
    }
    found
}

/// A matrix unit in plain Rust, bit for bit.
///
/// For each row and column, the even and the odd inner indices of a tile have a sum each, in ascending order. The two sums are
/// added to each other and then to the old sum. Every step is rounded to the nearest number. Numbers below the smallest normal one
/// count as zero.
pub(crate) struct Model(Shape);

#[inline(always)]
fn flushed(x: f32) -> f32 {
    if x.is_subnormal() { 0.0_f32.copysign(x) } else { x }
}

/// Adds the product of two tiles to a sum.
fn add_product(sum: f32, left: &[u32; SIDE], right: &Tile, column: usize) -> f32 {
    let mut halves = [0.0_f32; 2];
    for (pair, row) in left.iter().zip(&right.0) {
        for (half, shift) in halves.iter_mut().zip([16, 0]) {
            let number = |pair: u32| flushed(f32::from_bits(pair << shift & 0xffff_0000));
            *half = flushed(number(*pair).mul_add(number(row[column]), *half));
        }
    }
    flushed(flushed(sum) + flushed(halves[0] + halves[1]))
}

impl Unit for Model {
    fn is_available() -> bool {
        true
    }

    fn pack<T: Pack>(task: T) {
        task.run::<Plain>();
    }

    fn new(shape: Shape) -> Self {
        Self(shape)
    }

    unsafe fn multiply<const PARTS: usize>(
        &mut self,
        inner: Inner<'_>,
        left: *const Tile,
        right: *const Tile,
        (to, step): (*mut f32, usize),
        accum: Accum,
    ) {
        let Shape { rows, columns } = self.0;
        for i in 0..rows[0] + rows[1] {
            for j in 0..columns[0] + columns[1] {
                // SAFETY: the caller's contract.
                let to = unsafe { &mut *to.add(i * step + j) };
                let mut sum = if accum == Accum::Add { *to } else { 0.0 };
                for &[l, r] in inner.segments {
                    for k in 0..inner.depth {
                        // SAFETY: the caller's contract.
                        let tile = |from: *const Tile, operand: usize, part: usize, half: usize| unsafe {
                            &*from.add((operand * PARTS + part) * BLOCK + half)
                        };
                        let products: &[[usize; 2]] = if PARTS == 1 {
                            &[[0, 0]]
                        } else {
                            &[[0, 1], [0, 0], [1, 0]]
                        };
                        for &[a, b] in products {
                            let a = tile(left, l + k, a, i / SIDE);
                            let b = tile(right, r + k, b, j / SIDE);
                            sum = add_product(sum, &a.0[i % SIDE], b, j % SIDE);
                        }
                    }
                }
                *to = sum;
            }
        }
    }
}

/// [`Convert`] on any CPU.
struct Plain;

impl Convert for Plain {
    #[inline(always)]
    fn row<const PARTS: usize>(from: &[f32; DEPTH]) -> [[u32; SIDE]; PARTS] {
        let mut found = [[0; SIDE]; PARTS];
        for (i, &[first, second]) in from.as_chunks::<2>().0.iter().enumerate() {
            let (first, second) = (parts::<PARTS>(first), parts::<PARTS>(second));
            for part in 0..PARTS {
                found[part][i] = first[part] | second[part] << 16;
            }
        }
        found
    }

    #[inline(always)]
    fn pairs<const PARTS: usize>(first: &[f32; SIDE], second: &[f32; SIDE]) -> [[u32; SIDE]; PARTS] {
        let mut found = [[0; SIDE]; PARTS];
        for (i, (&first, &second)) in first.iter().zip(second).enumerate() {
            let (first, second) = (parts::<PARTS>(first), parts::<PARTS>(second));
            for part in 0..PARTS {
                found[part][i] = first[part] | second[part] << 16;
            }
        }
        found
    }

    #[inline(always)]
    fn transpose(tile: &mut Tile) {
        for i in 0..SIDE {
            for j in 0..i {
                let (upper, lower) = tile.0.split_at_mut(i);
                std::mem::swap(&mut upper[j][i], &mut lower[0][j]);
            }
        }
    }
}
