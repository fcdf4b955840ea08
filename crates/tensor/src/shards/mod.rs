//! Batches that are computed in parts: shards of one process, or of several that a [`Communicator`] connects.
//!
//! A batch is cut into a fixed number of equal shards. A [`ShardGroup`] runs the same function for each of them, and the
//! operations that need the whole batch meet: batch norm merges its moments, [`shard_mean`] averages. Results of shards are
//! always combined in the order of the shards, pairwise and with the same pairs. So bits depend on the number of shards alone,
//! not on which process runs them.
//!
//! ```
//! use engraft_tensor::shards::{ShardGroup, shard_mean};
//! use engraft_tensor::{Tensor, batch_norm};
//! use std::sync::Arc;
//!
//! let x = Tensor::from_vec([4, 1], vec![1.0_f64, 2.0, 3.0, 10.0]);
//! let (gamma, beta) = (Tensor::ones([1]), Tensor::zeros([1]));
//! let normalized = |x: &Tensor<f64>| batch_norm(x, &gamma, &beta, 0.0).0;
//! let group = Arc::new(ShardGroup::new(2, None));
//! let parts = group.run(|shard| {
//!     let part = normalized(&x.narrow(0, 2 * shard, 2));
//!     (part.as_slice().to_vec(), shard_mean(&part.mean()).item())
//! });
//! let whole = normalized(&x);
//! for (i, (part, mean)) in parts.iter().enumerate() {
//!     let expected = &whole.as_slice()[2 * i..][..2];
//!     assert!(part.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12));
//!     assert!(mean.abs() < 1e-12);
//! }
//! ```

mod communicator;
mod group;
mod mean;
mod meeting;
mod moments;
mod sum;
mod thread_ranks;
mod threads;
mod traffic;

pub use communicator::Communicator;
pub use group::{Shard, ShardGroup, draw_for_batch, once_for_all_shards, shard};
pub use mean::shard_mean;
pub(crate) use moments::{merged_moments, summed};
pub use sum::ShardSum;
pub use thread_ranks::{ThreadRank, thread_ranks};
pub use traffic::{Traffic, TrafficCount};
