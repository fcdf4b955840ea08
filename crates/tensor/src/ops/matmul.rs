//! Matrix products.

use crate::kernels::scratch;
use crate::op::Op;
use crate::operation::Operation;
use crate::precision::{Precision, current_precision, with_precision};
use crate::real::Real;
use crate::tensor::Tensor;
use ndarray::{ArrayD, IxDyn};

/// A matrix product. The three kinds are closed under differentiation.
#[derive(Clone, Copy)]
struct Product {
    kind: Kind,
    precision: Precision,
}

/// Which operand is read transposed.
#[derive(Clone, Copy)]
enum Kind {
    /// `a · b`
    Plain,
    /// `a · bᵀ`
    RightTransposed,
    /// `aᵀ · b`
    LeftTransposed,
}

impl Kind {
    fn transposed(self) -> [bool; 2] {
        match self {
            Kind::Plain => [false, false],
            Kind::RightTransposed => [false, true],
            Kind::LeftTransposed => [true, false],
        }
    }
}

impl<T: Real> Op<T> for Product {
    fn name(&self) -> &'static str {
        match self.kind {
            Kind::Plain => "matmul",
            Kind::RightTransposed => "matmul_nt",
            Kind::LeftTransposed => "matmul_tn",
        }
    }
    fn operation(&self) -> Option<Operation> {
        Some(Operation::MatMul {
            transposed: self.kind.transposed(),
        })
    }
    fn vjp(&self, i: usize, inputs: &[Tensor<T>], _: &Tensor<T>, dy: &Tensor<T>) -> Tensor<T> {
        let (a, b) = (&inputs[0], &inputs[1]);
        with_precision(self.precision, || match (self.kind, i) {
            (Kind::Plain, 0) => dy.matmul_nt(b),
            (Kind::Plain, _) => a.matmul_tn(dy),
            (Kind::RightTransposed, 0) => dy.matmul(b),
            (Kind::RightTransposed, _) => dy.matmul_tn(a),
            (Kind::LeftTransposed, 0) => b.matmul_nt(dy),
            (Kind::LeftTransposed, _) => a.matmul(dy),
        })
    }
}

#[track_caller]
fn product<T: Real>(a: &Tensor<T>, b: &Tensor<T>, kind: Kind) -> Tensor<T> {
    let product = Product {
        kind,
        precision: current_precision(),
    };
    let name = Op::<T>::name(&product);
    let (&[a0, a1], &[b0, b1]) = (a.shape(), b.shape()) else {
        panic!(
            "{name}: expected two matrices, got shapes {:?} and {:?}",
            a.shape(),
            b.shape()
        )
    };
    let (m, k, k_of_b, n) = match kind {
        Kind::Plain => (a0, a1, b0, b1),
        Kind::RightTransposed => (a0, a1, b1, b0),
        Kind::LeftTransposed => (a1, a0, b0, b1),
    };
    assert!(
        k == k_of_b,
        "{name}: inner sizes differ: {:?} and {:?}",
        a.shape(),
        b.shape()
    );
    let mut c = scratch::take(m * n);
    T::multiply_matrices(
        [m, k, n],
        kind.transposed(),
        product.precision,
        a.as_slice(),
        b.as_slice(),
        &mut c,
    );
    let value = ArrayD::from_shape_vec(IxDyn(&[m, n]), c).expect("m × n elements");
    Tensor::from_op(value, product, &[a, b])
}

impl<T: Real> Tensor<T> {
    /// Matrix product `a · b`.
    ///
    /// *Shapes*: `[m, k] · [k, n] -> [m, n]`.
    ///
    /// # Panics
    /// If an operand is not a matrix or the inner sizes differ.
    #[must_use]
    #[track_caller]
    pub fn matmul(&self, b: &Self) -> Self {
        product(self, b, Kind::Plain)
    }

    /// Matrix product `a · bᵀ` without a transposed copy in the graph.
    ///
    /// *Shapes*: `[m, k] · [n, k]ᵀ -> [m, n]`.
    ///
    /// # Panics
    /// If an operand is not a matrix or the inner sizes differ.
    #[must_use]
    #[track_caller]
    pub fn matmul_nt(&self, b: &Self) -> Self {
        product(self, b, Kind::RightTransposed)
    }

    /// Matrix product `aᵀ · b` without a transposed copy in the graph.
    ///
    /// *Shapes*: `[k, m]ᵀ · [k, n] -> [m, n]`.
    ///
    /// # Panics
    /// If an operand is not a matrix or the inner sizes differ.
    #[must_use]
    #[track_caller]
    pub fn matmul_tn(&self, b: &Self) -> Self {
        product(self, b, Kind::LeftTransposed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_by_hand() {
        let a = Tensor::from_vec([2, 3], vec![1.0_f64, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let b = Tensor::from_vec([3, 2], vec![1.0, 0.0, 0.0, 1.0, 1.0, 1.0]);
        let ab = [4.0, 5.0, 10.0, 11.0];
        assert_eq!(a.matmul(&b).as_slice(), ab);
        assert_eq!(a.matmul_nt(&b.transpose()).as_slice(), ab);
        assert_eq!(a.transpose().matmul_tn(&b).as_slice(), ab);
        assert_eq!(
            Tensor::<f64>::zeros([2, 0])
                .matmul(&Tensor::zeros([0, 1]))
                .as_slice(),
            [0.0, 0.0]
        );
        let no_rows = Tensor::<f64>::zeros([0, 300]);
        assert_eq!(no_rows.matmul_nt(&Tensor::zeros([20, 300])).shape(), [0, 20]);
    }

    #[test]
    #[should_panic(expected = "matmul: inner sizes differ: [2, 3] and [2, 3]")]
    fn inner_sizes_must_agree() {
        let a = Tensor::<f32>::zeros([2, 3]);
        let _ = a.matmul(&a);
    }
}
