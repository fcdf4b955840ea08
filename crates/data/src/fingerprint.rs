//! The hash that a run knows its images by.

use engraft_base::hex;
use sha2::{Digest, Sha256};

/// SHA-256 over height, width and channels, each as eight bytes in little-endian order, and the pixels of all images.
pub(crate) struct Fingerprint(Sha256);

impl Fingerprint {
    /// Of no images yet, of this size.
    pub(crate) fn new(size: [usize; 3]) -> Self {
        let mut hash = Sha256::new();
        for size in size {
            hash.update((size as u64).to_le_bytes());
        }
        Self(hash)
    }

    /// Adds one image or several.
    pub(crate) fn add(&mut self, pixels: &[u8]) {
        self.0.update(pixels);
    }

    /// In hexadecimal.
    pub(crate) fn finish(self) -> String {
        hex(&self.0.finalize())
    }
}
