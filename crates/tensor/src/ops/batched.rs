//! Products of batches of matrices.

use crate::kernels::gemm::Accum;
use crate::kernels::gemm::gemm;
use crate::kernels::pieces;
use crate::kernels::scratch;
use crate::kernels::strided::Layout;
use crate::op::Op;
use crate::operation::Operation;
use crate::real::Real;
use crate::tensor::Tensor;
use ndarray::{ArrayD, IxDyn};

/// A product of two batches; either operand may be read transposed.
#[derive(Clone, Copy)]
struct BatchProduct {
    transposed: [bool; 2],
}

impl<T: Real> Op<T> for BatchProduct {
    fn name(&self) -> &'static str {
        "batch_matmul"
    }
    fn operation(&self) -> Option<Operation> {
        Some(Operation::BatchMatMul {
            transposed: self.transposed,
        })
    }
    /// With `A` and `B` the operands as they are read, the gradients are `dy · Bᵀ` and `Aᵀ · dy`, transposed again where the
    /// operand is.
    fn vjp(&self, i: usize, inputs: &[Tensor<T>], _: &Tensor<T>, dy: &Tensor<T>) -> Tensor<T> {
        let (a, b, [ta, tb]) = (&inputs[0], &inputs[1], self.transposed);
        match (i, ta, tb) {
            (0, false, _) => product(dy, b, [false, !tb]),
            (0, true, _) => product(b, dy, [tb, true]),
            (_, _, false) => product(a, dy, [!ta, false]),
            (_, _, true) => product(dy, a, [true, ta]),
        }
    }
}

/// Rows and columns of the matrices of a batch as they are read.
fn read([.., rows, columns]: [usize; 3], transposed: bool) -> [usize; 2] {
    match transposed {
        false => [rows, columns],
        true => [columns, rows],
    }
}

#[track_caller]
fn product<T: Real>(a: &Tensor<T>, b: &Tensor<T>, transposed: [bool; 2]) -> Tensor<T> {
    let (&[n, a1, a2], &[of_b, b1, b2]) = (a.shape(), b.shape()) else {
        panic!(
            "batch_matmul: expected two batches of matrices [n, rows, columns], got shapes {:?} and {:?}",
            a.shape(),
            b.shape()
        )
    };
    let ([m, k], [k_of_b, columns]) = (
        read([n, a1, a2], transposed[0]),
        read([of_b, b1, b2], transposed[1]),
    );
    assert!(
        n == of_b && k == k_of_b,
        "batch_matmul: counts or inner sizes differ: {:?} and {:?}",
        a.shape(),
        b.shape()
    );
    let layout = |transposed| {
        if transposed {
            Layout::Transposed
        } else {
            Layout::Plain
        }
    };
    let mut c = scratch::take(n * m * columns);
    let (x, y) = (a.as_slice(), b.as_slice());
    if m * columns > 0 {
        pieces::each(&mut c, m * columns, |i, c| {
            let x = &x[i * m * k..][..m * k];
            let y = &y[i * k * columns..][..k * columns];
            let (x, y) = ((x, layout(transposed[0])), (y, layout(transposed[1])));
            gemm(m, k, columns, x, y, c, Accum::Replace);
        });
    }
    let value = ArrayD::from_shape_vec(IxDyn(&[n, m, columns]), c).expect("n matrices");
    Tensor::from_op(value, BatchProduct { transposed }, &[a, b])
}

impl<T: Real> Tensor<T> {
    /// Product of each matrix with the one of the same index in another batch.
    ///
    /// *Shapes*: `[n, m, k] · [n, k, p] -> [n, m, p]`.
    ///
    /// ```
    /// use engraft_tensor::Tensor;
    /// let a = Tensor::from_vec([2, 1, 2], vec![1.0, 2.0, 3.0, 4.0]);
    /// let b = Tensor::from_vec([2, 2, 1], vec![1.0, 1.0, 0.0, 1.0]);
    /// assert_eq!(a.batch_matmul(&b).as_slice(), [3.0, 4.0]);
    /// ```
    ///
    /// # Panics
    /// If an operand does not have three axes, or the counts or the inner sizes differ.
    #[must_use]
    #[track_caller]
    pub fn batch_matmul(&self, other: &Self) -> Self {
        product(self, other, [false, false])
    }

    /// The same with the matrices of `other` transposed.
    ///
    /// *Shapes*: `[n, m, k] · [n, p, k]ᵀ -> [n, m, p]`.
    ///
    /// # Panics
    /// As [`Tensor::batch_matmul`].
    #[must_use]
    #[track_caller]
    pub fn batch_matmul_nt(&self, other: &Self) -> Self {
        product(self, other, [false, true])
    }

    /// The same with the matrices of this batch transposed.
    ///
    /// *Shapes*: `[n, k, m]ᵀ · [n, k, p] -> [n, m, p]`.
    ///
    /// # Panics
    /// As [`Tensor::batch_matmul`].
    #[must_use]
    #[track_caller]
    pub fn batch_matmul_tn(&self, other: &Self) -> Self {
        product(self, other, [true, false])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_pcg::Pcg64;

    #[test]
    fn each_product_equals_the_one_of_its_matrices() {
        let rng = &mut Pcg64::seed_from_u64(1);
        let (a, b) = (
            Tensor::<f64>::randn([3, 4, 5], rng),
            Tensor::<f64>::randn([3, 5, 2], rng),
        );
        let all = a.batch_matmul(&b);
        for i in 0..3 {
            let one = |x: &Tensor<f64>| x.narrow(0, i, 1).reshape(&x.shape()[1..]);
            assert_eq!(one(&all).as_slice(), one(&a).matmul(&one(&b)).as_slice());
        }
        assert_eq!(
            Tensor::<f32>::zeros([2, 0, 3])
                .batch_matmul(&Tensor::zeros([2, 3, 4]))
                .shape(),
            [2, 0, 4]
        );
        assert_eq!(
            Tensor::<f32>::ones([1, 2, 0])
                .batch_matmul(&Tensor::zeros([1, 0, 1]))
                .as_slice(),
            [0.0, 0.0]
        );
    }

    #[test]
    #[should_panic(expected = "counts or inner sizes differ: [2, 3, 4] and [1, 4, 5]")]
    fn batches_of_other_counts_are_refused() {
        let _ = Tensor::<f32>::zeros([2, 3, 4]).batch_matmul(&Tensor::zeros([1, 4, 5]));
    }
}
