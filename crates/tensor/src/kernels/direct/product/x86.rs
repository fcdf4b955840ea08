//! Sums of AVX2, AVX-512 and AVX512-BF16.

use super::{Accum, Inner, Left, PANEL, Pair, Right, Sums, Target};
use std::arch::x86_64::*;

macro_rules! entry {
    ($name:ident, $operand:ty, $sums:ty, $features:literal) => {
        /// # Safety
        /// The CPU must support the named features. For the rest see [`super::Multiply::multiply`].
        #[target_feature(enable = $features)]
        pub(crate) unsafe fn $name(
            inner: Inner<'_>,
            a: Left<'_, $operand>,
            b: Right<'_, $operand>,
            c: Target<'_>,
            accum: Accum,
        ) {
            // SAFETY: the caller's contract.
            unsafe { super::run::<$operand, $sums>(inner, a, b, c, accum) }
        }
    };
}

entry!(avx2, f32, F32x8x2, "avx2,fma");
entry!(avx512, f32, F32x16, "avx2,fma,avx512f,avx512vl,avx512bw,avx512dq");
entry!(
    avx512_bf16,
    Pair,
    F32x16,
    "avx2,fma,avx512f,avx512vl,avx512bw,avx512dq,avx512bf16"
);

#[derive(Clone, Copy)]
struct F32x16(__m512);

#[derive(Clone, Copy)]
struct F32x8x2([__m256; 2]);

// SAFETY of all blocks below: only the functions above use the types, and their callers have detected the features.
impl Sums<f32> for F32x16 {
    type Operands = __m512;
    #[inline(always)]
    fn zero() -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_setzero_ps() })
    }
    #[inline(always)]
    unsafe fn read(from: *const f32) -> Self {
        // SAFETY: see above, and the caller's contract.
        Self(unsafe { _mm512_loadu_ps(from) })
    }
    #[inline(always)]
    unsafe fn write(self, to: *mut f32) {
        // SAFETY: see above, and the caller's contract.
        unsafe { _mm512_storeu_ps(to, self.0) }
    }
    #[inline(always)]
    unsafe fn operands(from: *const f32) -> __m512 {
        // SAFETY: see above, and the caller's contract.
        unsafe { _mm512_loadu_ps(from) }
    }
    #[inline(always)]
    fn splat(x: f32) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    fn add(self, left: __m512, right: __m512) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_fmadd_ps(left, right, self.0) })
    }
}

impl Sums<Pair> for F32x16 {
    type Operands = __m512bh;
    #[inline(always)]
    fn zero() -> Self {
        <Self as Sums<f32>>::zero()
    }
    #[inline(always)]
    unsafe fn read(from: *const f32) -> Self {
        // SAFETY: the caller's contract.
        unsafe { <Self as Sums<f32>>::read(from) }
    }
    #[inline(always)]
    unsafe fn write(self, to: *mut f32) {
        // SAFETY: the caller's contract.
        unsafe { <Self as Sums<f32>>::write(self, to) }
    }
    #[inline(always)]
    unsafe fn operands(from: *const Pair) -> __m512bh {
        // SAFETY: see above, and the caller's contract. All bits of a vector are valid.
        unsafe { std::mem::transmute::<__m512i, __m512bh>(_mm512_loadu_si512(from.cast())) }
    }
    #[inline(always)]
    fn splat(pair: Pair) -> __m512bh {
        // SAFETY: see above. All bits of a vector are valid.
        unsafe { std::mem::transmute::<__m512i, __m512bh>(_mm512_set1_epi32(pair.0 as i32)) }
    }
    #[inline(always)]
    fn add(self, left: __m512bh, right: __m512bh) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_dpbf16_ps(self.0, left, right) })
    }
}

impl Sums<f32> for F32x8x2 {
    type Operands = [__m256; 2];
    #[inline(always)]
    fn zero() -> Self {
        // SAFETY: see above.
        Self([unsafe { _mm256_setzero_ps() }; 2])
    }
    #[inline(always)]
    unsafe fn read(from: *const f32) -> Self {
        // SAFETY: the caller's contract.
        Self(unsafe { Self::operands(from) })
    }
    #[inline(always)]
    unsafe fn write(self, to: *mut f32) {
        // SAFETY: see above, and the caller's contract.
        unsafe {
            _mm256_storeu_ps(to, self.0[0]);
            _mm256_storeu_ps(to.add(PANEL / 2), self.0[1]);
        }
    }
    #[inline(always)]
    unsafe fn operands(from: *const f32) -> [__m256; 2] {
        // SAFETY: see above, and the caller's contract.
        unsafe { [_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(PANEL / 2))] }
    }
    #[inline(always)]
    fn splat(x: f32) -> [__m256; 2] {
        // SAFETY: see above.
        [unsafe { _mm256_set1_ps(x) }; 2]
    }
    #[inline(always)]
    fn add(self, left: [__m256; 2], right: [__m256; 2]) -> Self {
        // SAFETY: see above.
        Self([0, 1].map(|i| unsafe { _mm256_fmadd_ps(left[i], right[i], self.0[i]) }))
    }
}
