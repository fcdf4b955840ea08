//! Sums and means, and broadcasting, which is their adjoint.

use crate::kernels::reduce;
use crate::op::Op;
use crate::operation::Operation;
use crate::real::Real;
use crate::tensor::Tensor;
use ndarray::{ArrayD, IxDyn};

/// Sum over the axes along which a shape was broadcast.
struct SumTo;
/// Repetition to a larger shape.
struct BroadcastTo;

impl<T: Real> Op<T> for SumTo {
    fn name(&self) -> &'static str {
        "sum_to"
    }
    fn operation(&self) -> Option<Operation> {
        Some(Operation::SumTo)
    }
    fn vjp(&self, _: usize, inputs: &[Tensor<T>], _: &Tensor<T>, dy: &Tensor<T>) -> Tensor<T> {
        dy.broadcast_to(inputs[0].shape())
    }
}

impl<T: Real> Op<T> for BroadcastTo {
    fn name(&self) -> &'static str {
        "broadcast_to"
    }
    fn operation(&self) -> Option<Operation> {
        Some(Operation::BroadcastTo)
    }
    fn vjp(&self, _: usize, inputs: &[Tensor<T>], _: &Tensor<T>, dy: &Tensor<T>) -> Tensor<T> {
        dy.sum_to(inputs[0].shape())
    }
}

impl<T: Real> Tensor<T> {
    /// Sums over the axes that broadcasting from `shape` to this tensor's shape would repeat. This is the adjoint
    /// of [`Tensor::broadcast_to`].
    ///
    /// # Panics
    /// If `shape` does not broadcast to this tensor's shape.
    #[must_use]
    #[track_caller]
    pub fn sum_to(&self, shape: &[usize]) -> Self {
        if self.shape() == shape {
            return self.clone();
        }
        let rank = self.rank();
        let lead = rank.checked_sub(shape.len());
        let kept = |i: usize| lead.and_then(|l| i.checked_sub(l)).map_or(1, |j| shape[j]);
        let fits = lead.is_some() && (0..rank).all(|i| kept(i) == 1 || kept(i) == self.shape()[i]);
        assert!(
            fits,
            "sum_to: shape {shape:?} does not broadcast to {:?}",
            self.shape()
        );
        let summed: Vec<usize> = (0..rank)
            .filter(|&i| kept(i) == 1 && self.shape()[i] != 1)
            .collect();
        let sums = self.sum_over(&summed);
        let value =
            ArrayD::from_shape_vec(IxDyn(shape), sums).expect("the number of sums equals that of the shape");
        Self::from_op(value, SumTo, &[self])
    }

    /// Sums over the given axes, in row-major order of the others.
    fn sum_over(&self, axes: &[usize]) -> Vec<T> {
        let (x, shape, rank) = (self.as_slice(), self.shape(), self.rank());
        let kept: Vec<usize> = (0..rank).filter(|i| !axes.contains(i)).collect();
        let count: usize = kept.iter().map(|&i| shape[i]).product();
        if axes.is_empty() || self.is_empty() {
            return if self.is_empty() {
                vec![T::zero(); count]
            } else {
                x.to_vec()
            };
        }
        if count == 1 {
            return vec![reduce::sum(x)];
        }
        // Axes of size 1 do not matter. The question is whether the summed block comes first or last.
        let first_kept = kept.iter().copied().find(|&i| shape[i] > 1);
        let last_kept = kept.iter().copied().rfind(|&i| shape[i] > 1);
        if first_kept > axes.last().copied() {
            return reduce::sum_columns(x, count);
        }
        if last_kept < axes.first().copied() {
            return reduce::sum_rows(x, x.len() / count);
        }
        let order: Vec<usize> = axes.iter().chain(&kept).copied().collect();
        let moved = self.view().permuted_axes(order);
        let moved = moved.as_standard_layout();
        reduce::sum_columns(moved.as_slice().expect("standard layout"), count)
    }

    /// Repeats the tensor along new leading axes and axes of size 1, as NumPy does.
    ///
    /// # Panics
    /// If the tensor's shape does not broadcast to `shape`.
    #[must_use]
    #[track_caller]
    pub fn broadcast_to(&self, shape: &[usize]) -> Self {
        if self.shape() == shape {
            return self.clone();
        }
        let Some(value) = self.shared().broadcast(IxDyn(shape)) else {
            panic!(
                "broadcast_to: shape {:?} does not broadcast to {shape:?}",
                self.shape()
            )
        };
        Self::from_op(value.to_owned(), BroadcastTo, &[self])
    }

    /// Shape with size 1 along the given axes.
    #[track_caller]
    fn shape_keeping(&self, axes: &[usize]) -> Vec<usize> {
        let mut shape = self.shape().to_vec();
        for &axis in axes {
            assert!(
                axis < shape.len(),
                "sum: no axis {axis} in shape {:?}",
                self.shape()
            );
            shape[axis] = 1;
        }
        shape
    }

    /// Sum of all elements, as a scalar.
    #[must_use]
    pub fn sum(&self) -> Self {
        self.sum_to(&[])
    }

    /// Mean of all elements, as a scalar. NaN if the tensor is empty.
    #[must_use]
    pub fn mean(&self) -> Self {
        self.sum() / T::from_f64(self.len() as f64)
    }

    /// Sum over the given axes, which are kept with size 1.
    ///
    /// # Panics
    /// If an axis does not exist.
    #[must_use]
    #[track_caller]
    pub fn sum_keep(&self, axes: &[usize]) -> Self {
        self.sum_to(&self.shape_keeping(axes))
    }

    /// Mean over the given axes, which are kept with size 1.
    ///
    /// # Panics
    /// If an axis does not exist.
    #[must_use]
    #[track_caller]
    pub fn mean_keep(&self, axes: &[usize]) -> Self {
        let sum = self.sum_keep(axes);
        let terms = self.len() as f64 / sum.len() as f64;
        sum / T::from_f64(terms)
    }

    /// Sum over the given axes, which are removed.
    ///
    /// # Panics
    /// If an axis does not exist.
    #[must_use]
    #[track_caller]
    pub fn sum_axes(&self, axes: &[usize]) -> Self {
        self.sum_keep(axes).reshape(self.shape_without(axes))
    }

    /// Mean over the given axes, which are removed.
    ///
    /// # Panics
    /// If an axis does not exist.
    #[must_use]
    #[track_caller]
    pub fn mean_axes(&self, axes: &[usize]) -> Self {
        self.mean_keep(axes).reshape(self.shape_without(axes))
    }

    /// Variance over the given axes, which are kept with size 1: the sum of squared differences from the mean, divided by the
    /// number of elements minus `correction` (PyTorch's `var` has 1 by default, NumPy's 0).
    ///
    /// # Panics
    /// If an axis does not exist.
    #[must_use]
    #[track_caller]
    pub fn var_keep(&self, axes: &[usize], correction: usize) -> Self {
        let squares = (self - self.mean_keep(axes)).square().sum_keep(axes);
        let terms = self.len() as f64 / squares.len() as f64 - correction as f64;
        squares / T::from_f64(terms)
    }

    /// Euclidean norm over the given axes, which are kept with size 1. The gradient at 0 is NaN.
    ///
    /// # Panics
    /// If an axis does not exist.
    #[must_use]
    #[track_caller]
    pub fn norm_keep(&self, axes: &[usize]) -> Self {
        self.square().sum_keep(axes).sqrt()
    }

    fn shape_without(&self, axes: &[usize]) -> Vec<usize> {
        (0..self.rank())
            .filter(|i| !axes.contains(i))
            .map(|i| self.shape()[i])
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_by_hand_along_every_set_of_axes() {
        let x = Tensor::from_vec([2, 3, 2], (0..12).map(f64::from).collect());
        assert_eq!(x.sum().item(), 66.0);
        assert_eq!(x.mean().item(), 5.5);
        assert_eq!(x.sum_axes(&[0]).as_slice(), [6.0, 8.0, 10.0, 12.0, 14.0, 16.0]);
        assert_eq!(x.sum_axes(&[2]).as_slice(), [1.0, 5.0, 9.0, 13.0, 17.0, 21.0]);
        assert_eq!(x.sum_axes(&[1]).as_slice(), [6.0, 9.0, 24.0, 27.0]);
        assert_eq!(x.sum_axes(&[0, 2]).as_slice(), [14.0, 22.0, 30.0]);
        assert_eq!(x.sum_keep(&[0, 1]).shape(), [1, 1, 2]);
        assert_eq!(x.mean_axes(&[1, 2]).as_slice(), [2.5, 8.5]);
    }

    #[test]
    fn axes_of_size_one_and_zero() {
        let x = Tensor::<f32>::ones([3, 1, 2, 1]);
        assert_eq!(x.sum_to(&[2, 1]).as_slice(), [3.0, 3.0]);
        assert_eq!(x.sum_to(&[3, 1, 1, 1]).as_slice(), [2.0, 2.0, 2.0]);
        let empty = Tensor::<f32>::zeros([0, 3]);
        assert_eq!(empty.sum_axes(&[0]).as_slice(), [0.0, 0.0, 0.0]);
        assert!(empty.sum_axes(&[1]).is_empty());
    }
}
