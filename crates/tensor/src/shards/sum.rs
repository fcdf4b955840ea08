//! Sums over shards with an order that does not depend on the processes.
//!
//! The pieces of all shards are joined as a tree: neighbors, then neighbors of the results, and so on. A process joins its own
//! pieces as far as their neighbors are its own too; with `2^k` shards in each process only one piece is left to be sent.

use super::communicator::Communicator;
use crate::kernels::elementwise::add_assign;
use crate::kernels::reduce::join_pairs;
use crate::real::Real;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// Numbers of a rank in one exchange: 1 MB of `f32`. MPI counts the bytes of an exchange in 32 bits.
const BUCKET: usize = 1 << 18;

/// A sum to which every shard of a process adds numbers, in any order and from any thread. Pieces are joined as soon as their
/// neighbors are there.
pub struct ShardSum<T> {
    local: Range<usize>,
    /// By level of the tree and place in it.
    pieces: Mutex<BTreeMap<(u32, usize), Vec<T>>>,
}

impl<T: Real> ShardSum<T> {
    pub(super) fn new(local: Range<usize>) -> Self {
        Self {
            local,
            pieces: Mutex::default(),
        }
    }

    /// Levels of the tree at which all neighbors are shards of this process.
    fn levels(&self) -> u32 {
        self.local.len().trailing_zeros()
    }

    /// Adds the numbers of a shard.
    ///
    /// # Panics
    /// If the process does not run this shard, or another shard added another number of numbers.
    #[track_caller]
    pub fn add(&self, shard: usize, numbers: Vec<T>) {
        assert!(
            self.local.contains(&shard),
            "ShardSum: this process runs the shards {:?}, got numbers of {shard}",
            self.local
        );
        let (mut level, mut place, mut numbers) = (0, shard - self.local.start, numbers);
        loop {
            let mut pieces = self.pieces.lock().unwrap_or_else(PoisonError::into_inner);
            let is_last = level == self.levels();
            let Some(other) = (!is_last).then(|| pieces.remove(&(level, place ^ 1))).flatten() else {
                pieces.insert((level, place), numbers);
                return;
            };
            drop(pieces);
            numbers = match place % 2 {
                0 => sum_of(numbers, &other),
                _ => sum_of(other, &numbers),
            };
            (level, place) = (level + 1, place / 2);
        }
    }

    /// The pieces that are left, in their order.
    #[track_caller]
    pub(super) fn into_pieces(self) -> Vec<Vec<T>> {
        let (levels, shards) = (self.levels(), self.local.len());
        let pieces = self.pieces.into_inner().unwrap_or_else(PoisonError::into_inner);
        let is_complete =
            pieces.len() == shards >> levels && pieces.keys().all(|(level, _)| *level == levels);
        assert!(is_complete, "ShardSum: numbers of some shards are missing");
        pieces.into_values().collect()
    }
}

#[track_caller]
fn sum_of<T: Real>(mut left: Vec<T>, right: &[T]) -> Vec<T> {
    assert!(
        left.len() == right.len(),
        "ShardSum: one shard added {} numbers, another one {}",
        left.len(),
        right.len()
    );
    add_assign(&mut left, right);
    left
}

/// The sum of pieces that are all of this process.
pub(super) fn joined<T: Real>(pieces: Vec<Vec<T>>) -> Vec<T> {
    join_pairs(pieces, |left, right| add_assign(left, right)).unwrap_or_default()
}

/// The sum of the pieces of all ranks. Each rank sums a part of the numbers and sends it to all: with one piece per rank, twice
/// the numbers cross the network, whatever the number of ranks.
pub(super) fn joined_of_ranks<T: Real>(pieces: &[Vec<T>], communicator: &dyn Communicator) -> Vec<T> {
    let (ranks, len) = (communicator.ranks(), pieces[0].len());
    let bucket = (BUCKET / pieces.len()).max(1) * ranks;
    let mut total = Vec::with_capacity(len);
    for start in (0..len).step_by(bucket) {
        let end = (start + bucket).min(len);
        let each = (end - start).div_ceil(ranks);
        let mut blocks = Vec::with_capacity(ranks * pieces.len() * each);
        for rank in 0..ranks {
            let [from, to] = [rank, rank + 1].map(|rank| (start + rank * each).min(end));
            for piece in pieces {
                blocks.extend_from_slice(&piece[from..to]);
                blocks.resize(blocks.len() + each - (to - from), T::zero());
            }
        }
        let mine: Vec<T> = from_bytes(&communicator.all_to_all(&to_bytes(&blocks)));
        let mine = joined(mine.chunks_exact(each).map(<[T]>::to_vec).collect());
        let all: Vec<T> = from_bytes(&communicator.all_gather(&to_bytes(&mine)));
        total.extend_from_slice(&all[..end - start]);
    }
    total
}

/// The pieces of all shards joined by `join`, in the order of the tree. `pieces` are those of this process.
pub(super) fn combined(
    mut pieces: Vec<Vec<f64>>,
    communicator: Option<&dyn Communicator>,
    join: fn(&mut [f64], &[f64]),
) -> Vec<f64> {
    if let Some(communicator) = communicator {
        while pieces.len().is_multiple_of(2) {
            let pairs = pieces.chunks_exact(2).map(|pair| {
                let mut left = pair[0].clone();
                join(&mut left, &pair[1]);
                left
            });
            pieces = pairs.collect();
        }
        let len = pieces[0].len().max(1);
        let all: Vec<f64> = from_bytes(&communicator.all_gather(&to_bytes(&pieces.concat())));
        pieces = all.chunks_exact(len).map(<[f64]>::to_vec).collect();
    }
    join_pairs(pieces, |left, right| join(left, right)).unwrap_or_default()
}

/// The numbers as bytes, little-endian.
pub(super) fn to_bytes<T: Real>(numbers: &[T]) -> Vec<u8> {
    let mut bytes = vec![0; size_of_val(numbers)];
    let places = bytes.chunks_exact_mut(size_of::<T>()).zip(numbers);
    if size_of::<T>() == 4 {
        // Exact: the numbers are f32.
        places.for_each(|(to, x)| to.copy_from_slice(&(x.into_f64() as f32).to_le_bytes()));
    } else {
        places.for_each(|(to, x)| to.copy_from_slice(&x.into_f64().to_le_bytes()));
    }
    bytes
}

/// Numbers from bytes; a rest that is no number is dropped.
pub(super) fn from_bytes<T: Real>(bytes: &[u8]) -> Vec<T> {
    let numbers = bytes.chunks_exact(size_of::<T>());
    if size_of::<T>() == 4 {
        let number = |x: &[u8]| f32::from_le_bytes(x.try_into().unwrap_or_default());
        numbers.map(|x| T::from_f64(f64::from(number(x)))).collect()
    } else {
        let number = |x: &[u8]| f64::from_le_bytes(x.try_into().unwrap_or_default());
        numbers.map(|x| T::from_f64(number(x))).collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::shards::{ShardGroup, thread_ranks};
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64;
    use std::sync::Arc;
    use std::thread;

    /// The sum of the numbers of all shards, as every rank finds it.
    fn total(shards: &[Vec<f32>], ranks: usize) -> Vec<Vec<f32>> {
        thread::scope(|scope| {
            let all = thread_ranks(ranks).into_iter().map(|rank| {
                scope.spawn(move || {
                    let group = ShardGroup::new(shards.len(), Some(Arc::new(rank)));
                    let sum = group.sum();
                    // In another order than that of the shards.
                    group
                        .local()
                        .rev()
                        .for_each(|shard| sum.add(shard, shards[shard].clone()));
                    group.total(sum)
                })
            });
            let all: Vec<_> = all.collect();
            all.into_iter().map(|rank| rank.join().unwrap()).collect()
        })
    }

    #[test]
    fn the_bits_of_a_sum_do_not_depend_on_the_ranks() {
        let rng = &mut Pcg64::seed_from_u64(1);
        for (count, ranks) in [
            (8, vec![2, 4, 8]),
            (12, vec![2, 3, 4, 6, 12]),
            (6, vec![2, 3]),
            (1, vec![]),
        ] {
            let shard = |_| (0..1003).map(|_| rng.random::<f32>() - 0.3).collect();
            let shards: Vec<Vec<f32>> = (0..count).map(shard).collect();
            let alone = total(&shards, 1).remove(0);
            for (i, sum) in alone.iter().enumerate() {
                let exact: f64 = shards.iter().map(|shard| f64::from(shard[i])).sum();
                assert!((f64::from(*sum) - exact).abs() < 1e-5);
            }
            for ranks in ranks {
                for found in total(&shards, ranks) {
                    assert!(found == alone, "{count} shards, {ranks} ranks");
                }
            }
        }
    }
}
