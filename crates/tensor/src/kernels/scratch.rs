//! Memory of kernels and tensors, kept for the next of about the same size.
//!
//! A fresh allocation of a few megabytes costs a page fault for every 4 kB of it, in which the system fills it
//! with zeros: for many operations more time than they compute.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};

/// Most bytes that lie idle, for each element type; what is returned beyond is freed.
const MOST_IDLE: usize = 256 << 20;

/// Idle buffers of one element type.
pub struct Pool<T>(Mutex<Vec<Vec<T>>>);

impl<T> Pool<T> {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
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

/// Elements below which a vector is not worth keeping.
const FEWEST: usize = 1 << 12;

/// A vector of `len` elements with any content: the numbers that were left in it.
pub(crate) fn take<T: Pooled>(len: usize) -> Vec<T> {
    if len >= FEWEST {
        let mut idle = T::pool().0.lock().unwrap_or_else(PoisonError::into_inner);
        // One that is far too large would be missed by whoever needs it.
        let best = (0..idle.len())
            .filter(|&i| (len..=2 * len).contains(&idle[i].capacity()))
            .min_by_key(|&i| idle[i].capacity());
        let found = best.map(|i| idle.remove(i));
        drop(idle);
        if let Some(mut vector) = found {
            vector.resize(len, T::NOTHING);
            return vector;
        }
    }
    vec![T::NOTHING; len]
}

/// Keeps the memory of a vector that nobody needs any more.
pub(crate) fn give<T: Pooled>(vector: Vec<T>) {
    if vector.capacity() < FEWEST {
        return;
    }
    let mut idle = T::pool().0.lock().unwrap_or_else(PoisonError::into_inner);
    idle.push(vector);
    let bytes = |idle: &[Vec<T>]| idle.iter().map(|v| size_of::<T>() * v.capacity()).sum::<usize>();
    while bytes(&idle) > MOST_IDLE {
        // The oldest: what a running loop uses comes and goes.
        idle.remove(0);
    }
}

/// A vector that goes back to its pool when dropped.
pub(crate) struct Scratch<T: Pooled>(Vec<T>);

impl<T: Pooled> Scratch<T> {
    /// `len` elements with any content.
    pub(crate) fn take(len: usize) -> Self {
        Self(take(len))
    }
}

impl<T: Pooled> Drop for Scratch<T> {
    fn drop(&mut self) {
        give(std::mem::take(&mut self.0));
    }
}

impl<T: Pooled> Deref for Scratch<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T: Pooled> DerefMut for Scratch<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back() {
        // An odd size that no other test asks for.
        let first = Scratch::<f64>::take(77_777);
        let address = first.as_ptr();
        drop(first);
        let second = Scratch::<f64>::take(77_770);
        assert_eq!((second.len(), second.as_ptr()), (77_770, address));
    }
}
