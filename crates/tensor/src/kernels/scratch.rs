//! A memory pool of kernels and tensors.
//!
//! A fresh allocation of a few megabytes costs one page fault per 4 kB, and the system fills each page with zeros.
//! For many operations this takes longer than the computation.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};

/// Maximum idle bytes of a list of a pool. Beyond it, the oldest vectors are freed. It holds what a step of the light networks at 64
/// pixels uses.
const MAX_IDLE: usize = 768 << 20;

/// Idle memory of one element type.
pub struct Pool<T> {
    /// Values of tensors, reused at exactly their length.
    vectors: Mutex<Vec<Vec<T>>>,
    /// Working memory, reused at about its length.
    buffers: Mutex<Vec<Vec<T>>>,
}

impl<T> Pool<T> {
    pub(crate) const fn new() -> Self {
        Self {
            vectors: Mutex::new(Vec::new()),
            buffers: Mutex::new(Vec::new()),
        }
    }
}

/// Takes the vector with the smallest `excess` of its length, if any.
fn find<T>(idle: &Mutex<Vec<Vec<T>>>, excess: impl Fn(usize) -> Option<usize>) -> Option<Vec<T>> {
    let mut idle = idle.lock().unwrap_or_else(PoisonError::into_inner);
    let fitting = idle
        .iter()
        .enumerate()
        .filter_map(|(i, v)| Some((excess(v.len())?, i)));
    let (_, best) = fitting.min()?;
    Some(idle.remove(best))
}

/// Keeps a vector. Frees the oldest ones above the limit, because a running loop reuses recent ones.
fn keep<T>(idle: &Mutex<Vec<Vec<T>>>, vector: Vec<T>) {
    let mut idle = idle.lock().unwrap_or_else(PoisonError::into_inner);
    idle.push(vector);
    let mut bytes: usize = idle.iter().map(|v| size_of::<T>() * v.capacity()).sum();
    while bytes > MAX_IDLE {
        bytes -= size_of::<T>() * idle.remove(0).capacity();
    }
}

/// Element types that have a pool.
pub trait Pooled: Copy + Send + 'static {
    #[doc(hidden)]
    fn pool() -> &'static Pool<Self>;
    #[doc(hidden)]
    const NOTHING: Self;
}

impl Pooled for f32 {
    fn pool() -> &'static Pool<Self> {
        static POOL: Pool<f32> = Pool::new();
        &POOL
    }
    const NOTHING: Self = 0.0;
}

impl Pooled for f64 {
    fn pool() -> &'static Pool<Self> {
        static POOL: Pool<f64> = Pool::new();
        &POOL
    }
    const NOTHING: Self = 0.0;
}

/// Vectors with fewer elements are not kept.
const FEWEST: usize = 1 << 12;

/// A vector of `len` elements with arbitrary contents, left from earlier use.
pub(crate) fn take<T: Pooled>(len: usize) -> Vec<T> {
    let found = (len >= FEWEST).then(|| find(&T::pool().vectors, |l| (l == len).then_some(0)));
    found.flatten().unwrap_or_else(|| vec![T::NOTHING; len])
}

/// Returns the memory of an unused vector to the pool.
pub(crate) fn give<T: Pooled>(vector: Vec<T>) {
    if vector.len() >= FEWEST {
        keep(&T::pool().vectors, vector);
    }
}

/// A buffer that returns to its pool when dropped.
pub(crate) struct Scratch<T: Pooled> {
    buffer: Vec<T>,
    len: usize,
}

impl<T: Pooled> Scratch<T> {
    /// `len` elements with arbitrary contents.
    pub(crate) fn take(len: usize) -> Self {
        // A far too large vector is left for other uses.
        let found = find(&T::pool().buffers, |l| {
            l.checked_sub(len).filter(|&excess| excess <= len)
        });
        let buffer = found.unwrap_or_else(|| vec![T::NOTHING; len]);
        Self { buffer, len }
    }
}

impl<T: Pooled> Drop for Scratch<T> {
    fn drop(&mut self) {
        keep(&T::pool().buffers, std::mem::take(&mut self.buffer));
    }
}

impl<T: Pooled> Deref for Scratch<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.buffer[..self.len]
    }
}

impl<T: Pooled> DerefMut for Scratch<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.buffer[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An element type of its own. Concurrent tests take from the pools of the other types.
    #[derive(Clone, Copy)]
    struct Alone(#[expect(dead_code, reason = "gives it a size")] f64);

    impl Pooled for Alone {
        fn pool() -> &'static Pool<Self> {
            static POOL: Pool<Alone> = Pool::new();
            &POOL
        }
        const NOTHING: Self = Self(0.0);
    }

    #[test]
    fn a_buffer_comes_back() {
        let first = Scratch::<Alone>::take(77_777);
        let address = first.as_ptr();
        drop(first);
        let second = Scratch::<Alone>::take(77_770);
        assert_eq!((second.len(), second.as_ptr()), (77_770, address));
    }
}
