//! Operations that only move elements.

use crate::kernels::transpose::transpose;
use crate::op::Op;
use crate::operation::Operation;
use crate::real::Real;
use crate::tensor::Tensor;
use ndarray::{ArrayD, Axis, IxDyn, Slice};

struct Reshape;

impl<T: Real> Op<T> for Reshape {
    fn name(&self) -> &'static str {
        "reshape"
    }
    fn operation(&self) -> Option<Operation> {
        Some(Operation::Reshape)
    }
    fn vjp(&self, _: usize, inputs: &[Tensor<T>], _: &Tensor<T>, dy: &Tensor<T>) -> Tensor<T> {
        dy.reshape(inputs[0].shape())
    }
}

struct Permute {
    order: Vec<usize>,
}

impl<T: Real> Op<T> for Permute {
    fn name(&self) -> &'static str {
        "permute"
    }
    fn operation(&self) -> Option<Operation> {
        Some(Operation::Permute {
            order: self.order.clone(),
        })
    }
    fn vjp(&self, _: usize, _: &[Tensor<T>], _: &Tensor<T>, dy: &Tensor<T>) -> Tensor<T> {
        let mut inverse = vec![0; self.order.len()];
        for (to, &from) in self.order.iter().enumerate() {
            inverse[from] = to;
        }
        dy.permute(&inverse)
    }
}

/// A range of indices along one axis.
struct Narrow {
    axis: usize,
    start: usize,
}

impl<T: Real> Op<T> for Narrow {
    fn name(&self) -> &'static str {
        "narrow"
    }
    fn operation(&self) -> Option<Operation> {
        Some(Operation::Narrow {
            axis: self.axis,
            start: self.start,
        })
    }
    fn vjp(&self, _: usize, inputs: &[Tensor<T>], _: &Tensor<T>, dy: &Tensor<T>) -> Tensor<T> {
        let after = inputs[0].shape()[self.axis] - self.start - dy.shape()[self.axis];
        dy.pad(self.axis, self.start, after)
    }
}

/// Zeros before and after along one axis.
struct Pad {
    axis: usize,
    before: usize,
}

impl<T: Real> Op<T> for Pad {
    fn name(&self) -> &'static str {
        "pad"
    }
    fn operation(&self) -> Option<Operation> {
        Some(Operation::Pad {
            axis: self.axis,
            before: self.before,
        })
    }
    fn vjp(&self, _: usize, inputs: &[Tensor<T>], _: &Tensor<T>, dy: &Tensor<T>) -> Tensor<T> {
        dy.narrow(self.axis, self.before, inputs[0].shape()[self.axis])
    }
}

struct Concat {
    axis: usize,
}

impl<T: Real> Op<T> for Concat {
    fn name(&self) -> &'static str {
        "concat"
    }
    fn operation(&self) -> Option<Operation> {
        Some(Operation::Concat { axis: self.axis })
    }
    fn vjp(&self, i: usize, inputs: &[Tensor<T>], _: &Tensor<T>, dy: &Tensor<T>) -> Tensor<T> {
        let start = inputs[..i].iter().map(|x| x.shape()[self.axis]).sum();
        dy.narrow(self.axis, start, inputs[i].shape()[self.axis])
    }
}

/// Joins tensors along an existing axis.
///
/// # Panics
/// If there is no tensor, the axis does not exist, or the other axes differ.
#[must_use]
#[track_caller]
pub fn concat<T: Real>(tensors: &[&Tensor<T>], axis: usize) -> Tensor<T> {
    let views: Vec<_> = tensors.iter().map(|t| t.view()).collect();
    match ndarray::concatenate(Axis(axis), &views) {
        Ok(value) if axis < tensors[0].rank() => Tensor::from_op(value, Concat { axis }, tensors),
        _ => {
            let shapes: Vec<_> = tensors.iter().map(|t| t.shape()).collect();
            panic!("concat: shapes {shapes:?} cannot be joined along axis {axis}")
        }
    }
}

/// Rows and columns of the matrices that a permutation transposes: its leading axes stay, then it swaps two groups of
/// neighboring axes. `None` for other permutations.
fn swapped_blocks(shape: &[usize], order: &[usize]) -> Option<[usize; 2]> {
    let fixed = order
        .iter()
        .enumerate()
        .take_while(|&(i, &axis)| i == axis)
        .count();
    let moved = &order[fixed..];
    let second = moved.first()? - fixed;
    let swapped = moved
        .iter()
        .enumerate()
        .all(|(i, &axis)| axis - fixed == (i + second) % moved.len());
    let size = |axes: &[usize]| axes.iter().product();
    swapped.then(|| {
        let sizes = &shape[fixed..];
        [size(&sizes[..second]), size(&sizes[second..])]
    })
}

impl<T: Real> Tensor<T> {
    /// The same elements in row-major order with another shape, without a copy.
    ///
    /// # Panics
    /// If the number of elements differs.
    #[must_use]
    #[track_caller]
    pub fn reshape(&self, shape: impl AsRef<[usize]>) -> Self {
        let shape = shape.as_ref();
        if self.shape() == shape {
            return self.clone();
        }
        match self.shared().clone().into_shape_with_order(IxDyn(shape)) {
            Ok(value) => Self::from_view(value, Reshape, &[self]),
            Err(_) => panic!(
                "reshape: shape {:?} and {shape:?} have different numbers of elements",
                self.shape()
            ),
        }
    }

    /// Permutes the axes: axis `i` of the result is axis `order[i]` of this tensor.
    ///
    /// # Panics
    /// If `order` is not a permutation of the axes.
    #[must_use]
    #[track_caller]
    pub fn permute(&self, order: &[usize]) -> Self {
        let mut sorted = order.to_vec();
        sorted.sort_unstable();
        assert!(
            sorted.iter().copied().eq(0..self.rank()),
            "permute: {order:?} is not a permutation of the axes of shape {:?}",
            self.shape()
        );
        let value = match swapped_blocks(self.shape(), order) {
            Some(matrix) => {
                let shape: Vec<usize> = order.iter().map(|&axis| self.shape()[axis]).collect();
                ArrayD::from_shape_vec(IxDyn(&shape), transpose(self.as_slice(), matrix))
                    .expect("a permutation keeps the number of elements")
            }
            None => self.view().permuted_axes(order).as_standard_layout().into_owned(),
        };
        Self::from_op(
            value,
            Permute {
                order: order.to_vec(),
            },
            &[self],
        )
    }

    /// Swaps the two axes of a matrix.
    ///
    /// # Panics
    /// If the rank is not 2.
    #[must_use]
    #[track_caller]
    pub fn transpose(&self) -> Self {
        assert!(
            self.rank() == 2,
            "transpose: expected a matrix with 2 axes, got shape {:?}",
            self.shape()
        );
        self.permute(&[1, 0])
    }

    /// The `length` entries from index `start` along one axis.
    ///
    /// # Panics
    /// If the axis does not exist or the range exceeds it.
    #[must_use]
    #[track_caller]
    pub fn narrow(&self, axis: usize, start: usize, length: usize) -> Self {
        let fits = self
            .shape()
            .get(axis)
            .is_some_and(|&n| start.checked_add(length).is_some_and(|e| e <= n));
        assert!(
            fits,
            "narrow: axis {axis} of shape {:?} has no {start}..+{length}",
            self.shape()
        );
        let slice = Slice::from(start..start + length);
        let value = self.view().slice_axis(Axis(axis), slice).to_owned();
        Self::from_op(value, Narrow { axis, start }, &[self])
    }

    /// Adds `before` and `after` zeros along one axis.
    ///
    /// # Panics
    /// If the axis does not exist.
    #[must_use]
    #[track_caller]
    pub fn pad(&self, axis: usize, before: usize, after: usize) -> Self {
        assert!(
            axis < self.rank(),
            "pad: no axis {axis} in shape {:?}",
            self.shape()
        );
        let length = self.shape()[axis];
        let mut shape = self.shape().to_vec();
        shape[axis] += before + after;
        let mut value = ArrayD::zeros(IxDyn(&shape));
        value
            .slice_axis_mut(Axis(axis), Slice::from(before..before + length))
            .assign(&self.view());
        Self::from_op(value, Pad { axis, before }, &[self])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_by_hand() {
        let x = Tensor::from_vec([2, 3], (0..6).map(f64::from).collect());
        assert_eq!(x.transpose().as_slice(), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        assert_eq!(x.narrow(1, 1, 2).as_slice(), [1.0, 2.0, 4.0, 5.0]);
        assert_eq!(
            x.narrow(0, 1, 1).pad(0, 1, 0).as_slice(),
            [0.0, 0.0, 0.0, 3.0, 4.0, 5.0]
        );
        assert_eq!(
            concat(&[&x, &x.narrow(1, 0, 1)], 1).as_slice(),
            [0.0, 1.0, 2.0, 0.0, 3.0, 4.0, 5.0, 3.0]
        );
        assert_eq!(x.permute(&[1, 0]).permute(&[1, 0]).as_slice(), x.as_slice());
    }

    /// Fast and general permutations against the definition, on sizes around the tiles and pieces.
    #[test]
    fn permutations_move_every_element() {
        let orders: [&[usize]; 5] = [&[0, 2, 1], &[1, 2, 0], &[2, 0, 1], &[2, 1, 0], &[0, 1, 2]];
        for shape in [[3, 17, 5], [2, 40, 33], [1, 300, 257], [70, 16, 48]] {
            let x = Tensor::from_vec(shape, (0..shape.iter().product()).map(|i| i as f64).collect());
            for order in orders {
                let y = x.permute(order);
                let (from, to) = (x.view(), y.view());
                for (at, &found) in to.indexed_iter() {
                    let mut source = [0; 3];
                    (0..3).for_each(|i| source[order[i]] = at[i]);
                    assert_eq!(found, from[IxDyn(&source)], "{shape:?} {order:?} {at:?}");
                }
            }
        }
    }

    #[test]
    fn a_reshape_shares_its_elements() {
        let x = Tensor::<f32>::zeros([4, 4]);
        assert_eq!(x.reshape([2, 8]).as_slice().as_ptr(), x.as_slice().as_ptr());
    }

    #[test]
    #[should_panic(expected = "concat: shapes [[2], [3, 1]] cannot be joined along axis 0")]
    fn shapes_that_cannot_be_joined_are_named() {
        let _ = concat(&[&Tensor::<f32>::zeros([2]), &Tensor::zeros([3, 1])], 0);
    }
}
