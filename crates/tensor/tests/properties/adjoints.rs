//! Linear maps and their adjoints: `<A x, y> = <x, Aᵀ y>`, to rounding.

use crate::strategies::{conv_shapes, geometry};
use crate::{dot, norm};
use engraft_tensor::{Geometry, Padding, Tensor, concat, conv2d, conv2d_input, conv2d_weight, grad};
use proptest::prelude::*;
use rand::SeedableRng;
use rand_pcg::Pcg64;

fn normal<const N: usize>(seed: u64, shapes: [&[usize]; N]) -> [Tensor<f64>; N] {
    let rng = &mut Pcg64::seed_from_u64(seed);
    shapes.map(|s| Tensor::randn(s, rng))
}

/// Whether `<a, b> = <c, d>` up to rounding. Relative to the lengths, because the products may cancel to zero.
fn agree(a: &Tensor<f64>, b: &Tensor<f64>, c: &Tensor<f64>, d: &Tensor<f64>) -> bool {
    let size = norm(a) * norm(b) + norm(c) * norm(d);
    (dot(a, b) - dot(c, d)).abs() <= 1e-12 * (size + 1e-3)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn the_maps_of_a_convolution_are_one_trilinear_form(
        g in geometry(), n in 1_usize..=3, c_in in 1_usize..=4, c_out in 1_usize..=4, seed: u64,
    ) {
        let [xs, ws, ys] = conv_shapes(&g, n, c_in, c_out);
        let [x, w, y] = normal(seed, [&xs, &ws, &ys]);
        let forward = conv2d(&x, &w, &g);
        prop_assert!(agree(&forward, &y, &x, &conv2d_input(&y, &w, &g)), "{:?}", g);
        prop_assert!(agree(&forward, &y, &w, &conv2d_weight(&x, &y, &g)), "{:?}", g);
    }

    #[test]
    fn sum_to_is_the_adjoint_of_broadcast_to(
        sizes in [1_usize..=3, 1..=3, 1..=3], ones: [bool; 3], missing in 0_usize..=3, seed: u64,
    ) {
        let small: Vec<usize> = (missing..3).map(|i| if ones[i] { 1 } else { sizes[i] }).collect();
        let [x, y] = normal(seed, [&small, &sizes]);
        prop_assert!(agree(&x.broadcast_to(&sizes), &y, &x, &y.sum_to(&small)));
    }

    #[test]
    fn moves_of_elements_have_their_inverses_as_adjoints(
        sizes in [1_usize..=4, 1..=4, 1..=4],
        order in Just([0, 1, 2]).prop_shuffle(),
        axis in 0_usize..3,
        (before, after) in (0_usize..=2, 0_usize..=2),
        seed: u64,
    ) {
        let mut padded = sizes;
        padded[axis] += before + after;
        let [x, y] = normal(seed, [&sizes, &padded]);
        prop_assert!(agree(&x.pad(axis, before, after), &y, &x, &y.narrow(axis, before, sizes[axis])));

        let mut inverse = [0; 3];
        order.iter().enumerate().for_each(|(to, &from)| inverse[from] = to);
        let permuted = order.map(|i| sizes[i]);
        let [y] = normal(seed ^ 1, [&permuted]);
        prop_assert!(agree(&x.permute(&order), &y, &x, &y.permute(&inverse)));
        let round = x.permute(&order).permute(&inverse);
        prop_assert_eq!(round.as_slice(), x.as_slice());

        // Padding equals joining with two blocks of zeros.
        let block = |rows| {
            let mut shape = sizes;
            shape[axis] = rows;
            Tensor::zeros(shape)
        };
        let joined = concat(&[&block(before), &x, &block(after)], axis);
        let by_pad = x.pad(axis, before, after);
        prop_assert_eq!(joined.as_slice(), by_pad.as_slice());
    }

    #[test]
    fn sum_pool_is_the_adjoint_of_upsample_nearest(
        [n, h, w, c] in [1_usize..=3, 1..=4, 1..=4, 1..=4], factor in 1_usize..=3, seed: u64,
    ) {
        let [x, y] = normal(seed, [&[n, h, w, c], &[n, h * factor, w * factor, c]]);
        prop_assert!(agree(&x.upsample_nearest(factor), &y, &x, &y.sum_pool(factor)));
        let back = x.upsample_nearest(factor).sum_pool(factor) / (factor * factor) as f64;
        prop_assert!(agree(&back, &x, &x, &x));
    }

    #[test]
    fn the_products_of_matrices_are_one_trilinear_form([m, k, n] in [1_usize..9, 1..9, 1..9], seed: u64) {
        let [a, b, c] = normal(seed, [&[m, k], &[k, n], &[m, n]]);
        let ab = a.matmul(&b);
        prop_assert!(agree(&ab, &c, &a, &c.matmul_nt(&b)));
        prop_assert!(agree(&ab, &c, &b, &a.matmul_tn(&c)));
        let direct = (ab.clone() - a.matmul_nt(&b.transpose())).abs().sum().item()
            + (ab - a.transpose().matmul_tn(&b)).abs().sum().item();
        prop_assert!(direct < 1e-12);
    }

    /// The rule of LeakyReLU is a diagonal map, so it is its own adjoint.
    #[test]
    fn the_mask_of_leaky_relu_is_symmetric(count in 1_usize..20, slope in 0.0..1.0, seed: u64) {
        let [x, u, v] = normal(seed, [&[count], &[count], &[count]]);
        let x = x.as_leaf();
        let masked = |direction: &Tensor<f64>| grad(&(x.leaky_relu(slope) * direction).sum(), [&x]);
        let ([mu], [mv]) = (masked(&u), masked(&v));
        prop_assert!(agree(&mu, &v, &u, &mv));
    }

    /// A transposed geometry equals the geometry of the convolution that it transposes.
    #[test]
    fn same_padding_means_the_same_in_both_directions(
        small in [1_usize..=9, 1..=9], kernel in [1_usize..=5, 1..=5], stride in [1_usize..=3, 1..=3],
        dilation in [1_usize..=2, 1..=2],
    ) {
        let g = Geometry::transposed(small, kernel, stride, dilation, Padding::Same, [0, 0]);
        let forward = Geometry::forward(g.input, kernel, stride, dilation, Padding::Same);
        prop_assert_eq!(g, forward);
    }

    #[test]
    fn same_padding_has_tensorflows_size(
        input in [0_usize..=9, 0..=9], kernel in [1_usize..=5, 1..=5], stride in [1_usize..=3, 1..=3],
        dilation in [1_usize..=2, 1..=2],
    ) {
        let g = Geometry::forward(input, kernel, stride, dilation, Padding::Same);
        prop_assert_eq!(g.output, [0, 1].map(|a| input[a].div_ceil(stride[a])));
        let [x, w, y] = conv_shapes(&g, 1, 1, 1);
        let value = conv2d(&Tensor::<f64>::ones(x), &Tensor::ones(w), &g);
        prop_assert_eq!(value.shape(), y);
    }
}
