//! A message if rank 0 is told to stop while it waits for the others: then one of them was probably lost.

use engraft::cli::interrupt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// Calls of MPI that have begun and ended: odd while one runs.
static CALLS: AtomicU64 = AtomicU64::new(0);
/// Time between two looks.
const TICK: Duration = Duration::from_millis(50);
/// Looks at the same call after which a rank counts as lost. `mpirun` kills a process about one second after the signal.
const LOOKS: u32 = 8;

/// A call of MPI that runs until this is dropped.
pub(crate) struct Waiting;

impl Waiting {
    pub(crate) fn new() -> Self {
        CALLS.fetch_add(1, Ordering::SeqCst);
        Self
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        CALLS.fetch_add(1, Ordering::SeqCst);
    }
}

/// Watches rank 0 in a thread of its own.
pub(crate) fn start(rank: i32) {
    if rank > 0 {
        return;
    }
    let watch = || {
        let (mut call, mut looks) = (0, 0);
        loop {
            thread::sleep(TICK);
            let now = CALLS.load(Ordering::SeqCst);
            let is_waiting = interrupt().load(Ordering::SeqCst) && now % 2 == 1 && now == call;
            looks = if is_waiting { looks + 1 } else { 0 };
            call = now;
            if looks == LOOKS {
                eprintln!(
                    "error: rank 0 was told to stop while it waited for another rank, which was probably lost. The newest \
                     checkpoint of the run is intact: the same command resumes from it, on any number of ranks that divides \
                     the micro-batches"
                );
                return;
            }
        }
    };
    // Without it only the message is missing.
    let _ = thread::Builder::new().name("watch".into()).spawn(watch);
}
