//! Checkpoints that survive a kill at any moment, and readers that validate every byte.
//!
//! This module handles files and bytes, not tensors or networks:
//!
//! - [`CheckpointStore`] saves sets of named files as `RUN/checkpoints/step-NNNNNN/`. A set is written to a
//!   temporary directory, synced and renamed, so it exists completely or not at all. Its manifest has the size and
//!   SHA-256 of every file. The store holds the lock of the run directory ([`RunLock`]).
//! - [`CheckpointReader`] reads them without a lock: the newest intact one, or the one of a given step.
//! - [`encode`] and [`decode`] serialize the small training state (counters, random streams, positions) with a
//!   header and a checksum.
//! - [`write_atomically`] replaces one file, such as `run.toml`.
//!
//! ```
//! use engraft_gan::checkpoint::CheckpointStore;
//! use std::collections::BTreeMap;
//!
//! let run = tempfile::tempdir()?;
//! let mut store = CheckpointStore::open(run.path(), 3)?;
//! let files = BTreeMap::from([("state.bin".to_string(), b"the state".to_vec())]);
//! store.save(100, "hash of the options", &files)?;
//!
//! let loaded = store.latest()?.expect("one was saved");
//! assert!(loaded.warnings.is_empty());
//! assert_eq!(loaded.checkpoint.step, 100);
//! assert_eq!(loaded.checkpoint.file("state.bin")?, b"the state");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A checksum detects damage, not attacks: a hostile checkpoint has correct checksums too. The reader therefore
//! compares every claim (a size, a count, a name) with a limit and with the file's real length before it allocates
//! or opens anything. Symbolic links inside a checkpoint are refused.

mod atomic;
mod bounded_read;
mod codec;
mod failpoint;
mod layout;
mod lock;
mod manifest;
mod reader;
mod store;

pub use atomic::write_atomically;
pub use bounded_read::MAX_CHECKPOINT_BYTES;
pub use codec::{MAX_STATE_BYTES, decode, encode};
pub(crate) use layout::{FOLDER, name as directory_name};
pub(crate) use lock::FILE as LOCK_FILE;
pub use lock::{RunLock, refuse_links};
pub use reader::{Checkpoint, CheckpointReader, Loaded};
pub use store::{CheckpointStore, Saved};
