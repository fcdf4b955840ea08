//! Equal pictures, found by their pixels, and a split that keeps them together.

use std::collections::HashMap;

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::held_out::is_held_out;

/// Which pictures equal an earlier one, and which are held out.
///
/// Every fifth different picture is held out, and a copy follows its original. Without copies this is
/// [`every_fifth`](crate::every_fifth).
#[derive(Debug, Default)]
pub(crate) struct Copies {
    first: HashMap<[u8; 32], usize>,
    originals: Vec<Option<usize>>,
    held_out: Vec<bool>,
}

impl Copies {
    /// The copies in a sequence of images of `size` bytes.
    pub(crate) fn of(images: &[u8], size: usize) -> Self {
        let hash = |image: &[u8]| <[u8; 32]>::from(Sha256::digest(image));
        let hashes: Vec<_> = images.par_chunks_exact(size.max(1)).map(hash).collect();
        let mut copies = Self::default();
        for hash in hashes {
            copies.add(hash);
        }
        copies
    }

    /// Adds a picture by the hash of its pixels. Returns whether it is held out.
    pub(crate) fn add(&mut self, hash: [u8; 32]) -> bool {
        let (index, different) = (self.originals.len(), self.first.len());
        let original = *self.first.entry(hash).or_insert(index);
        let (is_copy, held_out) = match original == index {
            true => (false, is_held_out(different)),
            false => (true, self.held_out[original]),
        };
        self.originals.push(is_copy.then_some(original));
        self.held_out.push(held_out);
        held_out
    }

    /// Whether one of the pictures has these pixels.
    pub(crate) fn contains(&self, pixels: &[u8]) -> bool {
        self.first.contains_key(&<[u8; 32]>::from(Sha256::digest(pixels)))
    }

    /// Each copy with its original.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let copies = self.originals.iter().enumerate();
        copies.filter_map(|(copy, original)| Some((copy, (*original)?)))
    }

    /// Indices of the pictures for training, and of those that are held out.
    pub(crate) fn split(&self) -> [Vec<usize>; 2] {
        let (held_out, train) = (0..self.held_out.len()).partition(|&i| self.held_out[i]);
        [train, held_out]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::held_out::every_fifth;

    #[test]
    fn copies_follow_their_original() {
        // Five copies of each of 30 pictures.
        let images: Vec<u8> = (0..150).flat_map(|i| [i / 5; 4]).collect();
        let copies = Copies::of(&images, 4);
        assert_eq!(copies.pairs().count(), 120);
        assert_eq!(copies.pairs().next(), Some((1, 0)));
        let [train, held_out] = copies.split();
        assert_eq!((train.len(), held_out.len()), (120, 30));
        assert!(train.iter().all(|i| !held_out.iter().any(|j| i / 5 == j / 5)));
        let different: Vec<u8> = (0..103).collect();
        let copies = Copies::of(&different, 1);
        assert_eq!((copies.pairs().count(), copies.split()), (0, every_fifth(103)));
    }
}
