//! Matrix products: matrixmultiply on one core, cut into fixed blocks over the threads.
#![allow(unsafe_code)]

use crate::recording::parallel;
use rayon::prelude::*;

/// Rows of the result that one piece of parallel work computes.
const ROWS: usize = 64;
/// Columns of the result that one piece of parallel work computes, where the result is wider than high.
const COLUMNS: usize = 512;
/// Multiply-adds below which a product is not worth a second thread.
const SMALL: usize = 1 << 16;

/// How a matrix lies in its slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Row-major.
    Plain,
    /// The slice holds the transposed matrix in row-major order.
    Transposed,
}

/// What happens to the old content of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accum {
    /// It is overwritten.
    Replace,
    /// The product is added to it.
    Add,
}

/// Element types that matrixmultiply has a kernel for.
pub trait GemmElement: Copy {
    /// `c ← beta · c + a · b` for an `m × k` and a `k × n` matrix, each a pointer with a row and a column
    /// stride.
    ///
    /// # Safety
    /// Every element that the sizes and strides reach must be valid for reads, and in `c` for writes; `c`
    /// overlaps neither itself nor another matrix.
    #[doc(hidden)]
    unsafe fn gemm_raw(
        size: [usize; 3],
        a: (*const Self, [isize; 2]),
        b: (*const Self, [isize; 2]),
        beta: Self,
        c: (*mut Self, [isize; 2]),
    );
}

macro_rules! gemm_element {
    ($t:ty, $gemm:ident) => {
        impl GemmElement for $t {
            unsafe fn gemm_raw(
                [m, k, n]: [usize; 3],
                (a, [ra, ca]): (*const Self, [isize; 2]),
                (b, [rb, cb]): (*const Self, [isize; 2]),
                beta: Self,
                (c, [rc, cc]): (*mut Self, [isize; 2]),
            ) {
                // SAFETY: the caller's contract is that of matrixmultiply.
                unsafe { matrixmultiply::$gemm(m, k, n, 1.0, a, ra, ca, b, rb, cb, beta, c, rc, cc) }
            }
        }
    };
}

gemm_element!(f32, sgemm);
gemm_element!(f64, dgemm);

fn strides(rows: usize, columns: usize, layout: Layout) -> [isize; 2] {
    match layout {
        Layout::Plain => [columns as isize, 1],
        Layout::Transposed => [1, rows as isize],
    }
}

/// `c = a · b` or `c += a · b` on the calling thread, with `a` of `m × k`, `b` of `k × n` and `c` of
/// `m × n` in row-major order.
///
/// # Panics
/// If a slice has another length than its matrix.
pub(crate) fn gemm<T: GemmElement + num_traits::Float>(
    m: usize,
    k: usize,
    n: usize,
    (a, a_layout): (&[T], Layout),
    (b, b_layout): (&[T], Layout),
    c: &mut [T],
    accum: Accum,
) {
    let fits = |slice: usize, rows: usize, columns: usize| rows.checked_mul(columns) == Some(slice);
    assert!(
        fits(a.len(), m, k) && fits(b.len(), k, n) && fits(c.len(), m, n),
        "gemm: {m}x{k}x{n} with slices of {}, {} and {}",
        a.len(),
        b.len(),
        c.len()
    );
    let beta = match accum {
        Accum::Replace => T::zero(),
        Accum::Add => T::one(),
    };
    // SAFETY: the assertion above ties each slice to the sizes that the strides are made of; `c` is borrowed
    // mutably, so that it overlaps nothing.
    unsafe {
        T::gemm_raw(
            [m, k, n],
            (a.as_ptr(), strides(m, k, a_layout)),
            (b.as_ptr(), strides(k, n, b_layout)),
            beta,
            (c.as_mut_ptr(), strides(m, n, Layout::Plain)),
        );
    }
}

/// `c = a · b` over the threads; arguments as of [`gemm`].
pub(crate) fn par_gemm<T: GemmElement + num_traits::Float + Send + Sync>(
    m: usize,
    k: usize,
    n: usize,
    a: (&[T], Layout),
    b: (&[T], Layout),
    c: &mut [T],
) {
    if m * k * n <= SMALL || (m <= ROWS && n <= COLUMNS) {
        gemm(m, k, n, a, b, c, Accum::Replace);
    } else if n > m {
        parallel(|| by_columns(m, k, n, a, b, c));
    } else {
        parallel(|| by_rows(m, k, n, a, b, c));
    }
}

/// Blocks of rows of the result, which lie in one piece.
fn by_rows<T: GemmElement + num_traits::Float + Send + Sync>(
    m: usize,
    k: usize,
    n: usize,
    (a, a_layout): (&[T], Layout),
    b: (&[T], Layout),
    c: &mut [T],
) {
    c.par_chunks_mut(ROWS * n).enumerate().for_each(|(block, c)| {
        let (start, rows) = (block * ROWS, c.len() / n);
        match a_layout {
            Layout::Plain => {
                let a = &a[start * k..(start + rows) * k];
                gemm(rows, k, n, (a, a_layout), b, c, Accum::Replace);
            }
            Layout::Transposed => {
                let a = columns(a, m, start, rows);
                gemm(rows, k, n, (&a, a_layout), b, c, Accum::Replace);
            }
        }
    });
}

/// Blocks of columns of the result, computed apart and then put in place.
fn by_columns<T: GemmElement + num_traits::Float + Send + Sync>(
    m: usize,
    k: usize,
    n: usize,
    a: (&[T], Layout),
    (b, b_layout): (&[T], Layout),
    c: &mut [T],
) {
    let blocks: Vec<Vec<T>> = (0..n.div_ceil(COLUMNS))
        .into_par_iter()
        .map(|block| {
            let start = block * COLUMNS;
            let width = COLUMNS.min(n - start);
            let mut part = vec![T::zero(); m * width];
            match b_layout {
                Layout::Plain => {
                    let b = columns(b, n, start, width);
                    gemm(m, k, width, a, (&b, b_layout), &mut part, Accum::Replace);
                }
                Layout::Transposed => {
                    let b = &b[start * k..(start + width) * k];
                    gemm(m, k, width, a, (b, b_layout), &mut part, Accum::Replace);
                }
            }
            part
        })
        .collect();
    for (block, part) in blocks.iter().enumerate() {
        let start = block * COLUMNS;
        let width = part.len() / m;
        for (row, part) in c.chunks_exact_mut(n).zip(part.chunks_exact(width)) {
            row[start..start + width].copy_from_slice(part);
        }
    }
}

/// A copy of some columns of a row-major matrix with rows of length `row`.
fn columns<T: Copy>(matrix: &[T], row: usize, start: usize, width: usize) -> Vec<T> {
    matrix
        .chunks_exact(row)
        .flat_map(|r| &r[start..start + width])
        .copied()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn element(m: &[f64], rows: usize, columns: usize, layout: Layout, i: usize, j: usize) -> f64 {
        match layout {
            Layout::Plain => m[i * columns + j],
            Layout::Transposed => m[j * rows + i],
        }
    }

    fn layout() -> impl Strategy<Value = Layout> {
        prop_oneof![Just(Layout::Plain), Just(Layout::Transposed)]
    }

    proptest! {
        /// Sizes on both sides of the block limits, against the definition.
        #[test]
        fn products_equal_their_definition(
            m in prop_oneof![1_usize..9, 60_usize..140],
            k in 1_usize..40,
            n in prop_oneof![1_usize..9, 500_usize..530],
            la in layout(),
            lb in layout(),
        ) {
            let value = |i: usize| ((i * 7919 + 13) % 101) as f64 / 50.0 - 1.0;
            let a: Vec<f64> = (0..m * k).map(value).collect();
            let b: Vec<f64> = (0..k * n).map(|i| value(i + 5)).collect();
            let mut c = vec![f64::NAN; m * n];
            par_gemm(m, k, n, (&a, la), (&b, lb), &mut c);
            for i in 0..m {
                for j in 0..n {
                    let direct: f64 =
                        (0..k).map(|l| element(&a, m, k, la, i, l) * element(&b, k, n, lb, l, j)).sum();
                    prop_assert!((c[i * n + j] - direct).abs() < 1e-12);
                }
            }
        }
    }

    #[test]
    fn an_inner_size_of_zero_gives_zeros_and_add_adds() {
        let mut c = [5.0_f64];
        gemm(
            1,
            0,
            1,
            (&[], Layout::Plain),
            (&[], Layout::Plain),
            &mut c,
            Accum::Replace,
        );
        assert_eq!(c, [0.0]);
        gemm(
            1,
            1,
            1,
            (&[2.0], Layout::Plain),
            (&[3.0], Layout::Plain),
            &mut c,
            Accum::Add,
        );
        gemm(
            1,
            1,
            1,
            (&[2.0], Layout::Plain),
            (&[3.0], Layout::Plain),
            &mut c,
            Accum::Add,
        );
        assert_eq!(c, [12.0]);
    }

    #[test]
    #[should_panic(expected = "gemm: 2x2x2 with slices of 3, 4 and 4")]
    fn a_short_slice_is_refused() {
        let (a, b, mut c) = ([0.0_f32; 3], [0.0; 4], [0.0; 4]);
        gemm(
            2,
            2,
            2,
            (&a, Layout::Plain),
            (&b, Layout::Plain),
            &mut c,
            Accum::Replace,
        );
    }
}
