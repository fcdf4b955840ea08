//! Matrix products: matrixmultiply per core, with fixed blocks over the threads.
#![allow(unsafe_code)]

use crate::kernels::pieces;
use crate::kernels::scratch::Pooled;
use crate::kernels::simd::vectorized;
use crate::kernels::strided::{Columns, LINE, Layout, Matrix};

/// Rows of the result per piece of parallel work. Every piece packs the second matrix again, so small pieces
/// cost time. Large pieces leave threads idle.
const ROWS: usize = 128;
/// Columns of the result per piece of parallel work, for results that are wider than high.
const COLUMNS: usize = 512;
/// Maximum rows of the first matrix for which the second is read unpacked.
const FEW_ROWS: usize = 4;
/// Multiply-adds below which a second thread does not pay off.
const SMALL: usize = 1 << 16;
/// Inner size of the blocks that are transposed at a time, so that a block stays in the L2 cache. matrixmultiply uses
/// the same block size, so the sums are the same.
const INNER: usize = 256;

/// What happens to the old contents of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accum {
    /// They are overwritten.
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
    /// All elements within the sizes and strides must be valid for reads, and in `c` for writes. `c` must not overlap
    /// itself or another matrix.
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
                // SAFETY: matrixmultiply has the same contract as this function.
                unsafe { matrixmultiply::$gemm(m, k, n, 1.0, a, ra, ca, b, rb, cb, beta, c, rc, cc) }
            }
        }
    };
}

gemm_element!(f32, sgemm);
gemm_element!(f64, dgemm);

/// `c = a · b` or `c += a · b` on the calling thread, with `a` of `m × k`, `b` of `k × n` and `c` of
/// `m × n`.
///
/// matrixmultiply packs `a` column by column and `b` row by row. If a matrix has the other layout, packing reads
/// single elements, and transposing the matrix first is faster.
fn product<T: GemmElement + num_traits::Float + Pooled>(
    [m, k, n]: [usize; 3],
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    mut c: Columns<'_, T>,
    accum: Accum,
) {
    assert!(
        a.holds(m, k) && b.holds(k, n) && c.size() == [m, n],
        "gemm: {m}x{k}x{n} with slices of {} and {} and a result of {:?}",
        a.data.len(),
        b.data.len(),
        c.size()
    );
    if m == 0 || n == 0 {
        return;
    }
    let turn_a = a.lies_by_rows() && m.min(k) >= LINE;
    let turn_b = b.transposed().lies_by_rows() && n.min(k) >= LINE;
    let step = if turn_a || turn_b { INNER } else { k.max(1) };
    let signed = |strides: [usize; 2]| strides.map(|s| s as isize);
    // With an inner size of 0 the result must still be zeros.
    for l in (0..k.max(1)).step_by(step) {
        let inner = step.min(k - l);
        let (a, b) = (a.from(0, l), b.from(l, 0));
        let turned_a = turn_a.then(|| a.turned(m, inner));
        let turned_b = turn_b.then(|| b.transposed().turned(n, inner));
        let a = turned_a.as_ref().map_or(a, |a| a.matrix());
        let b = turned_b.as_ref().map_or(b, |b| b.matrix().transposed());
        let beta = match accum {
            Accum::Replace if l == 0 => T::zero(),
            _ => T::one(),
        };
        let (to, strides) = c.raw();
        // SAFETY: the assertion above checks each slice against its sizes and strides, and a transposed copy holds all its
        // elements. The columns of `c` are borrowed mutably, so they overlap nothing.
        unsafe {
            T::gemm_raw(
                [m, inner, n],
                (a.data.as_ptr(), signed(a.strides)),
                (b.data.as_ptr(), signed(b.strides)),
                beta,
                (to, signed(strides)),
            );
        }
    }
}

/// [`product`], or [`few_rows`] where that is faster.
fn fitting_product<T: GemmElement + num_traits::Float + Pooled>(
    [m, k, n]: [usize; 3],
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    c: Columns<'_, T>,
    accum: Accum,
) {
    if m <= FEW_ROWS && b.strides[1] == 1 && n > 1 {
        few_rows([m, k, n], a, b, c, accum);
    } else {
        product([m, k, n], a, b, c, accum);
    }
}

/// [`product`] for so few rows that packing `b` costs more than the product. Adds up the rows of `b` in
/// place.
fn few_rows<T: num_traits::Float>(
    [m, k, n]: [usize; 3],
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    mut c: Columns<'_, T>,
    accum: Accum,
) {
    if accum == Accum::Replace {
        (0..m).for_each(|i| c.row(i).fill(T::zero()));
    }
    vectorized(|| {
        for l in 0..k {
            let row = &b.data[l * b.strides[0]..][..n];
            for i in 0..m {
                let factor = a.data[i * a.strides[0] + l * a.strides[1]];
                c.row(i)
                    .iter_mut()
                    .zip(row)
                    .for_each(|(c, &x)| *c = *c + factor * x);
            }
        }
    });
}

/// `c = a · b` or `c += a · b` on the calling thread, with `a` of `m × k`, `b` of `k × n` and `c` of
/// `m × n` in row-major order.
///
/// # Panics
/// If the length of a slice differs from its matrix.
pub(crate) fn gemm<T: GemmElement + num_traits::Float + Pooled>(
    m: usize,
    k: usize,
    n: usize,
    (a, a_layout): (&[T], Layout),
    (b, b_layout): (&[T], Layout),
    c: &mut [T],
    accum: Accum,
) {
    assert_fits([m, k, n], [a.len(), b.len(), c.len()]);
    let (a, b) = (Matrix::new(a, m, k, a_layout), Matrix::new(b, k, n, b_layout));
    fitting_product([m, k, n], a, b, Columns::all(c, m, n), accum);
}

/// # Panics
/// If the length of a slice differs from its matrix.
fn assert_fits([m, k, n]: [usize; 3], [a, b, c]: [usize; 3]) {
    let fits = |slice: usize, rows: usize, columns: usize| rows.checked_mul(columns) == Some(slice);
    assert!(
        fits(a, m, k) && fits(b, k, n) && fits(c, m, n),
        "gemm: {m}x{k}x{n} with slices of {a}, {b} and {c}"
    );
}

/// `c = a · b` over the threads. Same arguments as [`gemm`].
///
/// # Panics
/// See [`gemm`].
pub(crate) fn par_gemm<T: GemmElement + num_traits::Float + Pooled + Sync>(
    m: usize,
    k: usize,
    n: usize,
    (a_data, a_layout): (&[T], Layout),
    (b_data, b_layout): (&[T], Layout),
    c: &mut [T],
) {
    assert_fits([m, k, n], [a_data.len(), b_data.len(), c.len()]);
    // A product that overflows is not small.
    if m.saturating_mul(k).saturating_mul(n) <= SMALL || (m <= ROWS && n <= COLUMNS) {
        return gemm(m, k, n, (a_data, a_layout), (b_data, b_layout), c, Accum::Replace);
    }
    let (a, b) = (
        Matrix::new(a_data, m, k, a_layout),
        Matrix::new(b_data, k, n, b_layout),
    );
    if n > m {
        by_columns([m, k, n], a, b, c);
    } else {
        by_rows([m, k, n], a, b, c);
    }
}

/// Blocks of rows of the result. Each is contiguous.
fn by_rows<T: GemmElement + num_traits::Float + Pooled + Sync>(
    [_, k, n]: [usize; 3],
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    c: &mut [T],
) {
    pieces::each(c, ROWS * n, |block, c| {
        let rows = c.len() / n;
        let c = Columns::all(c, rows, n);
        product([rows, k, n], a.from(block * ROWS, 0), b, c, Accum::Replace);
    });
}

/// Blocks of columns of the result.
fn by_columns<T: GemmElement + num_traits::Float + Pooled + Sync>(
    [m, k, _]: [usize; 3],
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    c: &mut [T],
) {
    let mut blocks: Vec<_> = Columns::cut(c, m, COLUMNS).map(Some).collect();
    pieces::each(&mut blocks, 1, |block, c| {
        let Some(c) = c[0].take() else { return };
        let b = b.from(0, block * COLUMNS);
        let [_, width] = c.size();
        fitting_product([m, k, width], a, b, c, Accum::Replace);
    });
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
            m in prop_oneof![1_usize..9, 120_usize..140, 250_usize..270],
            k in 1_usize..40,
            n in prop_oneof![1_usize..9, 100_usize..120, 500_usize..530],
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

        /// Includes inner sizes of several blocks of matrixmultiply.
        #[test]
        fn bits_do_not_depend_on_how_the_matrices_lie(
            m in 1_usize..150,
            k in prop_oneof![1_usize..40, 250_usize..300],
            n in prop_oneof![1_usize..150, 500_usize..530],
        ) {
            let value = |i: usize| ((i * 7919 + 13) % 101) as f32 / 50.0 - 1.0;
            let turn = |x: &[f32], rows: usize| -> Vec<f32> {
                let columns = x.len() / rows;
                (0..x.len()).map(|i| x[i % rows * columns + i / rows]).collect()
            };
            let a: Vec<f32> = (0..m * k).map(value).collect();
            let b: Vec<f32> = (0..k * n).map(|i| value(i + 5)).collect();
            let (turned_a, turned_b) = (turn(&a, m), turn(&b, k));
            let product = |a: (&[f32], Layout), b: (&[f32], Layout)| {
                let mut c = vec![f32::NAN; m * n];
                par_gemm(m, k, n, a, b, &mut c);
                c
            };
            let plain = product((&a, Layout::Plain), (&b, Layout::Plain));
            prop_assert_eq!(&plain, &product((&turned_a, Layout::Transposed), (&b, Layout::Plain)));
            // With few rows, a row-major second matrix is read unpacked, with other rounding.
            if m > FEW_ROWS {
                prop_assert_eq!(&plain, &product((&a, Layout::Plain), (&turned_b, Layout::Transposed)));
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
