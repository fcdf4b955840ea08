//! The communicator of MPI's world.

use crate::watch::Waiting;
use engraft::tensor::shards::Communicator;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator as _, CommunicatorCollectives as _, Root as _};

/// Most bytes of one broadcast: MPI counts in 32 bits.
const MOST: usize = 1 << 30;

/// This process among those of MPI's world.
pub(crate) struct MpiRank {
    rank: usize,
    ranks: usize,
}

/// MPI's world. It is looked up for each call, because a handle must not change threads.
fn world() -> SimpleCommunicator {
    SimpleCommunicator::world()
}

impl MpiRank {
    /// This process. MPI must be initialized.
    pub(crate) fn new() -> Self {
        let world = world();
        // MPI counts from 0.
        let [rank, ranks] = [world.rank(), world.size()].map(|n| usize::try_from(n).unwrap_or(0));
        Self { rank, ranks }
    }
}

impl Communicator for MpiRank {
    fn rank(&self) -> usize {
        self.rank
    }

    fn ranks(&self) -> usize {
        self.ranks
    }

    fn all_gather(&self, mine: &[u8]) -> Vec<u8> {
        let _waiting = Waiting::new();
        let mut all = vec![0; mine.len() * self.ranks];
        world().all_gather_into(mine, &mut all[..]);
        all
    }

    fn all_to_all(&self, blocks: &[u8]) -> Vec<u8> {
        let _waiting = Waiting::new();
        let mut found = vec![0; blocks.len()];
        world().all_to_all_into(blocks, &mut found[..]);
        found
    }

    fn broadcast(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        let _waiting = Waiting::new();
        let world = world();
        let root = world.process_at_rank(0);
        let mut len = bytes.len() as u64;
        root.broadcast_into(&mut len);
        bytes.resize(usize::try_from(len).unwrap_or(0), 0);
        for part in bytes.chunks_mut(MOST) {
            root.broadcast_into(part);
        }
        bytes
    }

    fn abort(&self, reason: &str) {
        eprintln!("rank {}: {reason}", self.rank);
        world().abort(1);
    }
}
