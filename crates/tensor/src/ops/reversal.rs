//! Gradient reversal: the identity with a negated gradient.

use crate::op::Op;
use crate::operation::Operation;
use crate::real::Real;
use crate::tensor::Tensor;

struct Reverse {
    factor: f64,
}

impl<T: Real> Op<T> for Reverse {
    fn name(&self) -> &'static str {
        "reverse_gradient"
    }
    fn operation(&self) -> Option<Operation> {
        Some(Operation::Identity)
    }
    fn vjp(&self, _: usize, _: &[Tensor<T>], _: &Tensor<T>, dy: &Tensor<T>) -> Tensor<T> {
        dy * T::from_f64(-self.factor)
    }
}

impl<T: Real> Tensor<T> {
    /// Gradient reversal: the identity in the forward pass. The backward pass multiplies the gradient by `-factor`.
    ///
    /// Layers after it minimize a loss, layers before it maximize the same loss. The result is not the derivative of
    /// any function, so a gradient check against differences fails.
    ///
    /// *Source*: Ganin and Lempitsky, "Unsupervised domain adaptation by backpropagation", 2015, section 3.2.
    ///
    /// ```
    /// use engraft_tensor::{Tensor, grad};
    /// let x = Tensor::from_vec([2], vec![1.0, 3.0]).as_leaf();
    /// let y = x.reverse_gradient(0.5);
    /// assert_eq!(y.as_slice(), x.as_slice());
    /// assert_eq!(grad(&y.square().sum(), [&x])[0].as_slice(), [-1.0, -3.0]);
    /// ```
    #[must_use]
    pub fn reverse_gradient(&self, factor: f64) -> Self {
        Self::from_op(self.view().to_owned(), Reverse { factor }, &[self])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{grad, grad_with_graph};

    #[test]
    fn it_is_reversed_at_every_order() {
        let x = Tensor::from_vec([1], vec![2.0_f64]).as_leaf();
        let y = x.reverse_gradient(3.0);
        let cube = &y * &y * &y;
        // d y³ = 3 y² · (-3) dx; second derivative: 6 y · (-3) · (-3).
        let [first] = grad_with_graph(&cube.sum(), [&x]);
        assert_eq!(first.item(), -36.0);
        assert_eq!(grad(&first.sum(), [&x])[0].item(), 108.0);
        let [none] = grad(&x.reverse_gradient(0.0).sum(), [&x]);
        assert_eq!(none.item(), 0.0);
    }
}
