//! Threads of a rank: its share of the cores of its machine.

use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator as _, CommunicatorCollectives as _};
use std::fs;
use std::thread::available_parallelism;

/// Most cores of a machine that are told apart.
const MOST: usize = 4096;

/// The share of this rank in the cores that it may use: a core is divided among all ranks of the machine that may use it. At least
/// 1. `mpirun` often binds a rank to some cores.
pub(crate) fn of_this_rank(world: &SimpleCommunicator) -> usize {
    let machine = world.split_shared(world.rank());
    let mut own = vec![0_u8; MOST];
    for core in allowed() {
        own[core] = 1;
    }
    let ranks = usize::try_from(machine.size()).unwrap_or(1);
    let mut all = vec![0_u8; ranks * MOST];
    machine.all_gather_into(&own[..], &mut all[..]);
    let users = |core: usize| all.chunks_exact(MOST).filter(|rank| rank[core] == 1).count();
    let cores = (0..MOST).filter(|&core| own[core] == 1);
    let share: f64 = cores.map(|core| 1.0 / users(core) as f64).sum();
    // The sum of equal shares may be just below a whole number.
    ((share + 1e-6) as usize).max(1)
}

/// The cores that this process may use.
fn allowed() -> Vec<usize> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let cores = list.map(parsed).unwrap_or_default();
    match cores.is_empty() {
        true => (0..available_parallelism().map_or(1, usize::from).min(MOST)).collect(),
        false => cores,
    }
}

/// `0-2,5` as 0, 1, 2, 5.
fn parsed(list: &str) -> Vec<usize> {
    let ranges = list.trim().split(',').filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.parse().ok()?..=last.parse::<usize>().ok()?)
    });
    ranges.flatten().filter(|&core| core < MOST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cores() {
        assert_eq!(parsed("\t0-2,5,7-8\n"), [0, 1, 2, 5, 7, 8]);
        assert_eq!(parsed("3"), [3]);
        assert!(parsed("").is_empty());
        assert!(!allowed().is_empty());
    }
}
