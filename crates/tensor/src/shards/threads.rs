//! Threads of the shards of one process.

use rayon::ThreadPool;
use std::sync::{Condvar, Mutex, PoisonError};

/// A thread pool for each shard, and permits to compute: no more shards compute at the same time than there are threads. The
/// others wait without a graph, so shards that never meet need the memory of a few.
pub(super) struct Threads {
    pub(super) pools: Vec<ThreadPool>,
    free: Mutex<usize>,
    changed: Condvar,
}

impl Threads {
    /// Divides `threads` among shards.
    pub(super) fn of(shards: usize, threads: usize) -> Self {
        let each = threads.div_ceil(shards).max(1);
        let pool = |_| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(each).build();
            pool.expect("the system starts a few threads")
        };
        Self {
            pools: (0..shards).map(pool).collect(),
            free: Mutex::new(threads.clamp(1, shards)),
            changed: Condvar::new(),
        }
    }

    /// A permit to compute, once one is free.
    pub(super) fn permit(&self) -> Permit<'_> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        while *free == 0 {
            free = self.changed.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
        *free -= 1;
        Permit(self)
    }

    fn release(&self) {
        *self.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.changed.notify_one();
    }

    /// Waits for others without the permit of the caller, which it has again afterwards.
    pub(super) fn without_permit<R>(&self, wait: impl FnOnce() -> R) -> R {
        self.release();
        let result = wait();
        std::mem::forget(self.permit());
        result
    }
}

/// The right to compute, until it is dropped.
pub(super) struct Permit<'a>(&'a Threads);

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.release();
    }
}
