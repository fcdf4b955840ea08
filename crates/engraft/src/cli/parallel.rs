//! Independent pieces of work, side by side.

use super::process::cores;
use anyhow::{Context, anyhow, ensure};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// Does `work` for every item on as many threads as asked for, by default one for each core; results come in the order of
/// the items, whatever thread did them.
///
/// Each piece has a share of the threads to itself, most often one: small networks gain more from a core of their own than
/// from sharing two.
///
/// # Errors
/// The first failure, after which no new piece begins.
pub(super) fn each<I: Sync, R: Send>(
    items: &[I],
    threads: Option<usize>,
    work: impl Fn(&I) -> anyhow::Result<R> + Sync,
) -> anyhow::Result<Vec<R>> {
    ensure!(threads != Some(0), "--threads must be at least 1");
    let threads = threads.unwrap_or_else(cores);
    let count = threads.min(items.len()).max(1);
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let results: Vec<Mutex<Option<R>>> = items.iter().map(|_| Mutex::new(None)).collect();
    let worker = |share: usize| -> anyhow::Result<()> {
        // Also where a piece panics, the others need not begin.
        let mut guard = Failing(&failed, true);
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(share)
            .build()
            .context("cannot start a thread")?;
        while !failed.load(Ordering::Relaxed) {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(at) else { break };
            let result = pool.install(|| work(item))?;
            *results[at].lock().map_err(|_| anyhow!("a worker has failed"))? = Some(result);
        }
        guard.1 = false;
        Ok(())
    };
    let done: Vec<anyhow::Result<()>> = thread::scope(|scope| {
        let started: Vec<_> = (0..count)
            .map(|i| threads / count + usize::from(i < threads % count))
            .map(|share| {
                let worker = &worker;
                scope.spawn(move || worker(share))
            })
            .collect();
        started
            .into_iter()
            .map(|handle| {
                handle
                    .join()
                    .unwrap_or_else(|_| Err(anyhow!("a worker has failed")))
            })
            .collect()
    });
    done.into_iter().collect::<anyhow::Result<Vec<()>>>()?;
    results
        .into_iter()
        .map(|slot| {
            slot.into_inner()
                .ok()
                .flatten()
                .context("a piece of work was left out")
        })
        .collect()
}

/// Tells the others when a worker ends before its time.
struct Failing<'f>(&'f AtomicBool, bool);

impl Drop for Failing<'_> {
    fn drop(&mut self) {
        if self.1 {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_the_order_and_a_failure_is_told() {
        let items: Vec<usize> = (0..20).collect();
        for threads in [1, 3, 50] {
            let squares = each(&items, Some(threads), |&i| Ok(i * i)).unwrap();
            assert_eq!(squares, items.iter().map(|i| i * i).collect::<Vec<_>>());
        }
        let error = each(&items, Some(2), |&i| {
            ensure!(i != 7, "seven");
            Ok(i)
        })
        .unwrap_err();
        assert_eq!(error.to_string(), "seven");
        assert!(each(&items, Some(0), |&i| Ok(i)).is_err());
    }

    #[test]
    fn after_a_failure_nothing_begins() {
        let items: Vec<usize> = (0..20).collect();
        let begun = AtomicUsize::new(0);
        let failed = each(&items, Some(1), |_| -> anyhow::Result<()> {
            begun.fetch_add(1, Ordering::Relaxed);
            Err(anyhow!("no"))
        });
        assert!(failed.is_err() && begun.load(Ordering::Relaxed) == 1);
    }
}
