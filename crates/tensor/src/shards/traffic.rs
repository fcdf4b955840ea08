//! A communicator that counts what crosses it.

use super::communicator::Communicator;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

/// Counts the bytes that a rank sends to other ranks, the messages, and the time that they take.
pub struct Traffic<C> {
    inner: C,
    bytes: AtomicU64,
    messages: AtomicU64,
    nanoseconds: AtomicU64,
}

/// What has crossed a [`Traffic`] so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrafficCount {
    /// Bytes of this rank's data that other ranks got, once for each of them. A network may need fewer, where ranks pass data on.
    pub bytes: u64,
    /// Calls: each is one message to all ranks.
    pub messages: u64,
    /// Time in calls, in nanoseconds. It includes waiting for slower ranks.
    pub nanoseconds: u64,
}

impl<C: Communicator> Traffic<C> {
    /// Counts the calls of a communicator.
    pub fn new(inner: C) -> Self {
        Self {
            inner,
            bytes: AtomicU64::new(0),
            messages: AtomicU64::new(0),
            nanoseconds: AtomicU64::new(0),
        }
    }

    /// The counts so far.
    pub fn count(&self) -> TrafficCount {
        TrafficCount {
            bytes: self.bytes.load(Relaxed),
            messages: self.messages.load(Relaxed),
            nanoseconds: self.nanoseconds.load(Relaxed),
        }
    }

    fn counted(&self, bytes: usize, call: impl FnOnce() -> Vec<u8>) -> Vec<u8> {
        let start = Instant::now();
        let result = call();
        self.bytes.fetch_add(bytes as u64, Relaxed);
        self.messages.fetch_add(1, Relaxed);
        let spent = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(spent, Relaxed);
        result
    }

    fn others(&self) -> usize {
        self.inner.ranks() - 1
    }
}

impl<C: Communicator> Communicator for Traffic<C> {
    fn rank(&self) -> usize {
        self.inner.rank()
    }

    fn ranks(&self) -> usize {
        self.inner.ranks()
    }

    fn all_gather(&self, mine: &[u8]) -> Vec<u8> {
        self.counted(mine.len() * self.others(), || self.inner.all_gather(mine))
    }

    fn all_to_all(&self, blocks: &[u8]) -> Vec<u8> {
        let sent = blocks.len() / self.ranks() * self.others();
        self.counted(sent, || self.inner.all_to_all(blocks))
    }

    fn broadcast(&self, bytes: Vec<u8>) -> Vec<u8> {
        let sent = if self.rank() == 0 {
            bytes.len() * self.others()
        } else {
            0
        };
        self.counted(sent, || self.inner.broadcast(bytes))
    }

    fn abort(&self, reason: &str) {
        self.inner.abort(reason);
    }
}
