//! A limit for the memory of all pictures that are decoded at the same time.

use std::sync::{Condvar, Mutex, PoisonError};

/// Memory for decoding, in bytes: several small pictures at a time, or one large one.
const BUDGET: u64 = 768 << 20;

static USED: Mutex<u64> = Mutex::new(0);
static FREED: Condvar = Condvar::new();

/// A share of the memory for decoding, returned when dropped.
#[derive(Debug)]
pub(crate) struct Share(u64);

/// Waits until `bytes` are free, or all of the memory if they are more.
///
/// The work with the share must not wait for another share.
pub(crate) fn share(bytes: u64) -> Share {
    let bytes = bytes.min(BUDGET);
    let mut used = USED.lock().unwrap_or_else(PoisonError::into_inner);
    while *used + bytes > BUDGET {
        used = FREED.wait(used).unwrap_or_else(PoisonError::into_inner);
    }
    *used += bytes;
    Share(bytes)
}

impl Drop for Share {
    fn drop(&mut self) {
        *USED.lock().unwrap_or_else(PoisonError::into_inner) -= self.0;
        FREED.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn large_shares_wait_for_each_other() {
        let at_once = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let _share = share(u64::MAX);
                    assert_eq!(at_once.fetch_add(1, Ordering::SeqCst), 0);
                    std::thread::sleep(std::time::Duration::from_millis(2));
                    at_once.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
    }
}
