//! Readers of arrays when the system has no memory for them: an error, not the end of the process.

// An allocator that refuses requires a global one, and its trait is unsafe to implement.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs;
use std::io::{ErrorKind, Write};
use std::ptr;

use engraft_base::FileError;
use engraft_data::{DataError, DataOptions, DataSource, Idx, Npy};
use flate2::Compression;
use flate2::write::GzEncoder;

/// The system's allocator, which refuses requests of this thread above its limit.
struct Limited;

thread_local! {
    /// Largest request of this thread that is granted, in bytes.
    static MOST: Cell<usize> = const { Cell::new(usize::MAX) };
}

// SAFETY: every granted call goes to `System` unchanged, and a refusal is a null pointer. The limit does not allocate.
unsafe impl GlobalAlloc for Limited {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if MOST.try_with(Cell::get).is_ok_and(|most| layout.size() > most) {
            return ptr::null_mut();
        }
        // SAFETY: the caller's contract is that of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `System` with this layout, by the caller's contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Limited = Limited;

/// The result of `read`, while each request above 256 KiB fails.
fn without_memory<R>(read: impl FnOnce() -> R) -> R {
    MOST.set(256 << 10);
    let result = read();
    MOST.set(usize::MAX);
    result
}

/// Whether reading failed because there is no memory.
fn is_out_of_memory<T>(found: &Result<T, DataError>) -> bool {
    matches!(found, Err(DataError::File(FileError::Io { reason, .. })) if reason.kind() == ErrorKind::OutOfMemory)
}

const MIB: usize = 1 << 20;

fn npy(kind: &str, count: usize, data: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({count}, 1, 1), }}\n");
    let length = (header.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), data].concat()
}

#[test]
fn a_file_for_which_there_is_no_memory_is_an_error() {
    let zeros = vec![0_u8; MIB];
    let idx = [&[0, 0, 8, 3, 0, 16, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1][..], &zeros].concat();
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(&idx).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    for (what, file) in [("raw", idx), ("gzip", packed.finish().unwrap())] {
        fs::write(&path, &file).unwrap();
        let read = || [Idx::from_bytes(&file, &path), Idx::open(&path)];
        for found in without_memory(read) {
            assert!(
                is_out_of_memory(&found),
                "{what}: {:?}",
                found.map(|idx| idx.shape().to_vec())
            );
        }
        for found in read() {
            assert_eq!(found.unwrap().shape(), [MIB, 1, 1], "{what}");
        }
    }
    for (kind, bytes) in [("|u1", 1), ("<f4", 4), ("<f8", 8)] {
        let file = npy(kind, MIB / bytes, &zeros);
        fs::write(&path, &file).unwrap();
        let read = || [Npy::from_bytes(&file, &path), Npy::open(&path)];
        for found in without_memory(read) {
            assert!(
                is_out_of_memory(&found),
                "{kind}: {:?}",
                found.map(|npy| npy.shape().to_vec())
            );
        }
        for found in read() {
            assert_eq!(found.unwrap().shape(), [MIB / bytes, 1, 1], "{kind}");
        }
        // The same as a source of images, whose error names the file.
        let source = DataSource::Npy(path.clone());
        let found = without_memory(|| source.open(&DataOptions::new()));
        assert!(is_out_of_memory(&found), "{kind}");
        let error = found.unwrap_err().to_string();
        assert!(error.contains("file: reading failed: "), "{kind}: {error}");
    }
}
