//! The trait of operations and their derivative rules.

use crate::operation::Operation;
use crate::real::Real;
use crate::tensor::Tensor;

/// An operation of the graph, given by its vector-Jacobian products.
///
/// For `y = f(x_0, .., x_k)` and a gradient `dy` of some scalar with respect to `y`, rule `i` computes
/// `dy · ∂y/∂x_i`. Rules use tensor operations only. With recording off they compute numbers. With recording on
/// they build a graph, which gives derivatives of any order. An operation can store further state that its
/// rules need, as plain numbers or as [detached](Tensor::detach) tensors.
///
/// To add an operation, implement this trait for a type and call [`Tensor::from_op`]. Check it with
/// [`gradcheck`](crate::gradcheck) and [`gradgradcheck`](crate::gradgradcheck):
///
/// ```
/// use engraft_tensor::{Op, Real, Tensor, gradcheck, gradgradcheck};
///
/// /// `sin(x)`, elementwise.
/// struct Sin;
///
/// impl<T: Real> Op<T> for Sin {
///     fn name(&self) -> &'static str {
///         "sin"
///     }
///     // d sin(x) = cos(x) dx, and cos(x) = sin(x + π/2). The rule itself is differentiable.
///     fn vjp(&self, _i: usize, inputs: &[Tensor<T>], _output: &Tensor<T>, dy: &Tensor<T>) -> Tensor<T> {
///         dy * &sin(&(&inputs[0] + T::FRAC_PI_2()))
///     }
/// }
///
/// fn sin<T: Real>(x: &Tensor<T>) -> Tensor<T> {
///     Tensor::from_op(x.view().mapv(|v| v.sin()), Sin, &[x])
/// }
///
/// let x = Tensor::from_vec([3], vec![0.1, -0.7, 2.0_f64]);
/// gradcheck(|x| sin(&x[0]), &[x.clone()]).unwrap();
/// gradgradcheck(|x| sin(&x[0]), &[x]).unwrap();
/// ```
pub trait Op<T: Real>: Send + Sync {
    /// Short name for messages.
    fn name(&self) -> &'static str;

    /// What the operation computes, for [`trace`](crate::trace). `None`, the default, if [`Operation`] does not have it. A
    /// network with such an operation can be trained but not exported.
    fn operation(&self) -> Option<Operation> {
        None
    }

    /// Vector-Jacobian product for input `i`: a tensor with the shape of `inputs[i]`.
    ///
    /// Called only for inputs on a path to a tensor in `wrt`.
    fn vjp(&self, i: usize, inputs: &[Tensor<T>], output: &Tensor<T>, dy: &Tensor<T>) -> Tensor<T>;

    /// The products of all inputs for which `wanted` is true, in the order of the inputs.
    ///
    /// Override this only if the rules share work. The default calls [`Op::vjp`] for each input.
    fn vjps(
        &self,
        wanted: &[bool],
        inputs: &[Tensor<T>],
        output: &Tensor<T>,
        dy: &Tensor<T>,
    ) -> Vec<Option<Tensor<T>>> {
        (0..inputs.len())
            .map(|i| wanted[i].then(|| self.vjp(i, inputs, output, dy)))
            .collect()
    }
}

/// One product of a rule that computes several together, for [`Op::vjp`] with at most three inputs.
pub(crate) fn only<T: Real>(i: usize, vjps: impl FnOnce(&[bool; 3]) -> Vec<Option<Tensor<T>>>) -> Tensor<T> {
    let mut products = vjps(&[0, 1, 2].map(|j| i == j));
    products.swap_remove(i).expect("the product that was wanted")
}

/// The operation and the inputs that a tensor was computed from.
pub(crate) struct Origin<T: Real> {
    pub(crate) op: Box<dyn Op<T>>,
    pub(crate) inputs: Vec<Tensor<T>>,
    /// What other programs call the operations up to here, if there is one name for all of them.
    pub(crate) summary: Option<Summary<T>>,
}

/// One operation that stands for several recorded ones, with the tensors that it reads.
pub(crate) struct Summary<T: Real> {
    pub(crate) operation: Operation,
    pub(crate) inputs: Vec<Tensor<T>>,
}

impl<T: Real> Origin<T> {
    /// What was computed as data, and from what.
    pub(crate) fn as_data(&self) -> (Option<Operation>, &[Tensor<T>]) {
        match &self.summary {
            Some(summary) => (Some(summary.operation.clone()), &summary.inputs),
            None => (self.op.operation(), &self.inputs),
        }
    }

    /// Its name for messages.
    pub(crate) fn name(&self) -> &'static str {
        match &self.summary {
            Some(summary) => summary.operation.parts().0,
            None => self.op.name(),
        }
    }

    /// All tensors that are kept for this operation.
    pub(crate) fn into_tensors(self) -> impl Iterator<Item = Tensor<T>> {
        let summarized = self.summary.into_iter().flat_map(|summary| summary.inputs);
        self.inputs.into_iter().chain(summarized)
    }
}

/// The operand itself.
pub(crate) struct Same;

impl<T: Real> Op<T> for Same {
    fn name(&self) -> &'static str {
        "identity"
    }
    fn operation(&self) -> Option<Operation> {
        Some(Operation::Identity)
    }
    fn vjp(&self, _: usize, _: &[Tensor<T>], _: &Tensor<T>, dy: &Tensor<T>) -> Tensor<T> {
        dy.clone()
    }
}
