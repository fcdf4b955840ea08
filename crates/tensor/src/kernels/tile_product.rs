//! Matrix products of operands that need no packing, many of the same shape, for the Winograd transforms.
//!
//! The result of a few rows and one or two panels of columns stays in registers during the inner loop. Each element is
//! one chain of multiply-adds over the ascending inner index, so its bits depend on nothing else.
#![allow(unsafe_code)]

use crate::kernels::gemm::Accum;
use crate::kernels::simd::{Dispatch, Task, Vector, dispatch};

/// Columns per panel. The right operand is stored in panels.
pub(crate) const PANEL: usize = 16;

/// The left operand: element `(i, k)` at `start + i · row + k · step`.
#[derive(Clone, Copy)]
pub(crate) struct Left<'a, T> {
    pub(crate) data: &'a [T],
    pub(crate) start: usize,
    pub(crate) row: usize,
    pub(crate) step: usize,
}

/// The right operand: element `(k, 16 p + j)` at `start + p · panel + k · step + j`.
#[derive(Clone, Copy)]
pub(crate) struct Right<'a, T> {
    pub(crate) data: &'a [T],
    pub(crate) start: usize,
    pub(crate) panel: usize,
    pub(crate) step: usize,
}

/// The result: element `(i, j)` at `start + i · row + j`.
pub(crate) struct Target<'a, T> {
    pub(crate) data: &'a mut [T],
    pub(crate) start: usize,
    pub(crate) row: usize,
}

struct Multiply<'a, T> {
    size: [usize; 3],
    a: Left<'a, T>,
    b: Right<'a, T>,
    c: Target<'a, T>,
    accum: Accum,
}

/// `c = a · b` or `c += a · b` for an `m × k` and a `k × n` matrix, `n` a multiple of [`PANEL`].
///
/// # Panics
/// If an element lies outside its slice.
pub(crate) fn multiply<T: Dispatch + num_traits::Float>(
    size: [usize; 3],
    a: Left<'_, T>,
    b: Right<'_, T>,
    c: Target<'_, T>,
    accum: Accum,
) {
    let [m, k, n] = size;
    assert!(
        n.is_multiple_of(PANEL),
        "tile product: {n} columns are not a whole number of panels"
    );
    assert!(
        a.row == 1 || a.step == 1,
        "tile product: neither the rows nor the columns of the left operand are contiguous"
    );
    if m == 0 || n == 0 {
        return;
    }
    let panels = n / PANEL;
    let ends = [
        (k > 0).then(|| (a.start + (m - 1) * a.row + (k - 1) * a.step + 1, a.data.len())),
        (k > 0).then(|| {
            (
                b.start + (panels - 1) * b.panel + (k - 1) * b.step + PANEL,
                b.data.len(),
            )
        }),
        Some((c.start + (m - 1) * c.row + n, c.data.len())),
    ];
    assert!(
        ends.iter().flatten().all(|(end, len)| end <= len),
        "tile product: {m}x{k}x{n} ends at {ends:?} of the slices"
    );
    dispatch(Multiply { size, a, b, c, accum });
}

impl<T: num_traits::Float> Task<T> for Multiply<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<T>>(self) {
        // Two copies, because each needs only some of the strides. The addresses of one copy fit into registers.
        if self.a.step == 1 {
            self.panels::<V, false>();
        } else {
            self.panels::<V, true>();
        }
    }
}

impl<T: num_traits::Float> Multiply<'_, T> {
    /// Panel by panel, so that a panel of the right operand stays in the L1 cache. `TURNED` means that the left operand
    /// is column-major.
    #[inline(always)]
    fn panels<V: Vector<T>, const TURNED: bool>(self) {
        let Self {
            size: [m, k, n],
            a,
            b,
            c,
            accum,
        } = self;
        let a_step = if TURNED { a.step } else { a.row };
        let panels = n / PANEL;
        // The rows leave a quarter of the registers to the operands. All blocks have nearly the same number of rows.
        let most = V::REGISTERS * 3 / 8;
        let rows = m.div_ceil(m.div_ceil(most));
        let mut panel = 0;
        while panel < panels {
            // If one vector is a whole panel, two panels are computed together.
            let together = (2 * V::LANES / PANEL).min(panels - panel);
            let second = if V::LANES == PANEL { b.panel } else { V::LANES };
            for row in (0..m).step_by(rows) {
                // SAFETY: the constructor of the task compared the last element of each operand with its slice, see `multiply`.
                // Every offset below is at most that of the last element. An empty operand is not read.
                unsafe {
                    let a_at = a.data.as_ptr().wrapping_add(a.start + row * a.row);
                    let b_at = b.data.as_ptr().wrapping_add(b.start + panel * b.panel);
                    let c_at = c.data.as_mut_ptr().add(c.start + row * c.row + panel * PANEL);
                    let steps = (k, a_step, [b.step, second], c.row);
                    // The first rows of a panel prefetch the next panel.
                    let ahead = if row == 0 { together * b.panel } else { 0 };
                    let next = b_at.wrapping_add(ahead);
                    let rows = rows.min(m - row);
                    // `const` leaves out the copies for sizes that this vector never has.
                    if const { PANEL == V::LANES } && together == 1 {
                        rows_of::<T, V, 1, TURNED>(rows, steps, next, a_at, b_at, c_at, accum);
                    } else {
                        rows_of::<T, V, 2, TURNED>(rows, steps, next, a_at, b_at, c_at, accum);
                    }
                }
            }
            panel += together;
        }
    }
}

/// Strides: inner size, step of the left operand, of the right one and its second vector, and row of the result.
type Steps = (usize, usize, [usize; 2], usize);

/// [`tile`] with a compile-time number of rows.
///
/// # Safety
/// See [`tile`].
#[inline(always)]
unsafe fn rows_of<T: num_traits::Float, V: Vector<T>, const W: usize, const TURNED: bool>(
    rows: usize,
    steps: Steps,
    next: *const T,
    a: *const T,
    b: *const T,
    c: *mut T,
    accum: Accum,
) {
    macro_rules! of {
        ($($rows:literal)*) => {
            match rows {
                // SAFETY: the caller's contract.
                $($rows if const { $rows <= V::REGISTERS * 3 / 8 } => unsafe {
                    tile::<T, V, $rows, W, TURNED>(steps, next, a, b, c, accum)
                },)*
                _ => unreachable!("tile product: {rows} rows"),
            }
        };
    }
    of!(1 2 3 4 5 6 7 8 9 10 11 12);
}

/// `W` vectors, `second` numbers apart.
///
/// # Safety
/// They are valid for reads.
#[inline(always)]
unsafe fn vectors<T: num_traits::Float, V: Vector<T>, const W: usize>(
    from: *const T,
    second: usize,
) -> [V; W] {
    // A loop: `array::from_fn` has several times the code before optimization.
    let mut found = [V::splat(T::zero()); W];
    for (j, found) in found.iter_mut().enumerate() {
        // SAFETY: the caller's contract.
        *found = unsafe { V::read(from.add(j * second)) };
    }
    found
}

/// Computes `R` rows and `W` vectors of columns. If `TURNED` (column-major left operand), `a_step` is the distance of
/// two columns, otherwise that of two rows.
///
/// # Safety
/// The elements that the sizes and steps reach are valid, those of `c` for writes.
#[inline(always)]
unsafe fn tile<T: num_traits::Float, V: Vector<T>, const R: usize, const W: usize, const TURNED: bool>(
    (k, a_step, [b_step, second], c_row): Steps,
    next: *const T,
    a: *const T,
    b: *const T,
    c: *mut T,
    accum: Accum,
) {
    const { assert!(PANEL == 2 * V::LANES || PANEL == V::LANES) };
    /// Unrolled steps of the inner index.
    const UNROLLED: usize = 4;
    let mut sums = [[V::splat(T::zero()); W]; R];
    // SAFETY: the caller's contract. The pointers are read only up to the last element.
    unsafe {
        if accum == Accum::Add {
            for (i, sums) in sums.iter_mut().enumerate() {
                for (j, sum) in sums.iter_mut().enumerate() {
                    *sum = V::read(c.add(i * c_row + j * V::LANES));
                }
            }
        }
        let mut a_rows = [a; R];
        for (i, row) in a_rows.iter_mut().enumerate() {
            *row = a.wrapping_add(if TURNED { i } else { i * a_step });
        }
        let mut b = b;
        let mut left_steps = k;
        while left_steps >= UNROLLED {
            let fetch = next.wrapping_add((k - left_steps) * b_step);
            for p in 0..UNROLLED {
                for j in 0..W * V::LANES / PANEL {
                    V::prefetch(fetch.wrapping_add(p * b_step + j * second));
                }
                let b = b.add(p * b_step);
                let right = vectors::<T, V, W>(b, second);
                for i in 0..R {
                    let at = if TURNED {
                        a_rows[0].add(p * a_step + i)
                    } else {
                        a_rows[i].add(p)
                    };
                    let left = V::splat(*at);
                    for j in 0..W {
                        sums[i][j] = left.mul_add(right[j], sums[i][j]);
                    }
                }
            }
            for row in &mut a_rows {
                *row = row.wrapping_add(if TURNED { UNROLLED * a_step } else { UNROLLED });
            }
            b = b.wrapping_add(UNROLLED * b_step);
            left_steps -= UNROLLED;
        }
        for p in 0..left_steps {
            let b = b.add(p * b_step);
            let right = vectors::<T, V, W>(b, second);
            for i in 0..R {
                let at = if TURNED {
                    a_rows[0].add(p * a_step + i)
                } else {
                    a_rows[i].add(p)
                };
                let left = V::splat(*at);
                for j in 0..W {
                    sums[i][j] = left.mul_add(right[j], sums[i][j]);
                }
            }
        }
        for (i, sums) in sums.iter().enumerate() {
            for (j, sum) in sums.iter().enumerate() {
                sum.write(c.add(i * c_row + j * V::LANES));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::simd::{Level, levels, run_at};
    use proptest::prelude::*;

    /// Operands and the expected result by the definition.
    #[derive(Debug)]
    struct Case {
        size: [usize; 3],
        a: Vec<f64>,
        a_steps: [usize; 2],
        b: Vec<f64>,
        b_steps: [usize; 2],
        old: Vec<f64>,
        wanted: Vec<f64>,
        start: usize,
        c_row: usize,
        accum: Accum,
    }

    impl Case {
        fn task<'c, T: Copy>(&self, a: &'c [T], b: &'c [T], c: &'c mut [T]) -> Multiply<'c, T> {
            let ([row, step], [panel, b_step]) = (self.a_steps, self.b_steps);
            let start = self.start;
            let a = Left {
                data: a,
                start,
                row,
                step,
            };
            let b = Right {
                data: b,
                start,
                panel,
                step: b_step,
            };
            let row = self.c_row;
            let (size, accum) = (self.size, self.accum);
            Multiply {
                size,
                a,
                b,
                c: Target { data: c, start, row },
                accum,
            }
        }
    }

    /// Row and column counts on both sides of the block sizes, on all instruction sets.
    fn cases() -> impl Strategy<Value = Case> {
        let sizes = (0_usize..30, 0_usize..30, 0_usize..6);
        (sizes, 0_usize..5, 0_usize..3, any::<[bool; 3]>()).prop_map(
            |((m, k, panels), pad, start, [transposed, packed, add])| {
                let n = panels * PANEL;
                let value = |i: usize| ((i * 7919 + 13) % 101) as f64 / 50.0 - 1.0;
                let [row, step] = if transposed { [1, m + pad] } else { [k + pad, 1] };
                let a: Vec<f64> = (0..start + m * row.max(1) + k * step + 1).map(value).collect();
                let [panel, b_step] = if packed {
                    [k * PANEL + pad, PANEL]
                } else {
                    [PANEL, n + pad]
                };
                let ends = start + panels * panel + k * b_step + PANEL;
                let b: Vec<f64> = (0..ends).map(|i| value(i + 5)).collect();
                let c_row = n + pad;
                let old: Vec<f64> = (0..start + m * c_row + n).map(|i| value(i + 9)).collect();
                let mut wanted = old.clone();
                for i in 0..m {
                    for j in 0..n {
                        let at = start + i * c_row + j;
                        let b_at = start + j / PANEL * panel + j % PANEL;
                        let sum: f64 = (0..k)
                            .map(|l| a[start + i * row + l * step] * b[b_at + l * b_step])
                            .sum();
                        wanted[at] = if add { wanted[at] + sum } else { sum };
                    }
                }
                Case {
                    size: [m, k, n],
                    a,
                    a_steps: [row, step],
                    b,
                    b_steps: [panel, b_step],
                    old,
                    wanted,
                    start,
                    c_row,
                    accum: if add { Accum::Add } else { Accum::Replace },
                }
            },
        )
    }

    proptest! {
        /// The safe reference: the definition, with the same strides.
        #[test]
        fn products_equal_their_definition(case in cases()) {
            let mut c = case.old.clone();
            let Multiply { size, a, b, c: target, accum } = case.task(&case.a, &case.b, &mut c);
            multiply(size, a, b, target, accum);
            for (found, wanted) in c.iter().zip(&case.wanted) {
                prop_assert!((found - wanted).abs() < 1e-12);
            }
        }

        #[test]
        fn every_instruction_set_finds_it_and_those_with_fused_sums_the_same_bits(case in cases()) {
            let single = |x: &[f64]| -> Vec<f32> { x.iter().map(|&x| x as f32).collect() };
            let (a, b) = (single(&case.a), single(&case.b));
            let mut fused: Option<Vec<f32>> = None;
            for level in levels() {
                let mut c = single(&case.old);
                if case.size[0] * case.size[2] > 0 {
                    // SAFETY: `levels` lists only levels that the CPU supports, and the operands are long enough by their definition.
                    unsafe { run_at(level, case.task(&a, &b, &mut c)) };
                }
                for (found, wanted) in c.iter().zip(&case.wanted) {
                    prop_assert!((f64::from(*found) - wanted).abs() < 1e-5, "{level:?}");
                }
                if level != Level::Portable {
                    let first = fused.get_or_insert_with(|| c.clone());
                    prop_assert!(c.iter().zip(first).all(|(a, b)| a.to_bits() == b.to_bits()), "{level:?}");
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "tile product: 2x3x16")]
    fn an_operand_that_ends_early_is_refused() {
        let (a, b, mut c) = ([0.0_f32; 5], [0.0; 48], [0.0; 32]);
        multiply(
            [2, 3, 16],
            Left {
                data: &a,
                start: 0,
                row: 3,
                step: 1,
            },
            Right {
                data: &b,
                start: 0,
                panel: 48,
                step: 16,
            },
            Target {
                data: &mut c,
                start: 0,
                row: 16,
            },
            Accum::Replace,
        );
    }
}
