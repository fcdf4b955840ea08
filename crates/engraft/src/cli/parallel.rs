//! Runs independent tasks in parallel.

use super::process::cores;
use anyhow::{Context, anyhow, ensure};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// Calls `work` for every item with a number of threads, by default one for each core. Results are in the order of the items.
///
/// Each task has its own share of the threads, usually one: small networks train faster on one core each than on two shared
/// ones.
///
/// # Errors
/// The first error, after which no new task starts.
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
        // If a task panics, no other starts.
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
        .map(|slot| slot.into_inner().ok().flatten().context("a task was not run"))
        .collect()
}

/// Stops the other workers when one ends early.
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
    fn results_keep_the_order_and_an_error_is_returned() {
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
    fn after_an_error_nothing_starts() {
        let items: Vec<usize> = (0..20).collect();
        let begun = AtomicUsize::new(0);
        let failed = each(&items, Some(1), |_| -> anyhow::Result<()> {
            begun.fetch_add(1, Ordering::Relaxed);
            Err(anyhow!("no"))
        });
        assert!(failed.is_err() && begun.load(Ordering::Relaxed) == 1);
    }
}
