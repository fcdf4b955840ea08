//! The connection between the processes of a distributed computation.

/// Connects the processes (ranks) that compute together. A rank calls each method as often as all other ranks and in the same
/// order, from one thread at a time.
///
/// [`thread_ranks`](super::thread_ranks) connects threads of one process. The crate `engraft-mpi`, outside the workspace,
/// connects processes by MPI.
///
/// A connection that breaks does not return: the implementation ends the process or panics. There is nothing left to compute
/// without the other ranks.
pub trait Communicator: Send + Sync {
    /// The number of this rank, from 0.
    fn rank(&self) -> usize;

    /// Number of ranks, at least 1.
    fn ranks(&self) -> usize;

    /// The bytes of all ranks, joined in the order of the ranks. Every rank passes the same number of bytes.
    fn all_gather(&self, mine: &[u8]) -> Vec<u8>;

    /// Sends a block of bytes to each rank. `blocks` are as many blocks of equal length as there are ranks, in their order.
    /// Returns the blocks that the ranks sent to this one, in the order of the ranks. All blocks of all ranks have the same
    /// length.
    fn all_to_all(&self, blocks: &[u8]) -> Vec<u8>;

    /// The bytes of rank 0. Other ranks pass anything.
    fn broadcast(&self, bytes: Vec<u8>) -> Vec<u8>;

    /// Tells all other ranks that this one cannot go on. They fail at their next call, or at once.
    fn abort(&self, reason: &str);
}
