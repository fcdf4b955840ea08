//! A reader never allocates more than twice the file's size plus 1 MiB, whatever the file claims.
//!
//! The counting allocator counts the whole process, so all cases run in one test, one after another.

// The trait of a global allocator is unsafe to implement.
#![allow(unsafe_code)]
#![allow(clippy::unwrap_used)]

use engraft_gan::checkpoint::{CheckpointReader, CheckpointStore, decode, encode};
use sha2::{Digest, Sha256};
use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
static LARGEST: AtomicUsize = AtomicUsize::new(0);

struct Counting;

fn grown(by: usize) {
    let live = LIVE.fetch_add(by, Relaxed) + by;
    PEAK.fetch_max(live, Relaxed);
    LARGEST.fetch_max(by, Relaxed);
}

// SAFETY: every call is passed to the system's allocator unchanged; counting touches only atomics.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: the caller keeps the contract of `alloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: `pointer` came from `alloc` above, so from the system's allocator, with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs `work` and checks its peak memory against the limit.
fn bounded<R>(what: &str, file_bytes: u64, work: impl FnOnce() -> R) -> R {
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    LARGEST.store(0, Relaxed);
    let result = work();
    let peak = PEAK.load(Relaxed) - before;
    let allowed = 2 * file_bytes as usize + (1 << 20);
    let largest = LARGEST.load(Relaxed);
    assert!(
        peak <= allowed,
        "{what}: {peak} bytes live, {largest} in one request, for a file of {file_bytes} bytes"
    );
    result
}

/// A training state with a correct checksum around any payload.
fn fenced(payload: &[u8]) -> Vec<u8> {
    let mut bytes = encode(&()).unwrap()[..12].to_vec();
    bytes.extend((payload.len() as u64).to_le_bytes());
    bytes.extend(Sha256::digest(payload));
    bytes.extend(payload);
    bytes
}

fn state_claims() {
    let path = Path::new("state.bin");
    for claim in [u64::MAX, 1 << 63, 1 << 40, 1 << 33, 1 << 24, 1 << 20] {
        for filler in [0, 1000] {
            let mut payload = claim.to_le_bytes().to_vec();
            payload.resize(8 + filler, 0xff);
            let bytes = fenced(&payload);
            let size = bytes.len() as u64;
            let what = format!("claim of {claim} elements and {filler} bytes");
            bounded(&what, size, || decode::<Vec<f32>>(&bytes, path).unwrap_err());
            bounded(&what, size, || decode::<Vec<u8>>(&bytes, path).unwrap_err());
            bounded(&what, size, || {
                decode::<Vec<[u64; 16]>>(&bytes, path).unwrap_err()
            });
            bounded(&what, size, || decode::<String>(&bytes, path).unwrap_err());
            bounded(&what, size, || decode::<Vec<String>>(&bytes, path).unwrap_err());
            bounded(&what, size, || {
                decode::<BTreeMap<String, f64>>(&bytes, path).unwrap_err()
            });
        }
        // The header's own length claims as much.
        let mut bytes = fenced(b"payload");
        bytes[12..20].copy_from_slice(&claim.to_le_bytes());
        bounded("header", bytes.len() as u64, || {
            decode::<Vec<u8>>(&bytes, path).unwrap_err()
        });
    }
}

/// A run whose only checkpoint has this manifest; returns the bytes that a reader may look at.
fn with_manifest(run: &Path, manifest: &str) -> u64 {
    let dir = run.join("checkpoints/step-000001");
    let zeros = "0".repeat(64);
    let sum: String = Sha256::digest(manifest.replace("SIGN", &zeros))
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let text = manifest.replace("SIGN", &sum);
    fs::write(dir.join("manifest.json"), &text).unwrap();
    text.len() as u64
}

fn manifest(files: &str) -> String {
    format!(
        r#"{{"manifest_sha256":"SIGN","format_version":1,"crate_version":"0.1.0","step":1,"options_hash":"","files":[{files}]}}"#
    )
}

fn manifest_claims() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path();
    let files = BTreeMap::from([("a".to_string(), vec![7; 100])]);
    drop(
        CheckpointStore::open(run, 1)
            .and_then(|mut store| store.save(1, "", &files))
            .unwrap(),
    );

    let entry = |name: &str, size: u64| format!(r#"{{"name":"{name}","size":{size},"sha256":"0"}}"#);
    let small: Vec<String> = (0..3000).map(|_| entry("a", 0)).collect();
    let long_name = "n".repeat(120_000);
    let cases = [
        ("a file of 2^63 bytes", manifest(&entry("a", 1 << 63))),
        ("a file of 4 GiB", manifest(&entry("a", 4 << 30))),
        (
            "files that overflow",
            manifest(&[entry("a", u64::MAX), entry("b", u64::MAX)].join(",")),
        ),
        ("thousands of files", manifest(&small.join(","))),
        ("a long name", manifest(&entry(&long_name, 0))),
        ("a path", manifest(&entry("../../a", 100))),
        ("deep nesting", manifest(&"[".repeat(100_000))),
        ("a number of many digits", manifest(&"9".repeat(100_000))),
        ("beyond the limit", manifest(&" ".repeat(50 << 20))),
    ];
    for (what, text) in cases {
        // Of a manifest beyond the limit nothing may be read.
        let size = with_manifest(run, &text);
        let readable = if size > 128 << 10 { 0 } else { size };
        bounded(what, readable, || {
            CheckpointReader::new(run).latest().unwrap_err()
        });
    }
}

/// A file without content that claims to be large: the length is real, so only the limit protects.
fn sparse_files() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path();
    let files = BTreeMap::from([("a".to_string(), vec![7; 100])]);
    drop(
        CheckpointStore::open(run, 1)
            .and_then(|mut store| store.save(1, "", &files))
            .unwrap(),
    );
    let large: PathBuf = run.join("checkpoints/step-000001/a");
    fs::File::create(&large)
        .and_then(|file| file.set_len(1 << 40))
        .unwrap();
    bounded("a sparse file", 1000, || {
        CheckpointReader::new(run).latest().unwrap_err()
    });
    fs::rename(&large, run.join("checkpoints/step-000001/manifest.json")).unwrap();
    bounded("a sparse manifest", 0, || {
        CheckpointReader::new(run).latest().unwrap_err()
    });
}

/// Valid files are held in memory once.
fn valid_files() {
    let dir = tempfile::tempdir().unwrap();
    let files = BTreeMap::from([
        ("a".to_string(), vec![7; 8 << 20]),
        ("b".to_string(), vec![8; 1 << 20]),
    ]);
    drop(
        CheckpointStore::open(dir.path(), 1)
            .and_then(|mut store| store.save(1, "", &files))
            .unwrap(),
    );
    bounded("loading", 9 << 20, || {
        CheckpointReader::new(dir.path()).latest().unwrap()
    });
}

#[test]
fn no_claim_is_believed() {
    state_claims();
    manifest_claims();
    sparse_files();
    valid_files();
}
