//! Choices between elements: by a condition, the larger or the smaller one, and the extremes along an axis.
//!
//! A choice is a constant of the graph: it has no derivative, but what was chosen has.

use super::indexing::{Blocks, take};
use crate::op::Op;
use crate::operation::Operation;
use crate::real::Real;
use crate::tensor::Tensor;
use ndarray::{ArrayD, Axis, IxDyn};
use std::cmp::Ordering;

/// `weight · a + (1 - weight) · b` where the weights are 0, 1, or 1/2 for equal elements, without computing what is not chosen.
struct Choose<T: Real> {
    name: &'static str,
    weight: Tensor<T>,
}

/// A comparison. It is constant almost everywhere.
struct Compare {
    operation: Operation,
}

impl<T: Real> Op<T> for Compare {
    fn name(&self) -> &'static str {
        self.operation.parts().0
    }
    fn operation(&self) -> Option<Operation> {
        Some(self.operation.clone())
    }
    fn vjp(&self, i: usize, inputs: &[Tensor<T>], _: &Tensor<T>, _: &Tensor<T>) -> Tensor<T> {
        Tensor::zeros(inputs[i].shape())
    }
}

impl<T: Real> Op<T> for Choose<T> {
    fn name(&self) -> &'static str {
        self.name
    }
    fn vjp(&self, i: usize, _: &[Tensor<T>], _: &Tensor<T>, dy: &Tensor<T>) -> Tensor<T> {
        match i {
            0 => dy * &self.weight,
            1 => dy * (-&self.weight + T::one()),
            _ => Tensor::zeros(dy.shape()),
        }
    }
}

/// The common shape of tensors that broadcast to each other.
#[track_caller]
fn common_shape(name: &str, shapes: &[&[usize]]) -> Vec<usize> {
    let rank = shapes.iter().map(|shape| shape.len()).max().unwrap_or_default();
    let size =
        |shape: &[usize], axis: usize| (axis + shape.len()).checked_sub(rank).map_or(1, |at| shape[at]);
    (0..rank)
        .map(|axis| {
            let mut sizes = shapes
                .iter()
                .map(|shape| size(shape, axis))
                .filter(|&size| size != 1);
            let first = sizes.next().unwrap_or(1);
            assert!(
                sizes.all(|size| size == first),
                "{name}: shapes {shapes:?} do not broadcast to each other"
            );
            first
        })
        .collect()
}

/// The choice between `a` and `b`. What else is in `by` decides, and has no derivative.
fn chosen<T: Real>(
    name: &'static str,
    [a, b]: [&Tensor<T>; 2],
    by: &[&Tensor<T>],
    weight: &dyn Fn(usize, T, T) -> T,
) -> Tensor<T> {
    let pairs = a.as_slice().iter().zip(b.as_slice()).enumerate();
    let weights: Vec<T> = pairs.map(|(i, (&a, &b))| weight(i, a, b)).collect();
    let values = weights.iter().zip(a.as_slice().iter().zip(b.as_slice()));
    let values = values
        .map(|(&w, (&a, &b))| if w > T::zero() { a } else { b })
        .collect();
    let op = Choose {
        name,
        weight: Tensor::from_vec(a.shape(), weights),
    };
    Tensor::from_op(a.with_shape(values), op, &[&[a, b], by].concat())
}

/// Elements of `a` where `condition` is not 0, and of `b` elsewhere. What is not chosen gets a gradient of 0, even if it is
/// infinite or NaN. The condition has no derivative.
///
/// *Shapes*: all three broadcast to a common shape, that of the result.
///
/// ```
/// use engraft_tensor::{Tensor, select_where};
/// let x = Tensor::from_vec([3], vec![-1.0_f64, 4.0, 9.0]);
/// let root = select_where(&x.greater(&Tensor::scalar(0.0)), &x.sqrt(), &Tensor::scalar(0.0));
/// assert_eq!(root.as_slice(), [0.0, 2.0, 3.0]);
/// ```
///
/// # Panics
/// If the shapes do not broadcast to each other.
#[must_use]
#[track_caller]
pub fn select_where<T: Real>(condition: &Tensor<T>, a: &Tensor<T>, b: &Tensor<T>) -> Tensor<T> {
    let shape = common_shape("select_where", &[condition.shape(), a.shape(), b.shape()]);
    let condition = condition.without_gradient();
    let repeated = condition.broadcast_to(&shape);
    let holds = repeated.as_slice();
    let weight = |i: usize, _: T, _: T| {
        if holds[i] == T::zero() {
            T::zero()
        } else {
            T::one()
        }
    };
    let both = [&a.broadcast_to(&shape), &b.broadcast_to(&shape)];
    let y = chosen("select_where", both, &[&repeated], &weight);
    y.summarized(Operation::SelectWhere, &[&condition, a, b])
}

impl<T: Real> Tensor<T> {
    #[track_caller]
    fn compared(&self, operation: Operation, other: &Self, holds: fn(&T, &T) -> bool) -> Self {
        let shape = common_shape(operation.parts().0, &[self.shape(), other.shape()]);
        let (a, b) = (self.without_gradient(), other.without_gradient());
        let (left, right) = (a.broadcast_to(&shape), b.broadcast_to(&shape));
        let pairs = left.as_slice().iter().zip(right.as_slice());
        let found = pairs.map(|(a, b)| if holds(a, b) { T::one() } else { T::zero() });
        let found = left.with_shape(found.collect());
        Self::from_op(found, Compare { operation }, &[&a, &b])
    }

    /// 1 where this tensor is greater than the other one, 0 elsewhere, also for NaN. It has no derivative.
    ///
    /// # Panics
    /// If the shapes do not broadcast to each other.
    #[must_use]
    #[track_caller]
    pub fn greater(&self, other: &Self) -> Self {
        self.compared(Operation::Greater, other, |a, b| a > b)
    }

    /// 1 where this tensor is less than the other one, 0 elsewhere, also for NaN. It has no derivative.
    ///
    /// # Panics
    /// If the shapes do not broadcast to each other.
    #[must_use]
    #[track_caller]
    pub fn less(&self, other: &Self) -> Self {
        self.compared(Operation::Less, other, |a, b| a < b)
    }

    /// 1 where both tensors are equal, 0 elsewhere, also for NaN. It has no derivative.
    ///
    /// # Panics
    /// If the shapes do not broadcast to each other.
    #[must_use]
    #[track_caller]
    pub fn equals(&self, other: &Self) -> Self {
        self.compared(Operation::Equals, other, |a, b| a == b)
    }

    /// The larger of two elements. Equal elements get half of the gradient each. NaN if either is NaN.
    ///
    /// # Panics
    /// If the shapes do not broadcast to each other.
    #[must_use]
    #[track_caller]
    pub fn maximum(&self, other: &Self) -> Self {
        self.extreme(Operation::Maximum, other, Ordering::Greater)
    }

    /// The smaller of two elements. Equal elements get half of the gradient each. NaN if either is NaN.
    ///
    /// # Panics
    /// If the shapes do not broadcast to each other.
    #[must_use]
    #[track_caller]
    pub fn minimum(&self, other: &Self) -> Self {
        self.extreme(Operation::Minimum, other, Ordering::Less)
    }

    #[track_caller]
    fn extreme(&self, operation: Operation, other: &Self, wanted: Ordering) -> Self {
        let name = operation.parts().0;
        let shape = common_shape(name, &[self.shape(), other.shape()]);
        let weight = |_: usize, a: T, b: T| match a.partial_cmp(&b) {
            Some(Ordering::Equal) => T::from_f64(0.5),
            Some(found) if found == wanted => T::one(),
            None if a.is_nan() => T::one(),
            _ => T::zero(),
        };
        let both = [&self.broadcast_to(&shape), &other.broadcast_to(&shape)];
        chosen(name, both, &[], &weight).summarized(operation, &[self, other])
    }

    /// Elements limited to `[low, high]`. The gradient is 0 beyond the limits, and half at a limit.
    ///
    /// # Panics
    /// If `low` is above `high`, or either is NaN.
    #[must_use]
    #[track_caller]
    pub fn clip(&self, low: f64, high: f64) -> Self {
        assert!(low <= high, "clip: {low} to {high} is no range");
        let limit = |value| Self::scalar(T::from_f64(value));
        let limited = self.maximum(&limit(low)).minimum(&limit(high));
        limited.summarized(Operation::Clip { low, high }, &[self])
    }

    /// Index of the largest element along one axis, which is kept with size 1; the first of equal ones, and the first NaN.
    ///
    /// ```
    /// use engraft_tensor::{Tensor, ndarray::array};
    /// let x = Tensor::from_vec([2, 3], vec![1.0, 7.0, 7.0, 3.0, 2.0, 1.0]);
    /// assert_eq!(x.argmax(1), array![[1], [0]].into_dyn());
    /// ```
    ///
    /// # Panics
    /// If the axis does not exist or has no elements.
    #[must_use]
    #[track_caller]
    pub fn argmax(&self, axis: usize) -> ArrayD<usize> {
        self.extreme_along("argmax", axis, Ordering::Greater)
    }

    /// Index of the smallest element along one axis, which is kept with size 1; the first of equal ones, and the first NaN.
    ///
    /// # Panics
    /// If the axis does not exist or has no elements.
    #[must_use]
    #[track_caller]
    pub fn argmin(&self, axis: usize) -> ArrayD<usize> {
        self.extreme_along("argmin", axis, Ordering::Less)
    }

    #[track_caller]
    fn extreme_along(&self, name: &str, axis: usize, wanted: Ordering) -> ArrayD<usize> {
        assert!(
            self.shape().get(axis).is_some_and(|&size| size > 0),
            "{name}: axis {axis} of shape {:?} does not exist or has no elements",
            self.shape()
        );
        let found = self.view().map_axis(Axis(axis), |line| {
            let mut best = 0;
            for (i, value) in line.iter().enumerate() {
                let is_better = value.partial_cmp(&line[best]) == Some(wanted);
                if !line[best].is_nan() && (is_better || value.is_nan()) {
                    best = i;
                }
            }
            best
        });
        found.insert_axis(Axis(axis))
    }

    /// The largest element along one axis, which is kept with size 1. The first of equal ones gets the gradient.
    ///
    /// # Panics
    /// If the axis does not exist or has no elements.
    #[must_use]
    #[track_caller]
    pub fn max_keep(&self, axis: usize) -> Self {
        self.gathered(axis, &self.argmax(axis).view(), Operation::MaxKeep { axis })
    }

    /// The smallest element along one axis, which is kept with size 1. The first of equal ones gets the gradient.
    ///
    /// # Panics
    /// If the axis does not exist or has no elements.
    #[must_use]
    #[track_caller]
    pub fn min_keep(&self, axis: usize) -> Self {
        self.gathered(axis, &self.argmin(axis).view(), Operation::MinKeep { axis })
    }

    /// Max pooling with a kernel, a stride and a padding: the largest value of each window, per channel. The padding is never
    /// chosen. Among equal values, the first one receives the gradient.
    ///
    /// *Shapes*: `[n, h, w, c] -> [n, rows, columns, c]` with `rows = (h + 2 padding - kernel) / stride + 1`, and likewise for the
    /// columns, rounded down.
    ///
    /// # Panics
    /// If the input does not have four axes, the kernel or the stride is 0, the padding is more than half of the kernel, or the
    /// kernel does not fit into the padded image.
    #[must_use]
    #[track_caller]
    pub fn max_pool_windows(&self, kernel: usize, stride: usize, padding: usize) -> Self {
        let &[n, h, w, c] = self.shape() else {
            panic!(
                "max_pool_windows: the input must be [n, h, w, c], got {:?}",
                self.shape()
            )
        };
        let fits = |side: usize| {
            side.checked_add(2 * padding)
                .is_some_and(|padded| padded >= kernel)
        };
        assert!(
            kernel > 0 && stride > 0 && padding <= kernel / 2 && fits(h) && fits(w),
            "max_pool_windows: kernel {kernel}, stride {stride} and padding {padding} do not fit images of {h}x{w}"
        );
        assert!(
            u32::try_from(self.len()).is_ok(),
            "max_pool_windows: at most 2^32 elements, got {:?}",
            self.shape()
        );
        let count = |side: usize| (side + 2 * padding - kernel) / stride + 1;
        let window = |at: usize, side: usize| {
            let start = at * stride;
            start.saturating_sub(padding)..(start + kernel - padding).min(side)
        };
        let (values, shape) = (self.as_slice(), [n, count(h), count(w), c]);
        let mut places = Vec::with_capacity(shape.iter().product());
        for (image, row, column, channel) in positions(shape) {
            let mut best = None;
            for y in window(row, h) {
                for x in window(column, w) {
                    let at = ((image * h + y) * w + x) * c + channel;
                    let is_better = |best: usize| {
                        !values[best].is_nan() && (values[at] > values[best] || values[at].is_nan())
                    };
                    if best.is_none_or(is_better) {
                        best = Some(at);
                    }
                }
            }
            places.push(best.expect("a window is larger than its padding") as u32);
        }
        let operation = Operation::MaxPoolWindows {
            kernel,
            stride,
            padding,
        };
        let blocks = Blocks::of_elements(places, "max_pool_windows");
        take(self, blocks, &shape, Some(operation))
    }
}

/// All positions of a shape in row-major order.
fn positions([n, rows, columns, c]: [usize; 4]) -> impl Iterator<Item = (usize, usize, usize, usize)> {
    ndarray::indices(IxDyn(&[n, rows, columns, c]))
        .into_iter()
        .map(|at| (at[0], at[1], at[2], at[3]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_chosen_has_no_gradient_even_where_it_is_infinite() {
        let x = Tensor::from_vec([2], vec![0.0_f64, 4.0]).as_leaf();
        let root = select_where(&x, &x.detach().sqrt(), &(&x * 2.0));
        assert_eq!(root.as_slice(), [0.0, 2.0]);
        let inverse = select_where(&x, &Tensor::scalar(1.0), &(&x * 0.0 + f64::INFINITY));
        assert_eq!(
            crate::grad(&inverse.narrow(0, 1, 1).sum(), [&x])[0].as_slice(),
            [0.0, 0.0]
        );
    }

    #[test]
    fn equal_elements_share_the_gradient_and_nan_is_kept() {
        let (a, b) = (
            Tensor::from_vec([3], vec![1.0_f64, 2.0, 5.0]).as_leaf(),
            Tensor::from_vec([3], vec![1.0, 3.0, 4.0]).as_leaf(),
        );
        assert_eq!(a.maximum(&b).as_slice(), [1.0, 3.0, 5.0]);
        assert_eq!(a.minimum(&b).as_slice(), [1.0, 2.0, 4.0]);
        let [da, db] = crate::grad(&a.maximum(&b).sum(), [&a, &b]);
        assert_eq!(
            (da.as_slice(), db.as_slice()),
            (&[0.5, 0.0, 1.0][..], &[0.5, 1.0, 0.0][..])
        );
        let nan = Tensor::scalar(f64::NAN);
        for (x, y) in [(&nan, &a), (&a, &nan)] {
            assert!(x.maximum(y).as_slice().iter().all(|v| v.is_nan()));
        }
        assert_eq!(nan.greater(&a).as_slice(), [0.0; 3]);
        assert_eq!(
            Tensor::from_vec([3], vec![f64::NAN, 9.0, f64::NAN]).argmax(0)[0],
            0
        );
        assert_eq!(a.clip(1.5, 3.0).as_slice(), [1.5, 2.0, 3.0]);
    }

    #[test]
    fn windows_by_hand_and_as_blocks() {
        let x = Tensor::from_vec([1, 3, 3, 1], (1..=9).map(f64::from).collect());
        assert_eq!(x.max_pool_windows(2, 1, 0).as_slice(), [5.0, 6.0, 8.0, 9.0]);
        assert_eq!(x.max_pool_windows(3, 2, 1).as_slice(), [5.0, 6.0, 8.0, 9.0]);
        // Zeros of a padding would win against negative numbers.
        assert_eq!(
            (-&x).max_pool_windows(3, 2, 1).as_slice(),
            [-1.0, -2.0, -4.0, -5.0]
        );
        let blocks = Tensor::from_vec([1, 4, 4, 2], (0..32).map(|i| f64::from(i * 7 % 32)).collect());
        assert_eq!(
            blocks.max_pool_windows(2, 2, 0).as_slice(),
            blocks.max_pool(2).as_slice()
        );
    }

    #[test]
    #[should_panic(expected = "maximum: shapes [[2], [3]] do not broadcast to each other")]
    fn shapes_that_do_not_broadcast_are_named() {
        let _ = Tensor::<f32>::zeros([2]).maximum(&Tensor::zeros([3]));
    }
}
