//! Deliberately wrong rules, one of each family, that the checks must catch. Each comes with the right rule, which
//! must pass.

use engraft_tensor::{
    Geometry, Op, Padding, Tensor, conv2d, conv2d_input, conv2d_weight, gradcheck, gradgradcheck,
};
use rand::SeedableRng;
use rand_pcg::Pcg64;

type T = Tensor<f64>;

/// A rule `(i, inputs, output, dy) -> d inputs[i]`.
type Rule = fn(usize, &[T], &T, &T) -> T;

/// An operation with an exchangeable rule.
struct Exchanged(Rule);

impl Op<f64> for Exchanged {
    fn name(&self) -> &'static str {
        "exchanged"
    }
    fn vjp(&self, i: usize, inputs: &[T], output: &T, dy: &T) -> T {
        (self.0)(i, inputs, output, dy)
    }
}

/// Order at which `value` with `rule` fails at normal points of the given shapes, or `None`.
fn fails<const N: usize>(value: fn(&[T]) -> T, rule: Rule, shapes: [&[usize]; N]) -> Option<usize> {
    let rng = &mut Pcg64::seed_from_u64(11);
    let at = shapes.map(|s| T::randn(s, rng));
    let f = |x: &[T]| {
        let numbers: Vec<T> = x.iter().map(Tensor::detach).collect();
        Tensor::from_op(
            value(&numbers).into_array(),
            Exchanged(rule),
            &x.iter().collect::<Vec<_>>(),
        )
    };
    let first = gradcheck(f, &at).err().map(|e| e.order);
    first.or_else(|| gradgradcheck(f, &at).err().map(|e| e.order))
}

#[test]
fn elementwise() {
    let tanh: fn(&[T]) -> T = |x| x[0].tanh();
    let shapes: [&[usize]; 1] = [&[4, 3]];
    assert_eq!(fails(tanh, |_, _, y, dy| dy * (-(y * y) + 1.0), shapes), None);
    assert_eq!(fails(tanh, |_, _, y, dy| dy * (-y + 1.0), shapes), Some(1));
    // Right at first order, but constant in the second derivative.
    assert_eq!(
        fails(tanh, |_, _, y, dy| dy * (-(y * y).detach() + 1.0), shapes),
        Some(2)
    );
}

#[test]
fn broadcasting() {
    let product: fn(&[T]) -> T = |x| &x[0] * &x[1];
    let shapes: [&[usize]; 2] = [&[3, 3], &[1, 3]];
    let right: Rule = |i, x, _, dy| (dy * &x[1 - i]).sum_to(x[i].shape());
    assert_eq!(fails(product, right, shapes), None);
    // Sums over the columns instead of the repeated rows. The shape is right, because both are 3.
    let other_axis: Rule = |i, x, _, dy| match i {
        0 => dy * &x[1],
        _ => (dy * &x[0]).transpose().sum_to(x[1].shape()),
    };
    assert_eq!(fails(product, other_axis, shapes), Some(1));
}

#[test]
fn reduction() {
    let mean: fn(&[T]) -> T = |x| x[0].mean_axes(&[0]);
    let shapes: [&[usize]; 1] = [&[5, 2]];
    assert_eq!(
        fails(mean, |_, x, _, dy| dy.broadcast_to(x[0].shape()) / 5.0, shapes),
        None
    );
    assert_eq!(
        fails(mean, |_, x, _, dy| dy.broadcast_to(x[0].shape()), shapes),
        Some(1)
    );
    // Divided by the number of all elements instead of those of one sum.
    assert_eq!(
        fails(mean, |_, x, _, dy| dy.broadcast_to(x[0].shape()) / 10.0, shapes),
        Some(1)
    );
}

#[test]
fn movement_of_elements() {
    let cycle: fn(&[T]) -> T = |x| x[0].permute(&[1, 2, 0]);
    let shapes: [&[usize]; 1] = [&[3, 3, 3]];
    assert_eq!(fails(cycle, |_, _, _, dy| dy.permute(&[2, 0, 1]), shapes), None);
    // The order itself instead of its inverse. They are equal for every exchange of two axes.
    assert_eq!(
        fails(cycle, |_, _, _, dy| dy.permute(&[1, 2, 0]), shapes),
        Some(1)
    );

    let narrow: fn(&[T]) -> T = |x| x[0].narrow(0, 1, 2);
    let shapes: [&[usize]; 1] = [&[4]];
    assert_eq!(fails(narrow, |_, _, _, dy| dy.pad(0, 1, 1), shapes), None);
    assert_eq!(fails(narrow, |_, _, _, dy| dy.pad(0, 0, 2), shapes), Some(1));
}

#[test]
fn matrix_product() {
    let product: fn(&[T]) -> T = |x| x[0].matmul(&x[1]);
    let shapes: [&[usize]; 2] = [&[3, 3], &[3, 3]];
    let right: Rule = |i, x, _, dy| {
        if i == 0 {
            dy.matmul_nt(&x[1])
        } else {
            x[0].matmul_tn(dy)
        }
    };
    assert_eq!(fails(product, right, shapes), None);
    let not_transposed: Rule = |i, x, _, dy| {
        if i == 0 {
            dy.matmul(&x[1])
        } else {
            x[0].matmul_tn(dy)
        }
    };
    assert_eq!(fails(product, not_transposed, shapes), Some(1));
    let detached: Rule = |i, x, _, dy| {
        if i == 0 {
            dy.matmul_nt(&x[1].detach())
        } else {
            x[0].matmul_tn(dy)
        }
    };
    assert_eq!(fails(product, detached, shapes), Some(2));
}

/// 6 rows, kernel 3, stride 2: `Same` pads one row at the end.
fn end() -> Geometry {
    Geometry::forward([6, 6], [3, 3], [2, 2], [1, 1], Padding::Same)
}

/// The same sizes with the padded row at the beginning, as in symmetric padding.
fn beginning() -> Geometry {
    Geometry::forward([6, 6], [3, 3], [2, 2], [1, 1], Padding::Explicit([1, 0, 1, 0]))
}

#[test]
fn convolution() {
    let conv: fn(&[T]) -> T = |x| conv2d(&x[0], &x[1], &end());
    let shapes: [&[usize]; 2] = [&[2, 6, 6, 2], &[3, 3, 2, 2]];
    let right: Rule = |i, x, _, dy| match i {
        0 => conv2d_input(dy, &x[1], &end()),
        _ => conv2d_weight(&x[0], dy, &end()),
    };
    assert_eq!(fails(conv, right, shapes), None);
    let swapped: Rule = |i, x, _, dy| match i {
        0 => conv2d_input(dy, &x[1], &end()),
        _ => conv2d_weight(&x[0], dy, &beginning()),
    };
    assert_eq!(fails(conv, swapped, shapes), Some(1));
    // Input and output channels exchanged. The shape is right if their numbers are equal.
    let channels: Rule = |i, x, _, dy| match i {
        0 => conv2d_input(dy, &x[1].permute(&[0, 1, 3, 2]), &end()),
        _ => conv2d_weight(&x[0], dy, &end()),
    };
    assert_eq!(fails(conv, channels, shapes), Some(1));
}

/// Batch norm without scale and shift. The rule takes mean and deviation as arguments.
fn normalize_rule(x: &T, dy: &T, mean: T, inv_std: T) -> T {
    let normalized = (x - mean) * &inv_std;
    let along = (dy * &normalized).mean_keep(&[0]);
    (dy - dy.mean_keep(&[0]) - normalized * along) * inv_std
}

fn inv_std(x: &T) -> T {
    ((x - x.mean_keep(&[0])).square().mean_keep(&[0]) + 1e-3).powf(-0.5)
}

#[test]
fn batch_norm() {
    let value: fn(&[T]) -> T = |x| (&x[0] - x[0].mean_keep(&[0])) * inv_std(&x[0]);
    let shapes: [&[usize]; 1] = [&[6, 3]];
    let right: Rule = |_, x, _, dy| normalize_rule(&x[0], dy, x[0].mean_keep(&[0]), inv_std(&x[0]));
    assert_eq!(fails(value, right, shapes), None);
    // The usual shortcuts of first-order code. They are exact there, and wrong once a penalty differentiates them.
    let fixed_mean: Rule =
        |_, x, _, dy| normalize_rule(&x[0], dy, x[0].mean_keep(&[0]).detach(), inv_std(&x[0]));
    assert_eq!(fails(value, fixed_mean, shapes), Some(2));
    let fixed_deviation: Rule =
        |_, x, _, dy| normalize_rule(&x[0], dy, x[0].mean_keep(&[0]), inv_std(&x[0]).detach());
    assert_eq!(fails(value, fixed_deviation, shapes), Some(2));
    // Statistics treated as constants.
    let constants: Rule = |_, x, _, dy| dy * inv_std(&x[0]);
    assert_eq!(fails(value, constants, shapes), Some(1));
}
