//! Ranks that are threads of one process.

use super::communicator::Communicator;
use super::meeting::Meeting;
use std::sync::Arc;

/// One of several ranks in one process, for tests and for programs that have their own threads.
pub struct ThreadRank {
    rank: usize,
    ranks: usize,
    meeting: Arc<Meeting<Vec<u8>, Vec<Vec<u8>>>>,
}

/// Connected ranks, one for each thread that computes.
///
/// ```
/// use engraft_tensor::shards::{Communicator, thread_ranks};
/// use std::thread;
/// thread::scope(|scope| {
///     for rank in thread_ranks(3) {
///         scope.spawn(move || assert_eq!(rank.all_gather(&[rank.rank() as u8]), [0, 1, 2]));
///     }
/// });
/// ```
pub fn thread_ranks(ranks: usize) -> Vec<ThreadRank> {
    let meeting = Arc::new(Meeting::of(ranks));
    let one = |rank| ThreadRank {
        rank,
        ranks,
        meeting: Arc::clone(&meeting),
    };
    (0..ranks).map(one).collect()
}

impl ThreadRank {
    /// The bytes of every rank.
    ///
    /// # Panics
    /// If another rank has failed.
    fn exchange(&self, bytes: Vec<u8>) -> Arc<Vec<Vec<u8>>> {
        match self.meeting.meet(self.rank, bytes, |all| all) {
            Ok(all) => all,
            Err(reason) => panic!("rank {}: another rank has failed: {reason}", self.rank),
        }
    }
}

impl Communicator for ThreadRank {
    fn rank(&self) -> usize {
        self.rank
    }

    fn ranks(&self) -> usize {
        self.ranks
    }

    fn all_gather(&self, mine: &[u8]) -> Vec<u8> {
        let all = self.exchange(mine.to_vec());
        let is_equal = all.iter().all(|bytes| bytes.len() == mine.len());
        assert!(is_equal, "all_gather: every rank must pass {} bytes", mine.len());
        all.concat()
    }

    fn all_to_all(&self, blocks: &[u8]) -> Vec<u8> {
        let block = blocks.len() / self.ranks;
        let all = self.exchange(blocks.to_vec());
        let is_equal = all.iter().all(|bytes| bytes.len() == self.ranks * block);
        assert!(
            is_equal,
            "all_to_all: every rank must pass {} blocks of {block} bytes",
            self.ranks
        );
        let mine = all.iter().flat_map(|bytes| &bytes[self.rank * block..][..block]);
        mine.copied().collect()
    }

    fn broadcast(&self, bytes: Vec<u8>) -> Vec<u8> {
        let own = if self.rank == 0 { bytes } else { Vec::new() };
        self.exchange(own)[0].clone()
    }

    fn abort(&self, reason: &str) {
        self.meeting.break_up(reason);
    }
}

impl Drop for ThreadRank {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.abort("a thread panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn blocks_go_to_their_ranks() {
        thread::scope(|scope| {
            for rank in thread_ranks(3) {
                scope.spawn(move || {
                    let me = rank.rank() as u8;
                    let blocks = [
                        10 * me,
                        10 * me,
                        10 * me + 1,
                        10 * me + 1,
                        10 * me + 2,
                        10 * me + 2,
                    ];
                    assert_eq!(
                        rank.all_to_all(&blocks),
                        [me, me, 10 + me, 10 + me, 20 + me, 20 + me]
                    );
                    assert_eq!(rank.broadcast(vec![me; 2]), [0, 0]);
                });
            }
        });
    }

    #[test]
    fn a_rank_that_fails_ends_the_others() {
        let mut ranks = thread_ranks(2);
        let (second, first) = (ranks.pop().unwrap(), ranks.pop().unwrap());
        let failed = thread::spawn(move || {
            let _held = second;
            panic!("on purpose");
        });
        assert!(failed.join().is_err());
        let waiting = thread::spawn(move || first.all_gather(&[1]));
        assert!(waiting.join().is_err());
    }
}
