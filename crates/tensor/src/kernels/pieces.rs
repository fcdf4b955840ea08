//! Parallel loops over pieces of slices.
//!
//! Rayon's iterators are compiled anew for every closure and number type. These functions hand it one closure behind a reference,
//! so that it is compiled once: a quarter less code to compile.
#![allow(unsafe_code)]

use crate::grad_mode::parallel;
use rayon::prelude::*;
use std::marker::PhantomData;

/// Calls `work` with every number below `count`, in parallel.
pub(crate) fn numbers(count: usize, work: &(dyn Fn(usize) + Sync)) {
    parallel(|| (0..count).into_par_iter().for_each(work));
}

/// Runs a series of loops on one thread of the pool. A thread outside would have to wake one for every loop.
#[cfg(any(test, target_arch = "x86_64"))]
pub(crate) fn series(work: impl FnOnce() + Send) {
    parallel(|| rayon::scope(|_| work()));
}

/// The results of `work` for every number below `count`, in their order, computed in parallel.
pub(crate) fn map<R: Send>(count: usize, work: impl Fn(usize) -> R + Sync) -> Vec<R> {
    let mut found: Vec<Option<R>> = (0..count).map(|_| None).collect();
    each(&mut found, 1, |i, found| found[0] = Some(work(i)));
    found.into_iter().flatten().collect()
}

/// Calls `work` with the number of each piece of `step` elements and the piece, in parallel. The last piece may be shorter.
///
/// # Panics
/// If `step` is 0 and there are elements.
pub(crate) fn each<T: Send>(all: &mut [T], step: usize, work: impl Fn(usize, &mut [T]) + Sync) {
    let all = Cut::new(all, step);
    numbers(all.count(), &|i| {
        // SAFETY: each number comes once.
        work(i, unsafe { all.piece(i) });
    });
}

/// [`each`] of two slices with the same number of pieces.
///
/// # Panics
/// As [`each`], or if the numbers of pieces differ.
pub(crate) fn each_of_two<T: Send>(
    (a, a_step): (&mut [T], usize),
    (b, b_step): (&mut [T], usize),
    work: impl Fn(usize, &mut [T], &mut [T]) + Sync,
) {
    let (a, b) = (Cut::new(a, a_step), Cut::new(b, b_step));
    assert_eq!(a.count(), b.count(), "numbers of pieces");
    numbers(a.count(), &|i| {
        // SAFETY: each number comes once.
        let (a, b) = unsafe { (a.piece(i), b.piece(i)) };
        work(i, a, b);
    });
}

/// Piece `i` of `step` elements, as [`each`] numbers them.
pub(crate) fn piece<T>(all: &[T], step: usize, i: usize) -> &[T] {
    let start = (i * step).min(all.len());
    &all[start..(start + step).min(all.len())]
}

/// A slice that is handed out piece by piece.
struct Cut<'a, T> {
    start: *mut T,
    len: usize,
    step: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: only `piece` uses the pointer, whose contract makes the pieces of different threads disjoint.
unsafe impl<T: Send> Sync for Cut<'_, T> {}

impl<'a, T> Cut<'a, T> {
    fn new(all: &'a mut [T], step: usize) -> Self {
        assert!(step > 0 || all.is_empty(), "pieces of 0 elements");
        Self {
            start: all.as_mut_ptr(),
            len: all.len(),
            step,
            slice: PhantomData,
        }
    }

    fn count(&self) -> usize {
        self.len.div_ceil(self.step.max(1))
    }

    /// # Safety
    /// `i` is below [`count`](Self::count), and no other reference to this piece exists.
    #[expect(clippy::mut_from_ref, reason = "pieces are disjoint, see the contract")]
    unsafe fn piece(&self, i: usize) -> &mut [T] {
        let start = i * self.step;
        let len = self.step.min(self.len - start);
        // SAFETY: `start + len` is at most the length of the slice, and the caller has the only reference to this part.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_those_of_chunks() {
        for (len, step) in [(0, 3), (1, 3), (7, 3), (9, 3), (10_000, 7)] {
            let all: Vec<usize> = (0..len).collect();
            let mut found = vec![usize::MAX; len];
            each(&mut found, step, |i, out| {
                out.copy_from_slice(piece(&all, step, i));
            });
            assert_eq!(found, all);
            let mut twice = vec![0; 2 * len];
            each_of_two((&mut found, step), (&mut twice, 2 * step), |i, a, b| {
                assert_eq!(a, all.chunks(step).nth(i).unwrap());
                b.fill(i);
            });
            assert!(twice.iter().enumerate().all(|(i, &b)| b == i / (2 * step)));
            assert_eq!(map(len, |i| i * i), all.iter().map(|i| i * i).collect::<Vec<_>>());
        }
    }

    #[test]
    #[should_panic(expected = "numbers of pieces")]
    fn different_numbers_of_pieces_panic() {
        each_of_two((&mut [0; 4], 1), (&mut [0; 4], 2), |_, _, _| {});
    }
}
