//! Batch norm and means over shards against those of the whole batch.

use engraft_tensor::shards::{ShardGroup, draw_for_batch, once_for_all_shards, shard, shard_mean};
use engraft_tensor::{Tensor, batch_norm, batch_norm_leaky_relu, grad, grad_with_graph};
use rand::SeedableRng;
use rand_pcg::Pcg64;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const SHARDS: usize = 3;
const ROWS: usize = 4;

/// Gradients of first and second order of a loss with batch norm, for an input and its scale. The second-order ones are of the
/// sum of the squared slopes.
fn derivatives(x: &Tensor<f64>, gamma: &Tensor<f64>, weights: &Tensor<f64>) -> [Tensor<f64>; 4] {
    let (x, gamma) = (&x.as_leaf(), &gamma.as_leaf());
    let beta = Tensor::full([2], 0.1);
    let y = batch_norm_leaky_relu(x, gamma, &beta, 1e-3, 0.3).0;
    let y = batch_norm(&y.tanh(), gamma, &beta, 1e-3).0;
    let features = shard_mean(&y.square().mean_keep(&[0])).sum();
    let loss = (y * weights).sum_axes(&[1]).mean() + features;
    let [dx, d_gamma] = grad(&loss, [x, gamma]);
    let [slope] = grad_with_graph(&loss, [x]);
    // A sum over rows times the rows: its mean over shards is that of the whole batch, because slopes shrink with the rows.
    let roughness = slope.square().sum() * x.shape()[0] as f64;
    let [ddx, dd_gamma] = grad(&roughness, [x, gamma]);
    [dx, d_gamma, ddx, dd_gamma]
}

#[test]
fn batch_norm_over_shards_is_that_of_the_batch_to_second_order() {
    let rng = &mut Pcg64::seed_from_u64(4);
    let x = Tensor::randn([SHARDS * ROWS, 2], rng) * 2.0 + 0.5;
    let weights = Tensor::randn([SHARDS * ROWS, 2], rng);
    let gamma = Tensor::randn([2], rng);
    let whole = derivatives(&x, &gamma, &weights);
    let group = Arc::new(ShardGroup::new(SHARDS, None));
    let parts = group.run(|shard| {
        let own = |t: &Tensor<f64>| t.narrow(0, shard * ROWS, ROWS);
        derivatives(&own(&x), &gamma, &own(&weights))
    });
    let near = |found: f64, expected: f64| {
        assert!(
            (found - expected).abs() < 1e-10 * (1.0 + expected.abs()),
            "{found} and {expected}"
        );
    };
    for (order, [of_x, of_gamma]) in [[0, 1], [2, 3]].into_iter().enumerate() {
        for (i, expected) in whole[of_x].as_slice().iter().enumerate() {
            // Shards average over fewer rows.
            near(
                parts[i / (2 * ROWS)][of_x].as_slice()[i % (2 * ROWS)] / SHARDS as f64,
                *expected,
            );
        }
        for (i, expected) in whole[of_gamma].as_slice().iter().enumerate() {
            let mean = parts.iter().map(|part| part[of_gamma].as_slice()[i]).sum::<f64>() / SHARDS as f64;
            near(mean, *expected);
        }
        assert!(order < 2);
    }
}

#[test]
fn what_is_shared_is_computed_once_and_drawn_numbers_are_those_of_the_batch() {
    let calls = &AtomicUsize::new(0);
    let group = Arc::new(ShardGroup::new(SHARDS, None));
    let parts = group.run(|index| {
        assert_eq!(
            shard().map(|shard| (shard.index, shard.count)),
            Some((index, SHARDS))
        );
        let call = || once_for_all_shards(|| calls.fetch_add(1, Ordering::SeqCst));
        let (first, second) = (call(), call());
        let drawn = draw_for_batch(&[2, 3], |shape| {
            Tensor::<f64>::randn(shape, &mut Pcg64::seed_from_u64(1))
        });
        (first, second, drawn.as_slice().to_vec())
    });
    assert_eq!((shard(), calls.load(Ordering::SeqCst)), (None, 2));
    let whole = Tensor::<f64>::randn([2 * SHARDS, 3], &mut Pcg64::seed_from_u64(1));
    for (index, (first, second, drawn)) in parts.into_iter().enumerate() {
        assert_eq!((first, second), (0, 1));
        assert_eq!(drawn, whole.as_slice()[6 * index..][..6]);
    }
}

#[test]
#[should_panic(expected = "the second shard")]
fn a_panic_ends_shards_that_wait() {
    Arc::new(ShardGroup::new(SHARDS, None)).run(|index| {
        assert!(index != 1, "the second shard");
        shard_mean(&Tensor::<f64>::ones([1])).item()
    });
}
