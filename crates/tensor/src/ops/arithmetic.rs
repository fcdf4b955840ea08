//! Elementwise arithmetic with broadcasting, for two tensors and for a tensor and a number.

use crate::kernels::elementwise::{Blocks, map, zip, zip_blocks, zip_row};
use crate::op::Op;
use crate::operation::Operation;
use crate::real::Real;
use crate::tensor::Tensor;
use ndarray::{ArrayD, IxDyn, Zip};
use std::ops::{Add, Div, Mul, Neg, Sub};

/// The common shape under NumPy's broadcasting rule: axes are matched from the last one, and axes that are
/// missing or of size 1 are repeated.
fn broadcast_shape(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let size = |s: &[usize], i: usize| (i + s.len()).checked_sub(rank).map_or(1, |j| s[j]);
    (0..rank)
        .map(|i| match (size(a, i), size(b, i)) {
            (m, n) if m == n => Some(m),
            (1, n) | (n, 1) => Some(n),
            _ => None,
        })
        .collect()
}

/// How `b` repeats in `a`, if `a` has the common shape and the axes along which `b` repeats are neighbors: a value per image
/// and channel, `[n, 1, 1, c]`, or per image, `[n, 1, 1, 1]`.
fn repeated_blocks<T: Real>(a: &Tensor<T>, b: &Tensor<T>, shape: &[usize]) -> Option<Blocks> {
    if a.shape() != shape || b.rank() != shape.len() {
        return None;
    }
    let equal = |(a, b): (&usize, &usize)| a == b;
    let before = shape
        .iter()
        .zip(b.shape())
        .take_while(|&pair| equal(pair))
        .count();
    let after = shape[before..]
        .iter()
        .zip(&b.shape()[before..])
        .rev()
        .take_while(|&pair| equal(pair))
        .count();
    let last = shape.len() - after;
    let repeats = b.shape()[before..last].iter().all(|&n| n == 1);
    repeats.then(|| Blocks {
        rows: shape[before..last].iter().product(),
        row: shape[last..].iter().product(),
    })
}

/// Applies `f` to every pair of elements, after broadcasting.
#[track_caller]
fn combine<T: Real>(
    name: &str,
    a: &Tensor<T>,
    b: &Tensor<T>,
    f: impl Fn(T, T) -> T + Sync + Send,
) -> ArrayD<T> {
    let Some(shape) = broadcast_shape(a.shape(), b.shape()) else {
        panic!(
            "{name}: shapes {:?} and {:?} do not broadcast",
            a.shape(),
            b.shape()
        )
    };
    // A suffix of the shape repeats row by row. Leading axes of size 1 do not matter.
    let is_row = |s: &Tensor<T>| {
        let trimmed: Vec<usize> = s.shape().iter().copied().skip_while(|&n| n == 1).collect();
        shape.ends_with(&trimmed)
    };
    let elements = if a.shape() == b.shape() {
        zip(a.as_slice(), b.as_slice(), f)
    } else if b.len() == 1 && a.shape() == shape {
        let b = b.as_slice()[0];
        map(a.as_slice(), |a| f(a, b))
    } else if a.len() == 1 && b.shape() == shape {
        let a = a.as_slice()[0];
        map(b.as_slice(), |b| f(a, b))
    } else if a.shape() == shape && is_row(b) {
        zip_row(a.as_slice(), b.as_slice(), f)
    } else if b.shape() == shape && is_row(a) {
        zip_row(b.as_slice(), a.as_slice(), |b, a| f(a, b))
    } else if let Some(blocks) = repeated_blocks(a, b, &shape) {
        zip_blocks(a.as_slice(), b.as_slice(), blocks, f)
    } else if let Some(blocks) = repeated_blocks(b, a, &shape) {
        zip_blocks(b.as_slice(), a.as_slice(), blocks, |b, a| f(a, b))
    } else {
        let dim = IxDyn(&shape);
        let stretch = |t: &Tensor<T>| {
            t.shared()
                .broadcast(dim.clone())
                .expect("both shapes broadcast to the common shape")
                .to_owned()
        };
        let (a, b) = (stretch(a), stretch(b));
        return Zip::from(&a).and(&b).map_collect(|&a, &b| f(a, b));
    };
    ArrayD::from_shape_vec(IxDyn(&shape), elements)
        .expect("the element count equals that of the common shape")
}

struct AddOp;
struct SubOp;
struct MulOp;
struct DivOp;

impl<T: Real> Op<T> for AddOp {
    fn name(&self) -> &'static str {
        "add"
    }
    fn operation(&self) -> Option<Operation> {
        Some(Operation::Add)
    }
    fn vjp(&self, i: usize, inputs: &[Tensor<T>], _: &Tensor<T>, dy: &Tensor<T>) -> Tensor<T> {
        dy.sum_to(inputs[i].shape())
    }
}

impl<T: Real> Op<T> for SubOp {
    fn name(&self) -> &'static str {
        "sub"
    }
    fn operation(&self) -> Option<Operation> {
        Some(Operation::Sub)
    }
    fn vjp(&self, i: usize, inputs: &[Tensor<T>], _: &Tensor<T>, dy: &Tensor<T>) -> Tensor<T> {
        let d = dy.sum_to(inputs[i].shape());
        if i == 0 { d } else { -d }
    }
}

impl<T: Real> Op<T> for MulOp {
    fn name(&self) -> &'static str {
        "mul"
    }
    fn operation(&self) -> Option<Operation> {
        Some(Operation::Mul)
    }
    fn vjp(&self, i: usize, inputs: &[Tensor<T>], _: &Tensor<T>, dy: &Tensor<T>) -> Tensor<T> {
        (dy * &inputs[1 - i]).sum_to(inputs[i].shape())
    }
    /// For a square, both inputs have the same rule.
    fn vjps(
        &self,
        wanted: &[bool],
        inputs: &[Tensor<T>],
        output: &Tensor<T>,
        dy: &Tensor<T>,
    ) -> Vec<Option<Tensor<T>>> {
        let rule = |i| self.vjp(i, inputs, output, dy);
        let first = wanted[0].then(|| rule(0));
        let second = match &first {
            Some(first) if inputs[0].id() == inputs[1].id() => Some(first.clone()),
            _ => wanted[1].then(|| rule(1)),
        };
        vec![first, second]
    }
}

impl<T: Real> Op<T> for DivOp {
    fn name(&self) -> &'static str {
        "div"
    }
    fn operation(&self) -> Option<Operation> {
        Some(Operation::Div)
    }
    fn vjp(&self, i: usize, inputs: &[Tensor<T>], output: &Tensor<T>, dy: &Tensor<T>) -> Tensor<T> {
        let d = dy / &inputs[1];
        let d = if i == 0 { d } else { -(d * output) };
        d.sum_to(inputs[i].shape())
    }
}

/// `scale · x + shift` with two numbers: negation and all arithmetic with a number.
struct Linear<T> {
    scale: T,
    /// For traces only: no derivative depends on it.
    shift: T,
}

impl<T: Real> Op<T> for Linear<T> {
    fn name(&self) -> &'static str {
        "affine"
    }
    fn operation(&self) -> Option<Operation> {
        Some(Operation::Affine {
            scale: self.scale.into_f64(),
            shift: self.shift.into_f64(),
        })
    }
    fn vjp(&self, _: usize, _: &[Tensor<T>], _: &Tensor<T>, dy: &Tensor<T>) -> Tensor<T> {
        linear(dy, self.scale, T::zero())
    }
}

fn linear<T: Real>(x: &Tensor<T>, scale: T, shift: T) -> Tensor<T> {
    if scale == T::one() && shift == T::zero() {
        return x.clone();
    }
    let y = if shift == T::zero() {
        map(x.as_slice(), |v| v * scale)
    } else if scale == T::one() {
        map(x.as_slice(), |v| v + shift)
    } else {
        map(x.as_slice(), |v| v * scale + shift)
    };
    Tensor::from_op(x.with_shape(y), Linear { scale, shift }, &[x])
}

macro_rules! binary_operator {
    ($trait:ident, $method:ident, $op:ident, $f:expr) => {
        impl<T: Real> $trait<&Tensor<T>> for &Tensor<T> {
            type Output = Tensor<T>;
            /// Elementwise, with broadcasting. Panics if the shapes do not broadcast.
            #[track_caller]
            fn $method(self, b: &Tensor<T>) -> Tensor<T> {
                Tensor::from_op(combine(stringify!($method), self, b, $f), $op, &[self, b])
            }
        }
        owned_operands!($trait, $method);
    };
}

macro_rules! owned_operands {
    ($trait:ident, $method:ident) => {
        owned_operands!($trait, $method, Tensor<T>, Tensor<T>);
        owned_operands!($trait, $method, Tensor<T>, &Tensor<T>);
        owned_operands!($trait, $method, &Tensor<T>, Tensor<T>);
    };
    ($trait:ident, $method:ident, $a:ty, $b:ty) => {
        impl<T: Real> $trait<$b> for $a {
            type Output = Tensor<T>;
            #[track_caller]
            fn $method(self, b: $b) -> Tensor<T> {
                $trait::$method(&self as &Tensor<T>, &b as &Tensor<T>)
            }
        }
    };
}

macro_rules! number_operator {
    ($(#[$doc:meta])* $trait:ident, $method:ident, $x:ident, $c:ident, $result:expr) => {
        impl<T: Real> $trait<T> for &Tensor<T> {
            type Output = Tensor<T>;
            $(#[$doc])*
            fn $method(self, $c: T) -> Tensor<T> {
                let $x = self;
                $result
            }
        }
        impl<T: Real> $trait<T> for Tensor<T> {
            type Output = Tensor<T>;
            fn $method(self, c: T) -> Tensor<T> {
                $trait::$method(&self, c)
            }
        }
    };
}

binary_operator!(Add, add, AddOp, |a, b| a + b);
binary_operator!(Sub, sub, SubOp, |a, b| a - b);
binary_operator!(Mul, mul, MulOp, |a, b| a * b);
binary_operator!(Div, div, DivOp, |a, b| a / b);
number_operator!(Add, add, x, c, linear(x, T::one(), c));
number_operator!(Sub, sub, x, c, linear(x, T::one(), -c));
number_operator!(Mul, mul, x, c, linear(x, c, T::zero()));
number_operator!(
    /// Elementwise, computed as `x · (1 / c)`, so the last bit may differ from a division. If `c` is so small that
    /// `1 / c` overflows, nonzero elements become infinite and zeros become NaN.
    Div, div, x, c, linear(x, T::one() / c, T::zero())
);

impl<T: Real> Neg for &Tensor<T> {
    type Output = Tensor<T>;
    fn neg(self) -> Tensor<T> {
        linear(self, -T::one(), T::zero())
    }
}

impl<T: Real> Neg for Tensor<T> {
    type Output = Tensor<T>;
    fn neg(self) -> Tensor<T> {
        -&self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_broadcast_as_in_numpy() {
        assert_eq!(broadcast_shape(&[2, 1, 3], &[4, 1]), Some(vec![2, 4, 3]));
        assert_eq!(broadcast_shape(&[], &[2, 0]), Some(vec![2, 0]));
        assert_eq!(broadcast_shape(&[2], &[3]), None);
    }

    #[test]
    fn every_broadcasting_path_by_hand() {
        let t = |shape: &[usize], v: &[f64]| Tensor::from_vec(shape, v.to_vec());
        let m = t(&[2, 2], &[1.0, 2.0, 3.0, 4.0]);
        assert_eq!((&m - t(&[2], &[1.0, 2.0])).as_slice(), [0.0, 0.0, 2.0, 2.0]);
        assert_eq!((t(&[1, 2], &[1.0, 2.0]) - &m).as_slice(), [0.0, 0.0, -2.0, -2.0]);
        assert_eq!(
            (&m * t(&[2, 1], &[10.0, 100.0])).as_slice(),
            [10.0, 20.0, 300.0, 400.0]
        );
        let maps = t(&[2, 2, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
        assert_eq!(
            (&maps * t(&[2, 1, 2], &[1.0, 10.0, 100.0, 1000.0])).as_slice(),
            [1.0, 20.0, 3.0, 40.0, 500.0, 6000.0, 700.0, 8000.0]
        );
        assert_eq!(
            (t(&[2, 1, 1], &[1.0, 10.0]) - &maps).as_slice(),
            [0.0, -1.0, -2.0, -3.0, 5.0, 4.0, 3.0, 2.0]
        );
        assert_eq!(
            (t(&[2, 1], &[1.0, 2.0]) / t(&[2], &[1.0, 2.0])).as_slice(),
            [1.0, 0.5, 2.0, 1.0]
        );
        assert_eq!((Tensor::scalar(1.0) - &m).as_slice(), [0.0, -1.0, -2.0, -3.0]);
        assert_eq!(((&m * 2.0) + 1.0 - 0.5).as_slice(), [2.5, 4.5, 6.5, 8.5]);
        assert_eq!((-(&m / 2.0)).as_slice(), [-0.5, -1.0, -1.5, -2.0]);
    }

    #[test]
    fn a_divisor_without_a_reciprocal_is_no_error() {
        let y = Tensor::from_vec([2], vec![1e-40_f32, 0.0]) / 1e-40;
        assert!(
            y.as_slice()[0] == f32::INFINITY && y.as_slice()[1].is_nan(),
            "{y:?}"
        );
    }

    #[test]
    #[should_panic(expected = "add: shapes [2] and [3] do not broadcast")]
    fn shapes_that_do_not_fit_are_named() {
        let _ = Tensor::<f32>::zeros([2]) + Tensor::zeros([3]);
    }
}
