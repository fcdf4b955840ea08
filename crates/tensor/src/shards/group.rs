//! Shards that compute the same function on their parts of a batch.

use super::communicator::Communicator;
use super::meeting::Meeting;
use super::sum::{ShardSum, from_bytes, joined, joined_of_ranks, to_bytes};
use super::threads::Threads;
use crate::precision::{current_precision, with_precision};
use crate::real::Real;
use crate::tensor::Tensor;
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;

/// The shards of a batch, of which this process runs some or all.
pub struct ShardGroup {
    shards: usize,
    local: Range<usize>,
    communicator: Option<Arc<dyn Communicator>>,
    threads: OnceLock<Threads>,
}

/// What the shards of one [`ShardGroup::run`] share.
struct Round {
    meeting: Meeting<Vec<f64>, Vec<f64>>,
    /// Results of [`once_for_all_shards`], in the order of the calls.
    shared: Mutex<Vec<Arc<dyn Any + Send + Sync>>>,
}

impl Round {
    fn of(shards: usize) -> Arc<Self> {
        Arc::new(Self {
            meeting: Meeting::of(shards),
            shared: Mutex::default(),
        })
    }
}

/// A shard of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Number of the shard, from 0.
    pub index: usize,
    /// Number of shards of the batch, in all processes.
    pub count: usize,
}

/// The shard that a thread runs.
struct Member {
    group: Arc<ShardGroup>,
    round: Arc<Round>,
    /// Number among the shards of this process.
    local: usize,
    /// Calls of [`once_for_all_shards`] so far.
    calls: Cell<usize>,
}

thread_local! {
    static MEMBER: RefCell<Option<Member>> = const { RefCell::new(None) };
}

/// Why a shard stops if another one has panicked. That one's panic is the result.
struct Deserted;

impl ShardGroup {
    /// A group of `shards` shards. With a communicator each rank runs an equal part of them: rank 0 the first ones.
    ///
    /// # Panics
    /// If there is no shard, or their number is not a multiple of the number of ranks.
    #[track_caller]
    pub fn new(shards: usize, communicator: Option<Arc<dyn Communicator>>) -> Self {
        let [rank, ranks] = communicator.as_ref().map_or([0, 1], |c| [c.rank(), c.ranks()]);
        assert!(
            shards > 0 && shards.is_multiple_of(ranks),
            "ShardGroup: the number of shards must be a multiple of the {ranks} ranks, got {shards}"
        );
        let each = shards / ranks;
        Self {
            shards,
            local: rank * each..(rank + 1) * each,
            communicator: communicator.filter(|_| ranks > 1),
            threads: OnceLock::new(),
        }
    }

    /// Number of shards of the batch, in all processes.
    pub fn shards(&self) -> usize {
        self.shards
    }

    /// The shards that this process runs.
    pub fn local(&self) -> Range<usize> {
        self.local.clone()
    }

    /// Number of processes.
    pub fn ranks(&self) -> usize {
        self.shards / self.local.len()
    }

    /// Number of this process.
    pub fn rank(&self) -> usize {
        self.local.start / self.local.len()
    }

    /// Runs `work` for each shard of this process and returns the results in their order. `work` gets the number of the shard
    /// in the whole batch.
    ///
    /// Every shard has a thread of its own and a part of the threads of the caller's pool. All shards must make the same calls
    /// of operations that meet.
    ///
    /// # Panics
    /// If `work` panics: with the panic of the first shard that did.
    pub fn run<R: Send>(self: &Arc<Self>, work: impl Fn(usize) -> R + Sync) -> Vec<R> {
        let count = self.local.len();
        let threads = self
            .threads
            .get_or_init(|| Threads::of(count, rayon::current_num_threads()));
        let round = Round::of(count);
        let precision = current_precision();
        let one = |local: usize| {
            let _permit = threads.permit();
            let _member = Entered::new(Member {
                group: Arc::clone(self),
                round: Arc::clone(&round),
                local,
                calls: Cell::new(0),
            });
            let result = catch_unwind(AssertUnwindSafe(|| {
                with_precision(precision, || work(self.local.start + local))
            }));
            if result.is_err() {
                round.meeting.break_up("a shard panicked");
            }
            result
        };
        let results: Vec<thread::Result<R>> = thread::scope(|scope| {
            let one = &one;
            let spawned: Vec<_> = (0..count)
                .map(|local| {
                    let pool = &threads.pools[local];
                    scope.spawn(move || pool.install(|| one(local)))
                })
                .collect();
            spawned
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(Err))
                .collect()
        });
        let (mut done, mut failed) = (Vec::new(), None);
        for result in results {
            match result {
                Ok(result) => done.push(result),
                Err(panic) if failed.is_none() || !panic.is::<Deserted>() => failed = Some(panic),
                Err(_) => {}
            }
        }
        if let Some(panic) = failed {
            resume_unwind(panic);
        }
        done
    }

    /// An empty sum to which each shard of this process adds numbers, for [`ShardGroup::total`].
    pub fn sum<T: Real>(&self) -> ShardSum<T> {
        ShardSum::new(self.local.clone())
    }

    /// The sum over the shards of all processes.
    ///
    /// # Panics
    /// If a shard of this process has not added its numbers.
    #[track_caller]
    pub fn total<T: Real>(&self, sum: ShardSum<T>) -> Vec<T> {
        let pieces = sum.into_pieces();
        match &self.communicator {
            None => joined(pieces),
            Some(communicator) => joined_of_ranks(&pieces, communicator.as_ref()),
        }
    }

    /// The numbers of all processes, joined in their order. Every process passes as many.
    pub fn gather(&self, numbers: Vec<f64>) -> Vec<f64> {
        match &self.communicator {
            None => numbers,
            Some(communicator) => from_bytes(&communicator.all_gather(&to_bytes(&numbers))),
        }
    }
}

/// Makes the current thread run a shard, until it is dropped.
struct Entered;

impl Entered {
    fn new(member: Member) -> Self {
        MEMBER.set(Some(member));
        Self
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        MEMBER.set(None);
    }
}

/// The shard that this thread runs; `None` outside of [`ShardGroup::run`].
pub fn shard() -> Option<Shard> {
    MEMBER.with_borrow(|member| {
        member.as_ref().map(|member| Shard {
            index: member.group.local.start + member.local,
            count: member.group.shards,
        })
    })
}

/// Computes something once for all shards of this process: the first shard that makes the call computes, the others get a copy.
/// Outside of [`ShardGroup::run`] it just computes.
///
/// For changes of a state that the shards share, and for numbers drawn from it. `compute` must not meet other shards, and must
/// give the same in all processes.
pub fn once_for_all_shards<R: Clone + Send + Sync + 'static>(compute: impl FnOnce() -> R) -> R {
    let place = MEMBER.with_borrow(|member| {
        member.as_ref().map(|member| {
            let call = member.calls.get();
            member.calls.set(call + 1);
            (Arc::clone(&member.round), call)
        })
    });
    let Some((round, call)) = place else {
        return compute();
    };
    // Held while computing: no shard gets to this call before it has the results of the earlier ones.
    let mut shared = round.shared.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = shared.get(call) {
        let found = found.downcast_ref::<R>();
        return found.expect("all shards make the same calls").clone();
    }
    let computed = compute();
    shared.push(Arc::new(computed.clone()));
    computed
}

/// Random numbers with a row for each example of a tensor of this `shape`: those of the whole batch are drawn once, and a shard
/// gets its rows. Outside of [`ShardGroup::run`] it is `draw(shape)`.
pub fn draw_for_batch<T: Real>(shape: &[usize], draw: impl FnOnce(&[usize]) -> Tensor<T>) -> Tensor<T> {
    match (shard(), shape.first()) {
        (Some(Shard { index, count }), Some(&rows)) => {
            let mut whole = shape.to_vec();
            whole[0] = rows * count;
            once_for_all_shards(|| draw(&whole)).narrow(0, index * rows, rows)
        }
        _ => draw(shape),
    }
}

/// Combines numbers of all shards, pairwise and in their order; `None` outside of [`ShardGroup::run`]. All shards get the
/// result.
pub(super) fn fold_shards(
    numbers: impl FnOnce() -> Vec<f64>,
    join: fn(&mut [f64], &[f64]),
) -> Option<Arc<Vec<f64>>> {
    let (group, round, local) = MEMBER.with_borrow(|member| {
        member
            .as_ref()
            .map(|member| (Arc::clone(&member.group), Arc::clone(&member.round), member.local))
    })?;
    let combine = |pieces: Vec<Vec<f64>>| super::sum::combined(pieces, group.communicator.as_deref(), join);
    let threads = group.threads.get()?;
    let numbers = numbers();
    let met = threads.without_permit(|| round.meeting.meet(local, numbers, combine));
    Some(met.unwrap_or_else(|_| resume_unwind(Box::new(Deserted))))
}
