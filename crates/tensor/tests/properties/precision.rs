//! `f32` against `f64`: the kernels lose no more than rounding.

use crate::norm;
use crate::operations::{Call, Sample};
use crate::strategies::{conv_shapes, registry};
use engraft_tensor::{Geometry, Padding, Real, Tensor, grad_of};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use rand::SeedableRng;
use rand_pcg::Pcg64;

/// Allowed length of the error, relative to the length of the result.
const BOUND: f64 = 1e-5;

/// The value, and the gradients of its product with a fixed direction.
fn run<T: Real>(sample: &Sample, inputs: &[Tensor<f32>]) -> Vec<Tensor<f64>> {
    let leaves: Vec<Tensor<T>> = inputs.iter().map(|x| x.cast().as_leaf()).collect();
    let y = sample.apply(&leaves);
    let direction = Tensor::<f32>::randn(y.shape(), &mut Pcg64::seed_from_u64(7)).cast();
    let gradients = grad_of(&(&y * direction).sum(), &leaves.iter().collect::<Vec<_>>());
    let gradients = gradients.iter().flatten().map(Tensor::cast);
    std::iter::once(y.cast()).chain(gradients).collect()
}

fn check(sample: &Sample) {
    let inputs: Vec<Tensor<f32>> = sample.inputs().iter().map(Tensor::cast).collect();
    let (single, double) = (run::<f32>(sample, &inputs), run::<f64>(sample, &inputs));
    assert_eq!(single.len(), double.len());
    for (what, (single, double)) in single.iter().zip(&double).enumerate() {
        // A result that almost cancels may keep the rounding errors of the canceled terms.
        let size = norm(double).max(1e-2 * (double.len() as f64).sqrt()).max(1e-9);
        let error = norm(&(single - double)) / size;
        assert!(
            error <= BOUND,
            "{sample:?}: relative error {error:e} in {}",
            if what == 0 { "the value" } else { "a gradient" }
        );
    }
}

/// Always the same points, because a bound on rounding is a statement about given numbers.
#[test]
fn single_precision_is_close_for_every_operation() {
    for entry in registry() {
        let mut runner = TestRunner::deterministic();
        for _ in 0..24 {
            check(&entry.samples.new_tree(&mut runner).unwrap().current());
        }
    }
}

/// The five layers of the DCGAN, each with its three maps, on two images.
#[test]
fn single_precision_is_close_at_the_shapes_of_the_dcgan() {
    let same =
        |size, stride| Geometry::forward([size, size], [5, 5], [stride, stride], [1, 1], Padding::Same);
    // A transposed convolution is `conv2d_input` with the geometry whose large image is the output.
    for (g, c_in, c_out) in [
        (same(7, 1), 128, 256),
        (same(14, 2), 64, 128),
        (same(28, 2), 1, 64),
    ] {
        let [x, w, y] = conv_shapes(&g, 2, c_in, c_out);
        check(&Sample::new(Call::Conv2d(g), [&x, &w]));
        check(&Sample::new(Call::Conv2dInput(g), [&y, &w]));
        check(&Sample::new(Call::Conv2dWeight(g), [&x, &y]));
    }
    for shape in [[2 * 14 * 14, 64], [2, 7 * 7 * 256]] {
        let [_, c] = shape;
        for call in [
            Call::BatchNorm(1e-3),
            Call::BatchNormLeakyRelu(1e-3, 0.3),
            Call::AffineLeakyRelu(0.3),
        ] {
            check(&Sample::new(call, [&shape, &[c], &[c]]));
        }
        check(&Sample::new(Call::BiasLeakyRelu(0.3), [&shape, &[c]]));
    }
    check(&Sample::new(Call::Matmul, [&[2, 100], &[100, 7 * 7 * 256]]));
    check(&Sample::new(Call::Matmul, [&[2, 7 * 7 * 128], &[7 * 7 * 128, 1]]));
}

/// A mean far from zero must not reduce the precision of the variance.
#[test]
fn batch_norm_of_a_large_mean_keeps_its_digits() {
    let x = Tensor::<f32>::randn([4096, 3], &mut Pcg64::seed_from_u64(5)) + 1000.0;
    let normalize = |x: &Tensor<f64>| {
        let (gamma, beta) = (Tensor::ones([3]), Tensor::zeros([3]));
        engraft_tensor::batch_norm(x, &gamma, &beta, 1e-3).0
    };
    let single = engraft_tensor::batch_norm(&x, &Tensor::ones([3]), &Tensor::zeros([3]), 1e-3).0;
    let double = normalize(&x.cast());
    let error = norm(&(single.cast() - &double)) / norm(&double);
    assert!(error < 1e-3, "{error:e}");
}

/// Two neighboring floats: every sample is one of them, the upper one in about half of the cases.
#[test]
fn rounding_may_draw_the_upper_bound() {
    let high = 1.0 + f32::EPSILON;
    let drawn = Tensor::<f32>::uniform([100], 1.0, high.into(), &mut Pcg64::seed_from_u64(1));
    assert!(drawn.as_slice().iter().all(|&v| v == 1.0 || v == high));
    assert!(drawn.as_slice().contains(&high));
}
