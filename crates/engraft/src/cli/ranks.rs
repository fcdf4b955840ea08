//! A command on several ranks, which a [`Communicator`] connects.

use super::output::mute;
use super::process::{code_of, print_error};
use engraft_gan::GanError;
use engraft_tensor::shards::{Communicator, Traffic, TrafficCount};
use std::sync::Arc;
use std::time::Duration;

/// Time in which rank 0 reports an error that all ranks have.
const FIRST: Duration = Duration::from_secs(2);

/// The ranks of a distributed run, as this one sees them.
pub struct Ranks {
    pub(super) communicator: Arc<dyn Communicator>,
    /// Threads of this rank, unless `--threads` sets them.
    pub threads: usize,
    traffic: Box<dyn Fn() -> TrafficCount + Send + Sync>,
}

impl Ranks {
    /// Ranks that a communicator connects, of which this one has some threads.
    pub fn new(communicator: impl Communicator + 'static, threads: usize) -> Self {
        let counted = Arc::new(Traffic::new(communicator));
        let count = Arc::clone(&counted);
        Self {
            communicator: counted,
            threads,
            traffic: Box::new(move || count.count()),
        }
    }

    /// Whether this is rank 0, which prints.
    pub fn is_first(&self) -> bool {
        self.communicator.rank() == 0
    }

    /// What this rank has sent so far.
    pub(super) fn traffic(&self) -> TrafficCount {
        (self.traffic)()
    }

    /// The line of the plan.
    pub(super) fn plan(&self, threads: usize) -> String {
        format!(
            "  ranks          {}, rank 0 has {threads} threads",
            self.communicator.ranks()
        )
    }

    /// What crossed the network in some steps.
    pub(super) fn summary(&self, before: TrafficCount, steps: u64, time: Duration) -> String {
        let now = self.traffic();
        let per_step = |count: u64| count as f64 / steps.max(1) as f64;
        format!(
            "  network      rank 0 sent {:.2} MB in {:.0} messages per step, and spent {:.0} % of the time in them",
            per_step(now.bytes - before.bytes) / 1e6,
            per_step(now.messages - before.messages),
            (now.nanoseconds - before.nanoseconds) as f64 / 1e7 / time.as_secs_f64().max(1e-9),
        )
    }

    /// Prints the error of this rank, if it has one, and gives the exit code.
    ///
    /// After an error the other ranks may wait for this one: end them. An interrupted command (a code of 128 or more) has ended on
    /// all ranks.
    pub fn code(&self, result: anyhow::Result<()>) -> u8 {
        let Err(error) = result else { return 0 };
        let rank = self.communicator.rank();
        if rank > 0 {
            // Rank 0 ends this process if it has the same error.
            std::thread::sleep(FIRST);
            mute(false);
            note!("rank {rank}:");
        }
        print_error(&error);
        code_of(&error)
    }
}

/// The error of commands that run on one machine.
pub(super) fn not_on_ranks() -> anyhow::Error {
    let problem = "engraft-mpi has the commands train, adapt, semi-supervised and benchmark-transfer; run the others with engraft, on \
                   one machine";
    GanError::Config {
        problems: vec![problem.into()],
    }
    .into()
}
