//! The mean of a tensor over all shards.

use super::group::{fold_shards, shard};
use crate::op::Op;
use crate::real::Real;
use crate::tensor::Tensor;

/// Each shard gets the mean of the tensors of all shards.
struct ShardMean;

impl<T: Real> Op<T> for ShardMean {
    fn name(&self) -> &'static str {
        "shard_mean"
    }
    /// Losses are per shard and their mean is minimized. So the gradient of each shard's tensor is the mean of the gradients of
    /// the results.
    fn vjp(&self, _: usize, _: &[Tensor<T>], _: &Tensor<T>, dy: &Tensor<T>) -> Tensor<T> {
        shard_mean(dy)
    }
}

/// The mean of the tensors that the shards of a batch pass, elementwise; the tensor itself outside of
/// [`ShardGroup::run`](super::ShardGroup::run). Shards meet here, in a forward pass and in its gradient.
///
/// Differentiable to any order, for losses that are averaged over the shards.
///
/// *Shapes*: the same for all shards and the result.
#[must_use]
pub fn shard_mean<T: Real>(x: &Tensor<T>) -> Tensor<T> {
    let numbers = || x.as_slice().iter().map(|v| v.into_f64()).collect();
    match (fold_shards(numbers, add), shard()) {
        (Some(sums), Some(shard)) => {
            let mean = sums.iter().map(|sum| T::from_f64(sum / shard.count as f64));
            let mean = Tensor::from_vec(x.shape(), mean.collect());
            Tensor::from_op(mean.into_array(), ShardMean, &[x])
        }
        _ => x.clone(),
    }
}

/// `left += right`.
#[track_caller]
pub(super) fn add(left: &mut [f64], right: &[f64]) {
    assert!(
        left.len() == right.len(),
        "shards must pass equal shapes, got {} and {} numbers",
        left.len(),
        right.len()
    );
    left.iter_mut().zip(right).for_each(|(l, r)| *l += r);
}
