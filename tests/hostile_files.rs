//! Readers of untrusted files on every seed of the fuzz targets and on changed copies: no panic, and bounded memory.
//!
//! `fuzz/readers.rs` has the readers, which the fuzz targets share. A crash that fuzzing finds becomes a file in `fuzz/seeds`.

// Counting requires a global allocator, and its trait is unsafe to implement.
#![allow(unsafe_code)]
#![allow(clippy::unwrap_used)]

#[path = "fuzz/readers.rs"]
#[allow(dead_code)] // the example `seeds` uses the rest
mod readers;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// The system's allocator, with the current and the peak number of bytes.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to `System` unchanged. The counters do not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        PEAK.fetch_max(HELD.fetch_add(layout.size(), SeqCst) + layout.size(), SeqCst);
        // SAFETY: the caller's contract is that of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), SeqCst);
        // SAFETY: `pointer` came from `System` with this layout, by the caller's contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Changed copies of the seeds of a target, together. The variable `ENGRAFT_CHANGES` sets another number.
const CHANGES: usize = 400;
/// Most bytes in one reading; the seeds are small.
const MOST_MEMORY: usize = 16 << 20;

/// The seeds of a target, by name.
fn seeds(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/seeds")
        .join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
        .into_iter()
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

/// Numbers that files claim and that are hard to handle.
const HARD: [u64; 8] = [
    0,
    1,
    0x7f,
    0xff,
    0x7fff_ffff,
    0xffff_ffff,
    i64::MAX as u64,
    u64::MAX,
];

/// A copy with a few random changes, or a part of another seed.
fn changed(seed: &[u8], other: &[u8], rng: &mut Pcg64) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..rng.random_range(1..4) {
        let at = rng.random_range(0..bytes.len() + 1);
        let end = at.saturating_add(rng.random_range(1..9)).min(bytes.len());
        match rng.random_range(0..8) {
            0 if at < bytes.len() => bytes[at] ^= 1 << rng.random_range(0..8),
            1 if at < bytes.len() => bytes[at] = rng.random(),
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(at..end)),
            4 => bytes
                .splice(at..at, seed[at.min(seed.len())..end.min(seed.len())].to_vec())
                .for_each(drop),
            5 => {
                let number = HARD[rng.random_range(0..HARD.len())];
                let width = [1, 2, 4, 8][rng.random_range(0..4)];
                let number = if rng.random() {
                    number.to_le_bytes()
                } else {
                    number.rotate_left(8 * width as u32).to_be_bytes()
                };
                for (byte, new) in bytes[at..].iter_mut().zip(&number[..width]) {
                    *byte = *new;
                }
            }
            // Numbers and words in texts.
            6 => {
                let words = [
                    "0",
                    "-1",
                    "99999999999999999999",
                    "1e400",
                    "nan",
                    "[]",
                    "{}",
                    "\"",
                    "\u{1b}",
                    "9223372036854775807",
                ];
                bytes
                    .splice(at..end, words[rng.random_range(0..words.len())].bytes())
                    .for_each(drop);
            }
            _ => {
                let from = rng.random_range(0..other.len() + 1);
                bytes.truncate(at);
                bytes.extend(&other[from..]);
            }
        }
    }
    bytes
}

#[test]
fn hostile_files_do_not_panic_and_memory_is_bounded() {
    let changes = std::env::var("ENGRAFT_CHANGES").map_or(CHANGES, |text| text.parse().unwrap());
    let mut total = 0;
    for (target, read) in readers::READERS {
        let seeds = seeds(target);
        assert!(seeds.len() >= 2, "{target} has {} seeds", seeds.len());
        for (at, (path, seed)) in seeds.iter().enumerate() {
            total += seed.len();
            for number in 0..=changes.div_ceil(seeds.len()) {
                let rng = &mut Pcg64::seed_from_u64(((at as u64) << 32) + number as u64);
                let other = &seeds[rng.random_range(0..seeds.len())].1;
                let bytes = if number == 0 {
                    seed.clone()
                } else {
                    changed(seed, other, rng)
                };
                let before = HELD.load(SeqCst);
                PEAK.store(before, SeqCst);
                let path = path.display();
                if catch_unwind(|| read(&bytes)).is_err() {
                    panic!(
                        "{path}, change {number}: a panic; the bytes are {}",
                        bytes.escape_ascii()
                    );
                }
                let peak = PEAK.load(SeqCst) - before;
                assert!(peak <= MOST_MEMORY, "{path}, change {number}: {peak} bytes");
            }
        }
    }
    assert!(total < 200_000, "the seeds have {total} bytes");
}
