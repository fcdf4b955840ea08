//! Gradient penalties, the reason why every rule must be right at second order.

use engraft_tensor::{
    Geometry, Padding, Tensor, batch_norm, conv2d, grad, grad_with_graph, gradcheck, gradgradcheck,
};
use rand::SeedableRng;
use rand_pcg::Pcg64;

type T = Tensor<f64>;

/// Logits of a critic of two convolutions and a dense layer. `x` and its five weights.
fn critic(x: &[T], normalized: Normalized) -> T {
    let first = Geometry::forward([7, 6], [3, 3], [2, 2], [1, 1], Padding::Same);
    let second = Geometry::forward(first.output, [2, 3], [1, 1], [1, 1], Padding::Same);
    let h = (conv2d(&x[0], &x[1], &first) + &x[2]).leaky_relu(0.2);
    let h = conv2d(&h, &x[3], &second);
    let h = match normalized {
        Normalized::Not => h,
        Normalized::Batch => batch_norm(&h, &x[5], &x[6], 1e-3).0,
    };
    let n = h.shape()[0];
    let h = h.leaky_relu(0.2).reshape([n, h.len() / n]);
    h.matmul(&x[4])
}

#[derive(Clone, Copy, Debug)]
enum Normalized {
    Not,
    Batch,
}

/// A batch of images and the weights of the critic.
fn point() -> Vec<T> {
    let rng = &mut Pcg64::seed_from_u64(21);
    let shapes: [&[usize]; 7] = [
        &[3, 7, 6, 2],
        &[3, 3, 2, 4],
        &[4],
        &[2, 3, 4, 3],
        &[4 * 3 * 3, 1],
        &[3],
        &[3],
    ];
    shapes.map(|s| T::randn(s, rng)).to_vec()
}

/// `mean_n |∂ D(x_n) / ∂x_n|²`.
///
/// *Source*: Mescheder, Geiger and Nowozin, "Which Training Methods for GANs do actually Converge?", 2018,
/// equation 9.
fn r1(x: &[T], normalized: Normalized) -> T {
    let mut x = x.to_vec();
    x[0] = x[0].as_leaf();
    let [slope] = grad_with_graph(&critic(&x, normalized).sum(), [&x[0]]);
    slope.square().sum() / 3.0
}

/// The penalty's gradient in the weights, against differences of the penalty.
#[test]
fn the_gradient_of_r1_matches_differences() {
    for normalized in [Normalized::Not, Normalized::Batch] {
        let at = point();
        let (images, weights) = at.split_first().unwrap();
        let of_weights = |w: &[T]| {
            let x: Vec<T> = std::iter::once(images).chain(w).cloned().collect();
            r1(&x, normalized)
        };
        gradcheck(of_weights, weights).unwrap_or_else(|e| panic!("{normalized:?}: {e}"));
    }
}

#[test]
fn the_critic_is_right_at_second_order() {
    for normalized in [Normalized::Not, Normalized::Batch] {
        gradcheck(|x| critic(x, normalized), &point()).unwrap_or_else(|e| panic!("{normalized:?}: {e}"));
        gradgradcheck(|x| critic(x, normalized), &point()).unwrap_or_else(|e| panic!("{normalized:?}: {e}"));
    }
}

/// The penalty of a smooth critic also has a gradient in the images.
#[test]
fn the_penalty_of_a_smooth_critic_depends_on_its_images() {
    let rng = &mut Pcg64::seed_from_u64(22);
    let at = [T::randn([2, 5, 5, 1], rng), T::randn([3, 3, 1, 2], rng)];
    let g = Geometry::forward([5, 5], [3, 3], [2, 2], [1, 1], Padding::Valid);
    let penalty = |x: &[T]| {
        // The images are given as a function, so they stay in the graph of the penalty.
        let images = if x[0].requires_grad() {
            x[0].clone()
        } else {
            x[0].as_leaf()
        };
        let [slope] = grad_with_graph(&conv2d(&images, &x[1], &g).tanh().sum(), [&images]);
        slope.square().sum()
    };
    gradcheck(penalty, &at).unwrap();
    gradgradcheck(penalty, &at).unwrap();
}

/// A critic with LeakyReLU is piecewise linear: the gradient is zeros, not an error.
#[test]
fn the_penalty_of_a_piecewise_linear_critic_has_no_gradient_in_its_images() {
    let mut x = point();
    x[0] = x[0].as_leaf();
    let [slope] = grad_with_graph(&critic(&x, Normalized::Not).sum(), [&x[0]]);
    let [dx] = grad(&slope.square().sum(), [&x[0]]);
    assert!(dx.as_slice().iter().all(|&d| d == 0.0));
}
