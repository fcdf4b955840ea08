//! Products of two matrices, and the choice of the algorithm.

use crate::kernels::direct::rounded_copy;
use crate::kernels::gemm::par_gemm;
#[cfg(target_arch = "x86_64")]
use crate::kernels::matrix_unit::{self, Amx};
#[cfg(target_arch = "x86_64")]
use crate::kernels::simd::has_matrix_unit;
use crate::kernels::strided::Layout;
use crate::precision::Precision;

/// Whether the matrix unit computes a product of rounded numbers. It computes blocks of 32 rows, columns and inner indices, and packs
/// both operands, which few rows or columns do not pay for.
///
/// Products in `f32` are those of `f32`: three products of rounded numbers would be less exact.
#[cfg(target_arch = "x86_64")]
fn fits_matrix_unit([m, k, n]: [usize; 3], a: Layout) -> bool {
    /// Most multiply-adds that one thread computes in the time in which a second one wakes.
    const SMALL: usize = 1 << 20;
    let is_large = m.saturating_mul(k).saturating_mul(n) > SMALL;
    let [rows, inner] = match a {
        Layout::Plain => [m, k],
        // Its rows are the images that are summed over.
        Layout::Transposed => [k, m],
    };
    let is_small_program = cfg!(engraft_inference);
    is_large && rows >= 4 && inner >= 16 && n >= 8 && !is_small_program && has_matrix_unit()
}

/// Matrix products of an element type.
pub trait MultiplyMatrices: Sized {
    /// `c = a · b` with sizes `[m, k, n]`, over the threads. A `transposed` operand lies transposed in its slice.
    ///
    /// # Panics
    /// If the length of a slice differs from its matrix.
    #[doc(hidden)]
    fn multiply_matrices(
        sizes: [usize; 3],
        transposed: [bool; 2],
        precision: Precision,
        a: &[Self],
        b: &[Self],
        c: &mut [Self],
    );
}

fn layouts(transposed: [bool; 2]) -> [Layout; 2] {
    transposed.map(|is_transposed| {
        if is_transposed {
            Layout::Transposed
        } else {
            Layout::Plain
        }
    })
}

impl MultiplyMatrices for f32 {
    fn multiply_matrices(
        [m, k, n]: [usize; 3],
        transposed: [bool; 2],
        precision: Precision,
        a: &[f32],
        b: &[f32],
        c: &mut [f32],
    ) {
        let [of_a, of_b] = layouts(transposed);
        #[cfg(target_arch = "x86_64")]
        if precision == Precision::Bf16
            && fits_matrix_unit([m, k, n], of_a)
            && matrix_unit::matrices::<Amx, 1>([m, k, n], (a, of_a), (b, of_b), c)
        {
            return;
        }
        match precision {
            Precision::F32 => par_gemm(m, k, n, (a, of_a), (b, of_b), c),
            Precision::Bf16 => {
                let (a, b) = (rounded_copy(a), rounded_copy(b));
                par_gemm(m, k, n, (&a, of_a), (&b, of_b), c);
            }
        }
    }
}

impl MultiplyMatrices for f64 {
    fn multiply_matrices(
        [m, k, n]: [usize; 3],
        transposed: [bool; 2],
        _: Precision,
        a: &[f64],
        b: &[f64],
        c: &mut [f64],
    ) {
        let [of_a, of_b] = layouts(transposed);
        par_gemm(m, k, n, (a, of_a), (b, of_b), c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::reference::values;
    use proptest::prelude::*;

    /// Whatever computes them on this CPU, for operands as they are rounded.
    fn check([m, k, n]: [usize; 3], transposed: [bool; 2], precision: Precision, bound: f64) {
        let [a, b] = [(m * k, 1), (k * n, 2)].map(|(len, seed)| {
            values(len, seed)
                .into_iter()
                .map(|x| x as f32)
                .collect::<Vec<_>>()
        });
        let mut c = vec![f32::NAN; m * n];
        f32::multiply_matrices([m, k, n], transposed, precision, &a, &b, &mut c);
        let exact = [&a, &b].map(|x| match precision {
            Precision::Bf16 => rounded_copy(x).to_vec(),
            Precision::F32 => x.clone(),
        });
        for i in 0..m {
            for j in 0..n {
                let product = |l: usize| {
                    let x = exact[0][if transposed[0] { l * m + i } else { i * k + l }];
                    let y = exact[1][if transposed[1] { j * k + l } else { l * n + j }];
                    f64::from(x) * f64::from(y)
                };
                let sum: f64 = (0..k).map(product).sum();
                let size: f64 = (0..k).map(|l| product(l).abs()).sum();
                let error = (f64::from(c[i * n + j]) - sum).abs();
                assert!(error <= bound * size, "{} {sum} for {m}x{k}x{n}", c[i * n + j]);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn small_products_equal_their_definition(
            m in prop_oneof![1_usize..9, 30_usize..40], k in prop_oneof![1_usize..9, 30_usize..70],
            n in prop_oneof![1_usize..9, 30_usize..70], transposed in any::<[bool; 2]>(), is_rounded in any::<bool>(),
        ) {
            let precision = if is_rounded { Precision::Bf16 } else { Precision::F32 };
            check([m, k, n], transposed, precision, 1e-6);
        }
    }

    /// Large enough for a matrix unit.
    #[test]
    fn large_products_equal_their_definition() {
        for transposed in [[false, false], [false, true], [true, false], [true, true]] {
            check(
                [130, 90, 99],
                transposed,
                Precision::F32,
                3.0 / f64::from(1 << 16),
            );
            check([130, 90, 99], transposed, Precision::Bf16, 1e-6);
        }
    }
}
