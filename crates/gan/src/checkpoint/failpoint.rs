//! Fail points: each disk operation of a save passes one, and tests make the n-th fail or crash, or take away the free space.
//!
//! Outside tests [`point`] does nothing and [`taken`] is 0.

#[cfg(not(test))]
#[inline]
pub(super) fn point() -> std::io::Result<()> {
    Ok(())
}

/// Bytes of the disk that a save must leave free.
#[cfg(not(test))]
#[inline]
pub(super) fn taken() -> u64 {
    0
}

#[cfg(test)]
pub(super) use armed::{Fault, injected, point, taken, without_room};

#[cfg(test)]
mod armed {
    use std::cell::Cell;
    use std::io;

    /// What happens at the chosen fail point.
    #[derive(Clone, Copy, Debug, PartialEq)]
    pub(in super::super) enum Fault {
        /// The disk is full: the operation returns an error and the program continues.
        Full,
        /// The process dies: nothing after the operation runs, not even clean-up.
        Crash,
    }

    struct Died;

    thread_local! {
        static PLAN: Cell<Option<(usize, Fault)>> = const { Cell::new(None) };
        static TAKEN: Cell<u64> = const { Cell::new(0) };
    }

    /// Runs `work` without free space. `None` if it passed a fail point before it noticed.
    pub(in super::super) fn without_room<R>(work: impl FnOnce() -> R) -> Option<R> {
        TAKEN.set(u64::MAX);
        let (result, _) = injected(0, Fault::Crash, work);
        TAKEN.set(0);
        result
    }

    pub(in super::super) fn taken() -> u64 {
        TAKEN.get()
    }

    /// Runs `work` with the `n`-th fail point (from 0) failing; `None` if the process died.
    pub(in super::super) fn injected<R>(
        n: usize,
        fault: Fault,
        work: impl FnOnce() -> R,
    ) -> (Option<R>, bool) {
        PLAN.set(Some((n, fault)));
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        let reached = PLAN.take().is_none();
        match outcome {
            Ok(result) => (Some(result), reached),
            Err(payload) if payload.is::<Died>() => (None, reached),
            Err(payload) => std::panic::resume_unwind(payload),
        }
    }

    pub(in super::super) fn point() -> io::Result<()> {
        match PLAN.get() {
            None => Ok(()),
            Some((0, fault)) => {
                PLAN.set(None);
                match fault {
                    Fault::Full => Err(io::ErrorKind::StorageFull.into()),
                    // Unwinds without a message. The save path has no clean-up that unwinding would run.
                    Fault::Crash => std::panic::resume_unwind(Box::new(Died)),
                }
            }
            Some((n, fault)) => {
                PLAN.set(Some((n - 1, fault)));
                Ok(())
            }
        }
    }
}
