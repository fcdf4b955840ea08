//! Working memory of kernels, kept between calls.
//!
//! A fresh allocation of a few megabytes costs a page fault for every 4 kB of it, which for the buffers of a
//! convolution is as much time as the transforms that fill them.

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

/// A buffer that goes back to its pool when dropped.
pub(crate) struct Scratch<T: Pooled> {
    buffer: Vec<T>,
    len: usize,
}

impl<T: Pooled> Scratch<T> {
    /// A buffer of `len` elements with any content: the numbers that were left in it.
    pub(crate) fn take(len: usize) -> Self {
        let mut idle = T::pool().0.lock().unwrap_or_else(PoisonError::into_inner);
        let best = (0..idle.len())
            .filter(|&i| idle[i].len() >= len)
            .min_by_key(|&i| idle[i].len());
        let found = best.map(|i| idle.swap_remove(i));
        drop(idle);
        let buffer = found.unwrap_or_else(|| vec![T::NOTHING; len]);
        Self { buffer, len }
    }
}

impl<T: Pooled> Drop for Scratch<T> {
    fn drop(&mut self) {
        let mut idle = T::pool().0.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push(std::mem::take(&mut self.buffer));
        let bytes = |idle: &[Vec<T>]| idle.iter().map(|b| size_of::<T>() * b.len()).sum::<usize>();
        while bytes(&idle) > MOST_IDLE {
            // The smallest is the cheapest to make again.
            let smallest = (0..idle.len()).min_by_key(|&i| idle[i].len());
            smallest.map(|i| idle.swap_remove(i));
        }
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
