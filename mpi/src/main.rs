//! The program `engraft-mpi`: trains on processes that MPI connects.
//!
//! ```sh
//! mpirun -n 4 engraft-mpi train --data mnist --out runs/mnist
//! ```
//!
//! It has the commands `train`, `adapt` and `semi-supervised` of `engraft` and `benchmark-transfer` of `cargo xtask`, with all their
//! options. `train` divides each batch among the processes, the others divide their trainings. docs/guide/several-machines.md
//! describes it.

mod communicator;
mod threads;
mod watch;

use communicator::MpiRank;
use engraft::cli::{Ranks, run_on};
use mpi::Threading;
use mpi::topology::SimpleCommunicator;
use mpi::traits::Communicator as _;
use std::process::ExitCode;

/// Exit codes from here on are those of signals: the run has ended on all ranks.
const SIGNALS: u8 = 128;

fn main() -> ExitCode {
    // Shards are threads, and the last one that comes to a meeting calls MPI: one at a time.
    let Some((universe, threading)) = mpi::initialize_with_threading(Threading::Serialized) else {
        eprintln!("error: MPI could not be initialized");
        return ExitCode::FAILURE;
    };
    if threading < Threading::Serialized {
        eprintln!(
            "error: this MPI library does not support calls from several threads (MPI_THREAD_SERIALIZED)"
        );
        return ExitCode::FAILURE;
    }
    let world = universe.world();
    let threads = threads::of_this_rank(&world);
    watch::start(world.rank());
    let ranks = Ranks::new(MpiRank::new(), threads);
    let code = match std::env::args_os().nth(1) {
        Some(command) if command == "benchmark-transfer" => xtask::benchmark_transfer_on(&ranks),
        _ => run_on(&ranks),
    };
    if code > 0 && code < SIGNALS {
        // The other ranks may wait for this one.
        SimpleCommunicator::world().abort(i32::from(code));
    }
    ExitCode::from(code)
}
