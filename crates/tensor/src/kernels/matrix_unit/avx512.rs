//! Rounding and ordering of operands with AVX-512 and AVX512-BF16, which every CPU with AMX has.
#![allow(unsafe_code)]

use super::product::{Convert, DEPTH, Pack, SIDE, Tile};
use std::arch::x86_64::*;

/// # Safety
/// The CPU must support the named features.
#[target_feature(enable = "avx2,fma,avx512f,avx512vl,avx512bw,avx512dq,avx512bf16")]
pub(super) unsafe fn packed<T: Pack>(task: T) {
    task.run::<Avx512>();
}

/// Conversion by AVX512-BF16.
struct Avx512;

/// The first part of 32 numbers, and what is left of each half.
///
/// # Safety
/// The CPU must support the features of [`packed`].
#[inline(always)]
unsafe fn split(low: __m512, high: __m512) -> (__m512i, [__m512; 2]) {
    // SAFETY: the caller's contract. All bits of a vector are valid.
    unsafe {
        let first = std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low));
        let widened =
            |half: __m256i| _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(half)));
        let rest = [
            _mm512_sub_ps(low, widened(_mm512_castsi512_si256(first))),
            _mm512_sub_ps(high, widened(_mm512_extracti64x4_epi64::<1>(first))),
        ];
        (first, rest)
    }
}

/// The parts of 32 numbers.
///
/// # Safety
/// The CPU must support the features of [`packed`].
#[inline(always)]
unsafe fn parts<const PARTS: usize>(low: __m512, high: __m512) -> [__m512i; PARTS] {
    // SAFETY: the caller's contract. All bits of a vector are valid.
    unsafe {
        let (first, [low, high]) = split(low, high);
        let mut found = [first; PARTS];
        if PARTS > 1 {
            found[1] = std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low));
        }
        found
    }
}

/// # Safety
/// The CPU must support AVX-512.
#[inline(always)]
unsafe fn rows<const PARTS: usize>(found: [__m512i; PARTS]) -> [[u32; SIDE]; PARTS] {
    let mut rows = [[0; SIDE]; PARTS];
    // A loop: `map` of an array is not inlined.
    for (row, x) in rows.iter_mut().zip(found) {
        // SAFETY: both have 64 bytes, and all bits are valid.
        *row = unsafe { std::mem::transmute::<__m512i, [u32; SIDE]>(x) };
    }
    rows
}

// SAFETY of all blocks below: only `packed` uses the type, and its callers have detected the features.
impl Convert for Avx512 {
    #[inline(always)]
    fn row<const PARTS: usize>(from: &[f32; DEPTH]) -> [[u32; SIDE]; PARTS] {
        // SAFETY: see above; `from` has two halves of 16 numbers.
        unsafe {
            let from = from.as_ptr();
            rows(parts::<PARTS>(
                _mm512_loadu_ps(from),
                _mm512_loadu_ps(from.add(SIDE)),
            ))
        }
    }

    #[inline(always)]
    fn pairs<const PARTS: usize>(first: &[f32; SIDE], second: &[f32; SIDE]) -> [[u32; SIDE]; PARTS] {
        // SAFETY: see above.
        unsafe {
            // Word 2 i is that of the first, word 2 i + 1 that of the second.
            let even = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
            let order = _mm512_or_si512(
                even,
                _mm512_slli_epi32::<16>(_mm512_add_epi32(even, _mm512_set1_epi32(16))),
            );
            let mut found = parts::<PARTS>(_mm512_loadu_ps(first.as_ptr()), _mm512_loadu_ps(second.as_ptr()));
            for x in &mut found {
                *x = _mm512_permutexvar_epi16(order, *x);
            }
            rows(found)
        }
    }

    #[inline(always)]
    fn prefetch(from: *const f32) {
        // SAFETY: see above; a prefetch does not fault.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) }
    }

    #[inline(always)]
    fn transpose(tile: &mut Tile) {
        // SAFETY: see above; each row has 64 bytes.
        unsafe {
            let at = tile.0.as_mut_ptr();
            let mut x = [_mm512_setzero_si512(); SIDE];
            for (i, x) in x.iter_mut().enumerate() {
                *x = _mm512_loadu_si512(at.add(i).cast());
            }
            // Blocks of 2 x 2 numbers, then of 2 x 2 such blocks: four rows are transposed within each quarter of a register.
            let mut y = x;
            for i in 0..SIDE / 2 {
                y[2 * i] = _mm512_unpacklo_epi32(x[2 * i], x[2 * i + 1]);
                y[2 * i + 1] = _mm512_unpackhi_epi32(x[2 * i], x[2 * i + 1]);
            }
            for i in 0..SIDE / 4 {
                x[4 * i] = _mm512_unpacklo_epi64(y[4 * i], y[4 * i + 2]);
                x[4 * i + 1] = _mm512_unpackhi_epi64(y[4 * i], y[4 * i + 2]);
                x[4 * i + 2] = _mm512_unpacklo_epi64(y[4 * i + 1], y[4 * i + 3]);
                x[4 * i + 3] = _mm512_unpackhi_epi64(y[4 * i + 1], y[4 * i + 3]);
            }
            // Now quarter q of x[4 i + j] holds column 4 q + j of the rows 4 i to 4 i + 3.
            for j in 0..4 {
                let a = _mm512_shuffle_i32x4::<0x88>(x[j], x[4 + j]);
                let b = _mm512_shuffle_i32x4::<0xdd>(x[j], x[4 + j]);
                let c = _mm512_shuffle_i32x4::<0x88>(x[8 + j], x[12 + j]);
                let d = _mm512_shuffle_i32x4::<0xdd>(x[8 + j], x[12 + j]);
                y[j] = _mm512_shuffle_i32x4::<0x88>(a, c);
                y[4 + j] = _mm512_shuffle_i32x4::<0x88>(b, d);
                y[8 + j] = _mm512_shuffle_i32x4::<0xdd>(a, c);
                y[12 + j] = _mm512_shuffle_i32x4::<0xdd>(b, d);
            }
            for (i, y) in y.iter().enumerate() {
                _mm512_storeu_si512(at.add(i).cast(), *y);
            }
        }
    }
}
