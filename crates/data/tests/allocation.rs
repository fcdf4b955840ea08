//! Peak memory of the readers for hostile files, counted by the allocator.

// Counting requires a global allocator, and its trait is unsafe to implement.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use engraft_data::{Idx, Npy};
use flate2::Compression;
use flate2::write::GzEncoder;

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

/// Peak bytes of `read`, beyond those held before.
fn peak(read: impl FnOnce()) -> usize {
    let before = HELD.load(SeqCst);
    PEAK.store(before, SeqCst);
    read();
    PEAK.load(SeqCst) - before
}

/// Incompressible bytes: the high byte of a 64-bit linear congruential generator.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let next = || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

fn idx(sizes: &[u32], elements: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, sizes.len() as u8];
    sizes.iter().for_each(|size| bytes.extend(size.to_be_bytes()));
    bytes.extend(elements);
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).expect("writing to a vector cannot fail");
    encoder.finish().expect("writing to a vector cannot fail")
}

fn npy(kind: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let length = (header.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), data].concat()
}

const MIB: usize = 1 << 20;

/// Compares the peaks of both ways of reading with the limit for a file of this length.
fn check(what: &str, file: &[u8], unpacked: usize, from_memory: usize, from_disk: usize) {
    // While a buffer doubles, both the old and the new one exist.
    let limit = (2 * file.len()).max(3 * unpacked) + MIB;
    println!(
        "{what}: {} bytes of file, {from_memory} and {from_disk} bytes of memory",
        file.len()
    );
    assert!(
        from_memory <= limit && from_disk <= limit,
        "{what}: {from_memory}, {from_disk} > {limit}"
    );
}

// One test, because the counters are global.
#[test]
fn memory_follows_the_bytes_that_are_there() {
    let half = |file: Vec<u8>| file[..file.len() / 2].to_vec();
    // The claim, the file, and the number of bytes that really unpack from it (0 for a raw file).
    let table = [
        ("raw, overflowing sizes", idx(&[u32::MAX; 3], &[3; 100]), 0),
        ("raw, 2 GiB claimed", idx(&[1 << 31], &[3; 100]), 0),
        (
            "raw, 1 GiB claimed by images",
            idx(&[1 << 20, 32, 32], &[3; 100]),
            0,
        ),
        ("raw, honest", idx(&[4096, 32, 32], &noise(4 * MIB)), 0),
        (
            "raw, one byte short",
            idx(&[4096, 32, 32], &noise(4 * MIB - 1)),
            0,
        ),
        (
            "gzip, 2 GiB claimed by a small file",
            gzip(&idx(&[1 << 31], &[3; 100])),
            100,
        ),
        (
            "gzip, the most claimed that passes at first",
            gzip(&idx(&[60_000], &[3; 100])),
            100,
        ),
        (
            "gzip, 1 GiB claimed, 2 MiB there",
            gzip(&idx(&[1 << 20, 32, 32], &noise(2 * MIB))),
            2 * MIB,
        ),
        (
            "gzip, honest and 1000 to 1",
            gzip(&idx(&[16384, 32, 32], &vec![3; 16 * MIB])),
            16 * MIB,
        ),
        (
            "gzip bomb behind a small claim",
            gzip(&idx(&[10], &vec![3; 64 * MIB])),
            10,
        ),
        (
            "gzip cut in half",
            half(gzip(&idx(&[4096, 32, 32], &noise(4 * MIB)))),
            2 * MIB,
        ),
    ];
    let dir = tempfile::tempdir().unwrap();
    for (what, file, unpacked) in table {
        let path = dir.path().join("file");
        std::fs::write(&path, &file).unwrap();
        let from_memory = peak(|| drop(Idx::from_bytes(&file, &path)));
        let from_disk = peak(|| drop(Idx::open(&path)));
        check(what, &file, unpacked, from_memory, from_disk);
    }

    // Slightly above 4 MiB, where a doubling buffer has the most excess.
    let data = noise(4 * MIB + 8);
    let long_header = [b"\x93NUMPY\x02\x00\x00\x00\x01\x00", &vec![1; 1 << 16][..]].concat();
    let table = [
        (
            "npy, overflowing sizes",
            npy("<f8", "(4294967296, 4294967296)", &[3; 100]),
        ),
        ("npy, 512 MiB claimed", npy("<f4", "(134217728,)", &[3; 100])),
        (
            "npy, a header of 4 GiB claimed",
            b"\x93NUMPY\x02\x00\xff\xff\xff\xff".to_vec(),
        ),
        ("npy, the longest header, of no sense", long_header),
        ("npy, honest bytes", npy("|u1", "(4194312,)", &data)),
        ("npy, honest and single", npy("<f4", "(1048578,)", &data)),
        ("npy, honest and double", npy("<f8", "(524289,)", &data)),
        (
            "npy, one byte short",
            npy("<f4", "(1048578,)", &data[..data.len() - 1]),
        ),
    ];
    for (what, file) in table {
        let path = dir.path().join("file");
        std::fs::write(&path, &file).unwrap();
        let from_memory = peak(|| drop(Npy::from_bytes(&file, &path)));
        let from_disk = peak(|| drop(Npy::open(&path)));
        check(what, &file, 0, from_memory, from_disk);
    }
}
