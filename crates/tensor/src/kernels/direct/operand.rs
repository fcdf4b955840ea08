//! Numbers of the inner loop: `f32`, or pairs of numbers rounded to bfloat16.
//!
//! A bfloat16 number is the upper half of an `f32`: the same exponents with 8 bits of precision instead of 24.

use crate::kernels::pieces::{self, piece};
use crate::kernels::scratch::{Pool, Pooled, Scratch};
use crate::kernels::simd::vectorized;

/// Numbers per piece of parallel work.
const PIECE: usize = 1 << 15;

/// One or two neighboring numbers of the inner index.
pub(crate) trait Operand: Pooled + Sync {
    /// Numbers of the inner index in one operand.
    const WIDTH: usize;
    const ZERO: Self;
    /// The operand of one or two numbers. With a [`WIDTH`](Self::WIDTH) of 1 the second is ignored.
    fn pack(first: f32, second: f32) -> Self;
}

impl Operand for f32 {
    const WIDTH: usize = 1;
    const ZERO: Self = 0.0;
    #[inline(always)]
    fn pack(first: f32, _: f32) -> Self {
        first
    }
}

/// Two bfloat16 numbers: the first in the lower half.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pair(pub(super) u32);

impl Operand for Pair {
    const WIDTH: usize = 2;
    const ZERO: Self = Self(0);
    #[inline(always)]
    fn pack(first: f32, second: f32) -> Self {
        Self(bits(first) | bits(second) << 16)
    }
}

impl Pooled for Pair {
    fn pool() -> &'static Pool<Self> {
        static POOL: Pool<Pair> = Pool::new();
        &POOL
    }
    const NOTHING: Self = Self(0);
}

/// The bits of the nearest bfloat16 number, ties to even. NaN stays NaN, and numbers above the largest become infinite.
#[inline(always)]
pub(crate) fn bits(x: f32) -> u32 {
    let bits = x.to_bits();
    let up = 0x7fff + (bits >> 16 & 1);
    let nearest = bits.wrapping_add(up) >> 16;
    // The sum could turn NaN into infinity.
    if x.is_nan() { bits >> 16 | 0x40 } else { nearest }
}

/// The nearest bfloat16 numbers, as `f32`.
pub(crate) fn rounded_copy(x: &[f32]) -> Scratch<f32> {
    let mut copy = Scratch::take(x.len());
    pieces::each(&mut copy, PIECE, |i, to| {
        vectorized(|| {
            to.iter_mut()
                .zip(piece(x, PIECE, i))
                .for_each(|(to, &x)| *to = f32::from_bits(bits(x) << 16));
        });
    });
    copy
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rounded(x: f32) -> f32 {
        f32::from_bits(bits(x) << 16)
    }

    #[test]
    fn ties_go_to_even_and_special_numbers_stay() {
        let step = f32::from_bits(0x3f81_0000) - 1.0; // the distance of two neighbors at 1
        assert_eq!(rounded(1.0 + step / 2.0), 1.0);
        assert_eq!(rounded(1.0 + 1.5 * step), 1.0 + 2.0 * step);
        assert_eq!(rounded(f32::INFINITY), f32::INFINITY);
        assert_eq!(rounded(f32::MAX), f32::INFINITY);
        assert_eq!(rounded(-0.0).to_bits(), (-0.0_f32).to_bits());
        assert!(rounded(f32::NAN).is_nan() && rounded(f32::from_bits(0x7f80_0001)).is_nan());
        assert_eq!(rounded_copy(&[1.0 + step / 2.0, 3.0])[..], [1.0, 3.0]);
    }

    proptest! {
        #[test]
        fn the_nearest_is_at_most_half_a_step_away(x in -1e30_f32..1e30) {
            prop_assert!((rounded(x) - x).abs() <= x.abs() / 256.0);
            prop_assert_eq!(rounded(rounded(x)), rounded(x));
        }
    }
}
