//! Shuffled batches of indices, resumable at any batch.

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::DataError;

/// An endless sequence of batches of indices. Each epoch is one shuffle of `0..len`.
///
/// The order depends only on the seed and the number of the epoch. So three numbers ([`BatchState`]) are enough to
/// resume a run exactly. If the batch size does not divide `len`, each epoch skips the examples left at its end.
///
/// ```
/// use engraft_data::Batches;
///
/// let mut batches = Batches::new(10, 4, 1)?;
/// batches.next_batch();
/// let mut resumed = Batches::resume(10, 4, batches.state())?;
/// assert_eq!(batches.next_batch(), resumed.next_batch());
/// # Ok::<(), engraft_data::DataError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Batches {
    order: Vec<usize>,
    batch_size: usize,
    seed: u64,
    epoch: u64,
    position: usize,
}

/// The position of a [`Batches`], as stored in a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchState {
    /// Seed of all shuffles.
    pub seed: u64,
    /// The current epoch, from 0.
    pub epoch: u64,
    /// Number of examples served in this epoch.
    pub position: u64,
}

impl Batches {
    /// Batches of `batch_size` indices below `len`, from the start of epoch 0.
    ///
    /// # Errors
    /// [`DataError::BatchSize`] if `batch_size` is 0 or larger than `len`.
    pub fn new(len: usize, batch_size: usize, seed: u64) -> Result<Self, DataError> {
        Self::resume(
            len,
            batch_size,
            BatchState {
                seed,
                epoch: 0,
                position: 0,
            },
        )
    }

    /// Resumes at a saved state.
    ///
    /// # Errors
    /// [`DataError::BatchSize`] as in [`new`](Self::new). [`DataError::Position`] if the position is past
    /// the end of an epoch or inside a batch, because the data set or batch size has changed.
    pub fn resume(len: usize, batch_size: usize, state: BatchState) -> Result<Self, DataError> {
        if batch_size == 0 || batch_size > len {
            return Err(DataError::BatchSize { batch_size, len });
        }
        let position = usize::try_from(state.position)
            .ok()
            .filter(|position| *position <= len && position.is_multiple_of(batch_size))
            .ok_or(DataError::Position {
                position: state.position,
                len,
                batch_size,
            })?;
        let order = epoch_order(len, state.seed, state.epoch);
        Ok(Self {
            order,
            batch_size,
            seed: state.seed,
            epoch: state.epoch,
            position,
        })
    }

    /// The next batch: `batch_size` different indices.
    pub fn next_batch(&mut self) -> Vec<usize> {
        if self.order.len() - self.position < self.batch_size {
            self.epoch = self.epoch.wrapping_add(1);
            self.position = 0;
            self.order = epoch_order(self.order.len(), self.seed, self.epoch);
        }
        let batch = self.order[self.position..][..self.batch_size].to_vec();
        self.position += self.batch_size;
        batch
    }

    /// The state for [`resume`](Self::resume).
    pub fn state(&self) -> BatchState {
        BatchState {
            seed: self.seed,
            epoch: self.epoch,
            position: self.position as u64,
        }
    }

    /// Number of batches in an epoch.
    pub fn batches_per_epoch(&self) -> usize {
        self.order.len() / self.batch_size
    }

    /// Number of indices in a batch.
    pub fn batch_size(&self) -> usize {
        self.batch_size
    }
}

/// The shuffle of `0..len` in one epoch.
///
/// Seed and epoch are hashed, because PCG alone gives related streams for neighboring seeds.
/// Fisher-Yates is written out, because rand may change its own shuffle, and saved runs must find the same order after
/// an upgrade.
fn epoch_order(len: usize, seed: u64, epoch: u64) -> Vec<usize> {
    let mut hash = Sha256::new();
    hash.update(b"engraft data order 1");
    hash.update(seed.to_le_bytes());
    hash.update(epoch.to_le_bytes());
    let mut rng = Pcg64::from_seed(hash.finalize().into());
    let mut order: Vec<usize> = (0..len).collect();
    for i in (1..len).rev() {
        // The high half of a 128-bit product maps 64 random bits to 0..=i, with a bias below i in 2^64.
        let j = (u128::from(rng.next_u64()) * (i as u128 + 1)) >> 64;
        order.swap(i, j as usize);
    }
    order
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_order_is_the_one_of_every_release() {
        // Computed by an independent program. Another order would break the resume of saved runs.
        assert_eq!(epoch_order(10, 1, 0), [4, 9, 7, 5, 6, 3, 8, 2, 1, 0]);
        assert_eq!(epoch_order(10, 1, 1), [2, 8, 5, 4, 6, 0, 7, 1, 3, 9]);
        assert_eq!(
            epoch_order(60000, 42, 7)[..8],
            [53478, 48786, 14307, 783, 56600, 15870, 59800, 1624]
        );
    }

    #[test]
    fn sizes_and_positions_that_do_not_fit_are_refused() {
        for (len, size) in [(10, 11), (10, 0), (0, 1)] {
            let error = Batches::new(len, size, 0).unwrap_err();
            assert!(
                matches!(error, DataError::BatchSize { batch_size, len: n } if (n, batch_size) == (len, size)),
                "{error}"
            );
        }
        let at = |position| BatchState {
            seed: 0,
            epoch: u64::MAX,
            position,
        };
        for saved in [3, 12, u64::MAX] {
            let error = Batches::resume(10, 4, at(saved)).unwrap_err();
            assert!(
                matches!(error, DataError::Position { position, .. } if position == saved),
                "{error}"
            );
        }
        assert_eq!(Batches::resume(10, 4, at(8)).unwrap().next_batch().len(), 4);
    }

    #[test]
    fn the_saved_state_is_three_numbers() {
        let mut batches = Batches::new(10, 3, u64::MAX).unwrap();
        (0..5).for_each(|_| drop(batches.next_batch()));
        let text = serde_json::to_string(&batches.state()).unwrap();
        assert_eq!(text, r#"{"seed":18446744073709551615,"epoch":1,"position":6}"#);
        assert_eq!(
            serde_json::from_str::<BatchState>(&text).unwrap(),
            batches.state()
        );
    }

    #[test]
    fn every_place_is_reached_equally_often() {
        // Element 0 lands on each of 5 positions in 5000 epochs: 1000 expected, standard deviation 28.
        let mut counts = [0_u32; 5];
        for epoch in 0..5000 {
            counts[epoch_order(5, 3, epoch).iter().position(|&v| v == 0).unwrap()] += 1;
        }
        assert!(
            counts.iter().all(|&count| (880..1120).contains(&count)),
            "{counts:?}"
        );
    }

    proptest! {
        #[test]
        fn an_epoch_serves_no_index_twice(len in 1_usize..200, batch in 1_usize..50, seed: u64) {
            prop_assume!(batch <= len);
            let mut batches = Batches::new(len, batch, seed).unwrap();
            for epoch in 0..3 {
                let mut seen = vec![false; len];
                for _ in 0..batches.batches_per_epoch() {
                    for index in batches.next_batch() {
                        prop_assert!(!std::mem::replace(&mut seen[index], true));
                    }
                    prop_assert_eq!(batches.state().epoch, epoch);
                }
                prop_assert!(seen.iter().filter(|seen| !**seen).count() < batch);
            }
        }

        #[test]
        fn resuming_changes_nothing(len in 1_usize..60, batch in 1_usize..20, seed: u64, stop in 0_usize..40) {
            prop_assume!(batch <= len);
            let mut whole = Batches::new(len, batch, seed).unwrap();
            (0..stop).for_each(|_| { whole.next_batch(); });
            let mut resumed = Batches::resume(len, batch, whole.state()).unwrap();
            for _ in 0..20 {
                prop_assert_eq!(whole.next_batch(), resumed.next_batch());
                prop_assert_eq!(whole.state(), resumed.state());
            }
        }
    }
}
