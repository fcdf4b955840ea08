//! Independent pieces of work, one on each core.

use anyhow::{Context, anyhow, ensure};
use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// Does `work` for every item on as many threads as asked for, by default one for each core; results come in the order of
/// the items, whatever thread did them.
///
/// Each piece runs on one thread alone: small networks gain more from a core of their own than from sharing two.
///
/// # Errors
/// The first failure, after which no new piece begins.
pub(super) fn each<I: Sync, R: Send>(
    items: &[I],
    threads: Option<usize>,
    work: impl Fn(&I) -> anyhow::Result<R> + Sync,
) -> anyhow::Result<Vec<R>> {
    ensure!(threads != Some(0), "--threads must be at least 1");
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let count = threads.unwrap_or(cores).min(items.len().max(1));
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let results: Mutex<Vec<Option<R>>> = Mutex::new(items.iter().map(|_| None).collect());
    let worker = || -> anyhow::Result<()> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(1)
            .build()
            .context("cannot start a thread")?;
        while !failed.load(Ordering::Relaxed) {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(at) else { break };
            let result = pool.install(|| work(item));
            if result.is_err() {
                failed.store(true, Ordering::Relaxed);
            }
            let mut results = results.lock().map_err(|_| anyhow!("a worker has failed"))?;
            results[at] = Some(result?);
        }
        Ok(())
    };
    let done: Vec<anyhow::Result<()>> = thread::scope(|scope| {
        let started: Vec<_> = (0..count).map(|_| scope.spawn(worker)).collect();
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
    let results = results.into_inner().map_err(|_| anyhow!("a worker has failed"))?;
    results
        .into_iter()
        .map(|result| result.context("a piece of work was left out"))
        .collect()
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
}
