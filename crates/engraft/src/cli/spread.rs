//! Independent tasks, spread over the ranks of a distributed run.

use super::parallel;
use super::process::Interrupted;
use super::ranks::Ranks;
use anyhow::{Context, anyhow, ensure};
use engraft_base::sha256_hex;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Time between two looks for a file of rank 0, and the number of looks: a network file system may show it late.
const LOOK: Duration = Duration::from_millis(200);
const LOOKS: u32 = if cfg!(test) { 2 } else { 50 };

/// What a rank tells the others about its tasks.
#[derive(Serialize, Deserialize)]
enum Answer<R> {
    /// Results with the positions of their tasks.
    Done(Vec<(usize, R)>),
    Interrupted,
    Failed(String),
}

/// Calls `work` for every item: with a number of threads on one machine, or on all ranks. Each rank returns all results, in the
/// order of the items. `is_done` tells which items cost nothing, because their results are cached.
///
/// # Errors
/// Those of [`parallel::each`], of any rank. The other ranks finish what they have begun.
pub(super) fn each<I: Sync, R: Send + Serialize + DeserializeOwned>(
    ranks: Option<&Ranks>,
    items: &[I],
    threads: Option<usize>,
    is_done: impl Fn(&I) -> bool,
    work: impl Fn(&I) -> anyhow::Result<R> + Sync,
) -> anyhow::Result<Vec<R>> {
    let Some(ranks) = ranks else {
        return parallel::each(items, threads, work);
    };
    let done: Vec<bool> = items.iter().map(is_done).collect();
    let mine = ranks.share(&done);
    let own: Vec<&I> = mine.iter().map(|&at| &items[at]).collect();
    let found = parallel::each(&own, threads.or(Some(ranks.threads)), |item| work(item));
    ranks.collect(items.len(), &mine, found)
}

impl Ranks {
    /// The positions of the tasks of this rank. Tasks that are not done are dealt out in turn, then those that are. What rank 0
    /// takes for done decides. All ranks must call this.
    pub fn share(&self, done: &[bool]) -> Vec<usize> {
        let flags = done.iter().map(|&is_done| u8::from(is_done)).collect();
        let flags = self.communicator.broadcast(flags);
        let (mut order, done): (Vec<usize>, Vec<usize>) = (0..flags.len()).partition(|&at| flags[at] == 0);
        order.extend(done);
        let [rank, ranks] = [self.communicator.rank(), self.communicator.ranks()];
        order.into_iter().skip(rank).step_by(ranks).collect()
    }

    /// The results of all ranks, in the order of their tasks: `found` are those of this rank, whose tasks have the positions `mine`
    /// of `count`. All ranks must call this.
    ///
    /// # Errors
    /// That of this rank, else the first one of another.
    pub fn collect<R: Serialize + DeserializeOwned>(
        &self,
        count: usize,
        mine: &[usize],
        found: anyhow::Result<Vec<R>>,
    ) -> anyhow::Result<Vec<R>> {
        let (answer, own_error) = match found {
            Ok(results) => (Answer::Done(mine.iter().copied().zip(results).collect()), None),
            Err(error) if error.is::<Interrupted>() => (Answer::Interrupted, Some(error)),
            Err(error) => (Answer::Failed(format!("{error:#}")), Some(error)),
        };
        let answers = self.gather(&serde_json::to_vec(&answer)?);
        if let Some(error) = own_error {
            return Err(error);
        }
        let mut results: Vec<Option<R>> = (0..count).map(|_| None).collect();
        for (rank, bytes) in answers.iter().enumerate() {
            match serde_json::from_slice(bytes).with_context(|| format!("the results of rank {rank}"))? {
                Answer::Done(found) => {
                    for (at, result) in found {
                        *results.get_mut(at).context("a result without a task")? = Some(result);
                    }
                }
                Answer::Interrupted => return Err(Interrupted.into()),
                Answer::Failed(message) => return Err(anyhow!("rank {rank}: {message}")),
            }
        }
        let results: Option<Vec<R>> = results.into_iter().collect();
        results.context("a task was not run")
    }

    /// The bytes of each rank, of any length.
    fn gather(&self, mine: &[u8]) -> Vec<Vec<u8>> {
        let lengths = self.communicator.all_gather(&(mine.len() as u64).to_le_bytes());
        let lengths: Vec<usize> = lengths
            .as_chunks::<8>()
            .0
            .iter()
            .map(|bytes| usize::try_from(u64::from_le_bytes(*bytes)).unwrap_or(0))
            .collect();
        let longest = lengths.iter().copied().max().unwrap_or(0).max(1);
        let mut padded = mine.to_vec();
        padded.resize(longest, 0);
        let all = self.communicator.all_gather(&padded);
        let parts = all.chunks_exact(longest).zip(lengths);
        parts.map(|(part, len)| part[..len].to_vec()).collect()
    }

    /// Checks that all ranks have the same settings and data, and see the same directory, in which each of them saves its results.
    /// All ranks must call this.
    ///
    /// # Errors
    /// If they do not, on all ranks.
    pub fn ensure_same(&self, settings: &serde_json::Value, out: Option<&Path>) -> anyhow::Result<()> {
        let own = sha256_hex(settings.to_string().as_bytes()).into_bytes();
        let first = self.communicator.broadcast(own.clone());
        self.ensure_all(
            own == first,
            "has other settings or other images than rank 0; the data must be the same on each machine",
        )?;
        let Some(out) = out else { return Ok(()) };
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let name = format!("rank-0-{}-{}", std::process::id(), time.as_nanos());
        let (mut file, mut failed) = (None, None);
        if self.is_first() {
            let path = out.join(&name);
            failed = fs::create_dir_all(out).and_then(|()| fs::write(&path, "")).err();
            file = Some(path);
        }
        let name = self.communicator.broadcast(name.into_bytes());
        let path = out.join(String::from_utf8(name).context("the name of a file of rank 0")?);
        let is_seen = failed.is_none()
            && (0..LOOKS).any(|look| {
                if look > 0 {
                    thread::sleep(LOOK);
                }
                path.exists()
            });
        let found = self.ensure_all(
            is_seen,
            "does not see the files of rank 0 in the output directory; --out must be a directory that all machines share",
        );
        if let Some(file) = file {
            // It may never have been written.
            let _ = fs::remove_file(file);
        }
        if let Some(error) = failed {
            return Err(error).with_context(|| format!("{}: cannot be written to", out.display()));
        }
        found
    }

    /// An error on all ranks, if `is_right` is false on one.
    fn ensure_all(&self, is_right: bool, problem: &str) -> anyhow::Result<()> {
        let all = self.communicator.all_gather(&[u8::from(is_right)]);
        let wrong = all.iter().position(|&right| right == 0);
        ensure!(wrong.is_none(), "rank {} {problem}", wrong.unwrap_or_default());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engraft_tensor::shards::thread_ranks;
    use serde_json::json;
    use std::sync::Mutex;

    /// What `work` returns on each of some ranks.
    fn on_ranks<R: Send>(count: usize, work: impl Fn(&Ranks) -> R + Sync) -> Vec<R> {
        let work = &work;
        thread::scope(|scope| {
            let started: Vec<_> = thread_ranks(count)
                .into_iter()
                .map(|rank| scope.spawn(move || work(&Ranks::new(rank, 1))))
                .collect();
            started
                .into_iter()
                .map(|rank| rank.join().expect("a rank panicked"))
                .collect()
        })
    }

    #[test]
    fn every_task_runs_once_and_all_ranks_have_all_results() {
        let items: Vec<usize> = (0..7).collect();
        let alone: Vec<String> = items.iter().map(|i| format!("{}", i * i)).collect();
        for count in [1, 2, 3, 9] {
            let run = Mutex::new(Vec::new());
            let found = on_ranks(count, |ranks| {
                each(
                    Some(ranks),
                    &items,
                    None,
                    |&i| i < 3,
                    |&i| {
                        run.lock().unwrap().push((ranks.communicator.rank(), i));
                        Ok(format!("{}", i * i))
                    },
                )
                .unwrap()
            });
            assert!(found.iter().all(|results| *results == alone), "{found:?}");
            let mut run = run.into_inner().unwrap();
            run.sort_by_key(|&(_, i)| i);
            assert!(run.iter().map(|&(_, i)| i).eq(0..7), "{run:?}");
            // The four that are not done are divided first.
            let by_first = run.iter().filter(|&&(rank, i)| rank == 0 && i >= 3).count();
            assert_eq!(by_first, 4_usize.div_ceil(count));
        }
    }

    #[test]
    fn an_error_reaches_all_ranks_after_the_others_have_finished() {
        let items = [0, 1, 2, 3];
        let finished = Mutex::new(Vec::new());
        let found = on_ranks(2, |ranks| {
            let work = |&i: &i32| {
                ensure!(i != 1, "one failed");
                finished.lock().unwrap().push(i);
                Ok(i)
            };
            each(Some(ranks), &items, None, |_| false, work)
                .unwrap_err()
                .to_string()
        });
        assert_eq!(found, ["rank 1: one failed", "one failed"]);
        let mut finished = finished.into_inner().unwrap();
        finished.sort_unstable();
        assert_eq!(finished, [0, 2]);
        let stopped = on_ranks(2, |ranks| {
            let work = |&i: &i32| match i {
                1 => Err(Interrupted.into()),
                _ => Ok(i),
            };
            let error = each(Some(ranks), &items, None, |_| false, work).unwrap_err();
            error.is::<Interrupted>()
        });
        assert_eq!(stopped, [true, true]);
    }

    #[test]
    fn other_settings_and_other_directories_are_refused_by_all() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        let check = |settings: [i32; 2], out: [&Path; 2]| {
            on_ranks(2, |ranks| {
                let rank = ranks.communicator.rank();
                let found = ranks.ensure_same(&json!(settings[rank]), Some(out[rank]));
                found.map_err(|error| error.to_string())
            })
        };
        assert_eq!(check([1, 1], [&one, &one]), [Ok(()), Ok(())]);
        assert_eq!(fs::read_dir(&one).unwrap().count(), 0, "a file stayed");
        for error in check([1, 2], [&one, &one]) {
            assert!(error.unwrap_err().contains("rank 1 has other settings"));
        }
        for error in check([1, 1], [&one, &two]) {
            assert!(error.unwrap_err().contains("all machines share"));
        }
    }
}
