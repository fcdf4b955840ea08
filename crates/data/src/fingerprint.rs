//! The hash that identifies the images of a run.

use engraft_base::hex;
use sha2::{Digest, Sha256};

/// SHA-256 of height, width and channels (eight bytes each, little-endian) and the pixels of all images.
pub(crate) struct Fingerprint(Sha256);

impl Fingerprint {
    /// The hash of zero images of this size.
    pub(crate) fn new(size: [usize; 3]) -> Self {
        let mut hash = Sha256::new();
        for size in size {
            hash.update((size as u64).to_le_bytes());
        }
        Self(hash)
    }

    /// Adds one or more images.
    pub(crate) fn add(&mut self, pixels: &[u8]) {
        self.0.update(pixels);
    }

    /// The hash in hexadecimal.
    pub(crate) fn finish(self) -> String {
        hex(&self.0.finalize())
    }
}
